# common.bash - what the end-to-end suites share
#
# A suite says `load ../lib/common` and calls nj_setup from setup(). Each case then stands in an empty
# folder of its own ($PWD) with short names for the programs:
#   nightjar, nightjar-replay   in the PATH
#   job_one LANGUAGE [KEY...]   job.yaml and replies.yaml: one session that runs the program on stdin once
#   row KEY EXPRESSION          evaluate a Python expression over r, the row of results.jsonl
#   expect EXIT COMMAND...      run; the exit status must be EXIT; $out and $err hold what it wrote
#   has TEXT / hasnt TEXT       the last $out or $err holds it, or not; has_err, has_out for one of them
#   skip_without THING          skip the case, with the reason, where this host lacks something
# A case fails at its first failing command; every helper says why it failed.

bats_require_minimum_version 1.5.0

NJ_ROOT=$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd -P)
NJ_PRESET=${NJ_PRESET:-debug}
NJ_BUILD=$NJ_ROOT/build/$NJ_PRESET
# Whether a sanitizer slows everything down: limits of time are widened by this factor.
case $NJ_PRESET in
asan | tsan) NJ_SLOW=5 ;;
*) NJ_SLOW=1 ;;
esac

nj_setup() {
    PATH=$NJ_BUILD/bin:$PATH
    export PATH TZ=UTC LC_ALL=C.UTF-8
    export NJ_TEST_RETRY_MS=10 # a scripted overload is waited out quickly
    unset NJ_FAULT NJ_FAULT_COUNT NJ_SCRIPT_LOG
    if ! [ -x "$NJ_BUILD/bin/nightjar" ] || ! [ -x "$NJ_BUILD/bin/nightjar-replay" ]; then
        echo "no programs in $NJ_BUILD/bin: run tests/run, or set NJ_PRESET" >&2
        return 1
    fi
    # As root the engine becomes an ordinary user, who must reach what a case asks it to write.
    mkdir -m 777 "$BATS_TEST_TMPDIR/case" && cd "$BATS_TEST_TMPDIR/case" || return 1
    chmod a+rx "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR"/{file,test} "$BATS_FILE_TMPDIR" "$BATS_TEST_TMPDIR"
    nj_started=()
}

# Ends what a case left behind: only processes that it started itself, by number.
nj_teardown() {
    local pid
    for pid in "${nj_started[@]}"; do
        kill -KILL "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    return 0
}

complain() {
    echo "$*" >&2
    [ -z "${out+x}" ] || printf '%s\n' "standard output: ${out:0:4000}" "standard error: ${err:0:4000}" >&2
    return 1
}

# ---- running ----

expect() {
    local want=$1 status=0
    shift
    "$@" >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" </dev/null || status=$?
    # The shell leaves NUL bytes out by itself, with a warning.
    { out=$(<"$BATS_TEST_TMPDIR/out") err=$(<"$BATS_TEST_TMPDIR/err"); } 2>/dev/null
    [ "$status" -eq "$want" ] || complain "exit status $status instead of $want: $*"
}

# begin COMMAND... - in the background, in a process group of its own; $begun is its pid, what it writes goes into files of its
# own, as cases expect other commands meanwhile
begin() {
    setsid "$@" >"$BATS_TEST_TMPDIR/begun.out" 2>"$BATS_TEST_TMPDIR/begun.err" </dev/null 3>&- &
    begun=$!
    nj_started+=("$begun")
}

# ended EXIT - wait for what begin started
ended() {
    local want=$1 status=0
    wait "$begun" || status=$?
    out=$(<"$BATS_TEST_TMPDIR/begun.out") err=$(<"$BATS_TEST_TMPDIR/begun.err")
    [ "$status" -eq "$want" ] || complain "exit status $status instead of $want"
}

# until_true SECONDS COMMAND... - poll; the reason why it had to be true is the command itself
until_true() {
    local end=$((SECONDS + $1 * NJ_SLOW))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || { complain "not true in time: $*"; return 1; }
        sleep 0.05
    done
}

