# The death of any process of a run, by a kill (which is what the kernel's OOM killer does) or a fault, at any moment of
# set-up, call, capture and teardown: after the next start none of its processes, cgroups and mounts is left, counted,
# and no session is lost.

load ../lib/common
load ../lib/fault

setup() {
    fault_setup
    [ -e "/proc/$$/task/$$/children" ] || skip "this kernel does not tell a process's children"
    slow_job
}
teardown() { nj_teardown; }

# Three sessions at a time, two calls each: long enough to be met in the first, with something to capture.
slow_job() {
    cat >replies.yaml <<-'YAML'
	replies:
	  - {when: {turn: 1}, say: "a", call: [{tool: code_execution, input: {language: bash, code: "for i in $(seq 200); do echo $i >f$i; done; sleep 0.5; cat f200", timeout_seconds: 30}}], usage: {input_tokens: 1, output_tokens: 1}}
	  - {when: {turn: 2}, say: "b", call: [{tool: code_execution, input: {language: bash, code: "cat f1 f200", timeout_seconds: 30}}], usage: {input_tokens: 1, output_tokens: 1}}
	  - {say: "{item.stem}: {last}", usage: {input_tokens: 1, output_tokens: 1}}
	YAML
    mkdir items && touch items/{one,two,three}.txt
    cat >job.yaml <<-'YAML'
	nightjar: 1
	job: death
	models:
	  worker: [{provider: script, script: replies.yaml}]
	agents:
	  tester: {model: worker, sandbox: {filesystem: {max_size_mb: 16}, max_memory_mb: 64}, tools: [{type: code_execution, languages: [bash]}]}
	sessions:
	  - {name: items, agent: tester, for_each: {glob: "items/*.txt"}, key: "{item.stem}", input: "Go."}
	limits: {sessions: 3, tool_calls: 3}
	YAML
}

