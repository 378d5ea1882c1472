#!/usr/bin/env bash
#
# snapshot.sh - what a step's snapshot costs beside git, restic and borg, and a restore beside git and restic
#
# Three trees: many files of which few change, few files, and one long file that is edited in its midst.
#
# Each side changes the same number of files of the same tree and then keeps it; what the change itself takes is left out. This
# program's time is told by its own record: from one tool call's end to the next one's, less how long the call ran. In it are the
# reply between them, the call's set-up in the box, the capture, and the synced journal, so the ratios say too little rather than
# too much. Making the tree takes a hundred times as long and is in no figure. All is on one file system; the box's workspace is
# a tmpfs as always, and the peers' tree is in the page cache.
set -uo pipefail

NJ_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P) || exit 2
# shellcheck source=../lib/install.bash
. "$NJ_ROOT/tests/lib/install.bash"
. "$NJ_ROOT/tests/bench/common.bash"
STEPS=20
PATH=${BENCH_BIN:-$NJ_ROOT/build/release/bin}:$PATH
bench_enter snapshot
trap 'cd / && chmod -R u+w "$work" && rm -rf "$work"' EXIT
# git tidies up in the background: that would be in a later figure, and in the way of removing its tree.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=gc.auto GIT_CONFIG_VALUE_0=0
export GIT_CONFIG_NOSYSTEM=1 HOME=$work GIT_AUTHOR_NAME=bench GIT_AUTHOR_EMAIL=bench@example.org GIT_COMMITTER_NAME=bench \
    GIT_COMMITTER_EMAIL=bench@example.org RESTIC_PASSWORD=bench RESTIC_REPOSITORY=$work/restic BORG_REPO=$work/borg BORG_BASE_DIR=$work/borg.home

nj_install git restic borgbackup || echo "  (peers that are missing are left out)"

stored() { find "$@" -type f -printf '%s\n' | awk '{ s += $1 } END { print s + 0 }'; }

# spent COMMAND... - prints its seconds
spent() {
    local begun ended
    begun=$(seconds)
    "$@" >log 2>&1 || {
        tail -n 5 log >&2
        return 1
    }
    ended=$(seconds)
    awk -v a="$begun" -v b="$ended" 'BEGIN { printf "%.6f\n", b - a }'
}

