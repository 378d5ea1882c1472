# An event loop with child processes, pipes and a deadline.
# equal: D3
# needs: python3
set -eu
python3 - <<'P'
import asyncio
async def one(n):
    p = await asyncio.create_subprocess_exec("sh", "-c", f"sleep 0.0{n}; echo {n} $$", stdout=asyncio.subprocess.PIPE)
    out, _ = await p.communicate()
    print(out.decode().strip(), p.returncode)
async def main():
    await asyncio.gather(*[one(n) for n in (3, 1, 2)])
    try:
        await asyncio.wait_for(asyncio.create_subprocess_exec("sleep", "0.01"), 1)
        await asyncio.wait_for(asyncio.sleep(5), 0.02)
    except asyncio.TimeoutError:
        print("late")
asyncio.run(main())
P
