# A pool of processes: which worker takes which piece.
# equal: D3
# varies
# needs: python3
set -eu
python3 - <<'P'
import multiprocessing, os, random, time
def work(x):
    time.sleep(random.random() / 500)
    return (x, os.getpid(), random.random())
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print(sorted(pool.imap_unordered(work, range(12))))
P
