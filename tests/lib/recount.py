"""recount.py - a run recounted from its journal alone, beside what the run itself tells

usage: recount.py RUN [STATUS [JOURNAL]]    STATUS: what `nightjar status RUN --json` printed; JOURNAL: where its segments
                                           are also as they were before they were thinned

A second reader of formats/journal/FORMAT.md: segments, frames, commits, msgpack and zstd are read here without a line of
the program's. It checks that every session is accounted for exactly once in results.jsonl, joblog.tsv and junit.xml, and
that attempts, statuses, steps, tokens and money there and in run.json equal what the events say. Exit 0 and one line
of figures, or 1 and the first differences.
"""
import collections
import ctypes
import json
import os
import struct
import sys
import xml.etree.ElementTree as xml

ZSTD = ctypes.CDLL("libzstd.so.1")
ZSTD.ZSTD_decompress.restype = ctypes.c_size_t
RUN, EVENT, ARCHIVED, COMMIT, REOPENED = 1, 2, 6, 7, 8
OPENED, REPLY, TOOL_DONE = 1, 2, 4
STATUS = {1: "succeeded", 2: "failed", 3: "suspended", 4: "skipped"}


def unpack(data):
    at = 0

    def take(n):
        nonlocal at
        at += n
        return data[at - n : at]

    def number(fmt):
        return struct.unpack(">" + fmt, take(struct.calcsize(fmt)))[0]

    def value():
        tag = take(1)[0]
        if tag < 0x80:
            return tag
        if tag >= 0xE0:
            return tag - 256
        if tag < 0x90:
            return {value(): value() for _ in range(tag & 15)}
        if tag < 0xA0:
            return [value() for _ in range(tag & 15)]
        if tag < 0xC0:
            return take(tag & 31).decode()
        if tag in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[tag]
        if tag in (0xC4, 0xC5, 0xC6):
            return take(number("BHI"[tag - 0xC4]))
        if tag in (0xCC, 0xCD, 0xCE, 0xCF):
            return number("BHIQ"[tag - 0xCC])
        if tag in (0xD0, 0xD1, 0xD2, 0xD3):
            return number("bhiq"[tag - 0xD0])
        if tag in (0xD9, 0xDA, 0xDB):
            return take(number("BHI"[tag - 0xD9])).decode()
        if tag in (0xDC, 0xDD):
            return [value() for _ in range(number("HI"[tag - 0xDC]))]
        if tag in (0xDE, 0xDF):
            return {value(): value() for _ in range(number("HI"[tag - 0xDE]))}
        sys.exit(f"msgpack tag {tag:#x}")

    return value()


def frames(folder, whole_only):
    """Kind, session and payload (of events and archived, reopened frames) of every frame that a commit covers."""
    for name in sorted(n for n in os.listdir(folder) if n.endswith(".njj")):
        with open(os.path.join(folder, name), "rb") as file:
            data = file.read()
        if whole_only and data[8:12] != bytes(4):
            continue
        at, batch = 64, []
        while data[at : at + 4] == b"NJF\xb7":
            kind, flags, _, stored, payload, session = struct.unpack_from("<BBHIII", data, at + 4)
            raw = data[at + 40 : at + 40 + stored]
            at += 40 + (stored + 7) // 8 * 8
            if kind == COMMIT:
                yield from batch
                batch = []
            elif kind in (EVENT, ARCHIVED, REOPENED):
                if flags & 1:
                    out = ctypes.create_string_buffer(payload)
                    if ZSTD.ZSTD_decompress(out, ctypes.c_size_t(payload), raw, ctypes.c_size_t(stored)) != payload:
                        sys.exit(f"{name}: a frame at {at} does not decode")
                    raw = out.raw
                batch.append((kind, session, unpack(raw)))


class Session:
    def __init__(self):
        self.key, self.status, self.attempts, self.steps = None, None, 0, 0
        self.cost, self.tokens = 0, 0  # of all attempts
        self.all_steps, self.calls, self.turns = 0, 0, 0


