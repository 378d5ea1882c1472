#!/usr/bin/python3
"""A strict scripted model server on loopback: Anthropic Messages and OpenAI chat completions.

    model_server.py --script FILE --journal FILE [--port-file FILE] [--chaos RATE[:KIND,...]] [--seed N]
                    [--tls CERT KEY] [--foreign] [--port N]

It prints "port N", and ends with the process that started it. A request that the real service would refuse is answered
with the status and the reason, and noted as "refused": a test asserts that there is none. What it checks is told in
model_server_anthropic.py and model_server_openai.py.

The script is JSON:
    {"accounts": {"KEY": "ok" | "empty" | "forbidden"},            none: any key will do
     "models":   {"NAME": {"context_tokens", "max_tokens", "cache_tokens", "refuses": [PARAMETER]}},
     "limits":   {"requests": N, "input_tokens": N, "output_tokens": N, "seconds": S},    by model; told in headers
     "replies":  [REPLY, ...]}                                      the first that fits
A REPLY:
    "when"     {"turn": N or [N], "model": NAME, "matches": REGEX over the last message, "first": REGEX over the first,
                "attempt": N or [N], "tool": "ok" | "error", "paused": BOOL, "stream": BOOL, "api": "anthropic" | "openai"}
    "times"    how often in one conversation
    "say", "think", "redacted", "call": [{"name", "input"}]  or "content": [BLOCK]; {first} {last} {turn} {model} are replaced
    "stop_reason", "stop_details", "usage": {...}, "model": who answers, "delay": seconds, "style": spelling, variants of openai
    "error"    {"status", "type", "message", "headers": {}, "body": TEXT}
    "fault"    what goes wrong on the way; one of FAULTS below, or {"kind", "bytes", "seconds"}

The journal is appended to, a JSON object a line, each written before anything is sent:
    asked      n, connection, inflight, api, path, session, depth (blocks or messages so far), turn, attempt, model, stream,
               fields (of the body), first (60 characters), digest of the body, key (digest), traceparent, cached
    answered   n, status, whole (a sound reply: whoever has read all of it finds this line), bytes, fault
    refused    n, status, why
"""
import argparse
import asyncio
import ctypes
import hashlib
import json
import os
import random
import re
import signal
import ssl
import sys
import time

sys.dont_write_bytecode = True  # the tree may be read-only, and stays clean
import model_server_anthropic as anthropic  # noqa: E402
import model_server_openai as openai  # noqa: E402
from model_server_json import Refused, canonical, digest, parse  # noqa: E402

BODY_MAX_BYTES = 32 << 20
HEAD_MAX_BYTES = 64 << 10
STALL_SECONDS = 3600

# By itself, each of these must lead to one more try of the whole call and to nothing else.
FAULTS = ["429", "429-after", "500", "504", "529", "html", "close", "cut", "no_stop", "garbage", "error_event", "utf8", "types", "empty"]
# These take long or are large: only where they are named.
SLOW_FAULTS = ["stall", "trickle", "long_line", "deep", "giant", "slow", "reset"]
STATUS_FAULTS = {"429": (429, "rate_limit_error", [("retry-after-ms", "20")]), "429-after": (429, "rate_limit_error", [("retry-after", "1")]),
                 "500": (500, "api_error", []), "504": (504, "timeout_error", []), "529": (529, "overloaded_error", [])}


