# guest.bash - pid 1 of a test guest: cgroup v2 alone, root and an ordinary user with a delegated subtree
#
# The scenario is named on the kernel's command line. What is told goes to the console as TAP: "ok NAME", "not ok NAME", at
# the end "1..N"; then power is off. "# " lines are shown, "DURABLE " lines are read by run.bash.

export PATH=/nightjar:/usr/bin:/usr/sbin LC_ALL=C.UTF-8 TZ=UTC HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs tmpfs /run
mkdir -p /dev/shm /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t devpts devpts /dev/pts
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
mount -t ext4 /dev/vdb /data
exec </dev/null >/dev/ttyS0 2>&1
stty -F /dev/ttyS0 raw 2>/dev/null
stty -F /dev/ttyS1 raw 2>/dev/null
chmod 666 /dev/ttyS1
only=$(sed -n 's/.*nj\.only=\([^ ]*\).*/\1/p' /proc/cmdline)
scenario=$(sed -n 's/.*nj\.scenario=\([a-z]*\).*/\1/p' /proc/cmdline)

CASE_SECONDS_MAX=300 # emulated, a case takes some 20 s
count=0
check() { # check NAME COMMAND... - one test; what it printed is shown when it fails
    local name=$1
    shift
    [[ $name =~ $only ]] || return 0
    count=$((count + 1))
    if "$@" >/tmp/said 2>&1; then
        echo "ok $name"
    else
        echo "not ok $name"
        sed 's/^/# /' /tmp/said | head -n 60
    fi
}
the_end() {
    echo "1..$count"
    umount /data 2>/dev/null
    sync
    busybox poweroff -f
    sleep 60
}

# job LANGUAGE SANDBOX - one session that runs the program on stdin once, at $LEVEL
job() {
    local code
    code=$(python3 -c 'import json, sys; print(json.dumps(sys.stdin.read()))')
    cat >replies.yaml <<-YAML
	replies:
	  - when: {turn: 1}
	    say: "I run it."
	    call: [{tool: code_execution, input: {language: $1, code: $code, timeout_seconds: 120}}]
	    usage: {input_tokens: 9, output_tokens: 4}
	  - say: "{last}"
	    usage: {input_tokens: 9, output_tokens: 4}
	YAML
    cat >job.yaml <<-YAML
	nightjar: 1
	job: test
	models:
	  worker: [{provider: script, script: replies.yaml}]
	agents:
	  tester:
	    model: worker
	    sandbox: {$2}
	    reproducible: ${LEVEL:-D2}
	    tools: [{type: code_execution}]
	sessions:
	  - {name: one, agent: tester, key: one, input: "Go."}
	limits: {disk_free_mb: 0} # the disk is small: no waiting for room
	YAML
}

result() { python3 -c 'import json; print(json.loads(open("run/results.jsonl").readline())["result"])'; }
groups() { find /sys/fs/cgroup -name 'nightjar.run-*' | wc -l; }
boxes() { ps -eo comm | grep -cE '^nj-(box|init|helper)'; }

# as WHO COMMAND... - in a folder of its own; the user in a cgroup that was delegated to him
as() {
    local who=$1
    shift
    export -f "$1" job result groups boxes until_true
    rm -rf "/data/$who-$1" && mkdir -p "/data/$who-$1" && cd "/data/$who-$1" || return 1
    if [ "$who" = root ]; then
        timeout -k 5 "$CASE_SECONDS_MAX" bash -ec "$1"
    else
        chown 1000:1000 .
        delegate "$1" || return 1
        bash -c 'echo $$ >"/sys/fs/cgroup/user/$1/cgroup.procs" && exec setpriv --reuid=1000 --regid=1000 --clear-groups timeout -k 5 "$2" bash -ec "$1"' - "$1" "$CASE_SECONDS_MAX"
    fi
}

delegate() { # delegate NAME - a scope as systemd's Delegate=yes makes it
    mkdir -p "/sys/fs/cgroup/user/$1" || return 1
    echo '+memory +pids +cpu' >/sys/fs/cgroup/cgroup.subtree_control
    echo '+memory +pids +cpu' >/sys/fs/cgroup/user/cgroup.subtree_control
    chown 1000:1000 "/sys/fs/cgroup/user/$1" "/sys/fs/cgroup/user/$1"/cgroup.{procs,subtree_control,threads}
}

until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || { echo "not true in time: $*"; return 1; }
        sleep 0.2
    done
}

# ---- the cases ----

doctor_knows() {
    nightjar doctor || [ $? -eq 1 ]
    nightjar doctor | grep -E '^ok +cgroups .*v2'
}

plan_says_v2() {
    job bash "max_memory_mb: 64" <<<'true'
    nightjar check job.yaml --plan >plan
    grep 'memory 64 MiB: cgroup v2' plan && grep 'processes 256: cgroup v2' plan && grep 'cpu time: counted by cgroup v2' plan
}

