# plan: what would run, what an earlier run can stand for, and the one ingredient that changed; a dry run
# that touches nothing.
#
# once: a plan touches nothing and asks for no right

load ../lib/common

setup() {
    nj_setup
    mkdir in && printf 'a' >in/a.txt && printf 'b' >in/b.txt
    cat >replies.yaml <<-YAML
	replies:
	  - when: {item: {name: c.txt}}
	    fail: refusal
	  - {say: "Done.", usage: {input_tokens: 1000, output_tokens: 100}}
	YAML
    cat >job.yaml <<-YAML
	nightjar: 1
	job: planned
	models:
	  worker: [{provider: script, script: replies.yaml, price: {input: 3, output: 15}}]
	agents:
	  tester: {model: worker, instructions: "Look.", tools: [{type: code_execution}], limits: {turns: 5}}
	sessions:
	  - name: files
	    agent: tester
	    for_each: {glob: "in/*.txt"}
	    files: [{source: "{item.path}", target: /workspace/in.txt}]
	    input: "Go."
	YAML
}
teardown() { nj_teardown; }

@test "a plan tells what would run and touches nothing" {
    find . -printf '%p %T@ %C@ %s\n' | sort >before
    expect 0 nightjar plan job.yaml
    has_out "files: 2 would run"
    has_out "at most     unknown for 2 sessions"
    find . -printf '%p %T@ %C@ %s\n' | grep -v -e before -e '^\. ' | sort >"$BATS_TEST_TMPDIR/after"
    grep -v -e before -e '^\. ' before | diff - "$BATS_TEST_TMPDIR/after"
    expect 0 nightjar plan --set limits.session_budget_usd=0.5 job.yaml
    has_out "at most     1.00 USD, all turns and attempts within their budgets"
    expect 0 nightjar plan --set limits.budget_usd=0.75 job.yaml
    has_out "at most     0.75 USD, the budget of the run"
}

@test "an earlier run stands for what is the same, and estimates the rest" {
    expect 0 nightjar run --run-dir run job.yaml
    expect 0 nightjar plan --reuse run job.yaml
    has_out "files: 0 would run, 2 reused"
    has_out "cost: nothing"
    printf 'c' >in/c.txt
    expect 0 nightjar plan --reuse run job.yaml
    has_out "files: 1 would run, 2 reused"
    has_out "1 new: c"
}

@test "what changed is named: file, instructions, model, script, limit, tool, box, input" {
    expect 0 nightjar run --run-dir run job.yaml
    printf 'other' >in/a.txt
    expect 0 nightjar plan --reuse run job.yaml
    has_out "1 changed: file /workspace/in.txt: a" # that its size is another, too, is no second change
    printf 'a' >in/a.txt
    local set what
    while IFS='|' read -r set what; do
        expect 0 nightjar plan --reuse run --set "$set" job.yaml
        has_out "2 changed: $what"
    done <<-SETS
	agents.tester.instructions=Read.|instructions, first a
	agents.tester.limits.turns=6|limits.turns, first a
	agents.tester.tools=[]|tools
	agents.tester.tools=[{type: code_execution, languages: [bash, node]}]|tool schema code_execution, first a
	agents.tester.sandbox.max_memory_mb=300|sandbox.max_memory_mb, first a
	sessions.files.input=Come.|input, first a
	sessions.files.accept={command: [cat]}|accept
	sessions.files.name=others|group, first a
	SETS
    echo '# another' >>replies.yaml
    expect 0 nightjar plan --reuse run job.yaml
    has_out "2 changed: script, first a"
}

@test "a session that failed is run again, and --json has each one" {
    printf 'c' >in/c.txt
    nightjar run --run-dir run job.yaml || true
    [ "$(row c 'r["status"]')" = failed ]
    expect 0 nightjar plan --reuse run job.yaml
    has_out "1 failed there: c"
    has_out "live        0.0045 USD without a cache, from what these groups used there"
    nightjar plan --json --reuse run job.yaml >plan.json
    python3 -Ic 'import json
p=json.load(open("plan.json"))
assert [s["verdict"] for s in p["sessions"]]==["reuse","reuse","failed"], p
assert p["run"]==1 and p["reused"]==2 and p["live_usd"]==0.0045, p'
}

@test "costs are told live, cached and in waves, and bounded without an earlier run" {
    local model='models.worker=[{provider: anthropic, model: large, price: {input: 3, output: 15}, context_tokens: 10000, max_tokens: 1000}]'
    # A call: 9,000 tokens written to the cache at 3.75 and 1,000 of a reply at 15; five turns, two sessions.
    expect 0 nightjar plan --set "$model" job.yaml
    has_out "at most     0.4875 USD, all turns and attempts"
    expect 0 nightjar plan --set "$model" --set 'retry={attempts: 3}' --set agents.tester.limits.session_budget_usd=0.1 job.yaml
    has_out "at most     0.60 USD, all turns and attempts"
    nightjar run --run-dir run job.yaml
    expect 0 nightjar plan --reuse run --set "$model" job.yaml
    has_out "live        0.009 USD without a cache"
    has_out "cached      0.0105 USD" # a single call writes its prompt and reads nothing
    has_out "waves       0.00525 USD in batches"
    expect 0 nightjar plan --reuse run --set "${model/anthropic/openai}" job.yaml
    has_out "live        0.009 USD without a cache"
    hasnt "waves"
    nightjar plan --json --reuse run --set "$model" job.yaml >plan.json
    python3 -Ic 'import json
p=json.load(open("plan.json"))
assert (p["live_usd"],p["cached_usd"],p["waves_usd"],p["bound_usd"],p["cost_unknown"])==(0.009,0.0105,0.00525,0.4875,0), p'
}

@test "what is no run is refused" {
    expect 2 nightjar plan --reuse nowhere job.yaml
    has_err "run nowhere: there is none"
    mkdir empty
    expect 2 nightjar plan --reuse empty job.yaml
    has_err "nothing of it can be reused"
}
