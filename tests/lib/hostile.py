#!/usr/bin/python3
"""Makes hostile archives out of a sound bundle: hostile.py KIND IN OUT

Each kind is one thing that a reader of archives was once caught by. The content stays sound where it can, so
that nothing but the hostile part is left to refuse.
"""
import io
import sys
import tarfile


def members(path):
    with tarfile.open(path) as tar:
        return [(member, tar.extractfile(member).read()) for member in tar]


def add(tar, name, data=b"", **fields):
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    for field, value in fields.items():
        setattr(member, field, value)
    tar.addfile(member, io.BytesIO(data))


def extra(name, data=b"evil", **fields):
    def make(tar, sound):
        for member, content in sound:
            tar.addfile(member, io.BytesIO(content))
        add(tar, name, data, **fields)
    return make


def first(name, data=b"", **fields):
    def make(tar, sound):
        add(tar, name, data, **fields)
        for member, content in sound:
            tar.addfile(member, io.BytesIO(content))
    return make


def replaced(which, change):
    def make(tar, sound):
        for member, content in sound:
            if member.name == which:
                content = change(content)
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return make


def link_then_file(tar, sound):
    add(tar, "escape", type=tarfile.SYMTYPE, linkname="/tmp")
    add(tar, "escape/evil", b"evil")
    for member, content in sound:
        tar.addfile(member, io.BytesIO(content))


def twice(tar, sound):
    for member, content in sound + sound[:2]:
        tar.addfile(member, io.BytesIO(content))


def shuffled(tar, sound):
    for member, content in sound[::-1]:
        tar.addfile(member, io.BytesIO(content))


def many(tar, sound):
    for number in range(200000):
        add(tar, f"m{number}")


KINDS = {
    "absolute": extra("/tmp/nightjar-evil"),
    "climbing": extra("../evil"),
    "climbing-first": first("../../evil", b"evil"),
    "link-then-file": link_then_file,
    "link-for-journal": first("journal.msgpack.zst", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard-link": extra("SHA256SUMS2", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "device": extra("device", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    "fifo": first("nightjar.json", type=tarfile.FIFOTYPE),
    "twice": twice,
    "other-order": shuffled,
    "two-hundred-thousand-members": many,
    "unknown-member": extra("surprise"),
    "newer-version": replaced("nightjar.json", lambda data: data.replace(b'"format":0', b'"format":9').replace(
        b'"format": 0', b'"format": 9').replace(b'"version":0', b'"version":9').replace(b'"version": 0', b'"version": 9')),
    "about-is-no-json": replaced("nightjar.json", lambda data: data[:-20]),
    "about-is-deep": replaced("nightjar.json", lambda data: b"[" * 100000),
    "sums-lie": replaced("SHA256SUMS", lambda data: data.replace(b"a", b"b", 1)),
    "sums-missing": replaced("SHA256SUMS", lambda data: b""),
    "journal-cut": replaced("journal.msgpack.zst", lambda data: data[:-3]),
    "journal-empty": replaced("journal.msgpack.zst", lambda data: b""),
    "journal-is-no-zstd": replaced("journal.msgpack.zst", lambda data: b"\x00" * 64),
    "objects-swapped-byte": replaced("objects.msgpack.zst", lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]),
}


def main():
    if sys.argv[1:] == ["--kinds"]:
        print(*KINDS, sep="\n")
        return
    kind, source, target = sys.argv[1:]
    sound = members(source)
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        KINDS[kind](tar, sound)


main()
