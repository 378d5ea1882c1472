#!/usr/bin/env bash
#
# bench.sh - ratios beside peers, measured in one run on one file system
#
# The engine is measured through `nightjar run` on generated jobs with the script provider. Starting and
# ending a run are left out by difference: the same job with many steps and with few, and what lies between. Every figure is
# the median of ROUNDS paired runs; absolute numbers carry the noise of the machine, so read the ratios.
set -uo pipefail

NJ_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P) || exit 2
. "$NJ_ROOT/tests/bench/common.bash"
ROUNDS=${BENCH_ROUNDS:-3}
MESSAGE_BYTES=470
STEP_BYTES=2048 # of one record in the peers: about what a step of this kind writes (event, snapshot, message)
PATH=$NJ_ROOT/build/release/bin:$PATH
bench_enter run
trap 'cd / && rm -rf "$work"' EXIT

for program in append spawn; do
    cc -O2 -Wall -Wextra -D_GNU_SOURCE -o "$program" "$NJ_ROOT/tests/bench/$program.c" || die "cannot build $program"
done
cc -O2 -Wall -Wextra -D_GNU_SOURCE -o sqlite "$NJ_ROOT/tests/bench/sqlite.c" -lsqlite3 || die "cannot build sqlite (libsqlite3-dev)"

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.2f", a / b; else printf "-" }'; }

# job NAME SESSIONS TURNS CALL - a job of SESSIONS sessions with TURNS replies that call, and a last one
job() {
    local name=$1 sessions=$2 turns=$3 call=$4 i text
    mkdir -p "$name/items"
    for ((i = 1; i <= sessions; i++)); do
        echo "$i" >"$name/items/$i.txt"
    done
    text=$(head -c 8192 /dev/zero | tr '\0' x | head -c "$MESSAGE_BYTES")
    {
        echo "replies:"
        if [ "$turns" -gt 0 ]; then
            echo "  - when: {turn: [$(seq -s , 1 "$turns")]}"
            echo "    say: \"$text\""
            echo "    call: [$call]"
        fi
        echo '  - say: "[{last}]"'
    } >"$name/replies.yaml"
    bench_job 128 "sessions: $sessions${SERIAL:+, tool_calls: 1}" >"$name/job.yaml"
}

# sound NAME - did its boxes do what they were told? A call that failed is quick, and must not pass for speed.
sound() {
    grep -q code_execution "$1/replies.yaml" || return 0
    ! grep -v '"result":\[\]' "$1/run/results.jsonl" || die "a call of the job $1 failed"
}

# timed NAME - run it once into NAME/run; prints seconds
timed() {
    local begun ended
    rm -rf "$1/run"
    sync
    begun=$(seconds)
    nightjar run "$1/job.yaml" --run-dir "$1/run" --quiet || die "the job $1 did not succeed"
    ended=$(seconds)
    sound "$1"
    awk -v a="$begun" -v b="$ended" 'BEGIN { printf "%.4f\n", b - a }'
}

# Not run at all, so no box is built: the record of the step is all there is.
NO_BOX='{tool: nothing, input: {}}'
IN_BOX='{tool: code_execution, input: {language: bash, code: ":"}}'

# between MANY FEW COUNT - seconds for one of COUNT units: median over paired runs
between() {
    local i many few
    for ((i = 0; i < ROUNDS; i++)); do
        many=$(timed "$1") || exit 1
        few=$(timed "$2") || exit 1
        awk -v a="$many" -v b="$few" -v n="$3" 'BEGIN { printf "%.9f\n", (a - b) / n }'
    done | median
}

printf 'file system: %s; %s processors; %s rounds\n\n' "$(stat -f -c %T .)" "$(nproc)" "$ROUNDS"

# ---- durable model replies ----

# A turn is a reply and the result of its call: two steps, one after the other, each with its snapshot.
printf '%-34s %10s %10s %10s %10s %9s %9s\n' 'durable, a second' 'replies' 'steps' append sqlite 'steps/app' 'steps/sql'
for sessions in 1 8 64; do
    turns=200
    [ "$sessions" -lt 64 ] || turns=60
    job "many" "$sessions" "$turns" "$NO_BOX"
    job "few" "$sessions" 0 "$NO_BOX"
    per=$(between many few $((sessions * turns))) || exit 1
    replies=$(awk -v p="$per" 'BEGIN { printf "%.0f", 1 / p }')
    floor=$(for ((i = 0; i < ROUNDS; i++)); do ./append log "$sessions" "$turns" "$STEP_BYTES" || exit 1; done | median)
    peer=$(for ((i = 0; i < ROUNDS; i++)); do rm -f db*; ./sqlite db "$sessions" "$turns" "$STEP_BYTES" || exit 1; done | median)
    printf '%-34s %10s %10s %10.0f %10.0f %9s %9s\n' "  $sessions sessions" "$replies" "$((2 * replies))" "$floor" "$peer" \
        "$(ratio "$((2 * replies))" "$floor")" "$(ratio "$((2 * replies))" "$peer")"
    rm -rf many few log db*
done
echo

# ---- boxes ----

bwrap_box=(bwrap --unshare-all --die-with-parent --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib
    --symlink usr/lib64 /lib64 --proc /proc --dev /dev --tmpfs /tmp --tmpfs /workspace --chdir /workspace)
