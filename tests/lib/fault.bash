# fault.bash - what the fault suites share: a small job, its undisturbed run, and the comparison with it
#
# A suite loads common and this one. fault_setup stands where nj_setup does; then
#   small_job                   job.yaml and replies.yaml: three sessions with all that a session can do
#   undisturbed                 runs job.yaml as `plain`: facts-plain, log-plain and counts (role point passes)
#   passes ROLE POINT           how often that was passed in the undisturbed run
#   go_on [RUN]                 resume to the end; a run of which nothing is there yet is begun again, as it says
#   noted [RUN]                 remember what is durable and what was delivered, now that the engine is dead
#   equal_end [RUN]             the end is the undisturbed one's, no reply that was durable was asked for again, and of the
#                               others at most MAY_REPEAT (default 1: the one in flight) of each session
#   sweep ROLE POINT ACTION STRIDE CHECK   for every STRIDE-th n (of a few: for all): CHECK ROLE POINT N in a folder of its own, two at a time

NJ_JOURNAL_EVENTS=$NJ_BUILD/tests/journal_events

fault_setup() {
    nj_setup
    skip_without namespaces
    [ -x "$NJ_JOURNAL_EVENTS" ] || { echo "no $NJ_JOURNAL_EVENTS: build the tests" >&2; return 1; }
    FAULT_BASE=$PWD
    # Every second point: a write and the sync behind it meet the same states of a disk. The ordinary user is killed in the
    # same way as root, and sanitizers are slow: fewer do.
    STRIDE=2
    [ "$(id -u)" -eq 0 ] || STRIDE=4
    [ "$NJ_SLOW" -eq 1 ] || STRIDE=$((STRIDE * 5))
    [ "${NJ_FULL:-0}" = 0 ] || STRIDE=1
}

