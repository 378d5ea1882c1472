# programs.sh - real programs under the filter: each does a piece of its own work, and says "NAME: ok"
#
# A program that this host lacks is "NAME: ok" as well: what is tested is the filter, not the host.
cd "$(mktemp -d)" || exit 1
export HOME=$PWD

try() {
    local name=$1 program=$2 out
    shift 2
    command -v "$program" >/dev/null || { echo "$name: ok"; return; }
    if out=$(mkdir "$name" && cd "$name" && "$@" 2>&1); then echo "$name: ok"; else echo "$name: failed: ${out: -600}"; fi
}

python_core() {
    python3 - <<'PYTHON'
import asyncio, concurrent.futures, ctypes, fcntl, json, mmap, multiprocessing, os, resource, select, shutil, signal
import socket, sqlite3, subprocess, tempfile, threading, time, zlib, hashlib, pathlib, selectors, termios, queue

assert subprocess.run(["true"]).returncode == 0
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    assert sum(pool.map(len, ["ab"] * 8)) == 16
with multiprocessing.Pool(2) as pool:
    assert pool.map(abs, [-1, -2]) == [1, 2]
lock = multiprocessing.Lock()
with lock:
    pass

async def talk():
    async def echo(reader, writer):
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\n")
    assert await reader.readline() == b"hello\n"
    server.close()
    child = await asyncio.create_subprocess_exec("true")
    assert await child.wait() == 0

asyncio.run(talk())
a, b = socket.socketpair()
a.sendall(b"x")
assert b.recv(1) == b"x"
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "file"
    path.write_bytes(b"0" * 8192)
    with open(path, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with mmap.mmap(file.fileno(), 0) as page:
            page[0:3] = b"abc"
    assert path.read_bytes()[:3] == b"abc"
    shutil.copytree(folder, folder + "/copy-of", ignore=shutil.ignore_patterns("copy-of"))
    db = sqlite3.connect(folder + "/db")
    db.execute("pragma journal_mode=wal")
    db.execute("create table t (x)")
    db.commit()
signal.signal(signal.SIGALRM, lambda *unused: None)
signal.setitimer(signal.ITIMER_REAL, 0.01)
time.sleep(0.03)
assert os.sched_getaffinity(0) and os.cpu_count()
os.posix_spawn("/bin/true", ["true"], {})
os.wait()
PYTHON
}

node_core() {
    node -e '
const { Worker } = require("worker_threads"), fs = require("fs"), net = require("net"), { execFileSync } = require("child_process");
fs.writeFileSync("a", "x"); fs.watch(".").close(); execFileSync("true");
new Worker("require(\"worker_threads\").parentPort.postMessage(1)", { eval: true }).once("message", () => {
  const server = net.createServer(s => s.end("hello")).listen(0, "127.0.0.1", () =>
    net.connect(server.address().port, "127.0.0.1").on("data", () => server.close()));
});'
}

compiler() {
    printf '#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n' >a.c
    "$1" -O2 -o a a.c && ./a | grep -qx hello
}

git_core() {
    git init -q r && cd r && git config user.email a@example.com && git config user.name a && echo 1 >f && git add f &&
        git commit -qm one && git gc -q && git clone -q . ../clone && git -C ../clone log --oneline | grep -q one
}

sqlite_core() { [ "$(sqlite3 db 'pragma journal_mode=wal; create table t (x); insert into t values (1); select sum(x) from t')" = $'wal\n1' ]; }
tar_core() { mkdir t && echo 1 >t/f && ln t/f t/g && ln -s f t/h && tar -czf t.tgz t && rm -r t && tar -xzf t.tgz && [ "$(cat t/h)" = 1 ]; }
perl_core() { perl -MPOSIX -MIO::Socket -e 'my $p = fork // die; exit 0 unless $p; waitpid $p, 0; die if $?; my ($a, $b) = IO::Socket->socketpair(AF_UNIX, SOCK_STREAM, 0); print {$a} "x"; POSIX::uname();'; }
shell_core() { bash -c 'set -m; sleep 0.01 & wait $!; mkfifo p; echo x >p & read -r x <p; [ "$x" = x ]; exec 3<>/dev/null; cat <(echo y) | grep -q y; ulimit -n 64'; }
make_core() { printf 'all: a b\na b:\n\ttouch $@\n' >Makefile && make -s -j2 && [ -e a ] && [ -e b ]; }
debugger() { strace -f -o log bash -c 'true | true' && grep -q execve log; }
zstd_core() { seq 100000 >n && zstd -q -T2 n && zstd -q -dc n.zst | cmp - n; }

try python python3 python_core
try node node node_core
try gcc gcc compiler gcc
try clang clang compiler clang
try git git git_core
try sqlite sqlite3 sqlite_core
try tar tar tar_core
try perl perl perl_core
try bash bash shell_core
try make make make_core
try strace strace debugger
try zstd zstd zstd_core