# Text that compresses about as source code does, another in each file. No program but the shell takes part in a change.
make_tree() {
    cat <<-BASH
	LC_ALL=C; RANDOM=7; mkdir tree; cd tree; t=; i=0
	while [ \${#t} -lt $3 ]; do t+="line \$i holds \$RANDOM\$RANDOM and \$RANDOM\$RANDOM\$RANDOM
	"; i=\$((i + 1)); done
	for d in {1..$1}; do mkdir d\$d; for f in {1..$2}; do at=\$((RANDOM % $3))
	printf '%s\n' "\$d/\$f \$RANDOM" "\${t:at}" "\${t:0:at}" >d\$d/f\$f; done; done; cd ..
	BASH
}
change_tree() { printf 'for i in {1..%d}; do printf %%0200d $RANDOM$RANDOM >>tree/d$((RANDOM %% %d + 1))/f$((RANDOM %% %d + 1)); done' "$3" "$1" "$2"; }

# One file of 64 MB, of lines that differ; edits that leave its length alone.
make_long() {
    cat <<-'BASH'
	mkdir tree; awk 'BEGIN { srand(7); for (i = 0; n < 64e6; i++) { s = sprintf("line %d holds %d and %d", i, rand() * 1e9, rand() * 1e9); n += length(s) + 1; print s } }' >tree/long
	BASH
}
change_long() { printf 'for i in {1..%d}; do printf %%0200d $RANDOM$RANDOM | dd of=tree/long bs=200 count=1 seek=$((RANDOM * 9)) conv=notrunc iflag=fullblock status=none; done' "$1"; }

# job NAME TURNS MAKE CHANGE
job() {
    mkdir -p "$1/items"
    echo x >"$1/items/x.txt"
    python3 -I - "$@" <<'PYTHON' >"$1/replies.yaml" || die "python3 is missing"
import json, sys
name, turns, make, change = sys.argv[1:]
code = "[ -d tree ] || { " + make + "\n}\n" + change
call = {"tool": "code_execution", "input": {"language": "bash", "code": code}}
print(json.dumps({"replies": [{"when": {"turn": list(range(1, int(turns) + 1))}, "say": "x", "call": [call]}, {"say": "[{last}]"}]}))
PYTHON
    bench_job 512 "" >"$1/job.yaml"
}

timed() {
    rm -rf "$1/run"
    sync
    spent nightjar run "$1/job.yaml" --run-dir "$1/run" --quiet || die "the job $1 did not succeed"
    ! grep -v '"result":\[\]' "$1/run/results.jsonl" || die "a call of the job $1 failed: $(head -c 300 "$1/run/results.jsonl")"
}

# steps RUN WHAT - the median over the calls behind the first, in seconds: of all between two ends (whole), without the call (keep)
steps() {
    nightjar-replay show "$1:x" --json | python3 -I -c '
import json, statistics, sys
ends = [row for row in map(json.loads, sys.stdin) if row.get("kind") == "tool-done"]
took = [(b["time_ns"] - a["time_ns"]) / 1e9 - (b["duration_ms"] / 1e3 if sys.argv[1] == "keep" else 0) for a, b in zip(ends, ends[1:])]
print("%.6f" % statistics.median(took))' "$2"
}

line() { printf '  %-32s %10s %12s %12s\n' "$@"; }
# beside NAME SECONDS BYTES OURS - one line; the last column is how many times faster we are
beside() { line "$1" "$(awk -v s="$2" 'BEGIN { printf "%.1f", s * 1000 }')" "$3" "$(awk -v a="$2" -v b="$4" 'BEGIN { if (b > 0) printf "%.1f", a / b; else print "-" }')"; }

keep_git() { git -C tree add -A && git -C tree commit -qm x; }
keep_restic() { restic -q backup tree; }
keep_borg() { borg create "::$(date +%s%N)" tree; }
init_git() { git init -q tree; }
init_restic() { restic -q init; }
init_borg() { borg init -e none; }
where_git() { echo tree/.git; }
where_restic() { echo restic; }
where_borg() { echo borg; }

# compare MAKE CHANGE PEER...
compare() {
    local make=$1 change=$2 ours whole before after i peer
    shift 2
    job many $((STEPS + 1)) "$make" "$change"
    job few 1 "$make" "$change"
    ours=$(for ((i = 0; i < ROUNDS; i++)); do
        timed many >/dev/null && steps many/run keep || exit 1
    done | median) && whole=$(steps many/run whole) && timed few >/dev/null || exit 1
    line '' 'ms' 'bytes kept' 'peer/this'
    beside "nightjar" "$ours" $((($(stored many/run/journal) - $(stored few/run/journal)) / STEPS)) "$ours"
    beside "nightjar, with the call" "$whole" '' "$ours"
    for peer; do
        command -v "$peer" >/dev/null || { line "$peer" missing '' ''; continue; }
        rm -rf tree restic borg
        bash -c "$make" && "init_$peer" >log 2>&1 && "keep_$peer" >log 2>&1 || die "$peer cannot begin: $(tail -n 2 log)"
        before=$(stored "$("where_$peer")")
        after=$(for ((i = 0; i < ROUNDS * 2 + 1; i++)); do
            bash -c "$change"
            spent "keep_$peer" || exit 1
        done | median) || exit 1
        beside "$peer" "$after" $((($(stored "$("where_$peer")") - before) / (ROUNDS * 2 + 1))) "$ours"
    done
}

printf 'a snapshot of 10,000 files, 200 MB, 20 changed (wanted: git 10, restic 100, borg 200)\n'
compare "$(make_tree 100 100 20000)" "$(change_tree 100 100 20)" git restic borg
# The last tree of each is still here: all of it comes back into an empty directory.
printf 'the whole of it restored into an empty directory (wanted: git 1.3, restic 4)\n'
bundle=$(find few/run/bundles -name '*.njb')
back_nightjar() { nightjar-replay checkout "$bundle" --to "$1"; }
back_git() { mkdir "$1" && git -C tree --work-tree="$work/$1" checkout -f HEAD -- .; }
back_restic() { restic -q restore latest --target "$1"; }
# Nothing is removed in between: ext4 does not use the numbers of files that have just gone, and whoever makes 10,000 then
# spends two thirds of its time looking for others.
restored() { for ((i = 0; i < ROUNDS; i++)); do sync && spent "back_$1" "back.$1.$i" || exit 1; done | median; }
ours=$(restored nightjar) || exit 1
line '' ms '' 'peer/this'
beside "nightjar-replay checkout" "$ours" '' "$ours"
for peer in git restic; do
    command -v "$peer" >/dev/null || continue
    mv tree "tree.before.$peer" && rm -rf restic
    bash -c "$(make_tree 100 100 20000)" && "init_$peer" >log 2>&1 && "keep_$peer" >log 2>&1 || die "$peer cannot begin"
    theirs=$(restored "$peer") || exit 1
    beside "$peer" "$theirs" '' "$ours"
done
NJ_TEST_EVICT_ALWAYS=1 timed many >/dev/null && built=$(steps many/run keep) || exit 1
beside "nightjar, into a new box, a step" "$built" '' "$ours"
rm -rf many few tree tree.* restic borg back.*

printf 'a snapshot of 50 files, 1 MB, 5 changed\n'
compare "$(make_tree 5 10 20000)" "$(change_tree 5 10 5)" git
rm -rf many few tree

printf 'a snapshot of one file of 64 MB, 20 edits of 200 bytes\n'
compare "$(make_long)" "$(change_long 20)" git restic borg
