# HTTP/2, as the real services speak it: many calls share a connection, and a connection or a stream that ends before its
# answer loses that try and no more.
#
# once: HTTP is the same for everybody

load ../lib/common
load ../lib/model_server

setup() {
    models_setup
    skip_without node
    command -v openssl >/dev/null || skip "no openssl here"
}
teardown() { nj_teardown; }

# serve_h2 [FAULTS] - two turns a session; DELAY seconds before each answer
serve_h2() {
    models_replies '"m1": {}' '' <<-JSON
	{"when": {"turn": 1}, "say": "First.", "call": [{"input": {"language": "bash", "code": "echo out"}}], "delay": ${DELAY:-0}},
	{"say": "Done {first}", "delay": ${DELAY:-0}}
	JSON
    models_h2 "$@"
}

# front EXPRESSION - over `asked`, the front's log
front() {
    python3 -I - "$1" <<-'PYTHON'
	import collections, json, sys
	asked = [json.loads(line) for line in open("h2.log")]
	print(json.dumps(eval(sys.argv[1]), sort_keys=True))
	PYTHON
}

all_done() { # SESSIONS
    same "$(grep -c '"status":"succeeded"' run/results.jsonl)" "$1" "sessions that succeeded"
    # No sound reply was thrown away: where the whole of one was read, it was asked for once.
    models_log_of '[key for key, n in collections.Counter((line["session"], line["turn"]) for line in asked).items() if n > 1]' >again
}

@test "many calls share one connection" {
    DELAY=0.3 serve_h2
    ITEMS=24 job_models
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    all_done 24
    same "$(front 'len(asked)')" 48
    same "$(<again)" "[]"
    # The first connection may be followed by another where an idle one was closed; by 24 never.
    [ "$(front 'len({line["connection"] for line in asked})')" -le 2 ] || complain "$(<h2.log)"
    [ "$(front 'max(line["open"] for line in asked)')" -ge 8 ] || complain "never 8 at once: $(<h2.log)"
}

@test "a server that takes few streams at once is not asked for more" {
    DELAY=0.1 serve_h2 '{"streams": 4}'
    ITEMS=16 job_models
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    all_done 16
    same "$(<again)" "[]"
    [ "$(front 'max(line["open"] for line in asked)')" -le 4 ] || complain "$(<h2.log)"
}

@test "GOAWAY: what is under way is answered, and the rest goes to a new connection" {
    DELAY=0.2 serve_h2 '{"5": "goaway"}'
    ITEMS=12 job_models
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    all_done 12
    same "$(<again)" "[]"
    [ "$(front 'len({line["connection"] for line in asked})')" -ge 2 ] || complain "$(<h2.log)"
}

@test "GOAWAY that disowns calls under way: they are asked again, and the sessions end right" {
    DELAY=0.2 serve_h2 '{"6": "goaway-now"}'
    ITEMS=12 job_models
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    all_done 12
}

@test "RST_STREAM, before anything was done or within the answer: one more try of that call alone" {
    DELAY=0.1 serve_h2 '{"3": "refused", "7": "reset"}'
    ITEMS=8 job_models
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    all_done 8
    same "$(front 'len(asked)')" 18
    same "$(models_log_of 'len(asked)')" 17 "calls that reached the service"
    [ "$(front 'len({line["connection"] for line in asked})')" -le 2 ] || complain "$(<h2.log)"
}

@test "a connection that breaks under its streams: one more try of each" {
    DELAY=0.2 serve_h2 '{"6": "close"}'
    ITEMS=12 job_models
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    all_done 12
}

@test "a stream that stalls ends by its limit; the others of its connection are not held up" {
    serve_h2 '{"2": "stall"}'
    ITEMS=8 job_models
    sed -i 's/model: m1,/model: m1, timeout_seconds: 8,/' job.yaml
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    all_done 8
    same "$(front 'len(asked)')" 17
    same "$(front 'len({line["connection"] for line in asked})')" 1 "connections"
}

@test "a server that wants HTTP/1.1 is asked by it from the next try on" {
    serve_h2 '{"http1": true}'
    ITEMS=4 job_models
    expect 0 nightjar run job.yaml --run-dir run
    models_sound
    all_done 4
    same "$(models_log_of 'len(asked)')" 8 "calls that reached the service"
    # Calls that were under way when the first was refused, at most.
    same "$(front '1 <= sum("open" in line for line in asked) <= 4')" true "$(<h2.log)"
    for key in 001 002 003 004; do nightjar-replay show "$(bundle "$key")"; done >shown
    grep 'a failed attempt in turn 1' shown | grep -q 'the server wants HTTP/1.1' || complain "$(<shown)"
}

@test "frames that nobody waits for, without end: the try ends, and no session is held up" {
    local stall before
    models_replies '"m1": {}' '' <<<'{"say": "done"}'
    models_tls
    python3 -B "$NJ_ROOT/tests/lib/h2_flood.py" server.pem server.key flood.port >flood.out 2>&1 </dev/null 3>&- &
    nj_started+=("$!")
    until_true 60 test -s flood.port || complain "$(<flood.out)"
    export SSL_CERT_FILE=$PWD/ca.pem
    MODELS="[{provider: anthropic, model: m1, base_url: \"https://127.0.0.1:$(<flood.port)\", timeout_seconds: 30},
      {provider: anthropic, model: m1, base_url: \"$models_url\", credential: key, when: [error]}]" job_models
    before=$SECONDS
    NJ_TEST_RETRY_MS=20 expect 0 nightjar run job.yaml --run-dir run
    same "$(grep -c '"status":"succeeded"' run/results.jsonl)" 1 "sessions that succeeded"
    nightjar-replay show "$(bundle 001)" >shown
    grep 'a failed attempt in turn 1' shown >failed || complain "$(<shown)"
    [ "$(wc -l <failed)" -ge 4 ] || complain "not each kind was met: $(<failed)"
    same "$(grep -vc 'the server sent frames that are for no call, without end' failed)" 0 "attempts that do not name the flood"
    # A turn of the loop would last as long as the try may, 30 seconds.
    stall=$(python3 -I -c 'import json; print(json.load(open("run/run.json"))["loop_stall_ms"])')
    python3 -I -c 'import sys; sys.exit(not float(sys.argv[1]) < 2000)' "$stall" || complain "a turn of the loop took $stall ms"
    [ $((SECONDS - before)) -lt 60 ] || complain "the tries took their whole time"
}