calls=100
SERIAL=1 job warm 1 "$calls" "$IN_BOX"
SERIAL=1 job cold "$calls" 1 "$IN_BOX"
SERIAL=1 job none 1 "$calls" "$NO_BOX"
SERIAL=1 job none-each "$calls" 1 "$NO_BOX"
sed -i 's/^limits: {sessions: [0-9]*/limits: {sessions: 1/' cold/job.yaml none-each/job.yaml
warm=$(between warm none "$calls") || exit 1
cold=$(between cold none-each "$calls") || exit 1
printf '%-34s %12s %12s\n' 'start to exit of an empty script' 'ms' 'bwrap/this'
peer=$(./spawn "$calls" "${bwrap_box[@]}" bash -c : 2>bwrap.err) || peer=
[ -n "$peer" ] || printf '  bubblewrap cannot run here: %s\n' "$(head -n 1 bwrap.err)"
printf '%-34s %12.2f %12s\n' '  bash alone' "$(./spawn "$calls" bash -c :)" ''
[ -z "$peer" ] || printf '%-34s %12.2f %12s\n' '  bubblewrap' "$peer" 1.00
for what in warm cold; do
    ms=$(awk -v s="${!what}" 'BEGIN { printf "%.3f", s * 1000 }')
    printf '%-34s %12.2f %12s\n' "  nightjar, $what box" "$ms" "$([ -z "$peer" ] || ratio "$peer" "$ms")"
done
printf '  (nightjar: with the capture of the workspace; the record of the step is subtracted)\n\n'
rm -rf warm cold none none-each

# The box alone, without engine and journal, beside what peers' command lines do: bubblewrap with fewer mounts and neither
# filter nor limits; crun and runc with the default profile that `runc spec` writes; firejail without its profiles.
cmake --build "$NJ_ROOT/build/release" --target bench-box bench-box-parts >box.log 2>&1 || die "cannot build bench-box: $(tail -n 3 box.log)"
# The program alone comes first: nothing that runs it can be quicker, so what lies above it is what each costs.
peers=(/bin/true)
[ -z "$peer" ] || peers+=("${bwrap_box[*]} /bin/true")
# oci RUNTIME - a bundle that shows the same system read-only; as root only
oci() {
    [ "$(id -u)" -eq 0 ] && command -v runc "$1" >/dev/null || return 0
    mkdir -p "$1/rootfs"/{usr,proc,dev,tmp,workspace}
    ln -s usr/bin usr/lib usr/lib64 "$1/rootfs"
    (cd "$1" && runc spec && python3 -I - <<-'PYTHON'
	import json
	with open("config.json", encoding="utf-8") as file:
	    config = json.load(file)
	config["process"].update(terminal=False, args=["/bin/true"])
	config["mounts"] += [{"destination": "/usr", "source": "/usr", "type": "bind", "options": ["rbind", "ro"]},
	                     {"destination": "/tmp", "source": "tmpfs", "type": "tmpfs"},
	                     {"destination": "/workspace", "source": "tmpfs", "type": "tmpfs"}]
	with open("config.json", "w", encoding="utf-8") as file:
	    json.dump(config, file)
	PYTHON
    ) || return 0
    printf '#!/bin/sh\nexec %s run --bundle %q nj-bench-$$\n' "$1" "$PWD/$1" >"$1.sh" && chmod +x "$1.sh"
    if ./"$1.sh" >"$1.log" 2>&1; then peers+=("./$1.sh"); else echo "  $1 cannot run here: $(head -n 1 "$1.log")"; fi
}
oci crun
oci runc
if command -v firejail >/dev/null; then
    jail="firejail --quiet --noprofile --net=none --private-dev --private-tmp --caps.drop=all --nonewprivs --seccomp /bin/true"
    if $jail >jail.log 2>&1; then peers+=("$jail"); else echo "  firejail cannot run here: $(head -n 1 jail.log)"; fi
fi
echo 'start to exit of /bin/true'
"$NJ_ROOT/build/release/bin/bench-box" "${BENCH_BOXES:-40}" /bin/true "${peers[@]}" || die "bench-box failed"
"$NJ_ROOT/build/release/bin/bench-box-parts" "${BENCH_BOXES:-40}" /bin/true || die "bench-box-parts failed"
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
        job "b$steps" 1 $((steps / 2)) "${!kind}"
        timed "b$steps" >/dev/null || exit 1
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

# ---- plans ----

mkdir plan
printf 'replies:\n  - {say: x}\n' >plan/replies.yaml
awk 'BEGIN { print "id,name,tier"; for (i = 0; i < 100000; i++) printf "%d,\"Customer, number %d\",gold\n", i, i }' >plan/items.csv
cat >plan/job.yaml <<'YAML'
nightjar: 1
models: {worker: [{provider: script, script: replies.yaml}]}
agents: {tester: {model: worker, tools: [{type: code_execution}]}}
sessions: [{name: rows, agent: tester, for_each: {csv: items.csv}, where: {tier: gold}, key: "c-{item.id}", input: "{item.name}"}]
YAML
# The most memory it ever had is asked of the kernel, by a parent that waits for this child only.
python3 -I - "$(command -v nightjar)" plan/job.yaml <<'PYTHON' || exit 1
import resource, subprocess, sys, time
begun = time.monotonic()
subprocess.run([sys.argv[1], "plan", sys.argv[2]], check=True, stdout=subprocess.DEVNULL)
spent = time.monotonic() - begun
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(f"{'a plan of 100,000 rows':<34} {spent:>10.2f} s {peak:>9.0f} MB   (at most 5 s, 300 MB)")
PYTHON
rm -rf plan
echo

# ---- snapshots and restores ----

cd / || exit 2
"$NJ_ROOT/tests/bench/snapshot.sh"
