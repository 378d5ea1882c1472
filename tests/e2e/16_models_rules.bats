# What the manifest says of a model, and what a service says of a try: each rule at work against the strict server.
#
# once: a model's answers are the same for everybody

load ../lib/common
load ../lib/model_server

setup() { models_setup; }
teardown() { nj_teardown; }

# Two models; the second refuses what the first takes.
serve() { models_replies '"m1": {}, "m2": {"refuses": ["temperature", "output_config"]}' ''; }

# ends KEY STATUS RESULT-OR-ERROR [WORDS] - WORDS: what `show` says of the failed attempt
ends() {
    same "$(row "$1" 'r["status"]')" "$2" "$1"
    [[ $(row "$1" 'r["result"] or r["error"]["message"]') == *"$3"* ]] || complain "$1: $(row "$1" r)"
    [ $# -lt 4 ] || nightjar-replay show "$(bundle "$1")" | grep 'a failed attempt in turn 1' | grep -q "$4" ||
        complain "$1: not \"$4\": $(nightjar-replay show "$(bundle "$1")")"
}

@test "capabilities of an included file: each model is asked with what it takes" {
    serve <<-'JSON'
	{"when": {"model": "m1"}, "error": {"status": 529, "type": "overloaded_error", "headers": {"x-should-retry": "false"}}},
	{"say": "{\"by\": \"{model}\"}"}
	JSON
    MODELS='[]' job_models
    cat >models.yaml <<-YAML
	models:
	  worker:
	    - {provider: anthropic, model: m1, base_url: "$models_url", credential: key, parameters: {temperature: 0.5}, capabilities: {structured_output: true}}
	    - {provider: anthropic, model: m2, base_url: "$models_url", credential: key, parameters: {temperature: 0.5}, refuses: [temperature]}
	YAML
    sed -i -e '/^models:/,/^credentials:/{/^credentials:/!d}' -e '1a include: models.yaml' job.yaml
    sed -i 's/^    model: worker/&\n    output: {schema: {type: object, properties: {by: {type: string}}, required: [by], additionalProperties: false}}/' job.yaml
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    same "$(row 001 'r["result"]["by"]')" m2
    same "$(models_log_of '[[line["model"], [name for name in line["fields"] if name in ("temperature", "output_config")]] for line in asked]')" \
        '[["m1", ["output_config", "temperature"]], ["m2", []]]'
}

@test "the service's word on another try goes before its status, and a full context has its cause" {
    serve <<-'JSON'
	{"when": {"first": "001", "attempt": 1}, "error": {"status": 400, "type": "invalid_request_error", "headers": {"x-should-retry": "true"}}},
	{"when": {"first": "002"}, "error": {"status": 500, "type": "api_error", "headers": {"x-should-retry": "false"}}},
	{"when": {"first": "003", "model": "m1"}, "say": "I am cut", "stop_reason": "model_context_window_exceeded"},
	{"say": "by {model}"}
	JSON
    ITEMS=3 MODELS="[{provider: anthropic, model: m1, base_url: \"$models_url\", credential: key},
      {provider: anthropic, model: m2, base_url: \"$models_url\", credential: key, when: [context_full]}]" job_models
    expect 1 nightjar run job.yaml --run-dir run
    models_sound
    ends 001 succeeded "by m1" 'the request was refused (400)'
    ends 002 failed "answered with 500"
    ends 003 succeeded "by m2" "context_full: the model's context was full"
    same "$(models_log_of 'collections.Counter(line["first"][:3] for line in asked)')" '{"001": 2, "002": 1, "003": 2}'
}

# How many tries there are depends on the machine: each has five seconds.
@test "a trickle and a stall have an end, and what such tries may have cost is one figure everywhere" {
    local key sums
    serve <<-'JSON'
	{"when": {"first": "001", "attempt": 1}, "say": "no", "fault": {"kind": "trickle", "seconds": 1}},
	{"when": {"first": "002", "attempt": 1}, "say": "no", "fault": {"kind": "stall"}},
	{"say": "by {model}", "usage": {"input_tokens": 1000, "output_tokens": 100}}
	JSON
    ITEMS=2 MODELS="[{provider: anthropic, model: m1, base_url: \"$models_url\", credential: key, timeout_seconds: 5, price: {input: 3, output: 15}}]" job_models
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    expect 0 nightjar report run
    has_out "without a reply: failed tries, lost calls"
    for key in 001 002; do
        ends "$key" succeeded "by m1" 'the answer was not whole within 5000 ms; .*timeout_seconds gives it more'
        sums=$(nightjar-replay show "$(bundle "$key")" --json | python3 -I -c 'import json, sys
said = [json.loads(line) for line in sys.stdin]
lost = sum(line["cost_micro_usd"] for line in said if line.get("kind") == "attempt")
print(said[0]["cost_micro_usd"], said[0]["lost_micro_usd"] == lost > 0)')
        same "$sums" "$(row "$key" 'round(r["cost_usd"] * 1e6)') True"
    done
}