small_job() {
    cat >replies.yaml <<-YAML
	replies:
	  - {when: {item.stem: talker}, say: "I have nothing to do.", delay_ms: ${DELAY_MS:-0}, usage: {input_tokens: 10, output_tokens: 5}}
	  - when: {item.stem: maker, turn: 1}
	    say: "Two calls."
	    delay_ms: ${DELAY_MS:-0}
	    call:
	      - {tool: code_execution, input: {language: bash, code: "mkdir -p out; echo one >out/a; echo said", timeout_seconds: 30}}
	      - {tool: code_execution, input: {language: bash, code: "cat out/a >>out/b; echo two >>out/b; cat out/b", timeout_seconds: 30}}
	    usage: {input_tokens: 100, output_tokens: 20}
	  - when: {item.stem: maker, matches: "was not accepted"}
	    call: [{tool: code_execution, input: {language: bash, code: "echo three >>out/b; cat out/b", timeout_seconds: 30}}]
	    usage: {input_tokens: 150, output_tokens: 20}
	  - {when: {item.stem: maker}, say: "made: {last}", delay_ms: ${DELAY_MS:-0}, usage: {input_tokens: 200, output_tokens: 10}}
	  - {when: {matches: "^Sum up"}, say: "All in all: {last}", usage: {input_tokens: 300, output_tokens: 10}}
	YAML
    mkdir items && touch items/talker.txt items/maker.txt
    cat >job.yaml <<-'YAML'
	nightjar: 1
	job: small
	models:
	  worker: [{provider: script, script: replies.yaml}]
	agents:
	  tester:
	    model: worker
	    sandbox: {filesystem: {max_size_mb: 16}}
	    tools: [{type: code_execution, languages: [bash]}]
	sessions:
	  - name: items
	    agent: tester
	    for_each: {glob: "items/*.txt"}
	    key: "{item.stem}"
	    files: [{content: "for {item.stem}", target: /workspace/in.txt}]
	    input: "Begin."
	    outputs: [/workspace/out/**]
	    accept: {command: [bash, -c, "! [ -e /workspace/out ] || grep -q three /workspace/out/b"], attempts: 2}
	  - name: last
	    agent: tester
	    key: last
	    after: [items]
	    input: "Sum up {results}"
	limits: {sessions: 2, tool_calls: 1, disk_free_mb: 0} # the disk is filled in earnest: no waiting for room
	YAML
}

undisturbed() {
    NJ_SCRIPT_LOG=$PWD/log-plain NJ_FAULT_COUNT=$PWD/counts expect 0 nightjar run job.yaml --run-dir plain --quiet
    facts plain >facts-plain
}

passes() { awk -v role="$1" -v point="$2" '$1 == role && $2 == point { n += $3 } END { print n + 0 }' "$FAULT_BASE/counts"; }

go_on() {
    local run=${1:-run} status=0
    nightjar resume "$run" --quiet >resume.out 2>resume.err || status=$?
    if [ "$status" -eq 2 ] && ! [ -s durable ]; then
        # Killed so early that there is nothing to go on with: it must say so, and a new start must be possible as it stands.
        grep -Eq 'start it again|nothing of it can have run|there is no run|it is no run' resume.err ||
            complain "resume was refused for another reason: $(cat resume.err)" || return 1
        status=0
        nightjar run "$FAULT_BASE/job.yaml" --run-dir "$run" --quiet >resume.out 2>resume.err || status=$?
    fi
    [ "$status" -eq 0 ] || complain "going on ended with $status: $(cat resume.err)"
}

noted() {
    : >durable
    if [ -d "${1:-run}/journal" ]; then
        "$NJ_JOURNAL_EVENTS" "${1:-run}/journal" >durable 2>durable.err || complain "$(cat durable.err)" || return 1
    fi
    cp log log-then 2>/dev/null || : >log-then
}

equal_end() {
    local run=${1:-run}
    facts "$run" >facts-now && diff "$FAULT_BASE/facts-plain" facts-now >&2 || complain "the end differs from the undisturbed run's" || return 1
    "$NJ_JOURNAL_EVENTS" "$run/journal" >events || return 1
    python3 -I - "$FAULT_BASE/log-plain" log-then log durable events "${MAY_REPEAT:-1}" <<-'PYTHON'
	import collections, json, sys
	plain, then, now, durable, events = sys.argv[1:6]
	may_repeat = int(sys.argv[6])
	def delivered(path):
	    return collections.Counter((r["session"], r["turn"]) for r in map(json.loads, open(path)))
	plain, then, now = delivered(plain), delivered(then), delivered(now)
	replies = {(w[0], int(w[2])) for w in map(str.split, open(durable)) if w[1] == "reply"}
	for reply in replies:
	    if not then[reply]:
	        sys.exit(f"{reply} is durable but was never delivered")
	    if now[reply] != then[reply]:
	        sys.exit(f"{reply} was durable and was asked for again")
	if set(now) != set(plain):
	    sys.exit(f"other replies than undisturbed: {set(now) ^ set(plain)}")
	# In flight is at most one call a session, and this was one kill.
	again = collections.Counter(key for (key, turn), n in now.items() for _ in range(n - 1))
	if any(n > may_repeat for n in again.values()):
	    sys.exit(f"asked again: {now - plain}")
	done = collections.Counter(line for line in open(events) if line.split()[1] in ("tool-done", "reply", "judged", "closed"))
	twice = [line.strip() for line, n in done.items() if n > 1]
	if twice:
	    sys.exit(f"recorded twice: {twice}")
	PYTHON
}

# in_a_folder CHECK ROLE POINT N
in_a_folder() {
    local check=$1 dir="at-$2-$3-$4"
    mkdir "$dir" && cd "$dir" || return 1
    "$check" "$2" "$3" "$4" >report 2>&1 || { { echo "$2/$3#$4:"; cat report; } >"$FAULT_BASE/failed-$dir"; return 1; }
    cd .. && rm -rf "$dir"
}

# two_at_a_time COMMAND - for each line of stdin, in a shell of its own: COMMAND WORD...
#
# Whoever fails has left its report. The subshell is needed: bats keeps a watch on each case's time as a child of the
# case's shell, and a wait there would be for that, too.
two_at_a_time() (
    command=$1 running=0
    while read -r -a words; do
        ("$command" "${words[@]}") 3>&- </dev/null &
        running=$((running + 1))
        if [ "$running" -ge 2 ]; then
            wait -n || true
            running=$((running - 1))
        fi
    done
    wait || true
)

sweep() {
    local role=$1 point=$2 stride=$3 check=$4 count n
    count=$(passes "$role" "$point")
    [ "$count" -gt 0 ] || complain "$role never passes $point" || return 1
    [ "$count" -ge 8 ] || [ "$NJ_SLOW" -ne 1 ] || stride=1 # a few are tried all
    for ((n = 1; n <= count; n += stride)); do echo "$check $role $point $n"; done | two_at_a_time in_a_folder
    ! cat failed-at-* >&2 2>/dev/null || complain "$role/$point failed"
}
