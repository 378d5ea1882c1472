# What a whole night shows of its models: how calls come back after trouble, what each call carries, what is kept of broken
# answers, and the summary's figures beside money.
#
# once: a model's answers are the same for everybody

load ../lib/common
load ../lib/model_server

setup() { models_setup; }
teardown() { nj_teardown; }

serve() { models_replies "\"m1\": {\"cache_tokens\": ${CACHE_TOKENS:-100000}}" ''; }

# model KEYS - m1 of that server; without a cache nobody goes ahead
model() { printf '[{provider: anthropic, model: m1, base_url: "%s", credential: key, %s}]' "$models_url" "$1"; }

@test "after a burst of 429 all sessions together come back slowly" {
    serve <<-'JSON'
	{"when": {"attempt": 1, "first": "00[1-8]"}, "delay": 0.3,
	 "error": {"status": 429, "type": "rate_limit_error", "headers": {"retry-after-ms": "200"}}},
	{"say": "done", "delay": 0.2}
	JSON
    ITEMS=40 MODELS=$(model "cache: off") job_models
    NJ_TEST_RETRY_MS=50 expect 0 nightjar run job.yaml --run-dir run
    models_sound
    # Eight at once to begin with, one signal of eight refusals, so four; from there one more with each round of successes.
    same "$(models_log_of '[max(line["inflight"] for line in asked[:8]) <= 8, max(line["inflight"] for line in asked[8:14]) <= 5,
        max(line["inflight"] for line in asked[8:]) <= 11, max(line["inflight"] for line in asked[-8:]) >= 5]')" \
        "[true, true, true, true]" "$(models_log_of '[line["inflight"] for line in asked]')"
}

@test "after an outage one call finds out, and then they come back one by one" {
    serve <<-'JSON'
	{"when": {"turn": 1, "attempt": [1, 2]}, "delay": 0.05, "error": {"status": 529, "type": "overloaded_error"}},
	{"when": {"turn": [1, 2, 3, 4]}, "say": "on", "call": [{"name": "nothing", "input": {}}], "delay": 0.2},
	{"say": "done", "delay": 0.2}
	JSON
    ITEMS=8 MODELS=$(model "cache: off") job_models
    NJ_TEST_RETRY_MS=100 expect 0 nightjar run job.yaml --run-dir run
    models_sound
    # Each success lets one more be in flight; without that eight would be asked as soon as the probe is answered.
    python3 -I - <<-'PYTHON'
	import json
	sound, seen = 0, []
	for line in map(json.loads, open("server.log")):
	    if line["event"] == "answered":
	        sound += line["whole"]
	    elif line["event"] == "asked" and sound:
	        seen.append((line["inflight"], sound))
	assert all(inflight <= 1 + sound for inflight, sound in seen), seen
	assert max(inflight for inflight, sound in seen) >= 6, seen
	PYTHON
}

@test "every call carries the trace of its session, and the step that it asks for" {
    serve <<-'JSON'
	{"when": {"turn": 1, "attempt": 1}, "error": {"status": 529, "type": "overloaded_error"}},
	{"when": {"turn": 1}, "say": "on", "call": [{"name": "nothing", "input": {}}]},
	{"say": "done"}
	JSON
    ITEMS=3 MODELS=$(model "cache: off") job_models
    NJ_TEST_RETRY_MS=10 expect 0 nightjar run job.yaml --run-dir run
    models_sound
    python3 -I - <<-'PYTHON'
	import json
	calls = {}
	for line in map(json.loads, open("server.log")):
	    if line["event"] == "asked":
	        version, trace, span, flags = line["traceparent"].split("-")
	        calls.setdefault(line["first"][:3], []).append((trace, line["turn"], span))
	assert len(calls) == 3 and all(len(of) == 3 for of in calls.values()), calls
	traces = [{trace for trace, turn, span in of} for of in calls.values()]
	assert all(len(one) == 1 for one in traces) and len(set.union(*traces)) == 3, calls
	for of in calls.values():  # a second try asks for the same step
	    assert len({span for trace, turn, span in of if turn == 1}) == 1 and len({span for trace, turn, span in of}) == 2, calls
	PYTHON
}

