# Sessions that fail and are tried again: by cause, with a pause, over kills and resumes; and because a person asks.
#
# once: causes and attempts are the engine's sum

load ../lib/common

setup() {
    nj_setup
    skip_without namespaces
    export NJ_SCRIPT_LOG=$PWD/log
    mkdir items
    for n in 1 2 3 4; do touch "items/$n.txt"; done
    # 2 fails at its first attempt, 3 at each; every attempt makes one call first.
    cat >replies.yaml <<-'YAML'
	replies:
	  - when: {turn: 1}
	    call: [{tool: code_execution, input: {language: bash, code: "cat out 2>/dev/null; echo made >out", timeout_seconds: 30}}]
	    usage: {input_tokens: 100, output_tokens: 10}
	  - {when: {item.stem: "2", attempt: 1}, fail: refusal}
	  - {when: {item.stem: "3"}, fail: refusal}
	  - {say: "{item.stem} is done: {last}", usage: {input_tokens: 100, output_tokens: 10}}
	YAML
    cat >job.yaml <<-'YAML'
	nightjar: 1
	job: again
	models:
	  worker: [{provider: script, script: replies.yaml, price: {input: 1.0, output: 1.0}}]
	agents:
	  tester: {model: worker, sandbox: {filesystem: {max_size_mb: 16}}, tools: [{type: code_execution}]}
	sessions:
	  - {name: items, agent: tester, for_each: {glob: "items/*.txt"}, key: "{item.stem}", input: "Go."}
	  - {name: last, agent: tester, key: last, after: [items], input: "Sum up {results}"}
	retry: {attempts: 3, on: [model], backoff_seconds: 0}
	YAML
}
teardown() { nj_teardown; }

# bundles RUN - names without digests
bundles() { find "${1:-run}/bundles" -type f -printf '%f\n' | sed 's/-[0-9a-f]\{8\}\././' | sort | tr '\n' ' '; }

@test "a session that failed is tried again from its start, as often as the job says" {
    expect 1 nightjar run job.yaml --run-dir run
    same "$(row 1 'r["status"], r["attempts"]')" '["succeeded", 1]'
    same "$(row 2 'r["status"], r["attempts"]')" '["succeeded", 2]'
    same "$(row 3 'r["status"], r["attempts"], r["error"]["kind"]')" '["failed", 3, "model"]'
    # A fresh workspace each time: nothing of the attempt before.
    same "$(result 2)" "2 is done:"
    # What failed was paid for all the same: two replies at 110 micro-USD, of which 2 had one more.
    same "$(row 1 'r["cost_usd"], r["tokens"]["input"]')" '[0.00022, 200]'
    same "$(row 2 'r["cost_usd"], r["tokens"]["input"]')" '[0.00033, 300]'
    same "$(row 3 'r["cost_usd"]')" 0.00033
    same "$(bundles)" "1.njb 2.attempt-1.njb 2.njb 3.attempt-1.njb 3.attempt-2.njb 3.njb 4.njb last.njb "
    same "$(row last 'r["status"]')" succeeded
    same "$(wc -l <run/results.jsonl)" 5
}

@test "every attempt has its bundle under one identity, and each replays" {
    expect 1 nightjar run job.yaml --run-dir run
    same "$(find run/bundles -name '2-*' -printf '%f\n' | cut -c1-10 | sort -u | wc -l)" 1 "identities"
    expect 0 nightjar-replay verify "$(bundle 2)"
    expect 0 nightjar-replay verify run/bundles/2-*.attempt-1.njb
    expect 0 nightjar-replay show run:2
    has "2 is done"
    expect 0 nightjar-replay verify run:2
    expect 0 nightjar-replay show run:3
}

# paused - all that is left is to be tried again
paused() { grep -q '"retrying": 2' run/run.json && grep -q '"succeeded": 2' run/run.json; }
paused_or_ended() { paused || ! kill -0 "$begun"; }

@test "killed between attempts: what has ended is not repeated, and the pause is kept" {
    # Half an hour at least: nothing here comes too late for it.
    sed -i 's/backoff_seconds: 0/backoff_seconds: 3600, backoff_max_seconds: 3600/' job.yaml
    begin nightjar run job.yaml --run-dir run
    until_true 60 paused
    kill -KILL "$begun"
    ended 137
    delivered=$(wc -l <log)
    begin nightjar resume run
    engine=$begun
    until_true 60 grep -q "\"pid\": $engine" run/run.json
    until_true 60 paused
    same "$(wc -l <log)" "$delivered" "replies before the pause was over"
    expect 0 nightjar stop run
    begun=$engine ended 4
    same "$(row 2 'r["status"], r["attempts"]')" '["suspended", 1]'
    same "$(row 2 'r["cost_usd"]')" 0.00011
}

