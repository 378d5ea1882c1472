# Real providers: each against the strict server, which answers 400 to whatever the service would. A case that ends
# with models_sound has sent nothing that is wrong.
#
# once: a model's answers are the same for everybody

load ../lib/common
load ../lib/model_server

setup() { models_setup; }
teardown() { nj_teardown; }

# serve [ARGUMENT...] <REPLIES - a server that knows the key and the models
serve() {
    models_replies "\"m1\": {}, \"m2\": {}, \"small\": {\"context_tokens\": ${CONTEXT_TOKENS:-2000}}" '"poor": "empty", "barred": "forbidden"' "$@"
}

# Thinking, a redacted thought, an unknown block, two calls in one reply; then their results; then the end.
conversation() {
    cat <<-'JSON'
	{"when": {"turn": 1, "api": "anthropic"}, "content": [
	    {"type": "thinking", "thinking": "What / to do? \u00e9\ud83d\ude00", "signature": "c2ln"},
	    {"type": "redacted_thinking", "data": "cmVkYWN0ZWQ="},
	    {"type": "text", "text": "I \"look\"\nat / it."},
	    {"type": "novel_block", "payload": {"z": [1, 2.50, null], "a": "\u00fc"}},
	    {"type": "tool_use", "id": "toolu_1{turn}", "name": "code_execution", "input": {"language": "bash", "code": "echo one >a; echo \"/\u00fc\""}},
	    {"type": "tool_use", "id": "toolu_2{turn}", "name": "code_execution", "input": {"language": "bash", "code": "cat a; echo two"}}]},
	{"when": {"turn": 1}, "say": "I \"look\"\nat / it.", "call": [
	    {"input": {"language": "bash", "code": "echo one >a; echo \"/\u00fc\""}}, {"input": {"language": "bash", "code": "cat a; echo two"}}]},
	{"when": {"turn": 2}, "say": "Once more.", "call": [{"input": {"language": "bash", "code": "cat a a"}}]},
	{"say": "{first} gave {last}", "usage": {"input_tokens": 1000, "output_tokens": 100}}
	JSON
}

whole_conversation() { # PROVIDER STREAM
    serve < <(conversation)
    PROVIDER=$1 STREAM=$2 job_models
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    same "$(row 001 'r["status"]')" succeeded
    [[ $(result 001) == *"001: go."*one*one* ]] || complain "$(result 001)"
    same "$(models_log_of 'sorted((line["turn"], line["attempt"], line["stream"]) for line in asked)')" \
        "[[1, 1, $2], [2, 1, $2], [3, 1, $2]]"
    same "$(models_log_of 'len({line["connection"] for line in asked})')" 1 "connections"
    # The record needs nobody.
    kill "${nj_started[0]}"
    wait "${nj_started[0]}" 2>/dev/null || true
    unset NJ_TEST_KEY
    expect 0 nightjar-replay verify "$(bundle 001)"
}

@test "anthropic, streamed: every block comes back as it was, and the record verifies with no server" {
    whole_conversation anthropic true
}

@test "anthropic, not streamed" {
    whole_conversation anthropic false
}

@test "openai, streamed" {
    whole_conversation openai true
}

@test "openai, not streamed" {
    whole_conversation openai false
}

@test "the same with boxes evicted after each call" {
    NJ_TEST_EVICT_ALWAYS=1 whole_conversation anthropic true
}

@test "over TLS, under an authority of this case: taken with it, refused without" {
    command -v openssl >/dev/null || skip "no openssl here"
    models_tls
    serve --tls server.pem server.key < <(conversation)
    job_models
    expect 4 env -u SSL_CERT_FILE nightjar run job.yaml --run-dir refused
    has "certificate"
    export SSL_CERT_FILE=$PWD/ca.pem
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
}

