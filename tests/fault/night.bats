# One whole night: many sessions of which some fail and some hang, kills of the engine and of supervisors, a stop, a full
# disk; in the morning every row is accounted for exactly once, and all figures equal a recount from the journal.
#
# NJ_NIGHT=N sessions (default 60; NJ_FULL=1: 2,000). The moments are those of sessions that ended, so no chance is in it.

load ../lib/common

# Two thousand take ten minutes on two busy cores.
setup_file() { [ "${NJ_FULL:-0}" = 0 ] || export BATS_TEST_TIMEOUT=3000; }

setup() {
    nj_setup
    skip_without namespaces
    NIGHT=60
    [ "${NJ_FULL:-0}" = 0 ] || NIGHT=2000
    NIGHT=${NJ_NIGHT:-$NIGHT}
    fail=0 once=0
    mkdir items
    # Of a hundred, three fail at every attempt, one at its first, and one hangs in its call until its time is up.
    for ((i = 0; i < NIGHT; i++)); do
        case $((i % 100)) in
        7 | 41 | 83) kind=fail fail=$((fail + 1)) ;;
        19) kind=once once=$((once + 1)) ;;
        32) kind=hang ;;
        *) kind=fine ;;
        esac
        : >"items/$(printf '%04d-%s' "$i" "$kind").txt"
    done
    # A short night is slow, three times as long as a busy machine takes to disturb it, so that there is always some of it left.
    cat >replies.yaml <<-YAML
	replies:
	  - {when: {turn: 1, matches: "-fail"}, fail: refusal}
	  - {when: {turn: 1, attempt: 1, matches: "-once"}, fail: refusal}
	  - when: {turn: 1, matches: "-hang"}
	    call: [{tool: code_execution, input: {language: bash, code: "sleep 1000", timeout_seconds: 1}}]
	    usage: {input_tokens: 100, output_tokens: 10}
	  - when: {turn: 1}
	    delay_ms: $((NIGHT < 500 ? 600 : 20))
	    call: [{tool: code_execution, input: {language: bash, code: "echo {item.stem} >out", timeout_seconds: 60}}]
	    usage: {input_tokens: 100, output_tokens: 10}
	  - {say: "{item.stem} is done", delay_ms: $((NIGHT < 500 ? 600 : 20)), usage: {input_tokens: 120, output_tokens: 5}}
	YAML
    cat >job.yaml <<-YAML
	nightjar: 1
	job: night
	models:
	  worker: [{provider: script, script: replies.yaml, price: {input: 3.0, output: 15.0}}]
	agents:
	  tester: {model: worker, sandbox: {filesystem: {max_size_mb: 8}}, tools: [{type: code_execution, languages: [bash]}]}
	sessions:
	  - {name: rows, agent: tester, for_each: {glob: "items/*.txt"}, key: "{item.stem}", input: "Row {item.stem}.", outputs: [/workspace/out]}
	limits: {sessions: $((NIGHT < 500 ? 4 : 32)), disk_free_mb: 0} # the disk is filled in earnest: no waiting for room
	retry: {attempts: 2, on: [model, engine], backoff_seconds: 0}
	YAML
}

teardown() {
    nj_teardown
    ! mountpoint -q disk 2>/dev/null || umount -l disk
}

# supervisors ENGINE - two of its boxes', of this engine only
supervisors() {
    local helper box comm
    for helper in $(cat "/proc/$1/task/"*/children 2>/dev/null); do
        for box in $(cat "/proc/$helper/task/"*/children 2>/dev/null); do
            read -r comm <"/proc/$box/comm" && [ "$comm" = nj-box ] && echo "$box"
        done
    done 2>/dev/null | head -2
}

# ended_rows - how many attempts have ended; run.json tells it only once a second
ended_rows() { [ ! -e "$run/joblog.tsv" ] && echo 0 || wc -l <"$run/joblog.tsv"; }
have_ended() { keep; [ "$(ended_rows)" -ge "$1" ] || ! kill -0 "$begun" 2>/dev/null; }

# keep - a second name for every segment file there is: one is thinned, under its first name, once its sessions are archived
keep() {
    local segment inode name
    while read -r inode segment; do
        name=$run.whole/${segment##*/}.$inode.njj
        [ -e "$name" ] || ln "$segment" "$name" || true
    done < <(stat -c '%i %n' "$run"/journal/*.njj 2>/dev/null)
}
is_over() { keep; ! kill -0 "$begun" 2>/dev/null; }

# a_while MORE - until so many more sessions have ended
a_while() {
    until_true 400 have_ended $(($(ended_rows) + $1))
    kill -0 "$begun" || complain "the engine ended by itself: $(cat "$BATS_TEST_TMPDIR/begun.err")"
}

go_on() { begin nightjar resume "$run" --quiet; }

@test "a disturbed night is accounted for to the last row" {
    local step=$((NIGHT / 20)) pid look
    run=run
    mkdir disk
    if [ "$(id -u)" -eq 0 ] && mount -t tmpfs -o "size=$((600 + NIGHT / 4))m,mode=0777" tmpfs disk; then
        run=disk/run
    fi
    mkdir "$run.whole"
    begin nightjar run job.yaml --run-dir "$run" --quiet
    a_while "$step"
    kill -KILL "$begun" && wait "$begun" 2>/dev/null || true

    go_on
    a_while "$step"
    # Where boxes live for a moment only, not every look meets one.
    for ((look = 0; look < 500; look++)); do
        killed=$(supervisors "$begun")
        [ -z "$killed" ] || break
    done
    for pid in $killed; do kill -KILL "$pid" 2>/dev/null || true; done
    a_while "$step"
    expect 0 nightjar stop "$run"
    ended 4

    go_on
    a_while "$step"
    kill -KILL "$begun" && wait "$begun" 2>/dev/null || true

    go_on
    a_while "$step"
    if [ "$run" = disk/run ]; then
        kill -STOP "$begun" # else the rest of a short night may be over before the disk is full
        fallocate -l $(($(df -B1 --output=avail disk | tail -1) - (32 << 20))) disk/ballast
        dd if=/dev/zero of=disk/ballast bs=64k oflag=append conv=notrunc 2>/dev/null || true # it is full from now on
        kill -CONT "$begun"
        ended 3
        has_err "No space left"
        rm disk/ballast
    else
        expect 0 nightjar stop "$run"
        ended 4
    fi

    go_on
    until_true 600 is_over
    ended 1
    [ -n "$killed" ] || complain "no supervisor was there to be killed"
    nightjar status "$run" --json >status.json
    python3 -I "$NJ_ROOT/tests/lib/recount.py" "$run" status.json "$run.whole" >figures 2>differences || complain "$(cat differences figures)"
    same "$(wc -l <"$run/results.jsonl")" "$NIGHT" "rows"
    same "$(grep -c '"status":"failed"' "$run/results.jsonl")" "$fail" "failed rows"
    same "$(grep -c '"status":"succeeded"' "$run/results.jsonl")" $((NIGHT - fail)) "succeeded rows"
    same "$(find "$run/bundles" -name '*.njb' | wc -l)" $((NIGHT + fail + once)) "bundles, one an attempt"
    same "$(find "$run/outputs" -name out | wc -l)" "$(ls items | grep -c -- '-fine\|-once')" "outputs"
    echo "night: $(cat figures)" >&3
}
