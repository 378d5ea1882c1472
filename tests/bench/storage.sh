#!/usr/bin/env bash
#
# storage.sh - what keeping every step costs: durable steps a second beside a bare log, bytes a step, snapshots and restores
#
# One command for all figures of the journal and its snapshots, medians of BENCH_ROUNDS rounds on one file system.
set -uo pipefail

NJ_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P) || exit 2
. "$NJ_ROOT/tests/bench/common.bash"
STEP_BYTES=2048 # of one record in the peers: about what a step of this kind writes (event, snapshot, message)
PATH=${BENCH_BIN:-$NJ_ROOT/build/release/bin}:$PATH
bench_enter storage
trap 'cd / && rm -rf "$work"' EXIT

bench_program append
bench_program sqlite -lsqlite3

printf 'file system: %s; %s processors; %s rounds\n\n' "$(stat -f -c %T .)" "$(nproc)" "$ROUNDS"

# ---- durable model replies ----

# A turn is a reply and the result of its call: two steps, one after the other, each with its snapshot.
printf '%-34s %10s %10s %10s %10s %9s %9s\n' 'durable, a second' 'replies' 'steps' append sqlite 'steps/app' 'steps/sql'
for sessions in 1 8 64; do
    turns=200
    [ "$sessions" -lt 64 ] || turns=60
    turns_job many "$sessions" "$turns" "$NO_BOX"
    turns_job few "$sessions" 0 "$NO_BOX"
    per=$(turns_between many few $((sessions * turns))) || exit 1
    replies=$(awk -v p="$per" 'BEGIN { printf "%.0f", 1 / p }')
    floor=$(for ((i = 0; i < ROUNDS; i++)); do ./append log "$sessions" "$turns" "$STEP_BYTES" || exit 1; done | median)
    peer=$(for ((i = 0; i < ROUNDS; i++)); do rm -f db*; ./sqlite db "$sessions" "$turns" "$STEP_BYTES" || exit 1; done | median)
    printf '%-34s %10s %10s %10.0f %10.0f %9s %9s\n' "  $sessions sessions" "$replies" "$((2 * replies))" "$floor" "$peer" \
        "$(ratio "$((2 * replies))" "$floor")" "$(ratio "$((2 * replies))" "$peer")"
    rm -rf many few log db*
done
echo

# ---- bytes ----

# bytes NAME - of the journal's frames, after the run
bytes() { find "$1/run/journal" -type f -printf '%s\n' | awk '{ s += $1 } END { print s }'; }
packed() { find "$1/run/bundles" -type f -printf '%s\n' | awk '{ s += $1 } END { print s }'; }

printf '%-34s %10s %10s %10s %10s\n' 'bytes a step' '50 steps' '400 steps' '2000 steps' '2000/50'
WORKSPACE='{tool: code_execution, input: {language: bash, code: "[ -d d1 ] || for d in {1..100}; do mkdir d$d; for f in {1..100}; do echo $d $f >d$d/f$f; done; done; printf %0470d $RANDOM$RANDOM >d7/f7"}}'
for kind in NO_BOX WORKSPACE; do
    # What the first step writes (10,000 files) is no step's own cost: a job of one turn is subtracted.
    for steps in 2 50 400 2000; do
        turns_job "b$steps" 1 $((steps / 2)) "${!kind}"
        turns_timed "b$steps" >/dev/null || exit 1
    done
    case $kind in
    NO_BOX) title="conversation only" ;;
    *) title="10,000 files, one changed" ;;
    esac
    for what in bytes packed; do
        base=$($what b2) each=()
        for steps in 50 400 2000; do
            each+=($((($($what "b$steps") - base) / (steps - 2))))
        done
        case $what in
        bytes) name="journal" ;;
        *) name="bundle" ;;
        esac
        printf '%-34s %10d %10d %10d %10s\n' "  $title, $name" "${each[@]}" "$(ratio "${each[2]}" "${each[0]}")"
    done
    rm -rf b2 b50 b400 b2000
done
echo

# ---- snapshots and restores ----

cd / || exit 2
"$NJ_ROOT/tests/bench/snapshot.sh"
