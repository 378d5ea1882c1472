# The doctor: what this host has and lacks, each with its cure; and a run that refuses to start says it in the same words.

load ../lib/common

setup() {
    nj_setup
    WITHOUT=$NJ_BUILD/tests/without
}
teardown() { nj_teardown; }

# doctor STATUS [COMMAND-PREFIX...] - look; $out is the text
doctor() {
    local want=$1
    shift
    expect "$want" "$@" nightjar doctor
}

# state ID - of the last JSON in $out
state() { python3 -I -c 'import json, sys; print([f for f in json.load(sys.stdin)["findings"] if f["id"] == sys.argv[1]][0]["state"])' "$1" <<<"$out"; }

# refused_alike COMMAND-PREFIX... - the doctor names something missing, and a run refuses with its words
refused_alike() {
    local cure
    doctor 3 "$@"
    cure=$(sed -n '/^missing/,/cure: /s/^ *cure: //p' <<<"$out" | head -n 1)
    [ "${#cure}" -gt 20 ] || complain "no cure"
    job_one bash <<<'echo ran anyway'
    expect 3 "$@" nightjar run job.yaml --run-dir "run-$RANDOM"
    has_err "$cure"
    hasnt "ran anyway"
}

@test "it looks at everything that boxes and runs use, and its exit status is the worst of it" {
    skip_without namespaces
    local status=0
    nightjar doctor >out 2>err || status=$?
    [ "$status" -le 1 ]
    for name in "user namespaces" "mounting" "tmpfs" "/proc" "seccomp filters" "seccomp notification" "tracing" "fanotify" \
        "real-time" "a box" "cgroups" "open files" "inotify" "memory" "disk" "bash" "python3" "time zones" "HTTP client"; do
        grep -q "^\(ok\|degraded\) .*$name" out || { cat out; echo "nothing about $name"; false; }
    done
    # What is not ok has a consequence and a cure, nothing else has.
    same "$(grep -c '^degraded' out)" "$(grep -c '^          cure: ..' out)"
    same "$(grep -c '^degraded' out)" "$(grep -c '^          so: ..' out)"
    [ "$status" -eq "$([ "$(grep -c '^degraded' out)" -eq 0 ]; echo $?)" ]
    same "$(grep -vcE '^(ok|degraded) |^          (so|cure): ' out)" 0
}

@test "on a terminal its lines are wrapped, but for cures, which are copied, and words that are too long" {
    skip_without namespaces
    on_terminal 80 nightjar doctor || [ $? -eq 1 ]
    tr -d '\r' <screen >out
    same "$(awk 'length > 79 && length($NF) < 38 && !/^ *cure: /' out)" ""
    grep -q "^ \{41\}[^ ]" out || complain "nothing was wrapped"
}

@test "for scripts it is one JSON object with the same states" {
    local status=0
    nightjar doctor --json >out.json || status=$?
    nightjar doctor >out.txt || true
    python3 -I - "$status" <<-'PYTHON'
	import json, re, sys
	report = json.load(open("out.json"))
	states = [f["state"] for f in report["findings"]]
	order = ["ok", "degraded", "missing"]
	assert report["worst"] == max(states, key=order.index), states
	assert {"ok": 0, "degraded": 1, "missing": 3}[report["worst"]] == int(sys.argv[1])
	text = [l.split()[0] for l in open("out.txt") if not l.startswith(" ")]
	assert text == states, (text, states)
	for f in report["findings"]:
	    assert set(f) == {"id", "state", "name", "found", "consequence", "cure"}, f
	    assert (f["cure"] is None) == (f["state"] == "ok") == (f["consequence"] is None), f
	assert len({f["id"] for f in report["findings"]}) == len(states)
	PYTHON
}

@test "whatever is missing is told, with what follows and what to type, and a run refuses in the same words" {
    skip_without namespaces
    local lack
    for lack in namespaces mounts tmpfs proc calls seccomp-filter; do
        NJ_TEST_LACK=$lack refused_alike env
        expect 3 env NJ_TEST_LACK="$lack" nightjar doctor --json
        same "$(state "$lack")" missing "$lack"
        same "$(state box)" missing
    done
}

@test "what only the reproducible layer needs is degraded, and a run starts" {
    skip_without namespaces
    local lack
    for lack in seccomp-notify seccomp-killable ptrace fuse time-namespace tmpfs-xattr fanotify real-time; do
        expect 1 env NJ_TEST_LACK="$lack" nightjar doctor --json
        same "$(state "$lack")" degraded "$lack"
        same "$(state box)" ok
    done
    job_one bash <<<'echo ran'
    NJ_TEST_LACK=seccomp-notify,ptrace expect 0 nightjar run job.yaml --run-dir run
    same "$(result one)" ran
}

@test "for real: user namespaces used up" {
    skip_without namespaces
    # As in a container whose administrator set the limit: of a user namespace of our own.
    refused_alike unshare --user --map-root-user sh -c 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"' -
    has "max_\${n}_namespaces"
}