@test "killed between attempts, a run goes on when the pause is over" {
    local pause born
    # A machine may be so busy that the kill comes when the pause is over: then a longer one is tried.
    for pause in 6 24 96 384; do
        rm -rf run log
        sed -i "s/backoff_seconds: [0-9]*/backoff_seconds: $pause/" job.yaml
        born=${EPOCHREALTIME//[.,]/}
        begin nightjar run job.yaml --run-dir run
        until_true 600 paused_or_ended
        kill -KILL "$begun" 2>/dev/null || true
        wait "$begun" || true
        # No pause is shorter than half of it, and none began before the run.
        [ $((${EPOCHREALTIME//[.,]/} - born)) -ge $((pause * 500000)) ] || break
    done
    same "$(wc -l <log)" 8 "replies before the pause was over"
    expect 1 nightjar resume run
    same "$(row 2 'r["status"], r["attempts"]')" '["succeeded", 2]'
    same "$(row 3 'r["status"], r["attempts"]')" '["failed", 3]'
    same "$(row 3 'r["cost_usd"]')" 0.00033
}

@test "a cause that the job does not name is not tried again" {
    sed -i 's/on: \[model\]/on: [engine, limit]/' job.yaml
    expect 1 nightjar run job.yaml --run-dir run
    same "$(row 2 'r["status"], r["attempts"]')" '["failed", 1]'
    same "$(bundles)" "1.njb 2.njb 3.njb 4.njb last.njb "
}

@test "resume --retry-failed gives each failed session one more attempt, and nothing to the others" {
    sed -i '/^retry/d' job.yaml
    expect 1 nightjar run job.yaml --run-dir run
    same "$(row 2 'r["status"], r["attempts"]')" '["failed", 1]'
    first=$(sha256sum <"$(bundle 2)")
    delivered=$(wc -l <log)
    expect 1 nightjar resume run
    same "$(wc -l <log)" "$delivered" "a plain resume asks nobody"
    expect 1 nightjar resume run --retry-failed
    same "$(row 2 'r["status"], r["attempts"]')" '["succeeded", 2]'
    same "$(row 3 'r["status"], r["attempts"]')" '["failed", 2]'
    same "$(row 1 'r["attempts"]')" 1
    same "$(sha256sum <"$(echo run/bundles/2-*.attempt-1.njb)")" "$first" "the first attempt's bundle"
    same "$(bundles)" "1.njb 2.attempt-1.njb 2.njb 3.attempt-1.njb 3.njb 4.njb last.njb "
    # 3 a third time, killed as early as can be: it is still owed its attempt.
    NJ_FAULT='engine/journal.before_sync#1:kill' expect 137 nightjar resume run --retry-failed
    expect 1 nightjar resume run --retry-failed
    same "$(row 3 'r["status"], r["attempts"]')" '["failed", 3]'
    expect 0 nightjar-replay verify run/bundles/*.njb
}

@test "killed at every write of the journal, tried-again sessions come to the same end" {
    local n total step
    # Without prices: a call in flight at a kill counts as spent, and the next group is told what the rows cost.
    sed -i 's/, price: {[^}]*}//' job.yaml
    NJ_FAULT_COUNT=$PWD/counts expect 1 nightjar run job.yaml --run-dir plain --quiet
    total=$(awk '$1 == "engine" && $2 == "journal.before_sync" { n += $3 } END { print n }' counts)
    [ "$total" -gt 8 ]
    step=$(((total + 7) / 8))
    [ "${NJ_FULL:-0}" = 0 ] || step=1
    for ((n = 1; n <= total; n += step)); do
        NJ_FAULT="engine/journal.before_sync#$n:kill" nightjar run job.yaml --run-dir "run-$n" --quiet >/dev/null 2>&1 || true
        nightjar resume "run-$n" --quiet >/dev/null 2>&1 || [ $? -eq 1 ] || complain "resume after kill $n"
        diff <(facts plain) <(facts "run-$n") || complain "kill at sync $n of $total"
        same "$(bundles "run-$n")" "$(bundles plain)"
        rm -rf "run-$n"
    done
}