has_out() { [[ $out == *"$1"* ]] || complain "standard output lacks: $1"; }
has_err() { [[ $err == *"$1"* ]] || complain "standard error lacks: $1"; }
has() { [[ $out$err == *"$1"* ]] || complain "the output lacks: $1"; }
hasnt() { [[ $out$err != *"$1"* ]] || complain "the output must not hold: $1"; }
same() { [ "$1" = "$2" ] || complain "${3:-values} differ:"$'\n'"$1"$'\n'"--"$'\n'"$2"; }

# ---- this place, beside other suites ----

# nap - a number of seconds that nobody else sleeps: suites run side by side
nap() { echo "$1.$((BASHPID % 1000000))$(id -u)"; }

# asleep SECONDS - somebody sleeps so long
asleep() { ps -e -o args= | grep -qxF "sleep $1"; }
none_asleep() { ! asleep "$1"; }

# mounts - how many there are, but for those of suites beside this one
mounts() {
    awk -v mine="$BATS_RUN_TMPDIR/" 'index($0, "/bats-run-") && !index($0, mine) { next } { n++ } END { print n }' /proc/self/mountinfo
}

# ---- jobs ----

json() { python3 -I -S -c 'import json, sys; print(json.dumps(sys.stdin.read()))'; }

# replies_call LANGUAGE [TIMEOUT] - replies.yaml: the program on stdin once, then what it printed
replies_call() {
    local code
    code=$(json)
    cat >replies.yaml <<-YAML
	replies:
	  - when: {turn: 1}
	    say: "I run it."
	    call: [{tool: code_execution, input: {language: $1, code: $code, timeout_seconds: ${2:-30}}}]
	    usage: {input_tokens: 900, output_tokens: 40}
	  - say: "{last}"
	    usage: {input_tokens: 1000, output_tokens: 20}
	YAML
}

# job_one LANGUAGE [SANDBOX] [SESSION LINE...] - one session "one"; SANDBOX is a YAML flow map's inside
job_one() {
    local language=$1 sandbox=${2-} line
    replies_call "$language" "${CALL_TIMEOUT:-30}"
    {
        cat <<-YAML
		nightjar: 1
		job: test
		models:
		  worker: [{provider: script, script: replies.yaml}]
		agents:
		  tester:
		    model: worker
		    instructions: "Run what you are told."
		    sandbox: {${sandbox}}
		    tools: [{type: code_execution}]
		sessions:
		  - name: one
		    agent: tester
		    key: one
		    input: "Go."
		YAML
        for line in "${@:3}"; do
            printf '    %s\n' "$line"
        done
    } >job.yaml
}

