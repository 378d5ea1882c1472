# Chains on the wire: who is asked when, and for how long a session stays with another model than its first.
#
# once: a chain is the engine's sum

load ../lib/common
load ../lib/model_server

setup() {
    models_setup
    export NJ_TEST_RETRY_MS=5
}
teardown() { nj_teardown; }

# m1 is overloaded in the first turn; each turn but the last runs $1
serve_turns() {
    models_serve server <<-JSON
	{"models": {"m1": {}, "m2": {}}, "replies": [
	    {"when": {"model": "m1", "turn": 1}, "error": {"status": 529, "type": "overloaded_error"}},
	    {"when": {"turn": [1, 2]}, "say": "Hm.", "call": [{"input": {"language": "bash", "code": "$1"}}]},
	    {"say": "Done by {model}."}]}
	JSON
}

job_chain() { # RETURN
    MODELS="{return: $1, chain: [{provider: anthropic, model: m1, base_url: \"$models_url\", credential: key},
      {provider: anthropic, model: m2, base_url: \"$models_url\", credential: key, when: [overloaded]}]}" job_models
}

asked_of() { # TURN
    models_log_of "sorted({line['model'] for line in asked if line['turn'] == $1})"
}

@test "by default each turn begins at the first model" {
    serve_turns "echo out"
    job_chain next_turn
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    same "$(asked_of 1)" '["m1", "m2"]'
    same "$(asked_of 2)" '["m1"]'
}

@test "return after seconds: the session stays meanwhile, and the record says so" {
    serve_turns "echo out"
    job_chain '{after_seconds: 3600}'
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    same "$(asked_of 2)" '["m2"]'
    same "$(asked_of 3)" '["m2"]'
    expect 0 nightjar-replay show "$(bundle 001)"
    has_out "model 2 of its chain, the turn began at 2, where the session stayed"
    expect 0 nightjar-replay show "$(bundle 001)@1"
    has_out "model 2 of its chain"
    expect 0 nightjar-replay verify "$(bundle 001)"
}

@test "return after seconds: when they are over the first model is asked again" {
    serve_turns "sleep 1.1"
    job_chain '{after_seconds: 1}'
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    same "$(asked_of 2)" '["m1"]'
    same "$(result 001)" "Done by m1."
}

@test "return after seconds: a kill does not end a stay" {
    local pid
    serve_turns "sleep 1"
    job_chain '{after_seconds: 3600}'
    nightjar run job.yaml --run-dir run >shown 2>&1 </dev/null &
    pid=$!
    nj_started+=("$pid")
    until_true 20 grep -q '"turn": 2' server.log
    kill -9 "$pid"
    wait "$pid" 2>/dev/null || true
    expect 0 nightjar resume run
    models_sound
    same "$(asked_of 2)" '["m2"]'
    same "$(asked_of 3)" '["m2"]'
}

# serve_cache REPLY... - a server that caches prefixes of 200 tokens
serve_cache() {
    models_serve server <<<"{\"models\": {\"m1\": {\"cache_tokens\": 200}}, \"replies\": [$*]}"
}

# job_long - what the sessions share is long enough to be cached
job_long() {
    job_models
    sed -i "s/Do as you are told\./$(printf 'Rule %d: do as you are told. ' {1..60})/" job.yaml
}

# How many sessions of one turn read what another one had written.
readers() {
    python3 -I -c 'import json
rows = [json.loads(line) for line in open("run/results.jsonl")]
print(sum(row["tokens"]["cache_read"] > 0 for row in rows))'
}

@test "the first session of a group goes ahead, and all others read its cache" {
    serve_cache '{"say": "done", "delay": 0.3}'
    ITEMS=8 job_long
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    same "$(readers)" 7
    expect 0 nightjar report run
    has_out "% from the cache"
    expect 0 nightjar report run --json
    same "$(python3 -I -c 'import json, sys; print(json.load(sys.stdin)["groups"]["items"]["tokens"]["cache_read"] > 0)' <<<"$out")" True
}

@test "a first session that fails hands over, and the others still read one cache" {
    serve_cache '{"when": {"attempt": 1, "first": "00[1-4]"}, "error": {"status": 529, "type": "overloaded_error"}},' '{"say": "done", "delay": 0.3}'
    ITEMS=8 job_long
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    same "$(readers)" 7
}

@test "a run that is stopped sends nothing that still waited for the first session, and pays nothing for it" {
    local pid
    serve_cache '{"say": "done", "delay": 3}'
    ITEMS=8 job_long
    nightjar run job.yaml --run-dir run >shown 2>&1 </dev/null &
    pid=$!
    nj_started+=("$pid")
    until_true 20 grep -q '"turn": 1' server.log
    kill -INT "$pid"
    expect 4 wait "$pid"
    same "$(models_log_of 'len(asked)')" 1 "calls before the stop"
    same "$(python3 -I -c 'import json
print(sum(json.loads(line)["cost_usd"] > 0 for line in open("run/results.jsonl")))')" 1 "sessions that cost something"
    expect 0 nightjar resume run
    models_sound
    same "$(models_log_of 'len(asked)')" 8 "calls"
    same "$(readers)" 7
}

@test "without a cache nobody waits for anybody" {
    serve_cache '{"say": "done", "delay": 1}'
    MODELS="[{provider: anthropic, model: m1, base_url: \"$models_url\", credential: key, cache: off}]" ITEMS=8 job_long
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    same "$(readers)" 0
    [ "$(models_log_of 'max(line["inflight"] for line in asked)')" -ge 4 ] || complain "they waited"
}

@test "run.json tells the longest turn of the loop, and TLS does not read its certificates there" {
    local stall
    command -v openssl >/dev/null || skip "no openssl here"
    models_tls
    models_serve server --tls server.pem server.key <<<'{"models": {"m1": {}}, "replies": [{"say": "done"}]}'
    # The whole system's certificates, as a service of a provider would need them.
    cat /etc/ssl/certs/ca-certificates.crt ca.pem >all.pem 2>/dev/null || cp ca.pem all.pem
    export SSL_CERT_FILE=$PWD/all.pem
    job_models
    expect 0 nightjar run job.yaml --run-dir run
    stall=$(python3 -I -c 'import json; print(json.load(open("run/run.json"))["loop_stall_ms"])')
    python3 -I -c 'import sys; sys.exit(not 0 < float(sys.argv[1]) < 40)' "$stall" || complain "a turn of the loop took $stall ms"
}
