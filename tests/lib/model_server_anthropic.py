"""model_server_anthropic.py - the Messages API as its server sees it: requests checked, replies rendered

The one complication is what must come back unchanged. A block that went out whole (not streamed) has to be echoed with
exactly its bytes; one that went out as a stream of pieces is assembled by the client, so the spelling of its first
echo is taken down, and every later one must be the same.
"""
import json
import re

from model_server_json import (Refused, canonical, check_keys, check_number, check_type, check_whole, digest, invalid,
                               span_of, spans, written)

PATH_MESSAGES, PATH_COUNT, PATH_MODELS = "/v1/messages", "/v1/messages/count_tokens", "/v1/models"

REQUEST = {"model", "max_tokens", "messages", "system", "tools", "tool_choice", "stop_sequences", "stream", "temperature",
           "top_p", "top_k", "thinking", "output_config", "metadata", "service_tier", "container", "inference_geo",
           "cache_control"}
TOOL = {"name", "description", "input_schema", "cache_control", "strict", "defer_loading", "input_examples",
        "eager_input_streaming", "type"}
# Blocks of a user's message, and of an assistant's what a client may not have received from us.
USER_BLOCKS = {"text": {"type", "text", "cache_control", "citations"},
               "tool_result": {"type", "tool_use_id", "content", "is_error", "cache_control"},
               "image": {"type", "source", "cache_control"}, "document": {"type", "source", "title", "context", "citations", "cache_control"}}
BREAKPOINTS_MAX = 4
LOOK_BACK_BLOCKS = 20


def error_body(kind, message, request_id):
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id}).encode()


def check_headers(headers, accounts):
    """accounts: {key: "ok" | "empty" | "forbidden"}; an empty table takes any key"""
    key, bearer = headers.get("x-api-key"), headers.get("authorization")
    if headers.get("anthropic-version") != "2023-06-01":
        raise invalid("anthropic-version: header is required")
    if key and bearer:
        raise invalid("x-api-key and Authorization: only one may be given")
    if bearer and not bearer.startswith("Bearer "):
        raise Refused(401, "authentication_error", "Authorization: not a bearer token")
    key = key or (bearer or "")[7:]
    if not key:
        raise Refused(401, "authentication_error", "x-api-key header is required")
    state = accounts.get(key) if accounts else "ok"
    if state is None:
        raise Refused(401, "authentication_error", "invalid x-api-key")
    if state == "empty":
        raise Refused(402, "billing_error", "Your credit balance is too low to access the Anthropic API.")
    if state == "forbidden":
        raise Refused(403, "permission_error", "Your API key does not have permission to use the specified resource.")
    return key


def _cache_control(where, value, seen):
    if "cache_control" not in value:
        return
    control = value["cache_control"]
    check_keys(f"{where}.cache_control", control, {"type", "ttl"}, ["type"])
    if control["type"] != "ephemeral" or control.get("ttl", "5m") not in ("5m", "1h"):
        raise invalid(f"{where}.cache_control: expected {{type: ephemeral, ttl: 5m or 1h}}")
    seen.append(where)


def _blocks(where, content, seen):
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    check_type(where, content, list, "list")
    for i, block in enumerate(content):
        check_type(f"{where}.{i}", block, dict, "object")
        check_type(f"{where}.{i}.type", block.get("type"), str, "string")
        _cache_control(f"{where}.{i}", block, seen)
    return content


def _tool_result(where, block):
    check_type(f"{where}.tool_use_id", block.get("tool_use_id"), str, "string")
    if "is_error" in block:
        check_type(f"{where}.is_error", block["is_error"], bool, "boolean")
    content = block.get("content", "")
    if isinstance(content, str):
        return content
    texts = []
    for i, part in enumerate(check_type(f"{where}.content", content, list, "list or string")):
        check_type(f"{where}.content.{i}", part, dict, "object")
        if part.get("type") not in ("text", "image", "document"):
            raise invalid(f"{where}.content.{i}.type: {part.get('type')} is not permitted in a tool result")
        if part["type"] == "text":
            check_keys(f"{where}.content.{i}", part, {"type", "text", "cache_control"}, ["text"])
            texts.append(check_type(f"{where}.content.{i}.text", part["text"], str, "string"))
    return "\n".join(texts)


