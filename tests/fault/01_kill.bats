# Killed at any instant, the run goes on to the same end: at every write, sync, rename and message of a small
# run in turn, at random moments of a large one, and with supervisors killed beneath it.
#
# NJ_STRIDE=N tries every N-th point only (default 1 for root, 4 for the ordinary user, who is killed the same way).

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
    if [ "$(id -u)" -eq 0 ]; then
        STRIDE=${NJ_STRIDE:-1}
    else
        STRIDE=${NJ_STRIDE:-4}
    fi
}
teardown() { nj_teardown; }

small() {
    SESSIONS=2 job_many 3
    NJ_SCRIPT_LOG=$PWD/log-plain NJ_FAULT_COUNT=$PWD/counts expect 0 nightjar run job.yaml --run-dir plain
    facts plain >facts-plain
}

# passes ROLE POINT - how often processes of that role passed the point, the busiest of them
passes() { awk -v role="$1" -v point="$2" '$1 == role && $2 == point && $3 > n { n = $3 } END { print n + 0 }' counts; }

# equal_end ALIVE - run has the undisturbed run's facts, and no reply was asked again but those in flight at the kill
equal_end() {
    facts run | diff facts-plain - || complain "the end differs from the undisturbed run's"
    python3 -I - log-plain log "$1" <<-'PYTHON'
	import collections, json, sys
	def asked(path):
	    return collections.Counter((r["session"], r["turn"]) for r in map(json.loads, open(path)))
	plain, disturbed, alive = asked(sys.argv[1]), asked(sys.argv[2]), int(sys.argv[3])
	if plain - disturbed:
	    sys.exit(f"never asked: {plain - disturbed}")
	again = disturbed - plain
	if sum(again.values()) > alive or any(n > 1 for n in again.values()):
	    sys.exit(f"asked again: {again}")
	PYTHON
}

# go_on - resume; is there anything to go on with? A run that was killed before its first commit may be begun anew.
go_on() {
    local status=0
    nightjar resume run >out 2>err || status=$?
    if [ "$status" -eq 2 ] && [ ! -s log ]; then
        rm -rf run
        expect 0 nightjar run job.yaml --run-dir run --quiet
    else
        [ "$status" -eq 0 ] || complain "resume ended with $status: $(cat err)"
    fi
}

# at_every_point ROLE POINT - the n-th pass kills, for every n
at_every_point() {
    local role=$1 point=$2 count n status killed=0
    count=$(passes "$role" "$point")
    [ "$count" -gt 0 ] || { echo "# $role never passes $point" >&3; return 0; }
    for ((n = 1; n <= count; n += STRIDE)); do
        rm -rf run log
        status=0
        NJ_SCRIPT_LOG=$PWD/log NJ_FAULT="$role/$point#$n:kill" nightjar run job.yaml --run-dir run --quiet >out 2>err || status=$?
        # Timing moves the counts a little: the last passes may not come.
        case $status in
        0 | 137) ;;
        *) [ "$role" != engine ] || complain "$role/$point#$n: exit $status: $(cat err)" ;;
        esac
        [ "$status" -eq 0 ] || killed=$((killed + 1))
        NJ_SCRIPT_LOG=$PWD/log go_on || complain "$role/$point#$n"
        equal_end 2 || complain "$role/$point#$n"
    done
    [ "$role" != engine ] || [ "$killed" -gt 0 ] || complain "$role/$point: nothing was ever killed"
}

@test "kill -9 at every write of the engine" {
    small
    at_every_point engine write
}

@test "kill -9 at every fdatasync of the engine" {
    small
    at_every_point engine fdatasync
}

@test "kill -9 at every rename of the engine" {
    small
    at_every_point engine rename
}

@test "kill -9 at every message of the engine" {
    small
    at_every_point engine sendmsg
}

@test "kill -9 of a publishing worker at every write, sync and rename" {
    small
    for point in write fdatasync rename; do
        at_every_point worker "$point"
    done
}

@test "kill -9 of supervisors at every message: the call is repeated in a restored box" {
    small
    at_every_point supervisor sendmsg
    at_every_point supervisor write
}

@test "the same with boxes evicted at every chance" {
    export NJ_TEST_EVICT_ALWAYS=1
    STRIDE=$((STRIDE * 3))
    small
    at_every_point engine write
    at_every_point engine fdatasync
    at_every_point supervisor sendmsg
}

@test "kill -9 at 100 random moments of a run of 64 sessions" {
    local kills=0 seed=${NJ_SEED:-$RANDOM} alive wait
    RANDOM=$seed
    echo "# NJ_SEED=$seed" >&3
    DELAY_MS=400 job_many 64
    NJ_SCRIPT_LOG=$PWD/log-plain expect 0 nightjar run job.yaml --run-dir plain --quiet
    facts plain >facts-plain
    export NJ_SCRIPT_LOG=$PWD/log
    rm -rf run log
    while [ "$kills" -lt $((100 / STRIDE)) ]; do
        if [ -d run ] && [ -s run/results.jsonl ] && [ "$(wc -l <run/results.jsonl)" -eq 64 ]; then
            facts run | diff facts-plain -
            rm -rf run log
        fi
        if [ -d run ] && [ -n "$(ls run/journal 2>/dev/null)" ]; then
            begin nightjar resume run --quiet
        else
            rm -rf run log
            begin nightjar run job.yaml --run-dir run --quiet
        fi
        wait=$((RANDOM % 500 + 20))
        sleep "$(printf '0.%03d' "$wait")"
        kill -KILL "$begun" 2>/dev/null || true
        wait "$begun" || true
        kills=$((kills + 1))
    done
    go_on
    facts run | diff facts-plain -
    # In flight at a kill is at most one call a session.
    python3 -I - log "$kills" <<-'PYTHON'
	import collections, json, sys
	asked = collections.Counter((r["session"], r["turn"]) for r in map(json.loads, open(sys.argv[1])))
	again = {k: n for k, n in asked.items() if n > 1 + int(sys.argv[2])}
	assert len(asked) == 64 * 3, len(asked)
	assert not again, again
	PYTHON
}

@test "kill -9 of the helper ends the run with exit 3, and it can be resumed" {
    SESSIONS=2 DELAY_MS=300 job_many 4
    NJ_SCRIPT_LOG=$PWD/log-plain expect 0 nightjar run job.yaml --run-dir plain
    facts plain >facts-plain
    export NJ_SCRIPT_LOG=$PWD/log
    begin nightjar run job.yaml --run-dir run
    until_true 20 grep -q . log
    helper=$(awk '{ print $1 }' "/proc/$begun/task/$begun/children")
    [ -n "$helper" ] || complain "the engine has no child"
    kill -KILL "$helper"
    wait "$begun" || true
    expect 0 nightjar resume run
    equal_end 4
}