a_session_runs() {
    job python "" <<<'import os, sys; print(sum(range(10))); open("/workspace/f", "w").write("x")'
    nightjar run job.yaml --run-dir run --quiet
    [ "$(result)" = 45 ]
    nightjar-replay verify run/bundles/*.njb
    [ "$(groups)" -eq 0 ] && [ "$(boxes)" -eq 0 ]
}

memory_is_bounded() {
    job bash "max_memory_mb: 64, filesystem: {max_size_mb: 256}" <<-'BASH'
	echo begun
	python3 -c 'import time
	b = bytearray(b"x") * (160 << 20)
	time.sleep(30)
	print("never")'
	echo on
	BASH
    nightjar run job.yaml --run-dir run --quiet
    result
    result | grep 'max_memory_mb of 64' && ! result | grep never
}

# Beyond memory and workspace together faster than any watch: the kernel ends the group as a whole, and the session goes on.
oom_ends_the_group() {
    job bash "max_memory_mb: 48, filesystem: {max_size_mb: 16}" <<-'BASH'
	echo kept >kept
	for n in 1 2 3 4 5 6 7 8; do python3 -c 'b = bytearray(b"x") * (300 << 20); print("never")' & done
	wait
	echo never
	BASH
    sed -i 's/  - say: "{last}"/  - when: {turn: 2}\n    say: "{last}"\n    call: [{tool: code_execution, input: {language: bash, code: "cat kept", timeout_seconds: 60}}]\n  - say: "{last}"/' replies.yaml
    nightjar run job.yaml --run-dir run --quiet
    result
    [ "$(result | head -n 1)" = kept ]
    nightjar-replay show run/bundles/*.njb | grep -E 'max_memory_mb'
}

processors_are_shared_out() {
    # By the kernel's clocks: those of a reproducible box run with the work that is done.
    LEVEL=D0 job python "max_cpus: 0.25" <<-'PYTHON'
	import time
	begun, used = time.monotonic(), time.process_time()
	while time.monotonic() < begun + 4:
	    pass
	print("share %.2f" % ((time.process_time() - used) / (time.monotonic() - begun)))
	PYTHON
    nightjar check job.yaml --plan | grep 'processors 0.25: cgroup v2'
    nightjar run job.yaml --run-dir run --quiet
    result
    result | awk '$1 == "share" && $2 > 0 && $2 < 0.4 { kept = 1 } END { exit !kept }'
}

processes_are_bounded() {
    # bash waits and tries again where no process can be made; python does not.
    job python "max_processes: 24" <<-'PYTHON'
	import os, signal
	try:
	    for n in range(60):
	        if os.fork() == 0:
	            signal.pause()
	except OSError as error:
	    print(error.strerror)
	PYTHON
    nightjar run job.yaml --run-dir run --quiet
    result
    result | grep 'max_processes of 24'
}

# The files that the kernel was told the limits by, seen from outside while a call runs.
limits_are_in_the_kernel() {
    job bash "max_memory_mb: 64, max_processes: 24, filesystem: {max_size_mb: 16}" <<<'sleep 20'
    nightjar run job.yaml --run-dir run --quiet &
    until_true 60 eval 'find /sys/fs/cgroup -path "*nightjar.run-*/1/cgroup.procs" | grep -q .'
    local group
    group=$(dirname "$(find /sys/fs/cgroup -path '*nightjar.run-*/1/cgroup.procs')")
    until_true 60 eval "[ \$(wc -l <$group/cgroup.procs) -ge 3 ]"
    tail -n 1 "$group"/{memory.max,memory.swap.max,memory.oom.group,pids.max,pids.current,memory.current} 2>&1
    [ "$(cat "$group/memory.max")" = $((80 << 20)) ]
    [ "$(cat "$group/memory.oom.group")" = 1 ]
    [ "$(cat "$group/pids.max")" = 26 ]
    [ "$(cat "$group/pids.current")" -ge 3 ]
    wait
}

# kill -9 of engine and helper leaves a group; the next start of another run sweeps it.
sweep_after_kill() {
    job bash "" <<<'sleep 600'
    setsid nightjar run job.yaml --run-dir run --quiet &
    until_true 60 eval '[ "$(find /sys/fs/cgroup -path "*nightjar.run-*/1/cgroup.procs" | wc -l)" -ge 1 ]'
    kill -KILL $(ps -eo pid,comm | awk '$2 == "nj-helper" || $2 == "nightjar" { print $1 }')
    wait
    until_true 30 eval '[ "$(ps -eo comm | grep -cE "^(nj-|sleep$)")" -eq 0 ]'
    echo "left: $(groups) groups"
    [ "$(groups)" -ge 1 ]
    job bash "" <<<'echo on'
    nightjar run job.yaml --run-dir other --quiet
    [ "$(groups)" -eq 0 ] && [ "$(boxes)" -eq 0 ]
}

