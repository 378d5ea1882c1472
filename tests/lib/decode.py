#!/usr/bin/python3
"""decode.py DIR OUT - as decode.mjs, with python3-msgpack: for hosts where npm's registry is not reached."""
import hashlib
import json
import os
import sys

import msgpack

folder, out = (os.fsencode(argument) for argument in sys.argv[1:])


def read(name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


def stream(name):
    unpacker = msgpack.Unpacker(raw=False, max_buffer_size=1 << 30)
    unpacker.feed(read(name + b".msgpack"))
    return list(unpacker)


def sha256(data):
    return hashlib.sha256(data).digest()


objects = {item["d"]: item["b"] for item in stream(b"objects")}
assert all(sha256(data) == digest for digest, data in objects.items())
frames = sorted(stream(b"journal") + [dict(frame, kind=4) for frame in stream(b"snapshots")], key=lambda frame: frame["sequence"])
record = bytes(32)
for number, frame in enumerate(frames, 1):
    assert frame["sequence"] == number
    label = "%s:%d" % ({2: "event", 4: "snapshot", 5: "output"}[frame["kind"]], number)
    payload = frame["payload"]
    record = sha256(record + label.encode() + b"\0" + len(payload).to_bytes(8, "little") + payload)
about = json.loads(read(b"nightjar.json"))
assert record.hex() == about["record_digest"] and len(frames) == about["frames"]
snapshot = msgpack.unpackb([frame for frame in frames if frame["kind"] == 4][-1]["payload"])


def items(digest):
    node = msgpack.unpackb(objects[digest])
    return node["i"] if node["l"] == 0 else [item for child in node["i"] for item in items(child)]


roles = [json.loads(objects[item])["role"] for item in (items(snapshot["list"]) if snapshot["messages"] else [])]
files = 0


def entries(digest):
    tree = msgpack.unpackb(objects[digest])
    return [entry for leaf in tree["C"] for entry in entries(leaf)] if "C" in tree else tree["e"]


def restore(digest, where):
    global files
    for entry in entries(digest):
        path = os.path.join(where, entry["n"])
        if entry["t"] == 1:
            parts = msgpack.unpackb(objects[entry["p"]])["p"] if "p" in entry else [entry["d"]]
            content = b"".join(objects[part] for part in parts)
            assert len(content) == entry["s"] and sha256(content) == entry["d"]
            with open(path, "wb") as file:
                file.write(content)
            files += 1
        elif entry["t"] == 2:
            os.mkdir(path)
            restore(entry["d"], path)
        elif entry["t"] == 3:
            os.symlink(entry["l"], path)
        elif entry["t"] == 4:
            os.link(os.path.join(out, entry["l"]), path)
        if entry["t"] <= 2:
            os.chmod(path, entry["m"] & 0o1777)


os.mkdir(out)
restore(snapshot["tree"], out)
print(json.dumps({"frames": len(frames), "objects": len(objects), "files": files, "roles": roles}))
