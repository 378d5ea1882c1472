"""model_server_openai.py - chat completions as a compatible server sees them: requests checked, replies rendered

Compatible servers differ, so a reply (or the whole script) names its variants: "no_usage": true, "done": false,
"whole_calls": true (each tool call in one chunk), "no_index", "empty_content" (content "" in place of null).
"""
import json
import re

import model_server_anthropic
from model_server_anthropic import Sent, _pieces, _uncontrolled
from model_server_json import (Refused, canonical, check_keys, check_number, check_type, check_whole, digest, invalid)

PATH_CHAT, PATH_MODELS = "/v1/chat/completions", "/v1/models"

REQUEST = {"model", "messages", "tools", "tool_choice", "max_completion_tokens", "max_tokens", "stream", "stream_options",
           "response_format", "seed", "temperature", "top_p", "stop", "parallel_tool_calls", "reasoning_effort", "n", "user",
           "presence_penalty", "frequency_penalty"}
MESSAGES = {"system": {"role", "content", "name"}, "developer": {"role", "content", "name"}, "user": {"role", "content", "name"},
            "assistant": {"role", "content", "name", "refusal", "tool_calls"}, "tool": {"role", "content", "tool_call_id"}}


def error_body(kind, message, _request_id):
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": None}}).encode()


def check_headers(headers, accounts):
    bearer = headers.get("authorization", "")
    if "x-api-key" in headers or "anthropic-version" in headers:
        raise invalid("another provider's headers")
    if accounts and not bearer.startswith("Bearer "):
        raise Refused(401, "invalid_request_error", "You didn't provide an API key.")
    state = accounts.get(bearer[7:]) if accounts else "ok"
    if state is None:
        raise Refused(401, "invalid_request_error", "Incorrect API key provided.")
    if state == "empty":
        raise Refused(429, "insufficient_quota", "You exceeded your current quota, please check your plan and billing details.")
    if state == "forbidden":
        raise Refused(403, "permission_error", "Your key may not use this.")
    return bearer[7:]


def _text(where, content, optional=False):
    if content is None and optional:
        return ""
    if isinstance(content, str):
        return content
    texts = []
    for i, part in enumerate(check_type(f"{where}.content", content, list, "string or list")):
        check_keys(f"{where}.content.{i}", part, {"type", "text"}, ["type", "text"])
        if part["type"] != "text":
            raise invalid(f"{where}.content.{i}.type: {part['type']} is not supported")
        texts.append(check_type(f"{where}.content.{i}.text", part["text"], str, "string"))
    return "\n".join(texts)


def _calls(where, calls):
    ids = []
    for i, call in enumerate(check_type(f"{where}.tool_calls", calls, list, "list")):
        place = f"{where}.tool_calls.{i}"
        check_keys(place, call, {"id", "type", "function"}, ["id", "type", "function"])
        check_keys(f"{place}.function", call["function"], {"name", "arguments"}, ["name", "arguments"])
        if call["type"] != "function" or not isinstance(call["function"]["arguments"], str):
            raise invalid(f"{place}: expected a function whose arguments are a string")
        ids.append(check_type(f"{place}.id", call["id"], str, "string"))
    if not ids or len(set(ids)) != len(ids):
        raise invalid(f"{where}.tool_calls: expected calls with ids of their own")
    return ids


def _settled(value):
    """Arguments are compared as JSON where they are JSON: a client may have parsed them."""
    try:
        return canonical(json.loads(value))
    except (ValueError, RecursionError):
        return value


def _parts(message):
    """What a message of ours is known by: its text, and each call"""
    found = [canonical(["text", message["content"]])] if message.get("content") else []
    for call in message.get("tool_calls") or []:
        found.append(canonical(["call", call["id"], call["function"]["name"], _settled(call["function"]["arguments"])]))
    return found


def check(_text_of_body, body, server, _counting):
    check_keys("", body, REQUEST, ["model", "messages"])
    check_type("model", body["model"], str, "string")
    model = server.models.get(body["model"])
    if model is None:
        raise Refused(404, "invalid_request_error", f"The model `{body['model']}` does not exist or you do not have access to it.")
    for name in model.get("refuses", []):
        if name in body:
            raise invalid(f"Unsupported parameter: '{name}' is not supported with this model.")
    if "max_tokens" in body and "max_completion_tokens" in body:
        raise invalid("max_tokens and max_completion_tokens: only one may be given")
    for name in ("max_tokens", "max_completion_tokens", "n"):
        if name in body:
            check_whole(name, body[name], 1)
    if "temperature" in body:
        check_number("temperature", body["temperature"], 0, 2)
    stream = check_type("stream", body.get("stream", False), bool, "boolean")
    if "stream_options" in body:
        if not stream:
            raise invalid("The 'stream_options' parameter is only allowed when 'stream' is enabled.")
        check_keys("stream_options", body["stream_options"], {"include_usage"})
    names = set()
    for i, tool in enumerate(check_type("tools", body.get("tools", []), list, "list")):
        check_keys(f"tools.{i}", tool, {"type", "function"}, ["type", "function"])
        check_keys(f"tools.{i}.function", tool["function"], {"name", "description", "parameters", "strict"}, ["name"])
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool["function"]["name"]) or tool["function"]["name"] in names:
            raise invalid(f"tools.{i}.function.name: expected a name of its own, of [a-zA-Z0-9_-], at most 64")
        names.add(tool["function"]["name"])
    if "tools" in body and not body["tools"]:
        raise invalid("[] is too short - 'tools'")
    if "tool_choice" in body and not names:
        raise invalid("tool_choice is only allowed when tools are specified")
    call = _messages(body, server)
    call["tokens"] = len(canonical(body)) // 4 + 1
    most = model.get("context_tokens", 1000000)
    if call["tokens"] > most:
        raise Refused(400, "invalid_request_error", f"This model's maximum context length is {most} tokens. However, your messages "
                      f"resulted in {call['tokens']} tokens. (context_length_exceeded)")
    return call