# A leftover that still holds a process, as after a lost parent-death signal: ended by cgroup.kill.
a_left_process_is_killed() {
    job bash "" <<<'echo on'
    local at
    at=$(nightjar doctor | sed -n 's/.*cgroups .* v2 at \([^ ,]*\).*/\1/p')
    [ -d "$at" ] || at=/sys/fs/cgroup
    mkdir -p "$at/nightjar.run-gone-1/5"
    setsid sleep 977 &
    echo $! >"$at/nightjar.run-gone-1/5/cgroup.procs"
    nightjar run job.yaml --run-dir run --quiet
    [ ! -e "$at/nightjar.run-gone-1" ]
    ! ps -eo args | grep -q '^sleep 977'
}

realtime_is_told() {
    nightjar doctor | grep -E '^(ok|degraded) +real-time'
}

realtime_with_a_limit_is_ok() {
    prlimit --rtprio=10 nightjar doctor | grep -E '^ok +real-time'
}

many() {
    local i
    mkdir -p items
    for i in $(seq 6); do echo "item $i" >"items/$i.txt"; done
    cat >replies.yaml <<-'YAML'
	replies:
	  - {when: {turn: 1}, say: "a", call: [{tool: code_execution, input: {language: bash, code: "echo one >f; cat in.txt", timeout_seconds: 120}}], usage: {input_tokens: 1, output_tokens: 1}}
	  - {when: {turn: 2}, say: "b", call: [{tool: code_execution, input: {language: bash, code: "echo two >>f; cat f", timeout_seconds: 120}}], usage: {input_tokens: 1, output_tokens: 1}}
	  - {say: "{item.stem}: {last}", usage: {input_tokens: 1, output_tokens: 1}}
	YAML
    cat >job.yaml <<-'YAML'
	nightjar: 1
	job: many
	models:
	  worker: [{provider: script, script: replies.yaml}]
	agents:
	  tester: {model: worker, sandbox: {filesystem: {max_size_mb: 16}}, tools: [{type: code_execution}]}
	sessions:
	  - name: items
	    agent: tester
	    for_each: {glob: "items/*.txt"}
	    key: "{item.stem}"
	    files: [{source: "{item.path}", target: /workspace/in.txt}]
	    input: "Go."
	limits: {sessions: 3, disk_free_mb: 0}
	YAML
}

it_goes_on() {
    cd /data/many || return 1
    journal_events run/journal | sed 's/^/DURABLE /' >/dev/ttyS0
    NJ_SCRIPT_LOG=/dev/ttyS1 nightjar resume run --quiet
    python3 -c 'import json
rows = [json.loads(l) for l in open("run/results.jsonl")]
assert len(rows) == 6 and all(r["status"] == "succeeded" for r in rows), rows
assert sorted(r["result"] for r in rows) == sorted(f"{i}: one\ntwo\n" for i in range(1, 7)), [r["result"] for r in rows]'
    nightjar-replay verify run/bundles/*.njb
}

echo "# $(uname -r): $scenario"
case $scenario in
limits)
    check "a subtree can be delegated" delegate first
    for who in root user; do
        check "as $who: doctor knows v2" as $who doctor_knows
        check "as $who: the plan says v2" as $who plan_says_v2
        check "as $who: a session runs, verifies and leaves nothing" as $who a_session_runs
        check "as $who: memory beyond max_memory_mb is stopped and named" as $who memory_is_bounded
        check "as $who: out of memory ends the group, and the session goes on" as $who oom_ends_the_group
        check "as $who: max_cpus is kept" as $who processors_are_shared_out
        check "as $who: processes are bounded and named" as $who processes_are_bounded
        check "as $who: the limits are in the kernel" as $who limits_are_in_the_kernel
        check "as $who: a killed run is swept at the next start" as $who sweep_after_kill
        check "as $who: a process left in a dead run's group is killed" as $who a_left_process_is_killed
    done
    check "as root: real-time scheduling is told" as root realtime_is_told
    check "as user: real-time with RLIMIT_RTPRIO is ok" prlimit --rtprio=10 bash -c 'setpriv --reuid=1000 --regid=1000 --clear-groups nightjar doctor | grep -E "^ok +real-time"'
    ;;
begin)
    mkdir -p /data/many && cd /data/many && many
    NJ_SCRIPT_LOG=/dev/ttyS1 nightjar run job.yaml --run-dir run --quiet
    echo "# the run ended before the power did"
    ;;
resume)
    check "a run goes on after a power cut" it_goes_on
    ;;
esac
the_end
