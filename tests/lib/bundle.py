#!/usr/bin/python3
"""A second reader and writer of bundles, from FORMAT.md alone: what the suites bend bundles with.

usage: bundle.py show IN                     print frames and objects, one line each
       bundle.py edit IN OUT 'PYTHON' ...    run statements on b, mend every digest, write OUT
       bundle.py raw IN OUT 'PYTHON' ...     the same on the tar members (m: name -> bytes), mend only SHA256SUMS

The one complication is mending: an object's name is the digest of its bytes, and names stand in other
objects, events and snapshots. Whatever changed is renamed everywhere, until nothing changes any more.
"""
import hashlib
import io
import json
import subprocess
import sys
import tarfile

ZERO = bytes(32)
EVENT, SNAPSHOT, OUTPUT = 2, 4, 5
FRAME_NAMES = {EVENT: "event", SNAPSHOT: "snapshot", OUTPUT: "output"}
KINDS = {1: "opened", 2: "reply", 3: "no-reply", 4: "tool-done", 5: "judged", 6: "closed",
         16: "attempt", 17: "box", 18: "suspended", 19: "resumed"}
CONTENT = {1, 2, 3, 4, 5, 6}
BLOB, TREE, STAMPS, PARTS, MESSAGE, LIST, CONFIG = range(1, 8)


# ---- msgpack: canonical out, anything sound in ----

def pack(value):
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return pack_int(value)
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogateescape")
        return pack_head(len(data), 0xA0, 31, (0xD9, 0xDA, 0xDB)) + data
    if isinstance(value, bytes):
        return pack_head(len(value), 0, -1, (0xC4, 0xC5, 0xC6)) + value
    if isinstance(value, list):
        return pack_head(len(value), 0x90, 15, (None, 0xDC, 0xDD)) + b"".join(map(pack, value))
    if isinstance(value, dict):
        items = sorted((key.encode(), key) for key in value)
        return pack_head(len(items), 0x80, 15, (None, 0xDE, 0xDF)) + b"".join(
            pack(key) + pack(value[key]) for _, key in items)
    raise TypeError(type(value))


def pack_int(value):
    if 0 <= value < 128:
        return bytes([value])
    if -32 <= value < 0:
        return bytes([value & 0xFF])
    for size, unsigned, signed in ((1, 0xCC, 0xD0), (2, 0xCD, 0xD1), (4, 0xCE, 0xD2), (8, 0xCF, 0xD3)):
        if 0 <= value < 1 << 8 * size:
            return bytes([unsigned]) + value.to_bytes(size, "big")
        if value < 0 and value >= -(1 << 8 * size - 1):
            return bytes([signed]) + value.to_bytes(size, "big", signed=True)
    raise ValueError(value)


def pack_head(count, fix, fix_max, heads):
    if count <= fix_max:
        return bytes([fix | count])
    for size, head in zip((1, 2, 4), heads):
        if head is not None and count < 1 << 8 * size:
            return bytes([head]) + count.to_bytes(size, "big")
    raise ValueError(count)


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise ValueError("the bytes end early")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, size, signed=False):
        return int.from_bytes(self.take(size), "big", signed=signed)

    def value(self):
        head = self.number(1)
        if head < 0x80:
            return head
        if head >= 0xE0:
            return head - 256
        if head < 0x90:
            return self.map(head & 15)
        if head < 0xA0:
            return [self.value() for _ in range(head & 15)]
        if head < 0xC0:
            return self.text(head & 31)
        if head in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[head]
        if 0xC4 <= head <= 0xC6:
            return self.take(self.number(1 << head - 0xC4))
        if 0xCC <= head <= 0xCF:
            return self.number(1 << head - 0xCC)
        if 0xD0 <= head <= 0xD3:
            return self.number(1 << head - 0xD0, True)
        if 0xD9 <= head <= 0xDB:
            return self.text(self.number(1 << head - 0xD9))
        if head in (0xDC, 0xDD):
            return [self.value() for _ in range(self.number(2 << head - 0xDC))]
        if head in (0xDE, 0xDF):
            return self.map(self.number(2 << head - 0xDE))
        raise ValueError(f"head {head:#x}")

    def text(self, count):
        return self.take(count).decode("utf-8", "surrogateescape")

    def map(self, count):
        return {self.value(): self.value() for _ in range(count)}


def unpack(data):
    cursor = Cursor(data)
    value = cursor.value()
    if cursor.at != len(data):
        raise ValueError("bytes behind the value")
    return value


def unpack_all(data):
    cursor = Cursor(data)
    while cursor.at < len(data):
        yield cursor.value()


def zstd(data, *options):
    return subprocess.run(["zstd", "-q", "-c", *options], input=data, capture_output=True, check=True).stdout


def chain(digest, label, data):
    return hashlib.sha256(digest + label.encode() + b"\0" + len(data).to_bytes(8, "little") + data).digest()


# ---- the tar ----

def read_members(path):
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def write_members(path, members):
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n"
                   for name, data in members.items() if name not in ("SHA256SUMS", "SHA256SUMS.sig"))
    members = dict(members, SHA256SUMS=sums.encode())
    members.pop("SHA256SUMS.sig", None)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o600
            tar.addfile(member, io.BytesIO(data))


# ---- the bundle ----

