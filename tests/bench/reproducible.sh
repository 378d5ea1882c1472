#!/usr/bin/env bash
#
# reproducible.sh - how many of N runs leave the same bytes, per workload and level
#
# usage: reproducible.sh [--runs N] [--levels D0,D1,D2,D3] [--load quiet|loaded|both|elsewhere|all] [--evict] [--keep DIR] [--tsv FILE] [NAME...]
#
# NAME is a workload's file name or a part of it; without one all of reproducible/ and of its held_out/ run. What the columns
# mean stands in reproducible.c; what a workload is, in reproducible/README.md.
set -uo pipefail

NJ_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P) || exit 2
PRESET=${NJ_PRESET:-release}
options=() names=()
while [ $# -gt 0 ]; do
    case $1 in
    --evict) options+=("$1") ;;
    --*) options+=("$1" "${2-}"); shift ;;
    *) names+=("$1") ;;
    esac
    [ $# -eq 0 ] || shift
done
all=("$NJ_ROOT"/tests/bench/reproducible/*.sh "$NJ_ROOT"/tests/bench/reproducible/held_out/*.sh)
files=()
for file in "${all[@]}"; do
    [ "${#names[@]}" -gt 0 ] || { files+=("$file"); continue; }
    for name in "${names[@]}"; do
        [[ ${file##*/} != *"$name"* ]] || { files+=("$file"); break; }
    done
done
[ "${#files[@]}" -gt 0 ] || { echo "reproducible.sh: no workload is called like ${names[*]}" >&2; exit 2; }
if [ ! -x "$NJ_ROOT/build/$PRESET/bin/bench-reproducible" ] || [ -w "$NJ_ROOT/build/$PRESET" ]; then
    cmake --build "$NJ_ROOT/build/$PRESET" --target bench-reproducible >/dev/null || exit 3
fi
exec "$NJ_ROOT/build/$PRESET/bin/bench-reproducible" "${options[@]}" "${files[@]}"
