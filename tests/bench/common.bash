# common.bash - what the benches share; sourced with NJ_ROOT set
#
# bench_enter NAME makes a working folder on the file system that is measured and goes there; the caller removes it ($work).

bench_enter() {
    local place=${BENCH_DIR:-$NJ_ROOT/build/bench}
    mkdir -p "$place" && work=$(mktemp -d "$place/$1.XXXXXX") && cd "$work" || exit 2
    unset NJ_FAULT NJ_FAULT_COUNT NJ_SCRIPT_LOG
}

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
seconds() { date +%s.%N; }

# bench_job WORKSPACE-MB LIMITS - a manifest with one session for each of items/, which replies.yaml answers
bench_job() {
    cat <<-YAML
	nightjar: 1
	job: bench
	models:
	  worker: [{provider: script, script: replies.yaml}]
	agents:
	  bench:
	    model: worker
	    sandbox: {filesystem: {max_size_mb: $1}}
	    limits: {turns: 1001}
	    tools: [{type: code_execution, languages: [bash]}]
	sessions:
	  - {name: bench, agent: bench, for_each: {glob: "items/*.txt"}, key: "{item.stem}", input: "Go."}
	limits: {$2}
	YAML
}

# bench_program NAME [LIBRARY...] - build NAME.c of this folder into the working folder
bench_program() {
    cc -O2 -Wall -Wextra -D_GNU_SOURCE -o "$1" "$NJ_ROOT/tests/bench/$1.c" "${@:2}" || die "cannot build $1"
}

# ---- jobs of many turns ----
#
# Starting and ending a run are left out by difference: the same job with many turns and with few, and what lies between.

MESSAGE_BYTES=470
ROUNDS=${BENCH_ROUNDS:-3}

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.2f", a / b; else printf "-" }'; }

# text_of BYTES - words and figures that compress about as prose does, the same in every run
text_of() {
    awk -v n="$1" 'BEGIN { srand(7); split("the of invoice total and customer to file row in sum line is for date was price item net on order with tax", w)
        while (length(s) < n) s = s w[1 + int(rand() * 22)] " " (rand() < 0.2 ? int(rand() * 1e5) " " : "")
        print substr(s, 1, n) }'
}

# turns_job NAME SESSIONS TURNS CALL - a job of SESSIONS sessions with TURNS replies that call, and a last one
turns_job() {
    local name=$1 sessions=$2 turns=$3 call=$4 i text
    mkdir -p "$name/items"
    for ((i = 1; i <= sessions; i++)); do
        echo "$i" >"$name/items/$i.txt"
    done
    text=$(text_of "$MESSAGE_BYTES")
    {
        echo "replies:"
        if [ "$turns" -gt 0 ]; then
            echo "  - when: {turn: [$(seq -s , 1 "$turns")]}"
            echo "    say: \"$text\""
            echo "    call: [$call]"
        fi
        echo '  - say: "[{last}]"'
    } >"$name/replies.yaml"
    bench_job 128 "sessions: $sessions${SERIAL:+, tool_calls: 1}" >"$name/job.yaml"
}

# turns_sound NAME - did its boxes do what they were told? A call that failed is quick, and must not pass for speed.
turns_sound() {
    grep -q code_execution "$1/replies.yaml" || return 0
    ! grep -v '"result":\[\]' "$1/run/results.jsonl" || die "a call of the job $1 failed"
}

# turns_timed NAME - run it once into NAME/run; prints seconds
turns_timed() {
    local begun ended
    rm -rf "$1/run"
    sync
    begun=$(seconds)
    nightjar run "$1/job.yaml" --run-dir "$1/run" --quiet || die "the job $1 did not succeed"
    ended=$(seconds)
    turns_sound "$1"
    awk -v a="$begun" -v b="$ended" 'BEGIN { printf "%.4f\n", b - a }'
}

# Not run at all, so no box is built: the record of the step is all there is.
NO_BOX='{tool: nothing, input: {}}'
IN_BOX='{tool: code_execution, input: {language: bash, code: ":"}}'

# turns_between MANY FEW COUNT - seconds for one of COUNT units: median over paired runs
turns_between() {
    local i many few
    for ((i = 0; i < ROUNDS; i++)); do
        many=$(turns_timed "$1") || exit 1
        few=$(turns_timed "$2") || exit 1
        awk -v a="$many" -v b="$few" -v n="$3" 'BEGIN { printf "%.9f\n", (a - b) / n }'
    done | median
}
