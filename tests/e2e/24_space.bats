# A long run does not keep on disk what has ended: while it writes gigabytes, its journal stays near what its live sessions hold.
#
# Long and heavy: with NJ_FULL=1 only. NJ_SPACE_GB is how much the sessions write (2 unless set); the journal may have 1 GB at any time.
# Each finished bundle is taken away, as whoever keeps bundles elsewhere does: a bundle holds every step of its session, so all
# of them together are as large as what was written.
#
#   NJ_FULL=1 NJ_SPACE_GB=20 NJ_PRESET=release bats tests/e2e/24_space.bats

load ../lib/common

setup() { nj_setup; }
teardown() { nj_teardown; }

# take_away RUN - until RUN has ended: prints each size of its journal in bytes, and removes bundles that are whole
take_away() {
    while kill -0 "$1" 2>/dev/null; do
        du -sb run/journal 2>/dev/null | cut -f 1
        find run/bundles -name '*.njb' -printf '%s %p\n' -delete >>taken 2>/dev/null || true # not there at the beginning
        sleep 0.2
    done
}

@test "sessions that write gigabytes with 200 MB alive leave a journal below 1 GB" {
    [ "${NJ_FULL-}" = 1 ] || skip "long: NJ_FULL=1 runs it"
    skip_without namespaces
    command -v openssl >/dev/null || skip "no openssl here"
    local gigabytes=${NJ_SPACE_GB:-2} most
    mkdir items
    for ((i = 0; i < gigabytes * 10; i++)); do echo "$i" >"items/$i.txt"; done
    # Two at once, of 100 MB each: five steps that write 20 MB anew, of bytes that no compression shortens.
    cat >replies.yaml <<-'YAML'
	replies:
	  - when: {turn: [1, 2, 3, 4, 5]}
	    say: "x"
	    call: [{tool: code_execution, input: {language: bash, code: "f=$(ls | wc -l); openssl rand 20000000 >part-$f"}}]
	  - say: "[{last}]"
	YAML
    cat >job.yaml <<-'YAML'
	nightjar: 1
	job: space
	models: {worker: [{provider: script, script: replies.yaml}]}
	agents:
	  writer: {model: worker, reproducible: D0, sandbox: {filesystem: {max_size_mb: 256}}, tools: [{type: code_execution, languages: [bash]}]}
	sessions:
	  - {name: all, agent: writer, for_each: {glob: "items/*.txt"}, key: "{item.stem}", input: "Go."}
	limits: {sessions: 2}
	YAML
    begin nightjar run job.yaml --run-dir run --quiet
    take_away "$begun" >sizes
    ended 0
    find run/bundles -name '*.njb' -printf '%s %p\n' >>taken
    most=$(sort -n sizes | tail -n 1)
    echo "the journal had $most bytes at most; $(awk '{ s += $1 } END { print s }' taken) bytes were bundled" >&3
    [ "$(awk '{ s += $1 } END { printf "%d", s / 1e9 }' taken)" -ge "$gigabytes" ] || complain "less was written than should be"
    [ "$most" -lt 1000000000 ] || complain "the journal had $most bytes"
}

@test "a session that wrote more than a bundle holds fails, and the run goes on to its end" {
    [ "${NJ_FULL-}" = 1 ] || skip "long: NJ_FULL=1 runs it"
    skip_without namespaces
    # Eleven steps of 420 MB that are all different, and pack well.
    cat >replies.yaml <<-'YAML'
	replies:
	  - when: {turn: 1, matches: small}
	    say: "small"
	  - when: {turn: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}
	    say: "x"
	    call: [{tool: code_execution, input: {language: bash, code: "n=$(cat n || echo 1); echo $((n + 1)) >n; seq $((n * 100000000)) $((n * 100000000 + 44000000)) | head -c 420000000 >f"}}]
	  - say: "written"
	YAML
    cat >job.yaml <<-'YAML'
	nightjar: 1
	models: {worker: [{provider: script, script: replies.yaml}]}
	agents: {writer: {model: worker, reproducible: D0, tools: [{type: code_execution}]}}
	sessions:
	  - {name: large, agent: writer, input: "Go."}
	  - {name: small, agent: writer, input: "A small one."}
	YAML
    expect 1 nightjar run job.yaml --run-dir run
    same "$(result small)" "small"
    grep '"key":"large"' run/results.jsonl | grep -q '"status":"failed".*no bundle can hold its record.*"bundle":null' || complain "$(cat run/results.jsonl)"
    expect 1 nightjar resume run
    expect 0 nightjar-replay show run:large
    has "closed: succeeded: written"
    expect 0 nightjar-replay fsck run
}