def _tools(value, seen):
    names = set()
    for i, tool in enumerate(check_type("tools", value, list, "list")):
        where = f"tools.{i}"
        check_type(where, tool, dict, "object")
        check_type(f"{where}.name", tool.get("name"), str, "string")
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", tool["name"]):
            raise invalid(f"{where}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if tool["name"] in names:
            raise invalid("tools: Tool names must be unique.")
        names.add(tool["name"])
        _cache_control(where, tool, seen)
        if tool.get("type", "custom") == "custom":
            check_keys(where, tool, TOOL, ["name", "input_schema"])
            if check_type(f"{where}.input_schema", tool["input_schema"], dict, "object").get("type") != "object":
                raise invalid(f"{where}.input_schema.type: Field required")
            if "description" in tool:
                check_type(f"{where}.description", tool["description"], str, "string")
        elif not re.fullmatch(r"[a-z_]+_\d{8}", tool["type"]):
            raise invalid(f"{where}.type: unknown tool type {tool['type']}")
    return names


def _parameters(body, model):
    for name in model.get("refuses", []):
        if name in body:
            raise invalid(f"{name}: is not supported by {body['model']}")
    if "temperature" in body:
        check_number("temperature", body["temperature"], 0, 1)
    if "top_p" in body:
        check_number("top_p", body["top_p"], 0, 1)
    if "top_k" in body:
        check_whole("top_k", body["top_k"], 0)
    if "stream" in body:
        check_type("stream", body["stream"], bool, "boolean")
    if "metadata" in body:
        check_keys("metadata", body["metadata"], {"user_id"})
    if body.get("service_tier", "auto") not in ("auto", "standard_only"):
        raise invalid("service_tier: expected auto or standard_only")
    if "stop_sequences" in body:
        for i, text in enumerate(check_type("stop_sequences", body["stop_sequences"], list, "list")):
            check_type(f"stop_sequences.{i}", text, str, "string")
    if "tool_choice" in body:
        choice = body["tool_choice"]
        check_keys("tool_choice", choice, {"type", "name", "disable_parallel_tool_use"}, ["type"])
        if choice["type"] not in ("auto", "any", "tool", "none") or ("name" in choice) != (choice["type"] == "tool"):
            raise invalid("tool_choice: expected auto, any, none, or tool with a name")
    if "thinking" in body:
        thinking = body["thinking"]
        check_keys("thinking", thinking, {"type", "budget_tokens", "display"}, ["type"])
        if thinking["type"] not in ("enabled", "adaptive", "disabled"):
            raise invalid("thinking.type: expected enabled, adaptive or disabled")
        if thinking["type"] == "enabled":
            if check_whole("thinking.budget_tokens", thinking.get("budget_tokens"), 1024) >= body.get("max_tokens", 1 << 40):
                raise invalid("`max_tokens` must be greater than `thinking.budget_tokens`")
    if "output_config" in body:
        check_keys("output_config", body["output_config"], {"effort", "format"})
        if body["output_config"].get("effort", "low") not in ("low", "medium", "high", "xhigh", "max"):
            raise invalid("output_config.effort: unknown")


class Sent:
    """What went out in one session: spellings of each block by its canonical form; None in place of one not yet seen."""

    def __init__(self):
        self.blocks, self.paused, self.cached = {}, set(), {}

    def note(self, block, raw):
        if raw is None:
            self.blocks[canonical(block)] = set()  # streamed anew, as for a second attempt: in fragments of its own
        else:
            self.blocks.setdefault(canonical(block), set()).add(raw)

    def check(self, where, block, raw):
        known = self.blocks.get(canonical(block))
        if known is None:
            raise invalid(f"{where}: this block was never sent in this conversation, or was changed since")
        if known and raw not in known:
            raise invalid(f"{where}: this block does not come back byte for byte as it was before")
        known.add(raw)


def check(text, body, server, counting):
    """Checks a whole request. Returns what the server goes by; raises Refused."""
    check_keys("", body, REQUEST - {"max_tokens", "stream"} if counting else REQUEST,
               ["model", "messages"] if counting else ["model", "max_tokens", "messages"])
    check_type("model", body["model"], str, "string")
    model = server.models.get(body["model"])
    if model is None:
        raise Refused(404, "not_found_error", f"model: {body['model']}")
    if not counting:
        check_whole("max_tokens", body["max_tokens"], 0)
        if body["max_tokens"] > model.get("max_tokens", 128000):
            raise invalid(f"max_tokens: {body['max_tokens']} > {model.get('max_tokens', 128000)}, which is the maximum allowed")
    _parameters(body, model)
    seen = []
    _cache_control("", body, seen)
    if "system" in body:
        for i, block in enumerate(_blocks("system", body["system"], seen)):
            check_keys(f"system.{i}", block, {"type", "text", "cache_control"}, ["text"])
            if not block["text"]:
                raise invalid(f"system.{i}: text content blocks must be non-empty")
    names = _tools(body["tools"], seen) if "tools" in body else set()
    call = _messages(text, body, server, names, seen)
    if len(seen) > BREAKPOINTS_MAX:
        raise invalid(f"A maximum of {BREAKPOINTS_MAX} blocks with cache_control may be provided. Found {len(seen)}.")
    call["tokens"] = len(text.encode("utf-8", "surrogatepass")) // 4 + 1
    most = model.get("context_tokens", 1000000)
    if call["tokens"] > most:
        raise invalid(f"prompt is too long: {call['tokens']} tokens > {most} maximum")
    return call


def _messages(text, body, server, names, seen):
    messages = check_type("messages", body["messages"], list, "list")
    if not messages:
        raise invalid("messages: at least one message is required")
    starts = spans(text, span_of(text, "messages")[0])
    first = canonical(_uncontrolled(messages[0]))
    sent = server.sessions.setdefault(("anthropic", digest(first)), Sent())
    call = {"session": digest(first)[:16], "depth": 0, "turn": 1, "paused": False, "sent": sent, "last_error": None,
            "first": "", "last": "", "prefixes": []}
    open_ids, before = [], None
    for i, message in enumerate(messages):
        where = f"messages.{i}"
        check_keys(where, message, {"role", "content"}, ["role", "content"])
        role = message["role"]
        if role not in ("user", "assistant") or (i == 0 and role != "user"):
            raise invalid(f"{where}.role: Unexpected role \"{role}\"")
        if role == before:
            raise invalid(f"{where}.role: two messages of the role \"{role}\" follow one another; they form one message")
        blocks = _blocks(f"{where}.content", message["content"], seen)
        if not blocks:
            raise invalid(f"{where}: all messages must have non-empty content")
        at = span_of(text, "content", starts[i][1])[0]
        raws = [text[start:end] for _, start, end in spans(text, at)] if text[at] == "[" else [text[at:]]
        if role == "assistant":
            open_ids = _assistant(where, blocks, raws, sent, server.foreign)
            call["turn"] += 1
        else:
            texts = _user(where, blocks, open_ids)
            if i == 0:
                call["first"] = "\n".join(texts)
            call["last"] = "\n".join(texts)
            results = [block.get("is_error", False) for block in blocks if block["type"] == "tool_result"]
            call["last_error"] = any(results) if results else None
            open_ids = []
        if (open_ids or any(b["type"] == "tool_result" for b in blocks)) and not names:
            raise invalid("Requests which include `tool_use` or `tool_result` blocks must define tools")
        call["depth"] += len(blocks)
        for block, raw in zip(blocks, raws):
            call["prefixes"].append(("cache_control" in block, role, canonical(_uncontrolled(block)) if role == "user" else raw))
        before = role
    if before == "assistant":
        if digest("".join(raws)) not in sent.paused and canonical(blocks[-1]) not in sent.paused:
            raise invalid("This model does not support assistant message prefill. The conversation must end with a user message.")
        call["paused"] = True
    return call


def _uncontrolled(value):
    if isinstance(value, dict):
        return {key: _uncontrolled(inner) for key, inner in value.items() if key != "cache_control"}
    return [_uncontrolled(inner) for inner in value] if isinstance(value, list) else value


def _assistant(where, blocks, raws, sent, foreign):
    ids = []
    for j, (block, raw) in enumerate(zip(blocks, raws)):
        place = f"{where}.content.{j}"
        if block["type"] == "text" and not block.get("text", "").strip():
            raise invalid(f"{place}: text content blocks must contain non-whitespace text")
        if block["type"] == "tool_use":
            check_keys(place, block, {"type", "id", "name", "input", "caller", "cache_control"}, ["id", "name", "input"])
            check_type(f"{place}.input", block["input"], dict, "object")
            if block["id"] in ids:
                raise invalid(f"{place}: `tool_use` ids must be unique")
            ids.append(block["id"])
        if not foreign:
            sent.check(place, block, raw)
    return ids


def _user(where, blocks, open_ids):
    texts, answered, other = [], [], False
    for j, block in enumerate(blocks):
        place = f"{where}.content.{j}"
        if block["type"] not in USER_BLOCKS:
            raise invalid(f"{place}.type: {block['type']} is not permitted in a user's message")
        check_keys(place, block, USER_BLOCKS[block["type"]])
        if block["type"] == "tool_result":
            if other:
                raise invalid(f"{place}: `tool_result` blocks must come first in the message")
            texts.append(_tool_result(place, block))
            if block["tool_use_id"] not in open_ids:
                raise invalid(f"{place}: unexpected `tool_use_id` found in `tool_result` blocks: {block['tool_use_id']}. Each "
                              "`tool_result` block must have a corresponding `tool_use` block in the previous message.")
            if block["tool_use_id"] in answered:
                raise invalid(f"{place}: each tool_use must have a single result. Found multiple for {block['tool_use_id']}")
            answered.append(block["tool_use_id"])
        else:
            other = True
            if block["type"] == "text":
                if not check_type(f"{place}.text", block.get("text"), str, "string").strip():
                    raise invalid(f"{place}: text content blocks must contain non-whitespace text")
                texts.append(block["text"])
    missing = [name for name in open_ids if name not in answered]
    if missing:
        raise invalid(f"{where}: `tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(missing)}")
    return texts


# ---- prompt cache ----

def cache(text, body, call, server):
    """Input usage as the provider's prompt cache would count it. Entries become readable when cache_filled() says so."""
    prefix, marks = digest(canonical([body["model"], _uncontrolled(body.get("tools", []))])), []
    total = len(canonical(body.get("tools", []))) // 4
    if any("cache_control" in tool for tool in body.get("tools", [])):
        marks.append((prefix, total, True))
    system = body.get("system", [])
    for block in [{"text": system}] if isinstance(system, str) else system:
        prefix, total = digest(prefix + block["text"]), total + len(block["text"]) // 4
        marks.append((prefix, total, "cache_control" in block))
    for controlled, role, raw in call["prefixes"]:
        prefix, total = digest(prefix + role + raw), total + len(raw) // 4
        marks.append((prefix, total, controlled))
    if "cache_control" in body and marks:
        marks[-1] = marks[-1][:2] + (True,)
    least = server.models[body["model"]].get("cache_tokens", 1024)
    read = written_to = 0
    fills = []
    for i, (_, tokens, controlled) in enumerate(marks):
        if not controlled:
            continue
        for name, size, _ in marks[max(0, i - LOOK_BACK_BLOCKS):i + 1]:
            if name in server.cache and size >= least:
                read = max(read, size)
        if tokens >= least:
            written_to = max(written_to, tokens)
            fills.append(marks[i][0])
    return {"input_tokens": max(total - max(read, written_to), 0), "cache_read_input_tokens": read,
            "cache_creation_input_tokens": max(written_to - read, 0)}, fills


# ---- replies ----

def content_of(reply, call):
    """The blocks of a scripted reply. Ids depend on the place in the conversation only, so a repeat says the same."""
    def fill(value):
        if isinstance(value, str):
            for name in ("first", "last", "turn", "model"):
                value = value.replace("{" + name + "}", str(call[name]))
            return value
        if isinstance(value, dict):
            return {key: fill(inner) for key, inner in value.items()}
        return [fill(inner) for inner in value] if isinstance(value, list) else value
    if "content" in reply:
        return fill(reply["content"])
    blocks = []
    if "think" in reply:
        blocks.append({"type": "thinking", "thinking": fill(reply["think"]), "signature": digest(call["session"] + str(call["depth"]))})
    if "redacted" in reply:
        blocks.append({"type": "redacted_thinking", "data": reply["redacted"]})
    if "say" in reply:
        blocks.append({"type": "text", "text": fill(reply["say"])})
    for i, asked in enumerate(reply.get("call", [])):
        name = digest(f"{call['session']} {call['depth']} {i}")[:20]
        blocks.append({"type": "tool_use", "id": "toolu_" + name, "name": asked.get("name", "code_execution"),
                       "input": fill(asked["input"])})
    return blocks


def stop_of(reply, blocks):
    return reply.get("stop_reason", "tool_use" if any(b["type"] == "tool_use" for b in blocks) else "end_turn")


def message(reply, call, usage, blocks, message_id):
    """The unstreamed body, and the spelling of each block"""
    raws = [written(block, reply.get("style", call["depth"]) + i) for i, block in enumerate(blocks)]
    head = {"id": message_id, "type": "message", "role": "assistant", "model": reply.get("model", call["model"])}
    tail = {"stop_reason": stop_of(reply, blocks), "stop_sequence": reply.get("stop_sequence"),
            "stop_details": reply.get("stop_details"), "usage": usage}
    body = json.dumps(head)[:-1] + ',"content":[' + " ,".join(raws) + "]," + json.dumps(tail)[1:]
    return body.encode("utf-8"), raws


def _pieces(text, random):
    """Some text in pieces, none empty; a text of nothing is one empty piece."""
    at, pieces = 0, []
    while at < len(text):
        size = random.randint(1, max(1, len(text) // random.randint(1, 6)))
        pieces.append(text[at:at + size])
        at += size
    return pieces


def _event(data, style=0):
    end = "\r\n" if style % 3 == 2 else "\n"
    return f"event: {data['type']}{end}data: {written(data, style % 2)}{end}{end}".encode("utf-8")


def events(reply, call, usage, blocks, message_id, random):
    """The streamed body, event by event"""
    style, out = random.randint(0, 5), []
    empty = {"id": message_id, "type": "message", "role": "assistant", "model": reply.get("model", call["model"]), "content": [],
             "stop_reason": None, "stop_sequence": None, "usage": dict(usage, output_tokens=1)}
    out.append(_event({"type": "message_start", "message": empty}, style))
    if random.random() < 0.5:
        out.append(_event({"type": "ping"}))
    for i, block in enumerate(blocks):
        start, deltas = dict(block), []
        if block["type"] == "text":
            start["text"] = ""
            start.pop("citations", None)
            deltas = [{"type": "text_delta", "text": piece} for piece in _pieces(block["text"], random)]
            deltas += [{"type": "citations_delta", "citation": citation} for citation in block.get("citations") or []]
        elif block["type"] in ("tool_use", "server_tool_use"):
            start["input"] = {}
            raw = written(block["input"], random.randint(0, 3)) if block["input"] else ""
            if reply.get("cut_input"):
                raw = raw[:reply["cut_input"]]
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *_pieces(raw, random)]]
        elif block["type"] == "thinking":
            start["thinking"] = start["signature"] = ""
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(block["thinking"], random)]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        out.append(_event({"type": "content_block_start", "index": i, "content_block": start}, style))
        for delta in deltas:
            out.append(_event({"type": "content_block_delta", "index": i, "delta": delta}, style))
            if random.random() < 0.1:
                out.append(_event({"type": "ping"}))
        if random.random() < 0.2:
            out.append(_event({"type": "nightly_unknown_event", "index": i, "note": "to be ignored"}))
        out.append(_event({"type": "content_block_stop", "index": i}, style))
    delta = {"stop_reason": stop_of(reply, blocks), "stop_sequence": reply.get("stop_sequence"), "stop_details": reply.get("stop_details")}
    out.append(_event({"type": "message_delta", "delta": delta, "usage": {"output_tokens": usage["output_tokens"]}}, style))
    out.append(_event({"type": "message_stop"}, style))
    return out


def models_list(server):
    data = [{"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"} for name in server.models]
    return {"data": data, "has_more": False, "first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
