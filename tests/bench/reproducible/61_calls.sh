# The clocks over the calls of a session: never backwards, and each call starts at its own hour.
# equal: D1
# times: D3 (of before: tee opens it while date asks the time)
# varies
# needs: python3
set -eu
date +%s.%N | tee before; cat /proc/uptime | wc -w
python3 -c 'import time; print(time.monotonic(), time.clock_gettime(time.CLOCK_BOOTTIME))'
### next call
date +%s.%N >after
awk 'NR == FNR { a = $1; next } { print $1 > a ? "later" : "EARLIER", $1 - a }' before after
python3 -c 'import time; print(time.monotonic(), time.time())'
### next call
sleep 0.3; date +%s.%N
echo "$RANDOM $SRANDOM"
