# Interval timers and alarms that strike while a program computes or sleeps.
# equal: D3
# needs: python3
set -eu
python3 - <<'P'
import signal, time
seen = []
signal.signal(signal.SIGALRM, lambda *_: seen.append(round(time.monotonic(), 4)))
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
while len(seen) < 5:
    time.sleep(1)
signal.setitimer(signal.ITIMER_REAL, 0)
print([round(b - a, 4) for a, b in zip(seen, seen[1:])])
signal.alarm(1); signal.pause(); print(len(seen), signal.alarm(0))
P
