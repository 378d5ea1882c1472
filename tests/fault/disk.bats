# Full disks and failing syncs: exit 3 with a clear message, nothing half-written is taken for whole, a descriptor
# whose sync failed is never synced again, and resume goes on once there is room.

load ../lib/common
load ../lib/fault

setup() {
    fault_setup
    small_job
    export NJ_SCRIPT_LOG=$PWD/log
}
teardown() { nj_teardown; }

# fails_with ROLE POINT N ACTION TEXT - exit 3 with the text; what was durable then is noted; the end is the undisturbed one's
fails_with() {
    local status=0
    export NJ_SCRIPT_LOG=$PWD/log
    NJ_FAULT="$1/$2#$3:$4" nightjar run "$FAULT_BASE/job.yaml" --run-dir run --quiet >run.out 2>run.err || status=$?
    noted || return 1
    # 0: this n did not come, for two runs do not pass a point equally often; or a box could be filled at the second try.
    if [ "$status" -ne 0 ]; then
        echo >>"$FAULT_BASE/struck"
        [ "$status" -eq 3 ] || complain "exit $status: $(cat run.err)" || return 1
        grep -q "$5" run.err || complain "the message does not say \"$5\": $(cat run.err)" || return 1
        go_on || return 1
    fi
    equal_end
}

no_space() { fails_with "$1" "$2" "$3" enospc 'No space left on device'; }
io_error() { fails_with "$1" "$2" "$3" eio 'Input/output error'; }

struck() { [ -s struck ] || complain "nothing ever failed"; }

# partly ROLE POINT - a stride that tries about five of them; all with NJ_FULL=1
partly() {
    [ "${NJ_FULL:-0}" = 0 ] || { echo 1; return; }
    echo $((($(passes "$1" "$2") + 4) / 5))
}

@test "no space at a write, of the engine or a worker that bundles" {
    undisturbed
    sweep engine write "$(partly engine write)" no_space
    sweep worker write "$(partly worker write)" no_space
    struck
}

@test "no space when a segment is preallocated: what was appended is kept" {
    undisturbed
    sweep engine fallocate 1 no_space
    struck
}

@test "no space when the journal turns to its next segment" {
    local n
    # Bytes that do not compress and are the same each time: three files, two journal segments.
    {
        echo "replies:"
        for n in 1 2 3; do
            printf '  - {when: {turn: %d}, call: [{tool: code_execution, input: {language: python, code: %s, timeout_seconds: 60}}]}\n' "$n" \
                "\"import random; open('f$n', 'wb').write(random.Random($n).randbytes(11 << 20))\""
        done
        echo '  - {say: "written"}'
    } >replies.yaml
    printf '%s\n' 'nightjar: 1' 'job: turn' 'models:' '  worker: [{provider: script, script: replies.yaml}]' \
        'agents:' '  tester: {model: worker, tools: [{type: code_execution, languages: [python]}]}' \
        'sessions:' '  - {name: one, agent: tester, key: one, input: "Go."}' >job.yaml
    undisturbed
    [ "$(passes engine fallocate)" -ge 3 ] || complain "the journal never turned"
    sweep engine fallocate 1 no_space
    struck
}

@test "a sync that fails: exit 3, and the run can be resumed" {
    undisturbed
    sweep engine fdatasync "$(partly engine fdatasync)" io_error
    sweep worker fdatasync "$(partly worker fdatasync)" io_error
    struck
}

@test "a rename that fails" {
    undisturbed
    sweep engine rename "$(partly engine rename)" io_error
    sweep worker rename "$(partly worker rename)" io_error
    struck
}

@test "after a failed sync the journal is not written or synced again" {
    local syncs
    undisturbed
    syncs=$(passes engine journal.before_sync)
    [ "$syncs" -gt 4 ]
    NJ_FAULT="journal.before_sync#$((syncs / 2)):eio" NJ_FAULT_COUNT=$PWD/counts-failed expect 3 nightjar run job.yaml --run-dir run --quiet
    has_err "Input/output error"
    has_err "resume"
    same "$(awk '$1 == "engine" && $2 == "journal.before_sync" { print $3 }' counts-failed)" "$((syncs / 2))" "syncs of the journal"
    same "$(awk '$1 == "engine" && $2 == "journal.before_write" { print $3 }' counts-failed)" "$((syncs / 2))" "writes of the journal"
    noted
    go_on
    equal_end
}