class Bundle:
    def __init__(self, path):
        self.members = read_members(path)
        stream = self.stream("journal") + self.stream("snapshots")
        self.frames = sorted(stream, key=lambda frame: frame["sequence"])
        for frame in self.frames:
            frame.setdefault("kind", SNAPSHOT)
        self.objects = self.stream("objects")
        self.inputs = self.stream("inputs")
        self.opened = [unpack(frame["payload"]) for frame in self.frames if frame["kind"] == EVENT]

    def stream(self, name):
        data = self.members.get(name + ".msgpack.zst")
        return list(unpack_all(zstd(data, "-d"))) if data else []  # a stream of nothing has no frame

    def events(self, kind=None):
        """The events' maps, to be changed in place."""
        return [event for event in self.opened if kind in (None, KINDS[event["kind"]])]

    def objects_of(self, kind):
        return [o for o in self.objects + self.inputs if o["k"] == kind]

    def find(self, text, kind=None):
        """The one object whose bytes hold the text."""
        data = text.encode() if isinstance(text, str) else text
        found = [o for o in self.objects + self.inputs if data in o["b"] and kind in (None, o["k"])]
        if len(found) != 1:
            sys.exit(f"{len(found)} objects hold {text!r}")
        return found[0]

    def config(self):
        return self.objects_of(CONFIG)[0]

    def mend(self):
        self.opened_into_frames()
        while True:
            names = {}
            for item in self.objects + self.inputs:
                digest = hashlib.sha256(item["b"]).digest()
                if digest != item["d"]:
                    names[item["d"]] = digest
            if not names:
                break
            self.rename(self.with_requests(names))
        for event in self.opened:  # an output that is stored whole is named by its bytes
            outcome = event["body"].get("outcome")
            for stream in (outcome["out"], outcome["errors"]) if outcome else ():
                if stream["bytes"] == len(stream["head"]):
                    stream["digest"] = hashlib.sha256(stream["head"]).digest()
        self.opened_into_frames()

    def opened_into_frames(self):
        for frame, event in zip((f for f in self.frames if f["kind"] == EVENT), self.opened):
            frame["payload"] = pack(event)

    def with_requests(self, names):
        """What a model was asked with is named by config and conversation: rename those too."""
        config = self.config()["d"]

        def request(config, root):
            return chain(chain(ZERO, "config", config), "conversation", root)

        both = dict(names)
        for item in self.objects_of(LIST):
            old, new = request(config, item["d"]), request(names.get(config, config), names.get(item["d"], item["d"]))
            if old != new:
                both[old] = new
        return both

    def rename(self, names):
        def renamed(data):
            for old, new in names.items():
                data = data.replace(old, new)
            return data

        for item in self.objects + self.inputs:
            item["d"] = names.get(item["d"], item["d"])
            item["b"] = renamed(item["b"])
        for frame in self.frames:
            frame["payload"] = renamed(frame["payload"])
        self.opened = [unpack(frame["payload"]) for frame in self.frames if frame["kind"] == EVENT]

    def digests(self):
        record = content = ZERO
        for frame in self.frames:
            if frame["kind"] == EVENT:
                event = unpack(frame["payload"])
                if event["kind"] in CONTENT:
                    content = chain(content, KINDS[event["kind"]], pack(event["body"]))
            record = chain(record, f"{FRAME_NAMES[frame['kind']]}:{frame['sequence']}", frame["payload"])
        return record.hex(), content.hex()

    def save(self, path, was):
        about = self.members["nightjar.json"].decode()
        for old, new in zip(was, self.digests()):
            if old not in about:
                sys.exit(f"nightjar.json does not hold the digest {old}")
            about = about.replace(old, new)
        members = dict(self.members)
        members["nightjar.json"] = about.encode()
        members["journal.msgpack.zst"] = self.joined(f for f in self.frames if f["kind"] != SNAPSHOT)
        members["snapshots.msgpack.zst"] = self.joined(
            {"payload": f["payload"], "sequence": f["sequence"]} for f in self.frames if f["kind"] == SNAPSHOT)
        members["objects.msgpack.zst"] = self.joined(self.objects)
        if "inputs.msgpack.zst" in members:
            members["inputs.msgpack.zst"] = self.joined(self.inputs)
        write_members(path, members)

    @staticmethod
    def joined(values):
        stream = b"".join(map(pack, values))
        return zstd(stream, f"--stream-size={len(stream)}") if stream else b""


def main():
    command, source, *rest = sys.argv[1:]
    if command == "raw":
        members = read_members(source)
        for statement in rest[1:]:
            exec(statement, {"m": members, "json": json, "zstd": zstd, "pack": pack, "unpack_all": unpack_all})
        write_members(rest[0], members)
        return
    bundle = Bundle(source)
    if command == "show":
        print(*bundle.digests())
        for frame in bundle.frames:
            shown = unpack(frame["payload"]) if frame["kind"] != OUTPUT else frame["payload"]
            print(frame["sequence"], FRAME_NAMES[frame["kind"]], shown)
        for item in bundle.objects + bundle.inputs:
            print(item["k"], item["d"].hex(), item["b"][:200])
        return
    was = bundle.digests()
    for statement in rest[1:]:
        exec(statement, {"b": bundle, "json": json, "pack": pack, "unpack": unpack})
    bundle.mend()
    bundle.save(rest[0], was)


main()
