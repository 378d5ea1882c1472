# Memory by every road (item 25): a box of 64 MiB tries to hold four times as much, and each road ends at a refusal
# or at a named limit, while sessions beside it go on.

load ../lib/common
load ../lib/attack

setup_file() { attack_build; }
setup() {
    nj_setup
    skip_without namespaces
}
teardown() { nj_teardown; }

# The road, what ends it where a cgroup bounds memory, and where rlimits and a watchdog do ("soft"). Several words are
# equally right: which limit strikes first depends on the kernel.
ROADS='
heap              max_memory_mb,ENOMEM  ENOMEM,max_memory_mb
shared_mapping    max_memory_mb         max_memory_mb
children          max_memory_mb         max_memory_mb
memfds            max_memory_mb         ENOSYS
memfds_in_flight  max_memory_mb         ENOSYS
system_v          max_memory_mb         ENOMEM
workspace         ENOSPC                ENOSPC
dev_shm           ENOSPC                ENOSPC
scripts_place     ENOSPC                ENOSPC
hugetlb           ENOMEM                ENOMEM
locked            ENOMEM,max_memory_mb  ENOMEM,max_memory_mb
page_tables       max_memory_mb,ENOMEM  max_memory_mb
pipes             max_memory_mb         EMFILE
sockets           max_memory_mb         max_memory_mb
'

@test "25: memory ends at its limit by every road, and other sessions go on" {
    local road hard soft want failures= values=
    while read -r road hard soft; do
        [ -z "$road" ] || values+="{road: $road}, "
    done <<<"$ROADS"
    cp -R "$BATS_FILE_TMPDIR/attack" .
    cat >replies.yaml <<-'YAML'
	replies:
	  - when: {turn: 1, matches: "^attack$"}
	    call: [{tool: code_execution, input: {language: bash, code: "exec python3 -I /attack/memory.py {item.road} 2>&1", timeout_seconds: 30}}]
	  - when: {turn: [1, 2, 3, 4, 5], matches: "bystander"}
	    call: [{tool: code_execution, input: {language: bash, code: "echo bystander", timeout_seconds: 30}}]
	  - say: "{last}"
	YAML
    ATTACK_SANDBOX="max_memory_mb: 64, filesystem: {max_size_mb: 16}" attack_manifest >job.yaml
    cat >>job.yaml <<-YAML
	sessions:
	  - {name: roads, agent: attacker, key: "{item.road}", for_each: {values: [${values%, }]}, input: "attack"}
	  - {name: others, agent: attacker, key: "other-{item.n}", for_each: {values: [{n: 1}, {n: 2}, {n: 3}]}, input: "bystander"}
	YAML
    expect 0 nightjar check --plan job.yaml
    want=hard
    [[ $out != *"memory 64 MiB: soft"* ]] || want=soft
    expect 0 nightjar run job.yaml --run-dir run
    # All rows at once: "key: result" on one line each.
    python3 -I -c 'import json
for line in open("run/results.jsonl", encoding="utf-8"):
    row = json.loads(line)
    print(row["key"] + ":", json.dumps(row["result"]))' >rows
    while read -r road hard soft; do
        [ -n "$road" ] || continue
        grep "^$road: " rows | grep -qE "${!want//,/|}" || failures+="$road: ${!want} expected, $(grep "^$road: " rows) came"$'\n'
    done <<<"$ROADS"
    [ -z "$failures" ] || complain "$failures"
    [ "$(grep -c '^other-.*bystander' rows)" -eq 3 ] || complain "not every other session went on: $(<rows)"
}
