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
PATH=$NJ_ROOT/build/release/bin:$PATH
bench_enter run
trap 'cd / && rm -rf "$work"' EXIT

bench_program spawn

printf 'file system: %s; %s processors; %s rounds\n\n' "$(stat -f -c %T .)" "$(nproc)" "$ROUNDS"

# ---- boxes ----

bwrap_box=(bwrap --unshare-all --die-with-parent --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib
    --symlink usr/lib64 /lib64 --proc /proc --dev /dev --tmpfs /tmp --tmpfs /workspace --chdir /workspace)
calls=100
SERIAL=1 turns_job warm 1 "$calls" "$IN_BOX"
SERIAL=1 turns_job cold "$calls" 1 "$IN_BOX"
SERIAL=1 turns_job none 1 "$calls" "$NO_BOX"
SERIAL=1 turns_job none-each "$calls" 1 "$NO_BOX"
sed -i 's/^limits: {sessions: [0-9]*/limits: {sessions: 1/' cold/job.yaml none-each/job.yaml
warm=$(turns_between warm none "$calls") || exit 1
cold=$(turns_between cold none-each "$calls") || exit 1
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
# crun refuses a host that has cgroups of both versions. Boxes use the first there, so all that are compared run without the second.
view=()
if [ "$(id -u)" -eq 0 ] && mountpoint -q /sys/fs/cgroup/unified; then
    view=(unshare --mount --propagation private sh -c 'umount /sys/fs/cgroup/unified && exec "$@"' sh)
fi
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
    if "${view[@]}" ./"$1.sh" >"$1.log" 2>&1; then peers+=("./$1.sh"); else echo "  $1 cannot run here: $(head -n 1 "$1.log")"; fi
}
oci crun
oci runc
if command -v firejail >/dev/null; then
    jail="firejail --quiet --noprofile --net=none --private-dev --private-tmp --caps.drop=all --nonewprivs --seccomp /bin/true"
    if $jail >jail.log 2>&1; then peers+=("$jail"); else echo "  firejail cannot run here: $(head -n 1 jail.log)"; fi
fi
echo 'start to exit of /bin/true'
"${view[@]}" "$NJ_ROOT/build/release/bin/bench-box" "${BENCH_BOXES:-40}" /bin/true "${peers[@]}" || die "bench-box failed"
"$NJ_ROOT/build/release/bin/bench-box-parts" "${BENCH_BOXES:-40}" /bin/true || die "bench-box-parts failed"
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

# ---- storage ----

cd / || exit 2
"$NJ_ROOT/tests/bench/storage.sh"
