# Money: no run, group or session spends more than its budget, and what a crash left unknown counts.
#
# once: money is the engine's sum

load ../lib/common
load ../lib/model_server

setup() {
    nj_setup
}
teardown() { nj_teardown; }

# replies FIELDS - a priced script: two turns, the first with a refused call (no box), a cent and more each
replies() {
    cat >replies.yaml <<YAML
replies:
  - {when: {turn: 1}, call: [{tool: nothing, input: {}}], usage: {input_tokens: 10000, output_tokens: 1000} $1}
  - {when: {turn: 2}, say: done, usage: {input_tokens: 3000, output_tokens: 100}}
YAML
}

# job N LIMITS [GROUP] - N sessions of one group, at 1 and 10 USD per million tokens: 0.020 and 0.004 USD
job() {
    mkdir items
    for n in $(seq "$1"); do : >"items/$n.txt"; done
    cat >job.yaml <<YAML
nightjar: 1
job: money
models:
  m: [{provider: script, script: replies.yaml, price: {input: 1, output: 10}}]
agents: {a: {model: m, tools: [{type: code_execution}]}}
sessions:
  - {name: g, agent: a, for_each: {glob: "items/*.txt"}, input: "Go.", ${3-}}
limits: {sessions: 64, $2}
YAML
}

# spent RUN - what run.json says, in micro-USD
spent() { jq -r '.cost_usd * 1000000 | round' "$1/run.json"; }

# micro of all rows
rows_micro() { jq -s 'map(.cost_usd) | add * 1000000 | round' run/results.jsonl; }

@test "64 sessions at once stop below the run's budget, and none is lost" {
    replies ""
    job 64 "budget_usd: 0.5"
    expect 4 nightjar run job.yaml --run-dir run
    [ "$(spent run)" -le 500000 ]
    [ "$(rows_micro)" -le 500000 ]
    [ "$(jq -r .stop_reason run/run.json)" = budget ]
    # What fits is used: less than one more call of the dearest kind is left.
    [ "$(spent run)" -gt 480000 ]
    [ "$(jq -s 'map(select(.status == "failed")) | length' run/results.jsonl)" -eq 0 ]
    grep -q '"status":"suspended"' run/results.jsonl
}

@test "a session's budget suspends that session and no other" {
    replies ""
    job 3 "session_budget_usd: 0.022"
    expect 4 nightjar run job.yaml --run-dir run
    [ "$(jq -s 'map(select(.status == "suspended")) | length' run/results.jsonl)" -eq 3 ]
    [ "$(rows_micro)" -eq 60000 ]
    sed -i 's/session_budget_usd: 0.022/session_budget_usd: 0.044/' job.yaml
    expect 0 nightjar run job.yaml --run-dir second
}

@test "a group's budget holds for all its sessions together" {
    replies ""
    job 20 "" "limits: {budget_usd: 0.1}"
    expect 4 nightjar run job.yaml --run-dir run
    [ "$(spent run)" -le 100000 ]
    [ "$(spent run)" -gt 75000 ]
}


# asked WORD - both sessions' records say so, and what follows is the model's call
asked() {
    local n
    for n in 1 2; do nightjar-replay show "run:$n" 2>/dev/null | grep -q "$1" || return 1; done
}

@test "calls whose outcome kills left unknown count as spent, each once" {
    replies ", delay_ms: 6000"
    job 2 "budget_usd: 10"
    begin nightjar run job.yaml --run-dir run
    until_true 20 asked opened
    kill -KILL "$begun"
    ended 137
    begin nightjar resume run
    until_true 20 asked resumed
    kill -KILL "$begun"
    ended 137
    expect 0 nightjar resume run
    has_err "count as spent: 0.040000 USD"
    has_err "2 model calls may have been in flight"
    # Two bounds of 0.020 and the two replies, for each of both.
    [ "$(rows_micro)" -eq $((2 * (20000 + 20000 + 24000))) ]
    [ "$(spent run)" -eq "$(rows_micro)" ]
    expect 0 nightjar-replay verify run/bundles/*.njb
}

@test "a budget that a kill has eaten suspends what is left" {
    replies ", delay_ms: 6000"
    job 2 "budget_usd: 0.05"
    begin nightjar run job.yaml --run-dir run
    until_true 20 asked opened
    kill -KILL "$begun"
    ended 137
    expect 4 nightjar resume run
    [ "$(spent run)" -eq 40000 ]
}

@test "a model's rate holds for all sessions together, through refusals and an outage" {
    replies ", delay_ms: 400"
    sed -i 's/^replies:/&\n  - {fail: overloaded, times: 3}/' replies.yaml
    job 6 "budget_usd: 10"
    sed -i 's/price: {/rate: {concurrent: 1}, &/' job.yaml
    began=$(date +%s%3N)
    NJ_TEST_RETRY_MS=10 expect 0 nightjar run job.yaml --run-dir run
    # Six replies of 0.4 s, one after another; at once they would take 0.4 s.
    [ $(($(date +%s%3N) - began)) -ge 2400 ] || complain "all at once"
    [ "$(jq -s 'length' run/results.jsonl)" -eq 6 ]
    [ "$(rows_micro)" -eq $((6 * 24000)) ]
}

# serve [ARGUMENT...] <REPLIES - a server with small caches and a context of 6,000 tokens
serve() {
    local replies
    replies=$(cat)
    models_serve server "$@" <<<"{\"models\": {\"m1\": {\"context_tokens\": 6000, \"cache_tokens\": 50}}, \"replies\": [$replies]}"
}

# model KEYS - m1 of that server, with more keys
model() { printf '[{provider: anthropic, model: m1, base_url: "%s", credential: key, price: {input: 3, output: 15}, %s}]' "$models_url" "$1"; }

@test "each turn reads the prompt of the one before from the provider's cache" {
    skip_without namespaces
    export NJ_TEST_KEY=key-$RANDOM$RANDOM
    serve <<-'JSON'
	{"when": {"turn": [1, 2, 3]}, "call": [{"input": {"language": "bash", "code": "seq 300"}}]},
	{"say": "done"}
	JSON
    MODELS=$(model "max_tokens: 500") job_models
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    row 001 'r["tokens"]'
    [ "$(row 001 'r["tokens"]["cache_read"]')" -gt "$(row 001 'r["tokens"]["input"]')" ]
}

@test "a full context is cut before the service refuses it, and the record keeps all" {
    skip_without namespaces
    export NJ_TEST_KEY=key-$RANDOM$RANDOM
    serve <<-'JSON'
	{"when": {"turn": [1, 2, 3, 4, 5, 6, 7, 8]}, "call": [{"input": {"language": "bash", "code": "seq 1000 1700"}}]},
	{"say": "done"}
	JSON
    MODELS=$(model "max_tokens: 300, context_tokens: 6000") job_models
    sed -i 's/^    instructions: .*/&\n    context: {policy: compact, at: 0.6}/' job.yaml
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    expect 0 nightjar-replay show "$(bundle 001)@2"
    has_out 1700
    kill "${nj_started[0]}"
    wait "${nj_started[0]}" 2>/dev/null || true
    expect 0 nightjar-replay verify "$(bundle 001)"
}

