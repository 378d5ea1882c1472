# Timers of an event loop, and the clock when each strikes.
# equal: D1
# needs: python3
set -eu
python3 - <<'P'
import asyncio, time
async def one(n, delay):
    await asyncio.sleep(delay)
    print(n, round(time.monotonic(), 6))
async def main():
    await asyncio.gather(*[one(n, 0.01 * (5 - n)) for n in range(5)])
asyncio.run(main())
P
