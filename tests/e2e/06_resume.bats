# Stopping and going on: by signal, by kill -9, with a full disk; and two engines on one run.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
    DELAY_MS=300 SESSIONS=4 job_many 8
    export NJ_SCRIPT_LOG=$PWD/log
}
teardown() { nj_teardown; }

replies_delivered() { [ -e log ] && [ "$(wc -l <log)" -ge "$1" ]; }

# only_001_sleeps SECONDS - in its second call, so that one is certainly under way
only_001_sleeps() { sed -i "s/code: \"rev/code: \"[ {item.stem} != 001 ] || sleep $1; rev/" replies.yaml; }
under_way() { grep -q '"session":"001","turn":2' log; }

# undisturbed - the same job in one go, to compare with: run once, the cases differ in what befalls theirs
undisturbed() {
    if ! [ -e "$BATS_FILE_TMPDIR/plain/results.jsonl" ]; then
        NJ_SCRIPT_LOG=$PWD/log-plain expect 0 nightjar run job.yaml --run-dir plain
        mv log-plain "$BATS_FILE_TMPDIR" && mv plain "$BATS_FILE_TMPDIR"
    fi
    ln -s "$BATS_FILE_TMPDIR"/{plain,log-plain} .
}

equal_to_undisturbed() {
    undisturbed
    diff <(facts plain) <(facts run)
    same "$(wc -l <log)" "$(wc -l <log-plain)" "numbers of delivered replies"
}

@test "Ctrl-C suspends with exit 4, and resume goes on to the same end" {
    begin nightjar run job.yaml --run-dir run
    until_true 20 replies_delivered 6
    kill -INT "$begun"
    ended 4
    has_err resume
    expect 0 nightjar resume run
    equal_to_undisturbed
}

@test "SIGTERM suspends as Ctrl-C does" {
    begin nightjar run job.yaml --run-dir run
    until_true 20 replies_delivered 3
    kill -TERM "$begun"
    ended 4
    expect 0 nightjar resume run
    equal_to_undisturbed
}

@test "a second Ctrl-C stops at once, and the run can still be resumed" {
    only_001_sleeps 15
    begin nightjar run job.yaml --run-dir run
    until_true 20 under_way
    sleep 0.5
    kill -INT "$begun"
    sleep 0.2
    before=$SECONDS
    kill -INT "$begun"
    ended 4
    [ $((SECONDS - before)) -le 10 ]
    expect 0 nightjar resume run
    same "$(grep -c '"status":"succeeded"\|"status": "succeeded"' run/results.jsonl)" 8
}

@test "kill -9 loses nothing that was written" {
    begin nightjar run job.yaml --run-dir run
    until_true 20 replies_delivered 7
    kill -KILL "$begun"
    ended 137
    asked=$(wc -l <log)
    expect 0 nightjar resume run
    undisturbed
    diff <(facts plain) <(facts run)
    # Calls in flight at the crash may be asked twice: at most one for each of the 4 sessions alive.
    repeated=$(($(wc -l <log) - $(wc -l <log-plain)))
    [ "$repeated" -ge 0 ] && [ "$repeated" -le 4 ]
}

@test "kill -9 again and again still comes to the same end" {
    local n
    begin nightjar run job.yaml --run-dir run
    until_true 20 replies_delivered 2
    kill -KILL "$begun"
    ended 137
    for n in 5 9 13; do
        begin nightjar resume run
        until_true 20 replies_delivered "$n"
        kill -KILL "$begun"
        ended 137
    done
    expect 0 nightjar resume run
    undisturbed
    diff <(facts plain) <(facts run)
}

@test "with boxes evicted at every chance the end is the same" {
    NJ_TEST_EVICT_ALWAYS=1 expect 0 nightjar run job.yaml --run-dir run
    equal_to_undisturbed
}

@test "no process of a killed engine lives on" {
    local nap
    nap=$(nap 4711)
    only_001_sleeps "$nap"
    begin nightjar run job.yaml --run-dir run
    until_true 20 asleep "$nap"
    kill -KILL "$begun"
    ended 137
    until_true 10 none_asleep "$nap"
}

@test "a second engine on the same run is refused, reading is not" {
    only_001_sleeps 25
    begin nightjar run job.yaml --run-dir run
    engine=$begun
    until_true 20 replies_delivered 2
    expect 2 nightjar resume run
    has_err run
    expect 0 nightjar-replay show run:001
    expect 0 nightjar status run --json
    has_out '"state":"running"'
    expect 0 nightjar stop run --now
    begun=$engine ended 4
}

@test "a run that has ended resumes to the same end without doing anything" {
    expect 0 nightjar run job.yaml --run-dir run
    before=$(facts run)
    delivered=$(wc -l <log)
    expect 0 nightjar resume run
    same "$(facts run)" "$before"
    same "$(wc -l <log)" "$delivered"
}

@test "the inputs may change or go after the start: the run has its own" {
    begin nightjar run job.yaml --run-dir run
    until_true 20 replies_delivered 2
    kill -INT "$begun"
    ended 4
    mv items kept
    mkdir items && echo other >items/001.txt
    mv replies.yaml replies.kept && sed 's/say: "{item/say: "CHANGED {item/' replies.kept >replies.yaml
    expect 0 nightjar resume run
    ! grep -q CHANGED run/results.jsonl || complain "the replies file was read anew from the host"
    same "$(result 001)" "001: 1 METI"
}

@test "resume of what is no run is refused by name" {
    mkdir empty
    expect 2 nightjar resume empty
    has_err empty
    expect 2 nightjar resume nowhere
    has_err nowhere
}

@test "a tail that was cut off is reported and the run goes on" {
    begin nightjar run job.yaml --run-dir run
    until_true 20 replies_delivered 6
    kill -KILL "$begun"
    ended 137
    python3 -I - run/journal <<-'PYTHON'
	import os, sys
	# The last segment that holds anything; behind it may lie one that is only preallocated.
	for name in sorted(os.listdir(sys.argv[1]), reverse=True):
	    path = os.path.join(sys.argv[1], name)
	    used = len(open(path, "rb").read().rstrip(b"\0"))
	    if used > 100:
	        os.truncate(path, used - 7)
	        break
	PYTHON
    expect 0 nightjar resume run
    undisturbed
    diff <(facts plain) <(facts run)
}
