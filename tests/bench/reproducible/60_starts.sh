# Many starts of programs, misses on the path, starts that fail, vfork.
# equal: D1
# varies
# needs: python3
set -eu
for i in {1..60}; do /bin/true; done; date +%N
PATH=/no:/such:/usr/bin; export PATH
for i in 1 2 3; do env true; sh -c 'echo $$ $PPID'; done
nosuchprogram 2>&1 || echo "miss $?"
printf '#!/no/such/interpreter\n' >bad; chmod +x bad; ./bad 2>&1 || echo "bad $?"
python3 - <<'P'
import os, subprocess, time
for n in range(5):
    print(os.posix_spawnp("true", ["true"], os.environ), end=" ")
print([os.wait()[1] for _ in range(5)])
print(subprocess.run(["sh", "-c", "echo $$; exit 3"], capture_output=True).stdout, time.time_ns())
try:
    os.execv("/workspace/bad", ["bad"])
except OSError as error:
    print(error)
os.execv("/bin/date", ["date", "+%N"])
P