# one_fault KIND [WORDS [WORDS-UNSTREAMED]] - the first try of the second turn goes wrong in that way; one more try, and the
# same end; the record says what was wrong and where.
one_fault() {
    local kind=$1 words=${2-} stream
    for stream in true false; do
        rm -rf run server.log
        serve <<-JSON
			{"when": {"turn": 1}, "say": "First.", "call": [{"input": {"language": "bash", "code": "echo out"}}]},
			{"when": {"turn": 2, "attempt": 1}, "say": "Second.", "fault": $kind},
			{"say": "Second."}
		JSON
        STREAM=$stream job_models
        expect 0 nightjar run job.yaml --run-dir run
        models_sound
        same "$(result 001)" "Second." "$kind, stream $stream"
        [ "$stream" = true ] || words=${3-$words}
        nightjar-replay show "$(bundle 001)" >shown
        [ -z "$words" ] || grep 'a failed attempt in turn 2' shown | grep -q "$words" || complain "$kind, stream $stream: not \"$words\": $(<shown)"
        same "$(models_log_of '[(line["turn"], line["attempt"]) for line in asked]')" "[[1, 1], [2, 1], [2, 2]]" "$kind, stream $stream"
        kill "${nj_started[-1]}"
    done
}

@test "overload, rate limits and failures of the service: one more try" {
    one_fault '{"kind": "529"}'
    one_fault '{"kind": "429"}'
    one_fault '{"kind": "500"}'
    one_fault '{"kind": "html"}'
}

@test "a connection that closes, resets, or ends in the middle of a body: one more try" {
    one_fault '{"kind": "close"}' 'a connection kept from an earlier call was closed without an answer'
    one_fault '{"kind": "reset"}'
    one_fault '{"kind": "cut", "bytes": 100}' 'cut short after 100 bytes'
    one_fault '{"kind": "no_stop"}'
}

@test "rubbish after 200: one more try, and nothing half-read becomes a reply" {
    one_fault '{"kind": "garbage"}' 'is base_url right? What came is no reply as provider anthropic gives it, but begins "<!doc'
    one_fault '{"kind": "empty"}' 'no reply: the event stream is empty' 'answer: JSON: byte 0 of 0'
    one_fault '{"kind": "types"}' 'event 1, which ends at byte [0-9]*: usage: it is no object' 'no reply: usage: it is no object'
    one_fault '{"kind": "utf8"}' 'event 1, .*: JSON: byte [0-9]* of [0-9]*: expected UTF-8' 'answer: JSON: byte [0-9]* of [0-9]*: expected UTF-8'
    one_fault '{"kind": "giant"}' 'usage.input_tokens: larger than'
    one_fault '{"kind": "deep"}' 'expected less depth: 200 lists'
    one_fault '{"kind": "error_event"}' 'overloaded'
}

@test "a line of 100 MB is given up at once, in little memory" {
    one_fault '{"kind": "long_line"}' 'event 1, .*: a line has more than 4194304 bytes' 'the answer has more than 16777216 bytes'
}

# refused_once KEY STATUS MODEL - no try is burnt on what no try can mend
refused_once() {
    local status=0
    rm -rf run server.log
    serve < <(conversation)
    ITEMS=20 job_models
    sed -i "s/model: m1/model: $3/" job.yaml
    NJ_TEST_KEY=$1 nightjar run job.yaml --run-dir run >shown 2>&1 </dev/null || status=$?
    same "$status" 4 "exit status"
    grep -q 'models.worker\[0\] (job.yaml:5)' shown || complain "not the model's place: $(<shown)"
    grep -q 'credentials.key (job.yaml:7), which is read from the variable NJ_TEST_KEY' shown || complain "not the key's place: $(<shown)"
    grep -q 'nightjar resume .*run' shown || complain "no way on: $(<shown)"
    grep -q "  stopped   a model's service refuses" shown || complain "not why it stopped: $(<shown)"
    grep -q "$2" shown || complain "$(<shown)"
    grep -qE 'mend|credential|account|base_url' shown || complain "no cure: $(<shown)"
    # Each of the twenty may have had one call in flight.
    [ "$(models_log_of 'len(refused)')" -le 20 ] || complain "$(models_log_of 'len(refused)') calls were refused with $2"
    [ "$(models_log_of 'len(refused)')" -ge 1 ]
    kill "${nj_started[-1]}"
}

