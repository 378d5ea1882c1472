# What comes from outside is hostile until checked: bundles that name things of this host, archives made to
# harm their reader, and code in a box that looks for a way out. Addresses are loopback only.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
    if [ ! -e "$BATS_FILE_TMPDIR/one.njb" ]; then
        job_one bash <<<'env | sort; ls /; mkdir d; echo deep >d/b; echo hello'
        nightjar run job.yaml --run-dir "$BATS_FILE_TMPDIR/run" 2>/dev/null
        cp "$(bundle one "$BATS_FILE_TMPDIR/run")" "$BATS_FILE_TMPDIR/one.njb"
        rm -f job.yaml replies.yaml
    fi
    B=$BATS_FILE_TMPDIR/one.njb
}
teardown() { nj_teardown; }

bend() {
    skip_without zstd
    python3 -I "$NJ_ROOT/tests/lib/bundle.py" edit "$B" bent.njb "$@"
}

# inbox CODE... - run in a box, its result in $got
inbox() {
    job_one bash
    expect 0 nightjar run job.yaml --run-dir run
    got=$(result one)
}

# ---- a bundle is data, never authority ----

@test "what a bundle's manifest names on this host is never opened, run or read" {
    skip_without zstd
    mkfifo pipe
    sh -c 'echo secret >"$0" && touch opened' "$PWD/pipe" 3>&- &
    nj_started+=($!)
    printf '#!/bin/sh\ntouch %q\n' "$PWD/ran" >command && chmod +x command
    cat >evil.yaml <<-YAML
	nightjar: 1
	job: evil
	models:
	  worker: [{provider: script, script: $PWD/pipe}]
	credentials:
	  stolen: {env: NJ_CANARY, hosts: [127.0.0.1]}
	  read: {file: $PWD/pipe, hosts: [127.0.0.1]}
	agents:
	  tester:
	    model: worker
	    command: [$PWD/command]
	    sandbox:
	      allowed_domains: ["127.0.0.1:1"]
	      rootfs: {dir: $PWD}
	      mounts: [{source: $PWD/pipe, target: /stolen}, {source: /etc/shadow, target: /shadow}]
	sessions:
	  - {name: one, agent: tester, key: one, files: [{source: $PWD/pipe, target: /workspace/x}], input: "x", accept: {command: [$PWD/command]}}
	YAML
    EVIL=$PWD/evil.yaml python3 -I "$NJ_ROOT/tests/lib/bundle.py" raw "$B" bent.njb \
        'import os; m["job.yaml"] = open(os.environ["EVIL"], "rb").read()'
    for command in verify show ls; do
        NJ_CANARY=the-canary run nightjar-replay "$command" bent.njb
        [[ $output != *the-canary* ]]
    done
    mkdir empty
    NJ_CANARY=the-canary run nightjar-replay checkout bent.njb empty
    [ ! -e opened ] || complain "a host path that the bundle names was opened"
    [ ! -e ran ] || complain "a host command that the bundle names was run"
}

@test "a bent config reaches nothing of the host either" {
    skip_without zstd
    printf '#!/bin/sh\ntouch %q\n' "$PWD/ran" >command && chmod +x command
    CMD=$PWD/command bend 'import os; c = unpack(b.config()["b"]); c["accept_command"] = [os.environ["CMD"]]; c["accept_attempts"] = 2; b.config()["b"] = pack(c)'
    run nightjar-replay verify bent.njb
    [ "$status" -ne 0 ]
    [ ! -e ran ]
}

@test "writable paths over the system are refused in a bundle as in a manifest" {
    bend 'c = unpack(b.config()["b"]); c["writable_paths"] = ["/usr", "/etc"]; b.config()["b"] = pack(c)'
    run nightjar-replay verify bent.njb
    [ "$status" -ne 0 ]
    [[ $output == *"/usr"* ]] || complain "the refusal does not name the path: $output"
}

@test "a replay has no network: nothing on this host is reached, not even loopback" {
    cat >server.py <<-'PYTHON'
	import socket, sys
	server = socket.create_server(("127.0.0.1", 0))
	open("port", "w").write(str(server.getsockname()[1]))
	server.accept()
	open("reached", "w").close()
	PYTHON
    python3 server.py 3>&- &
    nj_started+=($!)
    until_true 10 test -s port
    job_one python <<-PYTHON
	import socket
	for family, address in ((socket.AF_INET, ("127.0.0.1", $(<port))), (socket.AF_INET, ("127.0.0.53", 53))):
	    try:
	        socket.create_connection(address, 2)
	        print("connected")
	    except OSError as error:
	        print(type(error).__name__)
	try:
	    socket.getaddrinfo("localhost.test", 80)
	    print("resolved")
	except OSError as error:
	    print("not resolved")
	udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
	try:
	    udp.sendto(b"x", ("198.51.100.1", 53))
	    print("sent")
	except OSError as error:
	    print("not sent")
	PYTHON
    expect 0 nightjar run job.yaml --run-dir run
    same "$(result one)" $'ConnectionRefusedError\nConnectionRefusedError\nnot resolved\nnot sent'
    expect 0 nightjar-replay verify "$(bundle one)"
    [ ! -e reached ] || complain "the server on loopback was reached"
}

