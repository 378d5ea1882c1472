# Threads that only compute: who holds the interpreter when.
# equal: D3
# needs: python3
set -eu
python3 - <<'P'
import threading
seen = []
def work(n):
    for i in range(200000):
        if i % 1000 == 0:
            seen.append(n)
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print("".join(map(str, seen)))
P
