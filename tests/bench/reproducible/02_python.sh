# Python's: hashes, addresses, uuids, clocks, names, sizes of the machine.
# equal: D1
# varies
# needs: python3
set -eu
python3 - <<'P'
import datetime, os, random, secrets, socket, sys, tempfile, time, uuid
print(hash("abc"), random.random(), uuid.uuid4(), uuid.uuid1(), secrets.token_hex(8), id(object()))
print(time.time(), time.perf_counter(), time.monotonic_ns(), datetime.datetime.now(), time.process_time() >= 0)
print(os.getpid(), os.getppid(), socket.gethostname(), os.cpu_count(), len(os.sched_getaffinity(0)), sys.maxsize)
print(list({"a", "b", "c", "d", "e"}), tempfile.NamedTemporaryFile(delete=False, dir=".").name)
os.makedirs("many")
for i in range(60):
    with open("many/%d" % (i * 7919 % 1000), "w") as f:
        f.write(str(random.random()))
print(os.listdir("many"), os.urandom(8).hex())
with open("/dev/urandom", "rb") as f:
    print(f.read(4).hex())
P
