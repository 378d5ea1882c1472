# The scripted model server refuses what a real one refuses: a suite that trusts it has to know that it can.
#
# once: the tests' own server depends on nobody's rights

load ../lib/common
load ../lib/model_server

setup() {
    nj_setup
    models_serve server <<-'JSON'
	{"accounts": {"good": "ok", "poor": "empty"}, "models": {"m1": {}, "small": {"context_tokens": 40}},
	 "replies": [{"when": {"turn": 1}, "think": "hm / \u00e9", "redacted": "cmVk", "say": "I look / \u00fc.",
	              "call": [{"input": {"language": "bash", "code": "echo"}}, {"input": {}}]}, {"say": "done {last}"}]}
	JSON
}
teardown() { nj_teardown; }

# client - runs the Python program on stdin with helpers around one conversation
client() {
    cat - >client.py
    cat >kit.py <<-'PYTHON'
	import json, re, sys, urllib.error, urllib.request
	URL = sys.argv[1]
	A = {"anthropic-version": "2023-06-01", "x-api-key": "good"}
	O = {"authorization": "Bearer good"}
	TOOLS = [{"name": "code_execution", "description": "runs", "input_schema": {"type": "object"}}]
	ASK = {"model": "m1", "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}], "tools": TOOLS}
	def post(path, body, headers):
	    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
	    request = urllib.request.Request(URL + path, data=data, headers={"content-type": "application/json", **headers})
	    try:
	        with urllib.request.urlopen(request) as answer:
	            return answer.status, answer.read().decode()
	    except urllib.error.HTTPError as error:
	        return error.code, error.read().decode()
	def messages(body, **headers):
	    return post("/v1/messages", body, {**A, **{k.replace("_", "-"): v for k, v in headers.items()}})
	def refused(status, words, answer):
	    assert answer[0] == status and words in answer[1], (status, words, answer)
	def second(content, results):
	    return json.dumps(ASK)[:-1].replace('"messages": [{"role": "user", "content": "hello"}]',
	        '"messages": [{"role": "user", "content": "hello"}, {"role": "assistant", "content": ' + content + '}, '
	        '{"role": "user", "content": ' + json.dumps(results) + '}]') + "}"
	def first():
	    status, text = messages(ASK)
	    assert status == 200, text
	    content = re.search(r'"content":(\[.*\]),"stop_reason"', text, re.S).group(1)
	    ids = [block["id"] for block in json.loads(content) if block["type"] == "tool_use"]
	    return content, [{"type": "tool_result", "tool_use_id": name, "content": "ok"} for name in ids]
	PYTHON
    cat kit.py client.py >both.py
    python3 -I both.py "$models_url"
}

@test "a conversation that keeps the rules is answered" {
    client <<-'PYTHON'
	content, results = first()
	status, text = messages(second(content, results))
	assert status == 200 and "done ok" in text, text
	PYTHON
    models_sound
}

@test "a block that comes back in another spelling, or was never sent, is refused" {
    client <<-'PYTHON'
	content, results = first()
	refused(400, "byte for byte", messages(second(json.dumps(json.loads(content)), results)))
	refused(400, "never sent", messages(second(content.replace("I look", "I saw"), results)))
	refused(400, "never sent", messages(second(content.replace("cmVk", "cmVl"), results)))
	PYTHON
}

@test "results and calls belong together" {
    client <<-'PYTHON'
	content, results = first()
	refused(400, "without `tool_result`", messages(second(content, results[:1])))
	refused(400, "single result", messages(second(content, results + results[:1])))
	refused(400, "unexpected `tool_use_id`", messages(second(content, results + [dict(results[0], tool_use_id="toolu_x")])))
	refused(400, "must come first", messages(second(content, [{"type": "text", "text": "t"}] + results)))
	PYTHON
}

@test "shapes are checked" {
    client <<-'PYTHON'
	refused(400, "foo: Extra inputs", messages(dict(ASK, foo=1)))
	refused(400, "max_tokens: Field required", messages({k: v for k, v in ASK.items() if k != "max_tokens"}))
	refused(400, "two messages of the role", messages(dict(ASK, messages=ASK["messages"] * 2)))
	refused(400, "given twice", messages('{"model": "m1", "model": "m1"}'))
	refused(400, "NaN", messages('{"model": NaN}'))
	refused(400, "prefill", messages(second(first()[0], []).replace(', {"role": "user", "content": []}', "")))
	marked = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}] * 5
	refused(400, "maximum of 4 blocks with cache_control", messages(dict(ASK, system=marked)))
	refused(400, "too long", messages(dict(ASK, model="small", messages=[{"role": "user", "content": "x" * 400}])))
	refused(400, "anthropic-version", post("/v1/messages", ASK, {"x-api-key": "good"}))
	refused(400, "traceparent", messages(ASK, traceparent="00-0-0-01"))
	PYTHON
}

@test "keys, models and accounts are told apart" {
    client <<-'PYTHON'
	refused(401, "authentication_error", messages(ASK, x_api_key="bad"))
	refused(402, "billing_error", messages(ASK, x_api_key="poor"))
	refused(404, "not_found_error", messages(dict(ASK, model="m9")))
	refused(400, "only one may be given", messages(ASK, authorization="Bearer good"))
	PYTHON
}

@test "chat completions: calls and results belong together, and what was said is not changed" {
    client <<-'PYTHON'
	ask = {"model": "m1", "messages": [{"role": "user", "content": "hi"}],
	       "tools": [{"type": "function", "function": {"name": "code_execution", "parameters": {"type": "object"}}}]}
	chat = lambda messages, **more: post("/v1/chat/completions", {**ask, "messages": messages, **more}, O)
	status, text = chat(ask["messages"])
	said = json.loads(text)["choices"][0]["message"]
	del said["refusal"]
	results = [{"role": "tool", "tool_call_id": call["id"], "content": "ok"} for call in said["tool_calls"]]
	assert chat(ask["messages"] + [said] + results)[0] == 200
	refused(400, "must be followed by tool messages", chat(ask["messages"] + [said] + results[:1] + [{"role": "user", "content": "x"}]))
	refused(400, "preceding message", chat(ask["messages"] + [said] + results + results[:1]))
	refused(400, "was changed since", chat(ask["messages"] + [dict(said, content="else")] + results))
	refused(400, "stream_options", chat(ask["messages"], stream_options={"include_usage": True}))
	refused(400, "only one may be given", chat(ask["messages"], max_tokens=1, max_completion_tokens=1))
	PYTHON
}