@test "for real: a filter that forbids user namespaces, as docker's does" {
    skip_without namespaces
    refused_alike "$WITHOUT" clone:user=EPERM --
    has "seccomp=unconfined"
}

@test "for real: a filter that knows no newer calls" {
    skip_without namespaces
    refused_alike "$WITHOUT" mount_setattr=ENOSYS --
    refused_alike "$WITHOUT" pidfd_open=EPERM --
    # The engine itself reads by this one before it gets to boxes.
    doctor 3 "$WITHOUT" openat2=ENOSYS --
    has "newer file and process calls"
    expect 3 "$WITHOUT" openat2=ENOSYS -- nightjar run job.yaml --run-dir run
}

@test "for real: a filter that forbids filters and mounts" {
    skip_without namespaces
    refused_alike "$WITHOUT" seccomp=EINVAL --
    refused_alike "$WITHOUT" mount=EPERM --
}

@test "for real: parts of /proc covered, as docker does" {
    skip_without namespaces
    # Locked mounts over parts of /proc: only another user namespace, which a box always has, cannot uncover them.
    refused_alike unshare --user --map-root-user --mount --pid --fork --mount-proc \
        sh -c 'mount --bind /dev/null /proc/kcore && mount -t tmpfs -o ro tmpfs /proc/acpi 2>/dev/null || mount -t tmpfs -o ro tmpfs /proc/scsi 2>/dev/null || mount -t tmpfs -o ro tmpfs /proc/fs; exec unshare --user --map-root-user --mount -- "$@"' -
    has "systempaths=unconfined"
}

@test "for real: few descriptors and processes are degraded, with the figure" {
    skip_without namespaces
    doctor 1 prlimit --nofile=512:512
    grep -A2 'open files' <<<"$out" | grep -q '512$'
    expect 1 prlimit --nofile=512:512 nightjar doctor --json
    same "$(state files)" degraded
}

@test "for real: a disk without room for the default limit is degraded" {
    skip_without namespaces
    unshare --user --map-root-user --mount sh -c 'mount -t tmpfs -o size=900m tmpfs . && cd . && cd "$PWD" && exec nightjar doctor --json' >small.json 2>err || true
    out=$(<small.json)
    same "$(state disk)" degraded
    has "limits.disk_free_mb"
}

@test "for real: no real time is degraded" {
    skip_without namespaces
    skip_without ordinary
    [ "$(ulimit -r)" = 0 ] || skip "this user may have real time"
    expect 1 nightjar doctor --json
    same "$(state real-time)" degraded
    has "rtprio"
}

@test "for real: an ordinary user in a container-like namespace runs" {
    skip_without namespaces
    local inside=(unshare --user --map-current-user --mount --pid --fork --mount-proc)
    [ "$(id -u)" -ne 0 ] || inside=(unshare --mount --pid --net --ipc --uts --fork --mount-proc)
    job_one bash <<<'echo ran nested'
    "${inside[@]}" nightjar doctor >nested || [ $? -eq 1 ] || { cat nested; false; }
    expect 0 "${inside[@]}" nightjar run job.yaml --run-dir run
    same "$(result one)" "ran nested"
    expect 0 "${inside[@]}" nightjar-replay verify "$(bundle one)"
}

@test "for real: root of a namespace that maps nobody else is refused by name" {
    skip_without namespaces
    refused_alike unshare --user --map-root-user --mount --pid --fork --mount-proc
    has "--map-current-user"
}

# Those of suites beside this one go as well, each after a moment.
no_group() { [ -z "$(find /sys/fs/cgroup -maxdepth 6 -name 'nightjar.run-doctor-*' 2>/dev/null)" ]; }

@test "it leaves nothing behind" {
    skip_without namespaces
    local before after
    before=$(mounts)
    nightjar doctor >/dev/null || [ $? -eq 1 ]
    after=$(mounts)
    same "$before" "$after" mounts
    until_true 20 no_group
    [ -z "$(ls -A)" ]
}

@test "a program that was copied without nj-sandbox says what it lacks, and how to have it" {
    skip_without namespaces
    mkdir alone && cp "$NJ_BUILD/bin/nightjar" alone
    PATH=$PWD/alone:$PATH doctor 3
    has "nj-sandbox, which builds the boxes, is missing" "Cure: install nightjar as a whole"
    job_one bash <<<'echo ran anyway'
    PATH=$PWD/alone:$PATH expect 3 nightjar run job.yaml --run-dir run
    has_err "nj-sandbox, which builds the boxes, is missing" "Cure: install nightjar as a whole"
    # Where packages put it.
    mkdir -p alone/bin alone/libexec/nightjar && mv alone/nightjar alone/bin && cp "$NJ_BUILD/bin/nj-sandbox" alone/libexec/nightjar
    PATH=$PWD/alone/bin:$PATH expect 0 nightjar run job.yaml --run-dir run-whole
}
