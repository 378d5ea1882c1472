# What people and their tools read of a run: every figure is compared with a recount from the bundles and the journal.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
}
teardown() { nj_teardown; }

# job_mixed COUNT - COUNT sessions with one call each; every fourth is refused, and one key is hostile
job_mixed() {
    local i
    mkdir -p items
    for ((i = 1; i < $1; i++)); do
        echo "$i" >"items/$(printf %03d "$i")$([ $((i % 4)) -ne 0 ] || echo -fail)"
    done
    echo x >$'items/<b>&"\' --\xe6\x97\xa5]]>'
    cat >replies.yaml <<-'YAML'
	replies:
	  - {when: {turn: 1, matches: fail}, fail: refusal}
	  - when: {turn: 1}
	    call: [{tool: code_execution, input: {language: bash, code: "cat in"}}]
	    usage: {input_tokens: 900, output_tokens: 40, cache_read_tokens: 300}
	  - {say: "{last}", usage: {input_tokens: 1000, output_tokens: 20}}
	YAML
    cat >job.yaml <<-'YAML'
	nightjar: 1
	job: mixed
	models: {worker: [{provider: script, script: replies.yaml, price: {input: 3.0, output: 15.0, cache_read: 0.3}}]}
	agents:
	  tester:
	    model: worker
	    sandbox: {filesystem: {max_size_mb: 16}}
	    tools: [{type: code_execution, languages: [bash]}]
	sessions:
	  - name: items
	    agent: tester
	    for_each: {glob: "items/*"}
	    key: "{item.name}"
	    files: [{source: "{item.path}", target: /workspace/in}]
	    input: "Look at {item.name}."
	YAML
}

# recount RUN - compare results.jsonl, joblog.tsv, junit.xml, metrics.prom and `report --json` with each other
recount() {
    nightjar report --json "$1" >report.json
    python3 -I - "$1" <<-'PYTHON'
	import collections, csv, json, re, sys, xml.etree.ElementTree as tree
	run = sys.argv[1]
	rows = [json.loads(line) for line in open(f"{run}/results.jsonl", encoding="utf-8")]
	status = collections.Counter(row["status"] for row in rows)
	cost = round(sum(row["cost_usd"] for row in rows) * 1e6)
	report = json.load(open("report.json"))
	sums = report["sessions"]
	assert sums["total"] == len(rows), (sums, len(rows))
	for word in ("succeeded", "failed", "skipped"):
	    assert sums[word] == status[word], (word, sums, status)
	assert sums["cost_micro_usd"] == cost, (sums, cost)
	assert sums["steps"] == sum(row["steps"] for row in rows)
	for kind in ("input", "output", "cache_read", "cache_write"):
	    assert report["tokens"][kind] == sum(row["tokens"][kind] for row in rows), kind
	assert sum(cause["count"] for cause in report["failures"]) == status["failed"]
	lines = open(f"{run}/joblog.tsv", encoding="utf-8", newline="\n").read().split("\n")
	assert lines.pop() == "", "the last line is whole"
	names = lines[0].split("\t")
	log = [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:]]
	ended = [row for row in rows if row["status"] in ("succeeded", "failed")]
	assert len(log) == sum(row["attempts"] for row in ended), (len(log), len(ended))
	assert len({(line["group"], line["key"], line["attempt"]) for line in log}) == len(log), "an attempt stands twice"
	last = {(line["group"], line["key"]): line["status"] for line in sorted(log, key=lambda line: int(line["attempt"]))}
	assert collections.Counter(last.values()) == {k: v for k, v in status.items() if k in ("succeeded", "failed")}
	assert round(sum(float(line["cost_usd"]) for line in log) * 1e6) == round(sum(row["cost_usd"] for row in ended) * 1e6)
	suites = tree.parse(f"{run}/junit.xml").getroot()
	assert int(suites.get("tests")) == len(rows) == len(suites.findall(".//testcase"))
	assert len(suites.findall(".//failure")) + len(suites.findall(".//error")) == status["failed"]
	assert len(suites.findall(".//skipped")) == len(rows) - status["succeeded"] - status["failed"]
	prom = open(f"{run}/metrics.prom", encoding="utf-8").read()
	for word in ("succeeded", "failed"):
	    assert sum(int(n) for n in re.findall(rf'nightjar_run_sessions{{.*status="{word}"}} (\d+)', prom)) == status[word]
	PYTHON
}

@test "summary, joblog, junit, metrics and results agree to the last figure" {
    job_mixed 13
    expect 1 nightjar run job.yaml --run-dir run
    has_err "mixed: 10 of 13 succeeded, 3 failed"
    has_err "model: refusal"
    has_err "nightjar resume run --retry-failed"
    recount run
}

@test "each failure of a kind is named once, with a command that works as it stands" {
    job_mixed 9
    expect 1 nightjar run job.yaml --run-dir run
    same "$(grep -c 'nightjar-replay verify' <<<"$err")" 1
    expect 0 bash -c "$(grep -o 'nightjar-replay verify.*' <<<"$err")"
}