def fold(folder, whole_only):
    sessions = collections.defaultdict(Session)
    for kind, number, payload in frames(folder, whole_only):
        s = sessions[number]
        if kind == REOPENED:
            s.status = None
        elif kind == ARCHIVED:
            if s.status is not None:
                sys.exit(f"session {number} has ended twice")
            s.status = STATUS[payload["status"]]
            s.attempts += 1
            s.key = s.key or json.loads(payload["row"])["key"]
        elif payload["kind"] == OPENED:
            s.key, s.steps = payload["body"]["key"], 0
        elif payload["kind"] == REPLY:
            s.steps, s.all_steps, s.turns = s.steps + 1, s.all_steps + 1, s.turns + 1
            s.cost += payload["body"]["cost_micro_usd"]
            s.tokens += payload["body"]["usage"]["input"] + payload["body"]["usage"]["output"]
        elif payload["kind"] == TOOL_DONE:
            s.steps, s.all_steps, s.calls = s.steps + 1, s.all_steps + 1, s.calls + 1
        if kind == EVENT:  # what was spent beside replies: given up, or unknown after a crash
            s.cost += payload["meta"].get("cost_micro_usd", 0)
    return {s.key: s for s in sessions.values()}


def main(run, status=None, journal=None):
    wrong = []

    def same(what, told, counted):
        if told != counted:
            wrong.append(f"{what}: told {told}, recounted {counted}")

    sessions = fold(journal or os.path.join(run, "journal"), journal is not None)
    with open(os.path.join(run, "results.jsonl"), encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    keys = [row["key"] for row in rows]
    same("keys of results.jsonl", sorted(keys), sorted(sessions))
    for row in rows:
        s = sessions.get(row["key"], Session())
        tokens = row["tokens"]["input"] + row["tokens"]["output"]
        same(
            f"results.jsonl, {row['key']}",
            (row["status"], row["attempts"], row["steps"], round(row["cost_usd"] * 1e6), tokens),
            (s.status, s.attempts, s.steps, s.cost, s.tokens),
        )
    with open(os.path.join(run, "joblog.tsv"), encoding="utf-8") as file:
        header, *lines = [line.rstrip("\n").split("\t") for line in file]
    column = {name: i for i, name in enumerate(header)}
    logged = collections.Counter((l[column["key"]], int(l[column["attempt"]])) for l in lines)
    same("joblog.tsv", sorted(logged.items()), sorted(((k, n + 1), 1) for k, s in sessions.items() for n in range(s.attempts)))
    cases = [case for case in xml.parse(os.path.join(run, "junit.xml")).iter("testcase")]
    same("junit.xml", sorted(case.get("name") for case in cases), sorted(sessions))
    bad = {case.get("name") for case in cases if case.find("failure") is not None or case.find("error") is not None}
    same("failures of junit.xml", sorted(bad), sorted(k for k, s in sessions.items() if s.status == "failed"))
    with open(os.path.join(run, "run.json"), encoding="utf-8") as file:
        state = json.load(file)
    counts = collections.Counter(s.status for s in sessions.values())
    told = state["sessions"]
    same("run.json", (told["total"], told["succeeded"], told["failed"]), (len(sessions), counts["succeeded"], counts["failed"]))
    same("money of run.json", round(state["cost_usd"] * 1e6), sum(s.cost for s in sessions.values()))
    if status:
        with open(status, encoding="utf-8") as file:
            told = json.load(file)["report"]["sessions"]
        for name, counted in (
            ("total", len(sessions)),
            ("succeeded", counts["succeeded"]),
            ("failed", counts["failed"]),
            ("attempts", sum(s.attempts for s in sessions.values())),
            ("steps", sum(s.all_steps for s in sessions.values())),
            ("turns", sum(s.turns for s in sessions.values())),
            ("tool_calls", sum(s.calls for s in sessions.values())),
            ("cost_micro_usd", sum(s.cost for s in sessions.values())),
        ):
            same(f"the summary's {name}", told[name], counted)
    for line in wrong[:20]:
        print(line[:2000], file=sys.stderr)
    print(f"{len(sessions)} sessions, {dict(counts)}, {sum(s.attempts for s in sessions.values())} attempts, "
          f"{sum(s.cost for s in sessions.values()) / 1e6:.6f} USD")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