# gone_on_with ROLE POINT N - an interrupted or a short call is no failure
interrupted() { undisturbed_by "$1" "$2" "$3" eintr; }
shortened() { undisturbed_by "$1" "$2" "$3" short; }
undisturbed_by() {
    local status=0
    export NJ_SCRIPT_LOG=$PWD/log
    NJ_FAULT="$1/$2#$3:$4" nightjar run "$FAULT_BASE/job.yaml" --run-dir run --quiet >run.out 2>run.err || status=$?
    [ "$status" -eq 0 ] || complain "exit $status: $(cat run.err)" || return 1
    noted || return 1
    equal_end
}

@test "interrupted and short calls are gone on with" {
    undisturbed
    sweep engine write "$(partly engine write)" interrupted
    sweep engine fdatasync "$(partly engine fdatasync)" interrupted
    sweep engine sendmsg "$(partly engine sendmsg)" interrupted
    sweep engine write "$(partly engine write)" shortened
    sweep worker write "$(partly worker write)" shortened
    sweep supervisor write "$(partly supervisor write)" shortened
}

# ---- a disk that is really full ----

# Inside a mount namespace of its own: as root, or as root of a user namespace. What it needs comes by environment.
on_a_small_disk() {
    local command=(unshare --mount)
    [ "$(id -u)" -eq 0 ] || command=(unshare --user --map-current-user --keep-caps --mount)
    "${command[@]}" true 2>/dev/null || skip "no mount namespaces here"
    SEGMENT_MB=$(sed -n 's/^#define NJ_JOURNAL_SEGMENT_BYTES (\([0-9]*\)u << 20).*/\1/p' "$NJ_ROOT/formats/journal/journal.h")
    [ -n "$SEGMENT_MB" ] || complain "how long is a journal segment?" || return 1
    export SEGMENT_MB
    mkdir small
    "${command[@]}" bash -c "$1" 3>&-
}

@test "a full file system under the run: exit 3, and room lets it go on" {
    undisturbed
    on_a_small_disk '
        set -e
        # One segment is kept in hand: the second does not fit.
        mount -t tmpfs -o size=$((SEGMENT_MB * 3 / 2))m,mode=0777 tmpfs small
        status=0
        nightjar run job.yaml --run-dir small/run --quiet >run.out 2>run.err || status=$?
        [ "$status" -eq 3 ] || { echo "exit $status"; cat run.err; exit 1; }
        grep -q "No space left on device" run.err
        [ ! -e small/run/results.jsonl ]
        mount -o remount,size=1g small
        nightjar resume small/run --quiet
        cp -R small/run run
    ' >small.log 2>&1 || complain "$(cat small.log)"
    facts run | diff facts-plain -
}

@test "a file system that fills up in the middle of the run" {
    rm -rf items
    DELAY_MS=300 small_job
    undisturbed
    on_a_small_disk '
        set -e
        mount -t tmpfs -o size=$((SEGMENT_MB * 3))m,mode=0777 tmpfs small
        # The first reply that is delivered fills the disk; the journal has its segments by then, bundles have no room.
        (until [ -s log ]; do sleep 0.01; done; dd if=/dev/zero of=small/ballast bs=1M 2>/dev/null) &
        status=0
        nightjar run job.yaml --run-dir small/run --quiet >run.out 2>run.err || status=$?
        wait
        [ "$status" -eq 3 ] || { echo "exit $status"; cat run.err; exit 1; }
        grep -q "No space left on device" run.err
        rm small/ballast
        nightjar resume small/run --quiet
        cp -R small/run run
    ' >small.log 2>&1 || complain "$(cat small.log)"
    facts run | diff facts-plain -
}