@test "hostile keys break no format" {
    job_mixed 5
    expect 1 nightjar run job.yaml --run-dir run --verbose
    has_err "<b>&\"' --日]]> succeeded after"
    python3 -I -c 'import sys, xml.etree.ElementTree as t
names = [case.get("name") for case in t.parse("run/junit.xml").iter("testcase")]
assert "<b>&\"\x27 --日]]>" in names, names'
    same "$(awk -F'\t' '{ print NF }' run/joblog.tsv | sort -u)" 13
}

@test "promtool accepts the metrics" {
    command -v promtool >/dev/null || skip "no promtool here"
    job_mixed 5
    expect 1 nightjar run job.yaml --run-dir run
    expect 0 sh -c "promtool check metrics <run/metrics.prom" # what expect runs reads nothing of ours
}

@test "a suspended run is counted too, and its joblog is whole after the resume" {
    DELAY_MS=300 SESSIONS=2 job_many 6
    begin nightjar run job.yaml --run-dir run
    until_true 30 grep -q succeeded run/joblog.tsv
    kill -INT "$begun"
    ended 4
    has_err "to go on with"
    has_err "nightjar resume run"
    recount run
    expect 0 nightjar resume run
    recount run
    same "$(tail -n +2 run/joblog.tsv | wc -l)" 6
}

@test "after kill -9 each attempt stands in the joblog exactly once" {
    DELAY_MS=200 SESSIONS=3 job_many 8
    begin nightjar run job.yaml --run-dir run
    until_true 30 grep -q succeeded run/joblog.tsv
    kill -KILL "$begun"
    wait "$begun" || true
    printf 'half a line' >>run/joblog.tsv
    expect 0 nightjar resume run
    recount run
    same "$(tail -n +2 run/joblog.tsv | wc -l)" 8
}

@test "every attempt at a session that was tried again stands in the joblog, and its cost is counted" {
    job_mixed 5
    sed -i 's/{turn: 1, matches: fail}/{turn: 1, matches: fail, attempt: 1}/' replies.yaml
    echo 'retry: {attempts: 3, on: [model], backoff_seconds: 0}' >>job.yaml
    expect 0 nightjar run job.yaml --run-dir run
    recount run
    same "$(awk -F'\t' '$4 == "004-fail" { print $7, $8 }' run/joblog.tsv)" $'1 failed\n2 succeeded'
    same "$(row 004-fail 'r["attempts"]')" 2
}

@test "--quiet says nothing when all is well, and the summary when it is not" {
    job_one bash <<<'true'
    expect 0 nightjar run job.yaml --run-dir good --quiet
    same "$err" ""
    job_mixed 5
    expect 1 nightjar run job.yaml --run-dir bad --quiet
    has_err "4 of 5 succeeded, 1 failed"
    hasnt "[1/5]"
}

@test "status tells of a live engine, a dead one and a suspended one, each with what to type" {
    DELAY_MS=1000 SESSIONS=1 job_many 3 # two more have six seconds to wait when the first has succeeded
    begin nightjar run job.yaml --run-dir run
    until_true 30 grep -q succeeded run/joblog.tsv
    kill -STOP "$begun" # it must not end before it is killed
    expect 0 nightjar status run
    has_out "running, pid $begun"
    has_out "nightjar stop run"
    kill -KILL "$begun"
    wait "$begun" || true
    until_true 10 sh -c 'nightjar status run --json | grep -q "\"state\":\"dead\""'
    expect 0 nightjar status run
    has_out "its engine died"
    has_out "nightjar resume run"
    expect 0 nightjar resume run
    expect 0 nightjar status run
    has_out "finished"
    has_out "3 succeeded"
    expect 0 nightjar status run --json
    same "$(python3 -c 'import json,sys; d=json.load(sys.stdin); print(d["state"], d["sessions"]["succeeded"], d["report"]["engines"])' <<<"$out")" "finished 3 2"
}

@test "status --watch follows a run to its end" {
    DELAY_MS=300 SESSIONS=2 job_many 4
    nightjar run job.yaml --run-dir run 2>/dev/null &
    nj_started+=("$!")
    until_true 20 test -e run/run.json
    expect 0 nightjar status run --watch
    has_out "running"
    has_out "finished"
    same "$(grep -c finished <<<"$out")" 1
}

@test "report and status of what is no run are refused by name" {
    mkdir empty
    expect 2 nightjar report empty
    has_err "it has no journal"
    expect 2 nightjar status nowhere
    has_err "there is no run"
}

