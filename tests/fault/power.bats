# The power fails at any instant: of a small run every write, name and sync is recorded; then disks are rebuilt that the
# order of these allows, with unsynced writes lost, torn or reordered and unsynced names lost, and each is gone on with.
#
# NJ_CUTS=N disks (default 24), NJ_SEED=N other instants; NJ_FULL=1 takes every instant, three disks each.

load ../lib/common
load ../lib/fault

setup() {
    fault_setup
    [ "$NJ_SLOW" -eq 1 ] || skip "a sanitizer's run time and a preloaded library do not get along"
    RECORDER=$NJ_BUILD/tests/disk_recorder.so
    [ -r "$RECORDER" ] || { echo "no $RECORDER: build the tests" >&2; return 1; }
    SEED=${NJ_SEED:-5}
    echo "seed: NJ_SEED=$SEED" # shown when the case fails
    small_job
}
teardown() { nj_teardown; }

power() { python3 -I "$NJ_ROOT/tests/fault/power.py" "$@"; }

recorded() {
    mkdir disk && chmod a+rwx disk
    : >record && chmod a+rw record
    : >log-recorded && chmod a+rw log-recorded
    NJ_SCRIPT_LOG=$PWD/log-recorded NJ_RECORD=$PWD/record NJ_RECORD_ROOT=$PWD/disk LD_PRELOAD=$RECORDER \
        nightjar run job.yaml --run-dir disk/run --quiet >run.out 2>run.err || complain "$(cat run.err)" || return 1
    facts disk/run >facts-recorded && diff facts-plain facts-recorded >&2 || complain "recording changes the run" || return 1
    POINTS=$(power points record)
    ROOT=$(stat -c %i disk)
    # Whoever looks at nothing finds nothing: the record must hold what such a run is made of.
    [ "$POINTS" -gt 100 ] || complain "only $POINTS records" || return 1
    local kind
    for kind in create write syncing synced rename allocate delivered; do
        grep -aq "^$kind " record || complain "no $kind in the record" || return 1
    done
}

# durable_on DISK - replies that the journal on it holds
durable_on() {
    [ ! -d "$1/run/journal" ] || "$NJ_JOURNAL_EVENTS" "$1/run/journal" 2>/dev/null | awk '$2 == "reply" { print $1, $3 }' | sort
}

# rebuilt DIR N VARIANT
rebuilt() {
    power build "$FAULT_BASE/record" "$ROOT" "$2" "$3" "$SEED" "$1" || return 1
    chmod a+rwx "$1"
    chown -R --reference="$FAULT_BASE/disk/run" "$1"
}

# What is on the disk if everything unsynced is lost decides what may have been acted on, and what no disk may lack.
cut_at() {
    local n=$1 variant=$2
    rebuilt least "$n" none || return 1
    durable_on least >must
    power delivered "$FAULT_BASE/record" "$n" | sort >delivered
    # A turn is asked for when the reply before it is durable, and not before.
    awk 'NR == FNR { must[$1, $2] = 1; next } $2 > 1 && !must[$1, $2 - 1] { print $1, $2; bad = 1 } END { exit bad }' \
        must delivered >early || complain "asked for before the reply behind it was durable: $(cat early)" || return 1
    rebuilt disk "$n" "$variant" || return 1
    durable_on disk >durable-replies
    comm -23 must durable-replies >missing
    [ ! -s missing ] || complain "synced, and missing: $(cat missing)" || return 1
    cd disk || return 1
    noted || return 1
    export NJ_SCRIPT_LOG=$PWD/log
    go_on || return 1
    facts run >facts-now && diff "$FAULT_BASE/facts-plain" facts-now >&2 || complain "the end differs from the undisturbed run's" || return 1
    python3 -I -c 'import json, sys
for line in open("log"):
    reply = json.loads(line)
    print(reply["session"], reply["turn"])' | sort >again
    comm -12 ../durable-replies again >twice
    cd ..
    [ ! -s disk/twice ] || complain "durable, and asked for again: $(cat disk/twice)"
}

in_its_folder() {
    local dir=cut-$1-$2
    mkdir "$dir" && chmod a+rwx "$dir" && cd "$dir" || return 1
    if ! (cut_at "$1" "$2") >report 2>&1; then
        { echo "after $1 of $POINTS records, unsynced: $2 (NJ_SEED=$SEED)"; cat report; } >"$FAULT_BASE/failed-$dir"
        return 1
    fi
    cd .. && rm -rf "$dir"
}

@test "the power fails: what was synced is there, and the run goes on to the same end" {
    local n variant cuts=${NJ_CUTS:-24} tried
    undisturbed
    recorded
    RANDOM=$SEED
    if [ "${NJ_FULL:-0}" != 0 ]; then
        for ((n = 1; n <= POINTS; n++)); do printf '%d %s\n' "$n" none "$n" some "$n" all; done >plan
    else
        for ((n = 0; n < cuts; n++)); do
            variant=some
            [ $((n % 4)) -ne 0 ] || variant=none
            printf '%d %s\n' $((n * POINTS / cuts + RANDOM % (POINTS / cuts) + 1)) "$variant"
        done >plan
    fi
    tried=$(wc -l <plan)
    two_at_a_time in_its_folder <plan
    [ "$tried" -ge 10 ] || complain "only $tried disks were tried"
    ! cat failed-cut-* >&2 2>/dev/null || complain "some disks of $tried were not gone on with"
}
