# Real providers against a model server that is not ours, from npm: what the strict server of tests/lib takes for right could
# be our own mistake on both sides.
#
# once: HTTP is the same for everybody

load ../lib/common
load ../lib/model_server
load ../lib/npm

setup_file() {
    # Once for all cases, as an unreachable registry takes its time.
    { npm_node 20.15 && npm_install mock $NJ_NPM_MOCK; } || echo "$npm_why" >"$BATS_FILE_TMPDIR/why"
}
setup() {
    models_setup
    [ ! -s "$BATS_FILE_TMPDIR/why" ] || skip "$(<"$BATS_FILE_TMPDIR/why")"
    cat >fixtures.json <<-'JSON'
	{"fixtures": [
	    {"match": {"turnIndex": 0}, "response": {"content": "I \"look\" / \u00fc.",
	        "toolCalls": [{"name": "code_execution", "arguments": {"language": "bash", "code": "echo one >a; echo \"/\u00fc\""}}],
	        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}}},
	    {"match": {"turnIndex": 1}, "response": {"content": "Two at once.",
	        "toolCalls": [{"name": "code_execution", "arguments": {"language": "bash", "code": "cat a a"}},
	                      {"name": "code_execution", "arguments": {"language": "bash", "code": "cat a"}}],
	        "usage": {"prompt_tokens": 200, "completion_tokens": 20, "total_tokens": 220}}},
	    {"match": {"turnIndex": 2}, "response": {"content": "Done.",
	        "usage": {"prompt_tokens": 300, "completion_tokens": 2, "total_tokens": 302}}}]}
	JSON
}
teardown() { nj_teardown; }

# mock [ARGUMENT...] - $models_url is the mock's
mock() {
    npm_install mock $NJ_NPM_MOCK
    AIMOCK_STRICT_TURN_INDEX=1 AIMOCK_API_KEYS=$NJ_TEST_KEY node "$npm_modules/@copilotkit/aimock/dist/cli.js" -p 0 -h 127.0.0.1 \
        -f fixtures.json --strict --journal-max 0 "$@" >mock.out 2>&1 </dev/null 3>&- &
    nj_started+=("$!")
    until_true 20 grep -q listening mock.out
    models_url=$(grep -o 'http://[0-9.:]*' mock.out)
}

# asked EXPRESSION - over `calls`: what the mock's journal holds of each call, with its session and turn
asked() {
    python3 -I - "$models_url" "$NJ_TEST_KEY" "$1" <<-'PYTHON'
	import collections, json, sys, urllib.request
	url, key, expression = sys.argv[1:]
	request = urllib.request.Request(url + "/__aimock/journal", headers={"authorization": "Bearer " + key})
	entries = json.load(urllib.request.urlopen(request, timeout=20))
	def text(content):
	    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
	calls = []
	for entry in entries:
	    messages = (entry.get("body") or {}).get("messages")
	    if not messages:
	        continue
	    first = next(text(m["content"]) for m in messages if m["role"] == "user")
	    response = entry["response"]
	    calls.append({"session": first.split(":")[0], "turn": sum(m["role"] == "assistant" for m in messages), "status": response["status"],
	                  "chaos": response.get("chaosAction"), "results": [m.get("content") for m in messages if m["role"] == "tool"],
	                  "stream": entry["body"].get("stream", False)})
	value = eval(expression)
	print(value if isinstance(value, str) else json.dumps(value, sort_keys=True))
	PYTHON
}

whole_conversation() { # PROVIDER STREAM
    mock
    PROVIDER=$1 STREAM=$2 job_models
    expect 0 nightjar run job.yaml --run-dir run
    same "$(result 001)" "Done."
    same "$(asked '[[c["turn"], c["status"], c["stream"]] for c in calls]')" "[[0, 200, $2], [1, 200, $2], [2, 200, $2]]"
    # What the boxes gave, in the order of the calls.
    [[ $(asked 'json.dumps(calls[-1]["results"], ensure_ascii=False)') == *"/ü"*"one\\none"*"one"* ]] || complain "$(asked 'calls[-1]')"
    same "$(row 001 '[r["tokens"]["input"], r["tokens"]["output"]]')" "[600, 42]"
    # The record needs nobody.
    kill "${nj_started[0]}"
    wait "${nj_started[0]}" 2>/dev/null || true
    unset NJ_TEST_KEY
    expect 0 nightjar-replay verify "$(bundle 001)"
}

@test "the mock, anthropic, streamed" {
    whole_conversation anthropic true
}

@test "the mock, anthropic, not streamed" {
    whole_conversation anthropic false
}

@test "the mock, openai, streamed" {
    whole_conversation openai true
}

@test "the mock, openai, not streamed" {
    whole_conversation openai false
}

@test "the mock refuses a wrong key: the run stops, and the cure is told" {
    mock
    job_models
    NJ_TEST_KEY=wrong expect 4 nightjar run job.yaml --run-dir run
    has credential
}

@test "the mock's own chaos at 30 %: every session ends right, and no sound reply is asked for again" {
    # A rate limit holds up all sessions for a second each time: few of them.
    mock --chaos-drop 0.1 --chaos-malformed 0.1 --chaos-ratelimit 0.02 --chaos-disconnect 0.1
    ITEMS=16 job_models
    # Five bad tries in a row happen to one call in 400; four such attempts of one item, never.
    echo "retry: {attempts: 4, on: [model], backoff_seconds: 0}" >>job.yaml
    expect 0 nightjar run job.yaml --run-dir run --quiet
    same "$(asked 'sum(c["chaos"] is not None for c in calls) >= 3')" true "there was chaos"
    asked '"\n".join(f"{s} {t} {n}" for (s, t), n in collections.Counter((c["session"], c["turn"]) for c in calls if c["status"] == 200 and not c["chaos"]).items())' >sound
    same "$(wc -l <sound)" 48 "replies"
    python3 -I - <<-'PYTHON'
	import json
	attempts = {r["key"]: r["attempts"] for r in map(json.loads, open("run/results.jsonl"))}
	for session, turn, n in map(str.split, open("sound")):
	    if int(n) > attempts[session]:
	        raise SystemExit(f"{session}: turn {turn} was answered {n} times in {attempts[session]} attempts")
	PYTHON
}