@test "on a terminal a panel is drawn in place and gone at the end" {
    DELAY_MS=300 SESSIONS=2 job_many 3
    for columns in 40 120; do
        TERM=xterm-256color expect 0 on_terminal "$columns" nightjar run job.yaml --run-dir "run-$columns"
        python3 -I - "$columns" <<-'PYTHON'
	import re, sys, unicodedata
	columns, data = int(sys.argv[1]), open("screen", "rb").read()
	frames = re.findall(rb"\x1b\[\?2026h.*?\x1b\[\?2026l", data, re.S)
	assert len(frames) >= 3, len(frames)
	assert b"\x1b[2J" not in data and b"\x1b[H" not in data, "the screen was cleared"
	for frame in frames:
	    plain = re.sub(rb"\x1b\[[?0-9;]*[a-zA-Z]", b"", frame).decode()
	    for line in re.split("[\r\n]+", plain):
	        assert len(line) < columns, (columns, line)
	behind = data[data.rindex(b"\x1b[?2026l"):]
	assert b"\r\x1b[J" in behind and b"3 sessions" in behind, behind
	# The summary is broken between words; what is meant to be copied is left whole.
	plain = re.sub(rb"\x1b\[[?0-9;]*[a-zA-Z]", b"", behind).decode().replace("\r", "").splitlines()
	for line in plain:
	    assert len(line) <= columns or "results.jsonl" in line, (columns, line)
	text = " ".join(" ".join(plain).split())
	assert re.search(r"9 model calls [0-9.]+ m?s, 6 tool calls", text) and " of sandboxes held, " in text, text
	PYTHON
    done
}

@test "on a narrow terminal status breaks its counts between two of them" {
    DELAY_MS=1500 SESSIONS=2 job_many 30
    nightjar run job.yaml --run-dir run 2>/dev/null &
    nj_started+=("$!")
    until_true 20 grep -q succeeded run/joblog.tsv
    TERM=xterm expect 0 on_terminal 40 nightjar status run
    tr -d '\r' <screen | grep -qx '  sessions  30: [0-9]* succeeded, 0 failed,' || complain "$(<screen)"
    tr -d '\r' <screen | grep -qE '^            [0-9] running' || complain "$(<screen)"
    nightjar stop run 2>/dev/null
}

@test "TERM=dumb gets lines, NO_COLOR no colours" {
    DELAY_MS=300 SESSIONS=2 job_many 3
    TERM=dumb expect 0 on_terminal 80 nightjar run job.yaml --run-dir dumb
    ! grep -q $'\e' screen || complain "an escape sequence on a dumb terminal"
    grep -q "3/3" screen
    TERM=xterm NO_COLOR=1 expect 0 on_terminal 80 nightjar run job.yaml --run-dir grey
    grep -q $'\e\\[?2026h' screen
    ! grep -qE $'\e\\[[0-9;]*m' screen || complain "a colour in spite of NO_COLOR"
}

@test "Ctrl-Z leaves a clean screen and stops once; the run goes on when it is told to" {
    local ended
    DELAY_MS=1500 SESSIONS=2 job_many 30 # longer than this looks at it, on any host
    TERM=xterm on_terminal 80 nightjar run job.yaml --run-dir run &
    nj_started+=("$!")
    until_true 60 grep -q succeeded run/joblog.tsv
    pid=$(python3 -c 'import json; print(json.load(open("run/run.json"))["pid"])')
    for round in 1 2; do
        kill -TSTP "$pid"
        until_true 20 grep -q '^State:.T' "/proc/$pid/status"
        tail -c 4 screen | grep -q $'\e\\[J' || complain "the panel is still on the screen"
        kill -CONT "$pid"
        until_true 20 grep -q '^State:.[SR]' "/proc/$pid/status"
        sleep 0.4
    done
    ended=$(wc -l <run/joblog.tsv)
    until_true 60 eval '[ "$(wc -l <run/joblog.tsv)" -gt '"$ended"' ]'
    expect 0 nightjar stop run
    wait "${nj_started[-1]}" || same "$?" 4 "exit status of a run that is stopped"
}

# narrow TEXT - the file screen keeps to 40 columns, and holds the text whatever lines it is on
narrow() {
    tr -d '\r' <screen | awk 'length > 40 { print; wide = 1 } END { exit wide }' || complain "a line is too wide: $(<screen)"
    [[ $(tr -s ' \r\n' ' ' <screen) == *"$1"* ]] || complain "the screen lacks: $1"$'\n'"$(<screen)"
}

@test "on a narrow terminal check, plan and failures break their lines between words" {
    job_mixed 5
    rm items/*\<*
    TERM=xterm expect 0 on_terminal 40 nightjar check job.yaml
    narrow "box 16 MiB for /workspace, /tmp;"
    TERM=xterm expect 0 on_terminal 40 nightjar plan job.yaml
    narrow "at most unknown for 4 sessions: give prices and context_tokens to the models, or a budget"
    TERM=xterm expect 1 on_terminal 40 nightjar run job.yaml --run-dir run
    sed 's/\x1b\[[?0-9;]*[a-zA-Z]//g' screen | tr '\r' '\n' >lines # of the panel, too
    grep -qxE '\[[1-4]/4\] 004-fail failed: model: refusal:' lines || complain "$(<lines)"
    grep -qxF '    reply 0 of replies.yaml fails with' lines || complain "$(<lines)"
}
