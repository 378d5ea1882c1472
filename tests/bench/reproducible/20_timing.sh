# Programs that take their own time, timeouts, and a loop until a deadline.
# equal: D1
# needs: python3
set -eu
TIMEFORMAT=%R; time sleep 0.02; time true
timeout 0.05 sleep 5 || echo $?
python3 - <<'P'
import time
begun = time.perf_counter(); turns = 0
while time.perf_counter() - begun < 0.01:
    turns += 1
print(turns)
print(time.process_time(), time.thread_time())
P
