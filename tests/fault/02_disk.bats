# A full disk and failing syncs: exit 3, nothing half-written is taken for whole, and resume goes on once there is
# room again.

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
    SESSIONS=2 job_many 3
    NJ_SCRIPT_LOG=$PWD/log-plain NJ_FAULT_COUNT=$PWD/counts expect 0 nightjar run job.yaml --run-dir plain
    facts plain >facts-plain
    export NJ_SCRIPT_LOG=$PWD/log
}
teardown() {
    umount small 2>/dev/null || true
    nj_teardown
}

passes() { awk -v role="$1" -v point="$2" '$1 == role && $2 == point && $3 > n { n = $3 } END { print n + 0 }' counts; }

# fails_and_goes_on POINT ACTION EXIT... - at a first, a middle and a last pass
fails_and_goes_on() {
    local point=$1 action=$2 count n status
    count=$(passes engine "$point")
    [ "$count" -gt 0 ] || complain "the engine never passes $point"
    for n in 1 2 $((count / 3)) $((count / 2)) $((count - 2)); do
        [ "$n" -ge 1 ] || continue
        rm -rf run log
        status=0
        NJ_FAULT="engine/$point#$n:$action" nightjar run job.yaml --run-dir run --quiet >out 2>err || status=$?
        [ "$status" -eq 3 ] || complain "$point#$n:$action: exit $status: $(cat err)"
        [ -s err ] || complain "$point#$n:$action: nothing was said"
        status=0
        nightjar resume run >out 2>err || status=$?
        if [ "$status" -eq 2 ] && [ ! -s log ]; then
            rm -rf run
            continue # it failed before anything was begun
        fi
        [ "$status" -eq 0 ] || complain "$point#$n:$action: resume ended with $status: $(cat err)"
        facts run | diff facts-plain - || complain "$point#$n:$action"
    done
}

@test "no space at a write" { fails_and_goes_on write enospc; }

@test "an I/O error at a write" { fails_and_goes_on write eio; }

@test "a failed fdatasync stops the engine and is never retried" { fails_and_goes_on fdatasync eio; }

@test "no space when a segment is preallocated" { fails_and_goes_on fallocate enospc; }

@test "interrupted and short writes are gone on with" {
    local n action count
    count=$(passes engine write)
    for action in eintr short; do
        for ((n = 1; n <= count; n += 1 + count / 12)); do
            rm -rf run log
            NJ_FAULT="engine/write#$n:$action" expect 0 nightjar run job.yaml --run-dir run --quiet
            facts run | diff facts-plain - || complain "write#$n:$action"
        done
    done
}

@test "a really full file system stops the run, and room lets it go on" {
    skip_without root
    mkdir small
    mount -t tmpfs -o size=12m tmpfs small
    chmod 777 small
    status=0
    nightjar run job.yaml --run-dir small/run --quiet >out 2>err || status=$?
    [ "$status" -eq 3 ] || complain "exit $status: $(cat err)"
    grep -qi 'space' err
    mount -o remount,size=512m small
    status=0
    nightjar resume small/run >out 2>err || status=$?
    if [ "$status" -eq 2 ] && [ ! -s log ]; then
        rm -rf small/run
        nightjar run job.yaml --run-dir small/run --quiet
        status=0
    fi
    same "$status" 0
    facts small/run | diff facts-plain -
}
