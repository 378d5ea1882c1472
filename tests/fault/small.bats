# Killed at any instant, a small run goes on to the same end: at writes, syncs, renames and messages of the engine, its
# workers, its helper and its supervisors in turn.
#
# NJ_FULL=1 tries every point in every suite; without it every second is tried, and by the repeats (ordinary user, evicted
# boxes) a smaller part.

load ../lib/common
load ../lib/fault

setup() {
    fault_setup
    small_job
}
teardown() { nj_teardown; }

# The run itself ends by the kill, or (a worker's, the helper's end) with exit 3; then it is gone on with.
killed() {
    local role=$1 point=$2 n=$3 status=0
    export NJ_SCRIPT_LOG=$PWD/log
    NJ_FAULT="$role/$point#$n:kill" nightjar run "$FAULT_BASE/job.yaml" --run-dir run --quiet >run.out 2>run.err || status=$?
    # Two runs do not pass a point equally often: the last n may never come.
    case $role:$status in
    *:0 | engine:137 | worker:3 | helper:3) ;;
    *) complain "exit $status: $(cat run.err)" || return 1 ;;
    esac
    [ "$status" -eq 0 ] || echo >>"$FAULT_BASE/struck"
    noted || return 1
    go_on || return 1
    equal_end
}

# A supervisor's end is not the run's: the call is repeated in a new box.
survived() {
    local role=$1 point=$2 n=$3 status=0
    export NJ_SCRIPT_LOG=$PWD/log
    NJ_FAULT="$role/$point#$n:kill" nightjar run "$FAULT_BASE/job.yaml" --run-dir run --quiet >run.out 2>run.err || status=$?
    [ "$status" -eq 0 ] || complain "exit $status: $(cat run.err)" || return 1
    noted || return 1
    equal_end || return 1
    ! grep -q ' box lost$' events || echo >>"$FAULT_BASE/struck"
}

struck() { [ -s struck ] || complain "nothing was ever killed"; }

@test "killed at the writes of the engine" {
    undisturbed
    sweep engine write "$STRIDE" killed
    struck
}

@test "killed at the syncs of the engine" {
    undisturbed
    sweep engine fdatasync "$STRIDE" killed
    struck
}

@test "killed at the renames, messages and preallocations of the engine" {
    undisturbed
    for point in rename sendmsg fallocate; do
        sweep engine "$point" "$STRIDE" killed
    done
    struck
}

@test "a worker killed at its writes, syncs and renames" {
    undisturbed
    for point in write fdatasync rename; do
        sweep worker "$point" "$STRIDE" killed
    done
    struck
}

@test "the helper killed at every message" {
    undisturbed
    sweep helper sendmsg 1 killed
    struck
}

@test "supervisors killed at their messages: the run does not end" {
    undisturbed
    sweep supervisor sendmsg "$STRIDE" survived
    struck
}

@test "supervisors killed at their writes: the run does not end" {
    undisturbed
    sweep supervisor write "$STRIDE" survived
    struck
}

@test "the same with boxes evicted at every chance" {
    export NJ_TEST_EVICT_ALWAYS=1
    [ "${NJ_FULL:-0}" != 0 ] || STRIDE=$((STRIDE * 3))
    undisturbed
    for point in write fdatasync rename sendmsg; do
        sweep engine "$point" "$STRIDE" killed
    done
    sweep worker write "$STRIDE" killed
    for point in sendmsg write; do
        sweep supervisor "$point" "$STRIDE" survived
    done
    struck
}