@test "a key, an account or a model that the service refuses costs no second try, and the cure is told" {
    refused_once wrong 401 m1
    refused_once barred 403 m1
    refused_once poor 402 m1
    refused_once "$NJ_TEST_KEY" 404 m9
}

@test "a chain goes on to the next model by the causes that it names, and the record says who answered" {
    serve <<-'JSON'
	{"when": {"model": "m1", "turn": 1}, "error": {"status": 529, "type": "overloaded_error"}},
	{"when": {"turn": 1}, "say": "Hm.", "call": [{"input": {"language": "bash", "code": "echo out"}}]},
	{"say": "Done by {model}."}
	JSON
    MODELS="[{provider: anthropic, model: m1, base_url: \"$models_url\", credential: key},
      {provider: anthropic, model: m2, base_url: \"$models_url\", credential: key, when: [overloaded]}]" job_models
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    [[ $(result 001) == "Done by m"?"." ]]
    expect 0 nightjar-replay show "$(bundle 001)"
    has_out m2
    has_out overloaded
}

@test "a refusal ends the session in words, or goes down the chain where that is named" {
    serve <<-'JSON'
	{"when": {"model": "m1"}, "content": [], "stop_reason": "refusal", "stop_details": {"type": "refusal", "category": "cyber", "explanation": "no"}},
	{"say": "I do it."}
	JSON
    job_models
    expect 1 nightjar run job.yaml --run-dir run
    same "$(row 001 'r["status"]')" failed
    [[ $(row 001 'r["error"]["message"]') == *refus* ]] || complain "$(row 001 'r["error"]')"
    MODELS="[{provider: anthropic, model: m1, base_url: \"$models_url\", credential: key},
      {provider: anthropic, model: m2, base_url: \"$models_url\", credential: key, when: [refusal]}]" job_models
    expect 0 nightjar run job.yaml --run-dir chained
    same "$(result 001 chained)" "I do it."
    models_sound
}

@test "a call that max_tokens cut short is not run" {
    serve <<-'JSON'
	{"when": {"turn": 1}, "say": "Long.", "call": [{"input": {"language": "bash", "code": "echo ran >/workspace/ran; echo ran"}}], "cut_input": 30, "stop_reason": "max_tokens"},
	{"say": "I saw: {last}"}
	JSON
    job_models
    expect 0 nightjar run job.yaml --run-dir run || expect 1 nightjar run job.yaml --run-dir run2
    [[ $(cat run*/results.jsonl) != *'"result":"I saw: ran'* ]]
    models_sound
}

@test "pause_turn: the conversation goes back as it is, and goes on" {
    serve <<-'JSON'
	{"when": {"paused": true}, "say": "Found it."},
	{"content": [{"type": "text", "text": "Searching."}, {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}], "stop_reason": "pause_turn"}
	JSON
    job_models
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    same "$(result 001)" "Found it."
}

@test "openai: arguments that are no JSON go back to the model as the tool's error" {
    serve <<-'JSON'
	{"when": {"turn": 1}, "say": "I try.", "call": [{"input": {}}], "arguments": "{\"language\": \"bash\", "},
	{"say": "told: {last}"}
	JSON
    PROVIDER=openai job_models
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    [[ $(result 001) == told:*JSON* ]] || complain "$(result 001)"
}

@test "openai: servers without usage, without an end mark, with whole calls" {
    serve <<-'JSON'
	{"when": {"turn": 1}, "say": "I try.", "call": [{"input": {"language": "bash", "code": "echo a"}}, {"input": {"language": "bash", "code": "echo b"}}],
	 "no_usage": true, "done": false, "whole_calls": true, "empty_content": true},
	{"say": "told: {last}", "no_usage": true, "done": false}
	JSON
    PROVIDER=openai job_models
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    [[ $(result 001) == "told: b"* ]] || complain "$(result 001)"
}
