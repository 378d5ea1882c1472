# Threads that sleep a little and write into one list.
# equal: D3
# needs: python3
set -eu
python3 - <<'P'
import concurrent.futures, random, threading, time
seen = []
def work(n):
    for i in range(20):
        seen.append((n, i)); time.sleep(0.0005)
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print(seen)
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    print(list(pool.map(lambda x: (x, random.random()), range(10))))
P