@test "what came of a broken answer is kept, up to its cap" {
    local long stream
    long=$(head -c 300000 /dev/zero | tr '\0' x)
    for stream in true false; do
        rm -rf run server.log
        serve <<<"{\"when\": {\"attempt\": 1}, \"say\": \"$long\", \"fault\": {\"kind\": \"cut\", \"bytes\": 200000}}, {\"say\": \"done\"}"
        STREAM=$stream job_models
        NJ_TEST_RETRY_MS=10 expect 0 nightjar run job.yaml --run-dir run
        models_sound
        expect 0 nightjar-replay show "$(bundle 001)@1"
        has_out "the answer was cut short after 200000 bytes"
        has_out "received, 65536 bytes:"
        expect 0 nightjar-replay verify "$(bundle 001)"
        kill "${nj_started[-1]}"
    done
}

@test "the summary tells of each group how much of its prompts came from the cache" {
    CACHE_TOKENS=200 serve <<-'JSON'
	{"say": "done", "delay": 0.2}
	JSON
    ITEMS=5 MODELS=$(model "price: {input: 3, output: 15}") job_models
    sed -i "s/Do as you are told\./$(printf 'Rule %d: do as you are told. ' {1..60})/" job.yaml
    sed -i 's/^limits:/  - {name: alone, agent: tester, key: alone, input: "go", after: [items]}\n&/' job.yaml
    expect 0 nightjar run job.yaml --run-dir first --only 001 # who writes a cache and reads nothing has paid for it
    has " in (0 % from the cache)"
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    expect 0 nightjar report run --json
    printf '%s' "$out" >report.json
    expect 0 nightjar report run
    printf '%s' "$out" >report.txt
    python3 -I - <<-'PYTHON'
	import json, re
	rows, groups = [json.loads(line) for line in open("run/results.jsonl")], json.load(open("report.json"))["groups"]
	text = open("report.txt").read()
	for name in ("items", "alone"):
	    of = [row["tokens"] for row in rows if row["group"] == name]
	    read, all_in = sum(t["cache_read"] for t in of), sum(t["input"] + t["cache_read"] + t["cache_write"] for t in of)
	    assert groups[name]["tokens"]["cache_read"] == read > 0, (groups, of)
	    assert f"{name}: {read * 100 // all_in} % from the cache" in text, (name, read, all_in, text)
	PYTHON
}

@test "runtime has its price beside the model's, and the time without a box is told" {
    cat >replies.yaml <<-'YAML'
	replies:
	  - {when: {turn: [1, 2]}, call: [{tool: code_execution, input: {language: bash, code: ":"}}], delay_ms: 1500}
	  - {say: done, delay_ms: 1500}
	YAML
    cat >job.yaml <<-'YAML'
	nightjar: 1
	job: runtime
	models: {worker: [{provider: script, script: replies.yaml}]}
	agents: {a: {model: worker, sandbox: {filesystem: {max_size_mb: 16}}, tools: [{type: code_execution, languages: [bash]}]}}
	sessions: [{name: g, agent: a, key: one, input: "Go."}]
	report: {runtime_usd_per_hour: 3600}
	YAML
    NJ_TEST_EVICT_ALWAYS=1 expect 0 nightjar run job.yaml --run-dir run
    expect 0 nightjar report run --json
    # At a dollar a second a held millisecond is a thousandth; three waits of 1.5 s held no box.
    same "$(python3 -I -c 'import json, sys
sum = json.load(sys.stdin)["groups"]["g"]
print(sum["runtime_micro_usd"] == sum["box_held_ms"] * 1000, sum["box_held_ms"] > 0, sum["busy_ms"] - sum["box_held_ms"] >= 2500)' <<<"$out")" \
        "True True True" "$out"
    expect 0 nightjar report run
    [[ $out =~ runtime\ .*\ of\ sandboxes\ held,\ .*\ s\ of\ sessions\ without\ one:\ [0-9.]+\ USD ]] || complain "$out"
}

@test "openai: a result's schema goes with the request where the model takes one" {
    serve <<-'JSON'
	{"say": "{\"by\": \"{model}\"}"}
	JSON
    MODELS="[{provider: openai, model: m1, base_url: \"$models_url/v1\", credential: key, capabilities: {structured_output: true}}]" job_models
    sed -i 's/^    model: worker/&\n    output: {schema: {type: object, properties: {by: {type: string}}, required: [by], additionalProperties: false}}/' job.yaml
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    same "$(row 001 'r["result"]["by"]')" m1
    same "$(models_log_of '["response_format" in line["fields"] for line in asked]')" "[true]"
}
