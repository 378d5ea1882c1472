# A run's life through the night: who is at work on it, stopping it, and what run.json tells meanwhile.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
    DELAY_MS=300 SESSIONS=4 job_many 8
    export NJ_SCRIPT_LOG=$PWD/log
}
teardown() { nj_teardown; }

replies_delivered() { [ -e log ] && [ "$(wc -l <log)" -ge "$1" ]; }

# state EXPRESSION [RUN] - s is run.json
state() { python3 -I -c 'import json, sys; s = json.load(open(sys.argv[2] + "/run.json")); print(eval(sys.argv[1]))' "$1" "${2:-run}"; }

@test "stop suspends a run that goes on, waits for it, and tells how to go on" {
    begin nightjar run job.yaml --run-dir run
    engine=$begun
    until_true 20 replies_delivered 5
    expect 0 nightjar stop run
    has_out "nightjar resume run"
    ! kill -0 "$engine" 2>/dev/null || complain "stop came back before the engine had ended"
    begun=$engine ended 4
    same "$(state 's["state"], s["stop_reason"]')" "('suspended', 'signal')"
    expect 0 nightjar resume run
    same "$(grep -c '"status":"succeeded"' run/results.jsonl)" 8
}

@test "a run that is stopped while it starts is suspended, and can be gone on with" {
    for i in $(seq 3000); do echo "{\"n\": $i}"; done >items.jsonl # a plan that takes its time
    sed -i 's|for_each: .*|for_each: {lines: items.jsonl}|; s|key: .*|key: "{item.n}"|; s|files: .*|files: [{content: "{item.n}", target: /workspace/in.txt}]|' job.yaml
    begin nightjar run job.yaml --run-dir run --quiet
    engine=$begun
    until_true 20 test -e run/lock
    ! [ -e run/run.json ] || skip "it was ready before it could be asked"
    expect 0 nightjar stop run
    has_out "nightjar resume run"
    begun=$engine ended 4
    same "$(state 's["state"], s["stop_reason"], s["sessions"]["total"]')" "('suspended', 'signal', 3000)"
    begin nightjar resume run --quiet
    engine=$begun
    until_true 20 grep -q '"state": "running"' run/run.json
    expect 0 nightjar stop run
    begun=$engine ended 4
}

@test "stop --now does not wait for a call under way" {
    sed -i 's/code: "rev/code: "sleep 60; rev/' replies.yaml
    begin nightjar run job.yaml --run-dir run
    engine=$begun
    until_true 20 replies_delivered 8
    sleep 0.5
    before=$SECONDS
    expect 0 nightjar stop run --now
    [ $((SECONDS - before)) -le 40 ] || complain "it took $((SECONDS - before)) s"
    begun=$engine ended 4
}

@test "stop of a run that no engine works on says so, however it ended" {
    expect 0 nightjar run job.yaml --run-dir run
    expect 0 nightjar stop run
    has_out "no engine was at work"
    has_out finished
    expect 2 nightjar stop nowhere
    has_err "there is no run"
    begin nightjar run job.yaml --run-dir killed
    until_true 20 test -e killed/run.json
    kill -KILL "$begun"
    ended 137
    expect 0 nightjar stop killed
    has_out "without a word"
    has_out "nightjar resume killed"
}

@test "a number that another process has by now is not signalled" {
    begin sleep 1000
    other=$begun
    sleep 0.1 # processes are told apart by their starts, which the kernel tells in ticks of 10 ms
    expect 0 nightjar run job.yaml --run-dir run
    python3 -I - "$other" <<-'PYTHON'
	import json, sys
	lock = json.load(open("run/lock"))
	lock["pid"] = int(sys.argv[1])
	json.dump(lock, open("run/lock", "w"))
	PYTHON
    # Somebody holds the lock for a while, so the file is looked at; the process that it names is another one.
    python3 -I -c 'import fcntl, os, time; fcntl.flock(os.open("run", os.O_RDONLY), fcntl.LOCK_EX); open("held", "w"); time.sleep(1)' 3>&- &
    nj_started+=("$!")
    until_true 10 test -e held
    expect 0 nightjar stop run
    kill -0 "$other" || complain "stop signalled another process"
}

@test "a second engine is told who is at work; a night's next run waits for the last one" {
    sed -i 's/code: "rev/code: "[ {item.stem} != 001 ] || sleep 25; rev/' replies.yaml
    begin nightjar run job.yaml
    engine=$begun
    until_true 20 replies_delivered 2
    run=$(echo runs/*-many)
    expect 2 nightjar resume "$run"
    has_err "pid $engine on "
    has_err "since 20"
    has_err "nightjar stop $run"
    expect 2 nightjar run job.yaml
    has_err "still going on: $run (pid $engine on "
    same "$(echo runs/*)" "$run" "runs"
    expect 0 nightjar-replay show "$run:001"
    expect 0 nightjar stop "$run" --now
    begun=$engine ended 4
    sed -i 's/sleep 25/sleep 0/' replies.yaml
    expect 0 nightjar run job.yaml
}

@test "run.json is current while the run goes on, and whole whenever it is read" {
    sed -i 's/sessions: 4/sessions: 2/' job.yaml
    sed -i 's/delay_ms: 300/delay_ms: 3000/' replies.yaml
    begin nightjar run job.yaml --run-dir run
    until_true 20 test -e run/run.json
    same "$(state 's["state"], s["pid"]')" "('running', $begun)"
    python3 -I - <<-'PYTHON'
	import json, os, time
	updates, end = set(), time.time() + 60
	while len(updates) < 4 and time.time() < end:
	    s = json.load(open("run/run.json"))
	    counts = s["sessions"]
	    total = sum(counts[k] for k in ("succeeded", "failed", "suspended", "skipped", "running", "waiting"))
	    assert total == counts["total"] == 8, counts
	    if counts["running"] == 2 and counts["waiting"] > 0:
	        updates.add(s["updated"])
	    time.sleep(0.01)
	assert len(updates) == 4, updates
	PYTHON
    engine=$begun
    expect 0 nightjar stop run --now
    begun=$engine ended 4
    sed -i 's/delay_ms: 3000/delay_ms: 0/' run/inputs/files/replies.yaml
    expect 0 nightjar resume run
    same "$(state 's["state"], s["stop_reason"], s["sessions"]["succeeded"], s["sessions"]["waiting"]')" "('finished', None, 8, 0)"
    same "$(state 's["created"] < s["started"] <= s["updated"]')" True
}