# below PID [DEPTH] - its descendants, one "PID COMM DEPTH" a line. Without another process: a payload lives half a second,
# and on a busy machine one `ps` takes that long.
below() {
    local depth=$((${2:-0} + 1)) task children child comm
    for task in /proc/"$1"/task/*/children; do
        read -r children 2>/dev/null <"$task" || true # its last line has no end, and it may be gone
        for child in ${children:-}; do
            read -r comm 2>/dev/null <"/proc/$child/comm" || continue
            echo "$child ${comm// /_} $depth"
            below "$child" "$depth"
        done
        children=
    done 2>/dev/null
}

# find_role ROLE - the pid of one of them, when there is one now. init and its reapers have one name; a reaper is below.
find_role() {
    local role=$1 pid comm depth
    [ "$role" != engine ] || { echo "$begun"; return; }
    while read -r pid comm depth; do
        case $role:$depth:$comm in
        helper:1:nj-helper | supervisor:2:nj-box | init:3:nj-init | reaper:4:nj-init | payload:5:*) echo "$pid"; return ;;
        esac
    done < <(below "$begun")
}

# strike ROLE SIGNAL DELAY - begin a run, let DELAY pass from when ROLE is there, note all its processes, and strike
strike() {
    local role=$1 signal=$2 delay=$3 victim= end=$((SECONDS + 20 * NJ_SLOW))
    begin nightjar run "$FAULT_BASE/job.yaml" --run-dir run --quiet
    until victim=$(find_role "$role") && [ -n "$victim" ]; do
        kill -0 "$begun" 2>/dev/null && [ "$SECONDS" -lt "$end" ] || { complain "no $role was ever there"; return 1; }
    done
    sleep "$delay"
    victim=$(find_role "$role") # perhaps another one by now, perhaps none between two calls
    { echo "$begun engine 0"; below "$begun"; } | while read -r pid comm _; do
        # A number can be used again: the time it began tells them apart.
        # One that ended just now has no beginning any more, and is none to look for.
        began=$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | cut -d' ' -f20)
        [ -z "$began" ] || echo "$pid $comm $began"
    done >noted-processes
    [ -z "$victim" ] || kill "-$signal" "$victim" 2>/dev/null || true
}

# alive - of the noted processes those that are still there
alive() {
    local pid comm began
    while read -r pid comm began; do
        [ "$(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }')" != "$began" ] || echo "$pid $comm"
    done <noted-processes
}

# groups_left - of this run, by the folder that its groups are named after
groups_left() {
    local id
    id=$(printf '%x' "$(stat -c %i run)")
    find /sys/fs/cgroup -maxdepth 8 -type d -name "nightjar.run-run-*-$id-*" 2>/dev/null
}

# mounts - where a run has its own, in a namespace that this one must not see. Others' are elsewhere: suites beside this
# one mount small disks.
mounts() { awk '$5 ~ "^/(mnt|media|srv|opt)(/|$)" { n++ } END { print n + 0 }' /proc/self/mountinfo; }

# whole - all sessions are there once, and succeeded
whole() {
    python3 -I - <<-'PYTHON'
	import json, sys
	rows = [json.loads(line) for line in open("run/results.jsonl")]
	if sorted(r["key"] for r in rows) != ["one", "three", "two"]:
	    sys.exit(f"rows: {[r['key'] for r in rows]}")
	bad = [(r["key"], r["status"], r["error"]) for r in rows if r["status"] != "succeeded"]
	if bad:
	    sys.exit(f"not succeeded: {bad}")
	PYTHON
}

# nothing_left - and it needs no patience: what the kernel still has to end is given seconds, not minutes
nothing_left() {
    until_true 10 eval '[ -z "$(alive)" ]' || { complain "still alive: $(alive)"; return 1; }
    until_true 5 eval '[ -z "$(groups_left)" ]' || { complain "cgroups left: $(groups_left)"; return 1; }
    same "$(mounts)" "$mounts_before" "mounts"
}

# death ROLE SIGNAL DELAY - the whole case. Engine or helper gone: the run ends and is resumed. Anything below: the run
# goes on by itself.
death() {
    local role=$1 signal=$2 delay=$3 status=0 mounts_before
    mkdir "$role-$signal-$delay" && cd "$role-$signal-$delay"
    mounts_before=$(mounts)
    strike "$role" "$signal" "$delay"
    wait "$begun" || status=$?
    case $role:$status in
    *:0) ;;
    engine:137 | engine:139 | helper:3) go_on ;;
    *) complain "$role killed by $signal after $delay: exit $status: $(cat "$BATS_TEST_TMPDIR/begun.err")" ;;
    esac
    whole
    nothing_left
    cd ..
}

# deaths ROLE SIGNAL DELAY [MORE...] - at the first moment; with NJ_FULL=1 at the others, too
deaths() {
    local role=$1 signal=$2 delay moments=("${@:3}")
    [ "${NJ_FULL:-0}" != 0 ] || moments=("$3")
    for delay in "${moments[@]}"; do
        death "$role" "$signal" "$delay" || { echo "$role, $signal, $delay s after it was there" >&2; return 1; }
    done
}

full_only() { [ "${NJ_FULL:-0}" != 0 ] || skip "a kill is tried instead; NJ_FULL=1 tries this, too"; }

@test "the engine is killed at any moment: resumed, nothing is lost or left" { deaths engine KILL 0.6 0 0.05 0.2 0.9; }

@test "the engine dies of a fault: resumed, nothing is lost or left" { full_only; deaths engine SEGV 0.1 0.7; }

@test "the helper is killed at any moment: the run says so, and is resumed" { deaths helper KILL 0.2 0 0.05 0.6 0.9; }

@test "the helper dies of a fault" { full_only; deaths helper SEGV 0.1 0.7; }

@test "a supervisor is killed at any moment: its session goes on in another box" { deaths supervisor KILL 0.05 0 0.2 0.6 0.9; }

@test "a supervisor dies of a fault" { full_only; deaths supervisor SEGV 0 0.3; }

@test "a box's init is killed at any moment: its session goes on in another box" { deaths init KILL 0.2 0 0.05 0.6 0.9; }

@test "a reaper is killed: the call ends, the session goes on" { deaths reaper KILL 0.2 0 0.5; }

@test "a payload is killed: the call ends, the session goes on" { deaths payload KILL 0.3 0; }

@test "a payload dies of a fault: the call ends, the session goes on" { full_only; deaths payload SEGV 0.2; }

@test "memory is out in a box: the call is told, the session goes on, nothing is left" {
    sed -i 's/sleep 0.5; cat f200/exec python3 -c \\"b = bytearray(b'"'"'x'"'"') * (400 << 20)\\"/' replies.yaml
    mkdir oom && cd oom
    local mounts_before
    mounts_before=$(mounts)
    strike helper CONT 0.1 # nobody dies by our hand
    ended 0
    whole
    nothing_left
}

@test "all of a run at once, as when a machine's memory is out: the next start of another run leaves nothing of it" {
    mkdir all && cd all
    local mounts_before
    mounts_before=$(mounts)
    strike payload CONT 0.2
    cut -d' ' -f1 noted-processes | xargs kill -KILL 2>/dev/null || true
    wait "$begun" || true
    # Another run, of another name, on the same host.
    expect 0 nightjar run ../job.yaml --run-dir other --quiet
    nothing_left
    go_on
    whole
    nothing_left
}
