# Money: no run, group or session spends more than its budget, and what a crash left unknown counts.

load ../lib/common

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
    NJ_TEST_RETRY_MS=10 expect 0 nightjar run job.yaml --run-dir run
    # Six replies of 0.4 s, one after another; at once they would take 0.4 s.
    [ "$(jq -s 'length' run/results.jsonl)" -eq 6 ]
    spread=$(for b in run/bundles/*.njb; do stat -c %.3Y "$b"; done | sort -n | sed -n '1p;$p' | paste -sd' ' | awk '{print int(($2 - $1) * 1000)}')
    [ "$spread" -ge 1600 ]
    [ "$(rows_micro)" -eq $((6 * 24000)) ]
}