# job_many COUNT - COUNT sessions over items/*.txt, one call each, held up DELAY_MS by the model
job_many() {
    local i
    mkdir -p items
    for ((i = 1; i <= $1; i++)); do
        printf 'item %d\n' "$i" >"items/$(printf %03d "$i").txt"
    done
    cat >replies.yaml <<-YAML
	replies:
	  - when: {turn: 1}
	    say: "First I read."
	    delay_ms: ${DELAY_MS:-0}
	    call: [{tool: code_execution, input: {language: bash, code: "mkdir -p out; tr a-z A-Z <in.txt >out/first", timeout_seconds: 30}}]
	    usage: {input_tokens: 100, output_tokens: 10}
	  - when: {turn: 2}
	    say: "Then I write."
	    delay_ms: ${DELAY_MS:-0}
	    call: [{tool: code_execution, input: {language: bash, code: "rev out/first | tee out/second", timeout_seconds: 30}}]
	    usage: {input_tokens: 100, output_tokens: 10}
	  - say: "{item.stem}: {last}"
	    delay_ms: ${DELAY_MS:-0}
	    usage: {input_tokens: 100, output_tokens: 10}
	YAML
    cat >job.yaml <<-YAML
	nightjar: 1
	job: many
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
	    files: [{source: "{item.path}", target: /workspace/in.txt}]
	    input: "Look at in.txt."
	    outputs: [/workspace/out/**]
	limits: {sessions: ${SESSIONS:-64}}
	YAML
}

# ---- results ----

# row KEY EXPRESSION [RUN] - r is the row with that key
row() {
    python3 -I -S - "$1" "$2" "${3:-run}/results.jsonl" <<-'PYTHON'
	import json, sys
	key, expression, path = sys.argv[1:]
	rows = [r for r in map(json.loads, open(path, encoding="utf-8")) if r["key"] == key]
	if len(rows) != 1:
	    sys.exit(f"{path} holds {len(rows)} rows with key {key!r}")
	value = eval(expression, {"r": rows[0]})
	print(value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False))
	PYTHON
}

# result KEY [RUN] - the session's result as text, without the newline that programs end with
result() { row "$1" 'r["result"].strip() if isinstance(r["result"], str) else r["result"]' "${2:-run}"; }

# bundle KEY [RUN] - path of its bundle
bundle() { printf '%s/%s\n' "${2:-run}" "$(row "$1" 'r["bundle"].split("/bundles/")[-1].join(["bundles/", ""]) if "/bundles/" in r["bundle"] else r["bundle"]' "${2:-run}")"; }

# facts RUN - what an undisturbed and a resumed run must have in common: rows (without paths), output files, and
# each bundle's content digest
facts() {
    python3 -I -S - "$1" <<-'PYTHON'
	import hashlib, json, os, sys, tarfile
	run = sys.argv[1]
	for line in open(os.path.join(run, "results.jsonl"), encoding="utf-8"):
	    row = json.loads(line)
	    print("row", json.dumps([row[k] for k in ("key", "group", "status", "result", "error", "steps")], ensure_ascii=False))
	for folder, folders, files in os.walk(os.path.join(run, "outputs")):
	    folders.sort()
	    for name in sorted(files):
	        path = os.path.join(folder, name)
	        with open(path, "rb") as file:
	            print("output", os.path.relpath(path, run), hashlib.sha256(file.read()).hexdigest())
	for name in sorted(os.listdir(os.path.join(run, "bundles"))):
	    with tarfile.open(os.path.join(run, "bundles", name)) as tar:
	        about = json.load(tar.extractfile("nightjar.json"))
	    found = [(k, v) for k, v in sorted(about.items()) if "content" in k]
	    if not found:
	        sys.exit(f"{name}: nightjar.json names no content digest")
	    print("bundle", name, *found)
	PYTHON
}

# ---- this host ----

# namespaces - whether boxes can be made; asked once a suite, as the kernel takes its time
namespaces() {
    local known=$BATS_FILE_TMPDIR/namespaces status=0
    [ -f "$known" ] || {
        unshare --user --map-root-user --mount --pid --net --fork true 2>/dev/null || status=$?
        echo "$status" >"$known"
    }
    [ "$(<"$known")" = 0 ]
}

skip_without() {
    case $1 in
    node | python3 | zstd | tar | cc) command -v "$1" >/dev/null || skip "no $1 here" ;;
    root) [ "$(id -u)" -eq 0 ] || skip "needs root" ;;
    ordinary) [ "$(id -u)" -ne 0 ] || skip "needs an ordinary user" ;;
    namespaces) namespaces || skip "no user namespaces here" ;;
    fuse) [ -w /dev/fuse ] || skip "/dev/fuse is root's alone here, so boxes have the host's random devices" ;;
    *) complain "skip_without knows no $1" ;;
    esac
}

# on_terminal COLUMNS COMMAND... - run it on a terminal of that width; what it wrote there is in the file screen
on_terminal() {
    python3 -I - "$@" <<-'PYTHON'
	import fcntl, os, pty, struct, sys, termios
	columns, command = int(sys.argv[1]), sys.argv[2:]
	pid, fd = pty.fork()
	if pid == 0:
	    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
	    os.execvp(command[0], command)
	with open("screen", "wb") as screen:
	    try:
	        while data := os.read(fd, 65536):
	            screen.write(data)
	            screen.flush()
	    except OSError:
	        pass  # the other end is closed
	sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
	PYTHON
}