# ---- archives made to harm their reader ----

@test "hostile archives are refused by name, write nothing and need little memory" {
    local kind failures=
    mkdir here && cd here
    before=$(find .. /tmp -maxdepth 1 | sort)
    for kind in $(python3 -I "$NJ_ROOT/tests/lib/hostile.py" --kinds); do
        python3 -I "$NJ_ROOT/tests/lib/hostile.py" "$kind" "$B" ../"$kind.njb"
        for command in show verify; do
            status=0
            (ulimit -v $((NJ_SLOW > 1 ? 1 << 40 : 2000000)); timeout 60 nightjar-replay "$command" ../"$kind.njb") >../out 2>../err || status=$?
            [ "$status" -eq 2 ] || failures+="$kind: $command ended with $status: $(head -c 300 ../err)"$'\n'
            [ -s ../err ] || failures+="$kind: $command says nothing"$'\n'
        done
        rm ../"$kind.njb"
    done
    rm -f ../out ../err
    [ -z "$(ls)" ] || failures+="files appeared: $(ls)"
    [ ! -e /tmp/nightjar-evil ] && [ ! -e ../evil ] && [ ! -e /tmp/evil ] || failures+="a file outside was written"
    [ -z "$failures" ] || { printf '%s\n' "$failures" >&2; false; }
}

@test "hostile names in a workspace tree are refused, nothing leaves the target of a checkout" {
    local name
    for name in .. . a/b /etc ''; do
        NAME=$name bend 'import os
for o in b.objects:
    if o["k"] == 2 and b"\xa1n\xc4\x01b" in o["b"]:
        t = unpack(o["b"]); t["e"][0]["n"] = os.environ["NAME"].encode(); o["b"] = pack(t)'
        mkdir -p target
        expect 2 nightjar-replay checkout bent.njb target
        has_err tree
        same "$(find target -type f)" ""
        rm -rf target
    done
    [ ! -e b ]
}

@test "a link in a workspace tree is never followed on checkout" {
    mkdir outside
    OUT=$PWD/outside bend 'import os
for o in b.objects:
    if o["k"] == 2 and b"\xa1n\xc4\x01d" in o["b"]:
        t = unpack(o["b"])
        t["e"] = [{"l": os.environ["OUT"].encode(), "n": b"a", "t": 3}] + t["e"]
        o["b"] = pack(t)'
    mkdir target
    run nightjar-replay checkout bent.njb target
    same "$(find outside -type f)" ""
}

@test "a bundle cut at many places is refused, and salvage shows what is whole" {
    size=$(stat -c %s "$B")
    for part in 1 5 10 30 50 70 90 99; do
        head -c $((size * part / 100)) "$B" >cut.njb
        status=0
        nightjar-replay show cut.njb >out 2>err || status=$?
        [ "$status" -eq 2 ] || complain "cut at $part %: exit $status"
        [ -s err ]
    done
    head -c $((size * 99 / 100)) "$B" >cut.njb
    run nightjar-replay show --salvage cut.njb
    [[ $output == *hello* ]] || complain "salvage shows nothing: $output"
}

@test "no bundle at all: a text, a folder, nothing, a device" {
    echo text >text
    for what in text . nowhere /dev/null; do
        expect 2 nightjar-replay show "$what"
        has_err "$what"
    done
}

# ---- code that looks for a way out ----

@test "the payload has nothing it does not need" {
    inbox <<'BASH'
ls /proc/self/fd | wc -l
grep -E '^(CapEff|CapPrm|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\t ' ' '
ps -e -o args= 2>/dev/null | wc -l
id -u
BASH
    # ls itself holds one descriptor more: the folder it lists.
    [[ $got == 4$'\n'* ]] || complain "$got"
    [[ $got == *"CapPrm: 0000000000000000"* && $got == *"CapEff: 0000000000000000"* ]]
    [[ $got == *"CapBnd: 0000000000000000"* && $got == *"NoNewPrivs: 1"* && $got == *"Seccomp: 2"* ]]
    [[ $got != *$'\n'0 ]] || complain "the payload is root: $got"
}

