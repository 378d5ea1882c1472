# What holds or stops a run in the night: too many failures, the budget, a disk that fills; and old runs that go.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
    mkdir items
    for n in 1 2 3 4 5 6 7 8; do touch "items/$n.txt"; done
    cat >replies.yaml <<-'YAML'
	replies:
	  - {when: {item.stem: "1"}, fail: refusal}
	  - {when: {item.stem: "2"}, fail: refusal}
	  - {when: {item.stem: "3"}, fail: refusal}
	  - {say: "done", usage: {input_tokens: 1000000, output_tokens: 0}}
	YAML
    cat >job.yaml <<-'YAML'
	nightjar: 1
	job: watch
	models:
	  worker: [{provider: script, script: replies.yaml, price: {input: 1.0, output: 1.0}}]
	agents:
	  tester: {model: worker}
	sessions:
	  - {name: items, agent: tester, for_each: {glob: "items/*.txt"}, key: "{item.stem}", input: "Go."}
	archive: {retain: 1h}
	YAML
}
teardown() {
    nj_teardown
    ! mountpoint -q small || umount -l small
}

statuses() { python3 -I -c 'import json; print(" ".join(json.loads(l)["status"][:4] for l in open("run/results.jsonl")))'; }
state() { python3 -I -c 'import json, sys; s = json.load(open("run/run.json")); print(eval(sys.argv[1]))' "$1"; }

@test "more failures than a number suspend the run; going on forgives these, and no others" {
    echo 'limits: {sessions: 1, fail_over: 2}' >>job.yaml
    expect 4 nightjar run job.yaml --run-dir run
    same "$(state 's["stop_reason"], s["sessions"]["failed"], s["sessions"]["waiting"]')" "('fail_over', 3, 5)"
    expect 1 nightjar resume run
    same "$(statuses)" "fail fail fail succ succ succ succ succ"
}

@test "a share of failures suspends likewise" {
    echo 'limits: {sessions: 1, fail_over: 0.2}' >>job.yaml
    expect 4 nightjar run job.yaml --run-dir run
    same "$(state 's["stop_reason"], s["sessions"]["failed"]')" "('fail_over', 2)"
}

@test "a budget suspends, and resume --budget goes on as far as that reaches" {
    echo 'limits: {sessions: 1, budget_usd: 2}' >>job.yaml
    expect 4 nightjar run job.yaml --run-dir run
    same "$(state 's["stop_reason"], s["sessions"]["succeeded"], s["budget_usd"]')" "('budget', 2, 2.0)"
    expect 4 nightjar resume run --budget 4
    same "$(state 's["stop_reason"], s["sessions"]["succeeded"], s["budget_usd"]')" "('budget', 4, 4.0)"
    expect 2 nightjar resume run --budget much
    has_err "--budget much"
    expect 1 nightjar resume run --budget 100
    same "$(state 's["sessions"]["succeeded"]')" 5
}

@test "no session begins while the disk is nearly full; it is told once, and they begin when there is room" {
    local free
    skip_without root
    mkdir small && mount -t tmpfs -o size=160m,mode=0777 tmpfs small || skip "no tmpfs can be mounted here"
    dd if=/dev/zero of=small/ballast bs=1M count=60 status=none
    echo 'limits: {disk_free_mb: 60}' >>job.yaml
    begin nightjar run job.yaml --run-dir small/run
    engine=$begun
    until_true 20 grep -q '"disk_low": true' small/run/run.json
    sleep 1.5
    grep -q '"running": 0' small/run/run.json && grep -q '"waiting": 8' small/run/run.json || complain "a session began: $(cat small/run/run.json)"
    rm small/ballast
    begun=$engine ended 1
    same "$(grep -c 'limits.disk_free_mb' "$BATS_TEST_TMPDIR/begun.err")" 1 "how often it was told"
    same "$(grep -c succeeded small/run/results.jsonl)" 5
    umount small
}

# finished NAME HOURS - a finished run whose end lies so far back
finished() {
    nightjar run job.yaml --run-dir "runs/$1" --quiet >/dev/null 2>&1 || true
    aged "$@"
}

aged() {
    python3 -I - "runs/$1/run.json" "$2" <<-'PYTHON'
	import json, sys, time
	state = json.load(open(sys.argv[1]))
	state["updated"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600 * float(sys.argv[2])))
	json.dump(state, open(sys.argv[1], "w"))
	PYTHON
}

@test "gc removes runs that ended long ago, tells what it gave back, and nothing else" {
    sed -i '/^archive/d' job.yaml # else each run removed those before it
    finished old 50
    finished young 1.5
    finished suspended 50
    sed -i 's/"state": "finished"/"state": "suspended"/' runs/suspended/run.json
    finished busy 50
    mkdir runs/notes runs/.gc-left && touch runs/notes/mine runs/.gc-left/x
    python3 -I -c 'import fcntl, os, time; fcntl.flock(os.open("runs/busy", os.O_RDONLY), fcntl.LOCK_EX); open("held", "w"); time.sleep(60)' 3>&- &
    nj_started+=("$!")
    until_true 10 test -e held
    expect 0 nightjar gc --keep 2d --dry-run
    same "$(cut -f1,2 <<<"$out")" $'old\tfinished'
    [ -d runs/old ] && [ -d runs/.gc-left ] || complain "a dry run removed something"
    expect 0 nightjar gc --keep 2d
    same "$(cut -f1,2 <<<"$out")" $'old\tfinished'
    [ "$(cut -f4 <<<"$out")" -gt 4096 ]
    has_err "1 runs removed"
    same "$(ls -A runs | tr '\n' ' ')" "busy notes suspended young "
    expect 0 nightjar gc --keep 1h --unfinished runs
    same "$(ls -A runs | tr '\n' ' ')" "busy notes "
    expect 2 nightjar gc --keep soon
    has_err "--keep soon"
    expect 2 nightjar gc nowhere
}

@test "gc without --keep goes by what each run's job says" {
    finished old 1.5
    sed -i '/^archive/d' job.yaml
    finished kept 5000
    expect 0 nightjar gc
    same "$(ls -A runs | tr '\n' ' ')" "kept "
}

@test "a run that begins removes runs of its job beside it that were kept long enough, and no others" {
    rm items/*.txt && touch items/fine.txt
    for run in old older young; do expect 0 nightjar run job.yaml --run-dir "runs/$run" --quiet; done
    sed 's/^job: .*/job: another/' job.yaml >another.yaml
    expect 0 nightjar run another.yaml --run-dir runs/another --quiet
    for run in old older another; do aged "$run" 1.5; done
    exec {live}<runs/older && flock "$live" # as the engine does that works on it
    expect 0 nightjar run job.yaml --run-dir runs/new
    has_err "archive.retain: 1 earlier run removed, "
    same "$(ls runs | xargs)" "another new older young"
    exec {live}<&-
    # The one that is reused stays until the next.
    expect 0 nightjar run job.yaml --run-dir runs/next --reuse runs/older
    hasnt "archive.retain"
    has_err "1 of 1 sessions are reused"
    expect 0 nightjar run job.yaml --run-dir runs/last --quiet
    hasnt "archive.retain"
    same "$(ls runs | xargs)" "another last new next young"
    expect 0 nightjar-replay verify "$(bundle fine runs/next)"
}
