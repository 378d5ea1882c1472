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