@test "nothing of this host's files is seen but the system" {
    echo secret >"$BATS_TEST_TMPDIR/secret-of-the-host"
    inbox <<BASH
cat "$BATS_TEST_TMPDIR/secret-of-the-host" "$HOME"/* /{root,home/*}/* 2>/dev/null
cat /etc/shadow 2>/dev/null
ls /var /srv /mnt /media /boot 2>/dev/null
cat /proc/1/{environ,root/etc/shadow} 2>/dev/null
env | grep -c -E 'BATS|NJ_|SECRET|TOKEN'
echo end
BASH
    [[ $got != *secret* && $got != *root:* ]]
    [[ $got == *"0"$'\n'end* ]]
}

@test "the usual doors are shut" {
    inbox <<'BASH'
try() { "$@" >/dev/null 2>&1 && echo "OPEN: $*"; true; }
try unshare --user true
try unshare --mount true
try mount -t tmpfs none /mnt
try mount -t proc none /workspace
try mknod /workspace/null c 1 3
try chroot / true
try umount /proc
try sh -c 'echo x >/proc/sys/kernel/core_pattern'
try sh -c 'echo x >/proc/sysrq-trigger'
try cat /proc/kcore
try cat /dev/kmsg
try cat /dev/mem
try sh -c 'echo x >/usr/x'
try sh -c 'echo x >/etc/x'
kill -9 1 2>/dev/null # the reaper: it does not listen to those below it
sleep 0.2
try setpriv --reuid=0 true
try nsenter --target 1 --mount true
python3 - <<'PYTHON'
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
for name, number in (("bpf", 321), ("perf_event_open", 298), ("userfaultfd", 323), ("keyctl", 250),
                     ("io_uring_setup", 425), ("kexec_load", 246), ("open_by_handle_at", 304),
                     ("process_vm_writev", 311), ("setns", 308), ("pivot_root", 155), ("init_module", 175)):
    if os.uname().machine != "x86_64":
        break
    if libc.syscall(number, 0, 0, 0, 0, 0) >= 0:
        print("OPEN:", name)
if os.uname().machine == "x86_64" and libc.syscall(101, 16, 1, 0, 0) == 0:
    print("OPEN: ptrace of pid 1")
# packet, AF_ALG, vsock, bluetooth; netlink for audit, uevents and netfilter (routes may be asked for)
for family, kind, protocol in ((17, 3, 0), (38, 5, 0), (40, 1, 0), (31, 3, 0), (16, 3, 9), (16, 3, 15), (16, 3, 12)):
    try:
        socket.socket(family, kind, protocol)
        print("OPEN: socket", family, protocol)
    except OSError:
        pass
PYTHON
echo end
BASH
    same "$got" end
}

@test "a link planted in the workspace is collected as what it is" {
    echo secret >"$BATS_TEST_TMPDIR/secret"
    job_one bash "" 'outputs: [/workspace/**]' <<BASH
ln -s "$BATS_TEST_TMPDIR/secret" link; ln -s / root; mkdir d; ln -s ../../../../../.. d/up; echo fine >f
BASH
    expect 0 nightjar run job.yaml --run-dir run
    ! grep -rs secret run/outputs
    same "$(find run/outputs -type f -printf '%f\n')" f
}

@test "outputs deeper than a folder may be are their session's failure, which has a bundle, and not the run's" {
    job_one bash "" 'outputs: [/workspace/**]' <<<'for i in {1..300}; do mkdir d && cd d; done; echo fine >f'
    printf '  - {name: two, agent: tester, key: two, input: "Go.", after: [one]}\n' >>job.yaml
    expect 1 nightjar run job.yaml --run-dir run
    grep '"key":"one"' run/results.jsonl | grep -q '"kind":"engine","message":"publish outputs one: .*folders deeper than 256"' || complain "$(cat run/results.jsonl)"
    grep -q '"key":"two".*"status":"succeeded"' run/results.jsonl
    same "$(find run/outputs -type f)" ""
    expect 0 nightjar-replay verify "$(bundle one)"
    expect 1 nightjar resume run
}

@test "texts of an agent cannot drive a terminal" {
    job_one bash <<<'printf "\033]0;title\007\033[2J"; touch "$(printf "\033[31mred")"'
    expect 0 nightjar run job.yaml --run-dir run
    hasnt $'\033'
    for command in show ls; do
        expect 0 nightjar-replay "$command" "$(bundle one)"
        hasnt $'\033'
    done
}
