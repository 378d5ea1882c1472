# Dead frames leave the journal while a run goes on, and at no moment of that does a kill lose anything: the run
# is gone on with, every session is whole, and what ended before the kill is not run again.

load ../lib/common
load ../lib/fault

# Sessions that leave more in the journal than its segments of this test hold; one after the other, for some seconds.
setup() {
    fault_setup
    export NJ_TEST_SEGMENT_KB=512
    mkdir items && touch items/{01..10}.txt
    cat >replies.yaml <<-'YAML'
	replies:
	  - when: {turn: 1, matches: "Wait"}
	    call: [{tool: code_execution, input: {language: bash, code: "sleep 3"}}]
	  - when: {turn: [1, 2]}
	    say: "writing"
	    call: [{tool: code_execution, input: {language: bash, code: "{ [ -e data ] && echo 2 || echo 1; } | python3 -c 'import random; random.seed(int(input())); open(\"data\", \"wb\").write(random.randbytes(400000))'; sleep 0.1"}}]
	  - say: '{"a": 1, "bundle": null, "b": 2}' # looks like a row without a bundle
	YAML
    cat >job.yaml <<-'YAML'
	nightjar: 1
	job: thin
	models: {worker: [{provider: script, script: replies.yaml}]}
	agents:
	  tester: {model: worker, sandbox: {filesystem: {max_size_mb: 8}}, tools: [{type: code_execution, languages: [bash]}]}
	sessions:
	  - {name: rows, agent: tester, for_each: {glob: "items/*.txt"}, key: "{item.stem}", input: "Go."}
	limits: {sessions: 2, disk_free_mb: 0}
	YAML
}
teardown() { nj_teardown; }

# thinned RUN - how many segments have the feature bit in their header
thinned() { for segment in "$1"/journal/*.njj; do od -An -tu4 -j8 -N4 "$segment"; done | awk '$1 == 1 { n++ } END { print n + 0 }'; }

# whole RUN [N] - all of its N sessions, 10 unless told
whole() {
    local n=${2:-10}
    expect 0 nightjar-replay fsck "$1"
    has_out "$1: whole; $n of $n sessions are whole"
    [ "$(grep -c '"status":"succeeded"' "$1/results.jsonl")" -eq "$n" ]
}

@test "what ended sessions wrote leaves the journal, and what is told of them stays" {
    # A last session, slow and small, leaves time for what the others wrote.
    sed -i '/name: rows/a\  - {name: last, agent: tester, after: [rows], key: last, input: "Wait."}' job.yaml
    expect 0 nightjar run job.yaml --run-dir run --quiet
    [ "$(thinned run)" -ge 4 ]
    [ "$(du -sk run/journal | cut -f 1)" -le 3000 ] # of some 8,500 that were written
    whole run 11
    expect 0 nightjar-replay verify run:01
    expect 0 nightjar bundle run:01 --output copy.njb
    cmp copy.njb run/bundles/01-*.njb
    mv run/bundles/01-*.njb gone
    expect 3 nightjar bundle run:01
    has_err "its frames have left the journal: open bundles/01-"
    mv gone "run/bundles/$(sed -n 's,.*"bundle":"bundles/\(01-[^"]*\)".*,\1,p' run/results.jsonl)"
    cp run/results.jsonl before
    expect 0 nightjar resume run --quiet
    cmp before run/results.jsonl
}

# One kill at the n-th pass; a second one while it is gone on with; then to the end.
struck() {
    local point=$1 n=$2 status=0
    rm -rf run
    NJ_FAULT="$point#$n:kill" nightjar run job.yaml --run-dir run --quiet 2>run.err || status=$?
    [ "$status" -eq "$3" ] || complain "$point#$n: exit $status: $(cat run.err)" || return 1
    cp run/results.jsonl before 2>/dev/null || true
    [ "$status" -eq 0 ] || NJ_FAULT="$point:kill" nightjar resume run --quiet 2>run.err || true
    expect 0 nightjar resume run --quiet
    whole run
    ! compgen -G 'run/journal/.tmp-*' || complain "$point#$n: a file is left beside the segments"
}

@test "the engine killed before and behind the swap of a segment" {
    for point in journal.before_swap journal.after_swap; do
        for n in 2 $([ "${NJ_FULL:-0}" = 0 ] || echo 1 3 4 5); do struck "$point" "$n" 137; done
    done
}

@test "a worker killed while it thins: the run goes on with what it has" {
    struck worker/journal.thinning 2 0
    grep -q "worker process died" run.err
}