def _messages(body, server):
    messages = check_type("messages", body["messages"], list, "list")
    first = next((m for m in messages if isinstance(m, dict) and m.get("role") == "user"), None)
    if first is None:
        raise invalid("messages: one of the role user is required")
    session = digest(canonical(_uncontrolled(first)))
    sent = server.sessions.setdefault(("openai", session), Sent())
    call = {"session": session[:16], "depth": 0, "turn": 1, "paused": False, "sent": sent, "last_error": None, "first": "",
            "last": "", "prefixes": []}
    open_ids = []
    for i, message in enumerate(messages):
        where = f"messages.{i}"
        check_type(where, message, dict, "object")
        role = message.get("role")
        if role not in MESSAGES:
            raise invalid(f"{where}.role: unknown")
        check_keys(where, message, MESSAGES[role], ["role"])
        if open_ids and role != "tool":
            raise invalid(f"{where}: An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                          f"'tool_call_id'. The following did not have response messages: {', '.join(open_ids)}")
        text = _text(where, message.get("content"), optional=role == "assistant" and message.get("tool_calls") is not None)
        if role == "assistant":
            call["turn"] += 1
            if message.get("tool_calls") is not None:
                open_ids = _calls(where, message["tool_calls"])
            for part in _parts({"content": text, "tool_calls": message.get("tool_calls")}):
                if not server.foreign and part not in sent.blocks:
                    raise invalid(f"{where}: this was never said in this conversation, or was changed since: {part[:200]}")
        elif role == "tool":
            if message.get("tool_call_id") not in open_ids:
                raise invalid(f"{where}: 'tool' messages must be a response to a preceding message with 'tool_calls'")
            open_ids.remove(message["tool_call_id"])
        if role == "user" and not call["first"]:
            call["first"] = text
        call["last"] = text
        call["depth"] += 1
    if open_ids or messages[-1]["role"] == "assistant":
        raise invalid("messages: the last message has to be answered by the model")
    return call


# ---- replies ----

FINISH = {"tool_use": "tool_calls", "end_turn": "stop", "max_tokens": "length", "refusal": "content_filter"}


def message_of(reply, call):
    """The assistant's message; a script's blocks serve both providers."""
    text, calls = [], []
    for i, block in enumerate(model_server_anthropic.content_of(reply, call)):
        if block["type"] == "text":
            text.append(block["text"])
        elif block["type"] == "tool_use":
            arguments = json.dumps(block["input"], ensure_ascii=bool(i % 2))
            if "arguments" in reply:
                arguments = reply["arguments"]
            calls.append({"id": "call_" + block["id"][6:], "type": "function", "function": {"name": block["name"], "arguments": arguments}})
    message = {"role": "assistant", "content": "\n".join(text) or ("" if reply.get("empty_content") else None), "refusal": None}
    if calls:
        message["tool_calls"] = calls
    return message


def usage_of(usage):
    return {"prompt_tokens": usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"],
            "completion_tokens": usage["output_tokens"],
            "total_tokens": sum(v for k, v in usage.items() if k in ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")),
            "prompt_tokens_details": {"cached_tokens": usage["cache_read_input_tokens"]}}


def finish_of(reply, message):
    stop = reply.get("stop_reason", "tool_use" if message.get("tool_calls") else "end_turn")
    return FINISH.get(stop, stop)


def body_of(reply, call, usage, message, reply_id):
    body = {"id": reply_id, "object": "chat.completion", "created": 1700000000, "model": reply.get("model", call["model"]),
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_of(reply, message)}],
            "system_fingerprint": "fp_test"}
    if not reply.get("no_usage"):
        body["usage"] = usage_of(usage)
    return json.dumps(body).encode("utf-8")


def chunks_of(reply, call, usage, message, reply_id, random, with_usage):
    head = {"id": reply_id, "object": "chat.completion.chunk", "created": 1700000000, "model": reply.get("model", call["model"])}
    out = []

    def chunk(delta, finish=None):
        data = dict(head, choices=[{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])
        out.append(b"data: " + json.dumps(data).encode() + b"\n\n")
    chunk({"role": "assistant", "content": ""})
    for piece in _pieces(message["content"] or "", random):
        chunk({"content": piece})
    for i, asked in enumerate(message.get("tool_calls", [])):
        index = {} if reply.get("no_index") else {"index": i}
        if reply.get("whole_calls"):
            chunk({"tool_calls": [{**index, **asked}]})
            continue
        chunk({"tool_calls": [{**index, **asked, "function": {"name": asked["function"]["name"], "arguments": ""}}]})
        for piece in _pieces(asked["function"]["arguments"], random):
            chunk({"tool_calls": [{**index, "function": {"arguments": piece}}]})
    chunk({}, finish_of(reply, message))
    if with_usage and not reply.get("no_usage"):
        out.append(b"data: " + json.dumps(dict(head, choices=[], usage=usage_of(usage))).encode() + b"\n\n")
    if reply.get("done") is not False:
        out.append(b"data: [DONE]\n\n")
    return out