class Server:
    def __init__(self, args):
        with open(args.script, encoding="utf-8") as file:
            script = json.load(file)
        self.accounts, self.models = script.get("accounts", {}), script.get("models", {})
        self.replies, self.limits = script["replies"], script.get("limits", {})
        self.variants = script.get("variants", {})
        self.foreign, self.seed = args.foreign, args.seed
        rate, _, kinds = args.chaos.partition(":")
        self.chaos_rate, self.chaos_kinds = float(rate or 0), kinds.split(",") if kinds else FAULTS
        self.journal_fd = os.open(args.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self.sessions, self.uses, self.attempts, self.windows, self.cache = {}, {}, {}, {}, set()
        self.count = self.connections = self.inflight = 0

    def note(self, **fields):
        os.write(self.journal_fd, (json.dumps(fields) + "\n").encode())

    # ---- what to answer ----

    def choose(self, api, call):
        for index, reply in enumerate(self.replies):
            uses = self.uses.get((call["session"], index), 0)
            if uses < reply.get("times", 1 << 60) and fits(reply.get("when", {}), api, call):
                self.uses[call["session"], index] = uses + 1
                return {**self.variants, **reply}
        raise Refused(500, "api_error", "the script has no reply that fits")

    def fault_of(self, reply, call):
        if "fault" in reply:
            fault = reply["fault"]
            return dict(fault) if isinstance(fault, dict) else {"kind": fault}
        chance = random.Random(f"{self.seed} {call['session']} {call['depth']} {call['attempt']}")
        if "error" not in reply and chance.random() < self.chaos_rate:
            return {"kind": chance.choice(self.chaos_kinds)}
        return {"kind": None}

    def limit(self, call, api):
        """Rate limits by model in windows: headers to send, or Refused with them."""
        if not self.limits:
            return []
        length, now = self.limits.get("seconds", 60), time.time()
        window = self.windows.get(call["model"])
        if window is None or now >= window["end"]:
            window = self.windows[call["model"]] = {"end": now + length, "requests": 0, "input_tokens": 0, "output_tokens": 0}
        wanted = {"requests": 1, "input_tokens": call["tokens"], "output_tokens": 0}
        over = [name for name in wanted if name in self.limits and window[name] + wanted[name] > self.limits[name]]
        if not over:
            for name, more in wanted.items():
                window[name] += more
        headers = []
        for name in ("requests", "input_tokens", "output_tokens"):
            if name not in self.limits:
                continue
            left = max(self.limits[name] - window[name], 0)
            if api is anthropic:
                stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(window["end"] + 0.999))
                values = [("limit", self.limits[name]), ("remaining", left), ("reset", stamp)]
                headers += [(f"anthropic-ratelimit-{name.replace('_', '-')}-{what}", str(value)) for what, value in values]
            elif name != "output_tokens":
                short = name.replace("input_", "")
                values = [("limit", self.limits[name]), ("remaining", left), ("reset", f"{window['end'] - now:.3f}s")]
                headers += [(f"x-ratelimit-{what}-{short}", str(value)) for what, value in values]
        if over:
            raise Refused(429, "rate_limit_error", f"over the limit of {', '.join(over)}", [*headers, ("retry-after", str(int(window["end"] - now) + 1))])
        return headers

    def answer(self, api, path, headers, raw, call):
        """(status, headers, [pieces], fault): a call that was checked"""
        text, body = call["parsed"]
        reply = self.choose(api, call)
        fault = self.fault_of(reply, call)
        usage = {"input_tokens": call["tokens"], "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0, "output_tokens": 20}
        if api is anthropic:
            cached, fills = anthropic.cache(text, body, call, self)
            usage.update(cached)
            call["fills"] = fills
        usage.update(reply.get("usage") or {})
        if "error" in reply:
            error = reply["error"]
            answer = (error.get("body") or "").encode() or api.error_body(error.get("type", "api_error"), error.get("message", "scripted"), f"req_{call['n']}")
            return error["status"], [("content-type", "application/json"), *error.get("headers", {}).items()], [answer], {"kind": "error"}, reply
        chance = random.Random(f"{self.seed} {call['session']} {call['depth']} {call['attempt']} pieces")
        reply_id = f"msg_{digest(call['session'] + str(call['depth']))[:20]}"
        if api is anthropic:
            pieces = self.anthropic_reply(reply, call, usage, reply_id, chance, body.get("stream"))
        else:
            message = openai.message_of(reply, call)
            for part in openai._parts(message):
                call["sent"].blocks.setdefault(part, set())
            with_usage = body.get("stream_options", {}).get("include_usage", False)
            pieces = (openai.chunks_of(reply, call, usage, message, reply_id, chance, with_usage) if body.get("stream")
                      else [openai.body_of(reply, call, usage, message, reply_id)])
        kind = "text/event-stream; charset=utf-8" if body.get("stream") else "application/json"
        return 200, [("content-type", kind)], pieces, fault, reply

    def anthropic_reply(self, reply, call, usage, reply_id, chance, stream):
        blocks = anthropic.content_of(reply, call)
        if stream:
            pieces, raws = anthropic.events(reply, call, usage, blocks, reply_id, chance), [None] * len(blocks)
        else:
            whole, raws = anthropic.message(reply, call, usage, blocks, reply_id)
            pieces = [whole]
        for block, raw in zip(blocks, raws):
            call["sent"].note(block, raw)
        if reply.get("stop_reason") == "pause_turn":
            call["sent"].paused.add(canonical(blocks[-1]))
        return pieces


def fits(when, api, call):
    listed = lambda value: value if isinstance(value, list) else [value]  # noqa: E731
    tests = {"turn": lambda v: call["turn"] in listed(v), "attempt": lambda v: call["attempt"] in listed(v),
             "model": lambda v: v == call["model"], "stream": lambda v: v == call["stream"], "paused": lambda v: v == call["paused"],
             "matches": lambda v: re.search(v, call["last"]) is not None, "first": lambda v: re.search(v, call["first"]) is not None,
             "tool": lambda v: call["last_error"] is not None and call["last_error"] == (v == "error"),
             "api": lambda v: v == ("anthropic" if api is anthropic else "openai")}
    return all(tests[name](value) for name, value in when.items())


def spoiled(kind, fault, api, pieces, chance):
    """The body with its fault: pieces, and whether the connection ends in the middle"""
    stream = len(pieces) > 1 or pieces[0].startswith((b"event:", b"data:"))
    whole = b"".join(pieces)
    if kind == "cut":
        return [whole[:fault.get("bytes", chance.randint(0, max(0, len(whole) - 5)))]], True
    if kind in ("stall", "trickle"):
        return pieces, False
    if kind == "no_stop":
        return (pieces[:-1] if stream else [whole[:-1]]), not stream
    if kind == "garbage":
        return [b"<!doctype html><title>It works!</title>"], False
    if kind == "empty":
        return [b""], False
    if kind == "error_event" and stream:
        error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
        return [*pieces[:len(pieces) // 2], error if api is anthropic else b'data: {"error":{"message":"Overloaded","type":"server_error"}}\n\n'], False
    if kind == "utf8":
        return [whole.replace(b'"text"', b'"te\xff\xfext"').replace(b'"role"', b'"ro\xc0\x80le"')], False
    if kind == "types":
        return [re.sub(rb'"(content|delta|choices|usage|content_block)" ?:', rb'"\1":[[17]],"was":', whole)], False
    if kind == "giant":
        return [re.sub(rb'"(input_tokens|output_tokens|prompt_tokens|completion_tokens)" ?: ?\d+', rb'"\1":1' + b"0" * 400, whole)], False
    if kind == "deep":
        deep = b'{"type":"message_start","message":' + b"[" * 200000 + b"]" * 200000 + b"}"
        return [b"data: " + deep + b"\n\n" if stream else deep], False
    if kind == "long_line":
        size = fault.get("bytes", 100 << 20)
        return [b'data: {"type":"', *[b"x" * 65536] * (size // 65536), b'"}\n\n'], False
    return pieces, False


class Connection:
    """One connection's requests, one after another"""

    def __init__(self, server, reader, writer):
        self.server, self.reader, self.writer = server, reader, writer
        server.connections += 1
        self.number = server.connections

    async def serve(self):
        try:
            while await self.one():
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError, TimeoutError):
            pass
        finally:
            self.writer.close()

    async def head(self):
        try:
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        lines = head[:-4].split("\r\n")
        match = re.fullmatch(r"(GET|POST) (/[!-~]*) HTTP/1\.[01]", lines[0])
        headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or "\n" in value or name.lower() in headers:
                raise Refused(400, "invalid_request_error", f"malformed or repeated header: {line[:80]!r}")
            headers[name.lower()] = value.strip()
        if not match or "host" not in headers:
            raise Refused(400, "invalid_request_error", f"malformed request line, or no Host: {lines[0][:80]!r}")
        return match.group(1), match.group(2), headers

    async def body(self, method, headers):
        if method == "GET":
            if "content-length" in headers or "transfer-encoding" in headers:
                raise Refused(400, "invalid_request_error", "a GET with a body")
            return b""
        if not re.fullmatch(r"\d{1,12}", headers.get("content-length", "")):
            raise Refused(411, "invalid_request_error", "Content-Length is missing or malformed")
        size = int(headers["content-length"])
        if size > BODY_MAX_BYTES:
            raise Refused(413, "request_too_large", "Request exceeds the maximum allowed number of bytes.")
        if headers.get("expect", "").lower() == "100-continue":
            self.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await self.reader.readexactly(size)

    async def one(self):
        api, n = anthropic, None
        try:
            head = await self.head()
            if head is None:
                return False
            method, path, headers = head
            raw = await self.body(method, headers)
            self.server.count += 1
            n = self.server.count
            path = path.partition("?")[0]
            if path == openai.PATH_CHAT or (path.startswith("/v1/models") and "anthropic-version" not in headers):
                api = openai
            key = api.check_headers(headers, self.server.accounts)
            if method == "GET":
                return await self.listed(n, api, path, key)
            return await self.call(n, api, path, headers, raw, key)
        except Refused as refused:
            self.server.note(event="refused", n=n, status=refused.status, why=refused.message)
            body = api.error_body(refused.kind, refused.message, f"req_{n}")
            await self.send(refused.status, [("content-type", "application/json"), *refused.headers], [body])
            return n is not None

    async def listed(self, n, api, path, key):
        self.server.note(event="asked", n=n, connection=self.number, api=api.__name__[13:], path=path, key=digest(key)[:16])
        if not path.startswith("/v1/models"):
            raise Refused(404, "not_found_error", "Not found")
        names, wanted = self.server.models, path[len("/v1/models/"):]
        if wanted and wanted not in names:
            raise Refused(404, "not_found_error", f"model: {wanted}")
        if api is anthropic:
            value = anthropic.models_list(self.server)
        else:
            value = {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "test"} for name in names]}
        value = next(v for v in value["data"] if v["id"] == wanted) if wanted else value
        await self.send(200, [("content-type", "application/json")], [json.dumps(value).encode()])
        self.server.note(event="answered", n=n, status=200, whole=True, fault=None)
        return True

    async def call(self, n, api, path, headers, raw, key):
        server, counting = self.server, path == anthropic.PATH_COUNT
        if path not in (anthropic.PATH_MESSAGES, anthropic.PATH_COUNT, openai.PATH_CHAT):
            raise Refused(404, "not_found_error", f"Not found: {path}")
        if headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Refused(400, "invalid_request_error", "content-type: expected application/json")
        traceparent = headers.get("traceparent")
        if traceparent is not None and not re.fullmatch(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}", traceparent):
            raise Refused(400, "invalid_request_error", f"traceparent: malformed: {traceparent[:80]!r}")
        parsed = parse(raw)
        call = api.check(*parsed, server, counting)
        call.update(parsed=parsed, n=n, model=parsed[1]["model"], stream=bool(parsed[1].get("stream")), fills=[])
        place = (call["session"], call["depth"], counting)
        call["attempt"] = server.attempts[place] = server.attempts.get(place, 0) + 1
        server.inflight += 1
        try:
            server.note(event="asked", n=n, connection=self.number, inflight=server.inflight, api=api.__name__[13:], path=path,
                        session=call["session"], depth=call["depth"], turn=call["turn"], attempt=call["attempt"], model=call["model"],
                        stream=call["stream"], fields=sorted(parsed[1]), first=call["first"][:60], digest=hashlib.sha256(raw).hexdigest()[:32],
                        key=digest(key)[:16], traceparent=traceparent, tokens=call["tokens"], at=round(time.time(), 3))
            if counting:
                await self.send(200, [("content-type", "application/json")], [json.dumps({"input_tokens": call["tokens"]}).encode()])
                server.note(event="answered", n=n, status=200, whole=True, fault=None)
                return True
            limits = server.limit(call, api)
            status, more, pieces, fault, reply = server.answer(api, path, headers, raw, call)
            return await self.reply(call, api, status, [*more, *limits], pieces, fault, reply)
        finally:
            server.inflight -= 1

    async def reply(self, call, api, status, headers, pieces, fault, reply):
        """Sends what was chosen, with its fault, and takes down how it went."""
        server, kind = self.server, fault["kind"]
        headers = [("request-id", f"req_{call['n']}"), ("anthropic-organization-id", "org_test"), *headers]
        if reply.get("delay"):
            await asyncio.sleep(reply["delay"])
        if kind in ("slow",):
            await asyncio.sleep(fault.get("seconds", 2))
        chance = random.Random(f"{server.seed} {call['session']} {call['depth']} {call['attempt']} fault")
        if kind == "error_event" and not call["stream"]:
            kind = "529"
        if kind in STATUS_FAULTS:
            status, word, more = STATUS_FAULTS[kind]
            headers = [("content-type", "application/json"), *more]
            pieces = [api.error_body(word, "chaos", f"req_{call['n']}")]
        elif kind == "html":
            status, headers, pieces = 502, [("content-type", "text/html")], [b"<html><h1>502 Bad Gateway</h1></html>"]
        elif kind in ("close", "reset"):
            server.note(event="answered", n=call["n"], status=0, whole=False, bytes=0, fault=kind)
            if kind == "reset":
                self.writer.transport.abort()
            return False
        sound = kind is None or kind in ("slow", "trickle")
        pieces, ends = spoiled(kind, fault, api, pieces, chance)
        if sound:
            server.cache.update(call["fills"])
        size = sum(map(len, pieces))
        # Written down first: whoever has read the whole reply finds it here.
        server.note(event="answered", n=call["n"], status=status, whole=sound and status == 200, bytes=size, fault=kind)
        await self.send(status, headers, pieces, chunked=call["stream"] and status == 200, ends=ends,
                        stall=fault.get("bytes", chance.randint(0, size)) if kind == "stall" else None,
                        stall_seconds=fault.get("seconds", STALL_SECONDS),
                        pause=fault.get("seconds", 0.05) if kind == "trickle" else reply.get("pause", 0))
        return not ends

    async def send(self, status, headers, pieces, chunked=False, ends=False, stall=None, stall_seconds=0, pause=0):
        size = sum(map(len, pieces))
        headers = [("date", "Thu, 01 Jan 2026 00:00:00 GMT"), *headers]
        headers.append(("transfer-encoding", "chunked") if chunked else ("content-length", str(size + (100 if ends else 0))))
        head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
        sent, out = 0, [head.encode("latin-1")]
        if not chunked and stall is None and not pause:
            out, pieces = [b"".join(out + pieces)], []
        for piece in out:
            self.writer.write(piece)
        for piece in pieces:
            steps = [piece[i:i + 7] for i in range(0, len(piece), 7)] if pause else [piece]
            if stall is not None and sent + len(piece) > stall:
                steps = [piece[:stall - sent]]
            for step in steps:
                if step:
                    self.writer.write(f"{len(step):x}\r\n".encode() + step + b"\r\n" if chunked else step)
                    await self.writer.drain()
                if pause:
                    await asyncio.sleep(pause)
            sent += len(piece)
            if stall is not None and sent > stall:
                await self.hang(stall_seconds)
                raise ConnectionError
        if chunked and not ends:
            self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def hang(self, seconds):
        """Until the client gives up, or for so long"""
        try:
            await asyncio.wait_for(self.reader.read(1), seconds)
        except asyncio.TimeoutError:
            pass


async def main():
    options = argparse.ArgumentParser()
    for name, default in (("script", None), ("journal", None), ("port-file", None), ("chaos", "0"), ("seed", "1")):
        options.add_argument(f"--{name}", default=default, required=name in ("script", "journal"))
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--foreign", action="store_true", help="blocks that another server sent may be in a conversation")
    options.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    args = options.parse_args()
    parent = os.getppid()
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        return
    server, context = Server(args), None
    if args.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*args.tls)

    async def accepted(reader, writer):
        await Connection(server, reader, writer).serve()
    listening = await asyncio.start_server(accepted, "127.0.0.1", args.port, limit=HEAD_MAX_BYTES, backlog=2048, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    if args.port_file:
        with open(args.port_file + ".new", "w", encoding="ascii") as file:
            file.write(str(port))
        os.rename(args.port_file + ".new", args.port_file)
    print(f"port {port}", flush=True)
    async with listening:
        await listening.serve_forever()

if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