@test "without that policy the session fails by name, and nothing too large is sent" {
    skip_without namespaces
    export NJ_TEST_KEY=key-$RANDOM$RANDOM
    serve <<-'JSON'
	{"when": {"turn": [1, 2, 3, 4, 5, 6, 7, 8]}, "call": [{"input": {"language": "bash", "code": "seq 1000 1700"}}]},
	{"say": "done"}
	JSON
    MODELS=$(model "max_tokens: 300, context_tokens: 6000") job_models
    expect 1 nightjar run job.yaml --run-dir run
    models_sound
    [[ $(row 001 'r["error"]["message"]') == *context_full*compact* ]]
}

@test "before a context is called full the service is asked to count, where it does" {
    skip_without namespaces
    export NJ_TEST_KEY=key-$RANDOM$RANDOM
    serve <<<'{"say": "done"}'
    MODELS=$(model "max_tokens: 300, context_tokens: 6000, capabilities: {count_tokens: true}") job_models
    sed -i "s/: go\\./: $(printf 'word %.0s' {1..4040})/" job.yaml # 20,200 bytes: 6,700 tokens to us, 5,500 to the server
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    same "$(models_log_of '[sum(line["path"].endswith(kind) for line in asked) for kind in ("count_tokens", "messages")]')" "[1, 1]" "counts and calls"
    sed -i 's/count_tokens: true/count_tokens: false/' job.yaml
    expect 1 nightjar run job.yaml --run-dir other
    [[ $(jq -r .error.message other/results.jsonl) == *context_full* ]]
    same "$(models_log_of '[sum(line["path"].endswith(kind) for line in asked) for kind in ("count_tokens", "messages")]')" "[1, 1]" "counts and calls"
    # What the service counts as too long is not sent.
    sed -i "s/count_tokens: false/count_tokens: true/; s/max_tokens: 300/max_tokens: 900/" job.yaml
    expect 1 nightjar run job.yaml --run-dir third
    models_sound
    same "$(models_log_of '[sum(line["path"].endswith(kind) for line in asked) for kind in ("count_tokens", "messages")]')" "[2, 1]" "counts and calls"
}

@test "64 sessions over real sockets stop below the budget" {
    export NJ_TEST_KEY=key-$RANDOM$RANDOM
    serve <<-'JSON'
	{"when": {"turn": 1}, "call": [{"name": "nothing", "input": {}}], "usage": {"input_tokens": 400, "output_tokens": 180}},
	{"say": "done", "usage": {"input_tokens": 500, "output_tokens": 20}}
	JSON
    ITEMS=64 MODELS=$(model "max_tokens: 200") job_models
    sed -i 's/^limits: {/&budget_usd: 0.2, /' job.yaml
    expect 4 nightjar run job.yaml --run-dir run
    [ "$(spent run)" -le 200000 ]
    [ "$(spent run)" -gt 100000 ]
    # What the service would bill is what we reckoned.
    billed=$(models_log_of 'len(answered)')
    [ "$billed" -gt 0 ]
    [ "$(rows_micro)" -eq "$(spent run)" ]
    [ "$(jq -s 'map(select(.status == "failed")) | length' run/results.jsonl)" -eq 0 ]
}

@test "a server that keeps refusing and names no end stops the run before the retries are burnt" {
    export NJ_TEST_KEY=key-$RANDOM$RANDOM
    serve <<-'JSON'
	{"error": {"status": 429, "type": "rate_limit_error", "message": "no more this month"}}
	JSON
    ITEMS=8 MODELS=$(model "max_tokens: 200") job_models
    NJ_TEST_RETRY_MS=20 expect 4 nightjar run job.yaml --run-dir run
    has_err "spend limit"
    [ "$(jq -r .stop_reason run/run.json)" = model ]
    [ "$(models_log_of 'len(asked)')" -lt 200 ]
}
