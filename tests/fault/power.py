"""What a disk may hold after the power failed: rebuilt from a record of disk_recorder.c.

usage: power.py points RECORD                        how many records there are
       power.py build RECORD ROOT N VARIANT SEED DIR the folder with inode ROOT as it may stand after N records
       power.py delivered RECORD N                   "SESSION TURN" of each reply delivered within the first N records

The model is stricter than any one file system. What a sync found is there. Of everything else:
  none  nothing: each file and folder as it was at its last sync
  all   everything: a kill rather than a power cut
  some  by chance (SEED): writes are lost or torn by sectors of 512 bytes and in any order, a sector at
        times in its middle; sizes and preallocation likewise, but what was written within a file's length
        is found with that length; a file may have got its length and zeros for what was lost; a folder's
        changes survive up to some moment, or one by one
A file's content and its name are independent: a name may survive without the content, and the other way round.
"""

import json
import os
import random
import sys

SECTOR = 512


class File:
    def __init__(self):
        self.synced = bytearray()
        self.pending = []  # (record number, op, offset, data or length)

    @staticmethod
    def apply(content, op, offset, what):
        if op == "truncate":
            if what < len(content):
                del content[what:]
            else:
                content.extend(bytes(what - len(content)))
        elif op == "allocate":
            content.extend(bytes(max(0, offset + what - len(content))))
        else:
            content.extend(bytes(max(0, offset + len(what) - len(content))))
            content[offset : offset + len(what)] = what

    def sync(self, before):
        for number, *change in self.pending:
            if number < before:
                self.apply(self.synced, *change)
        self.pending = [change for change in self.pending if change[0] >= before]

    def content(self, variant, chance):
        content = bytearray(self.synced)
        share = chance.choice((0, 0.5, 0.9, 1)) if variant == "some" else 1
        lengthens = variant == "some" and chance.random() < 0.5
        size = len(content)  # if nothing of it were lost
        for _, op, offset, what in self.pending if variant != "none" else ():
            before, size = size, what if op == "truncate" else max(size, offset + (what if op == "allocate" else len(what)))
            if share == 1 or (op != "write" and chance.random() < share):
                self.apply(content, op, offset, what)
            elif op == "write":
                at = 0
                found = False
                while at < len(what):
                    end = min(len(what), at + SECTOR - (offset + at) % SECTOR)
                    if chance.random() < share:
                        self.apply(content, op, offset + at, what[at:end])
                        found = True
                    elif chance.random() < 0.1:  # the power failed in the middle of it
                        self.apply(content, op, offset + at, what[at : chance.randint(at, end)])
                        found = True
                    at = end
                if found and size == before:  # what was preallocated is found with that length or not at all
                    self.apply(content, "allocate", 0, size)
                if lengthens:
                    self.apply(content, "allocate", offset, len(what))
        return content


class Folder:
    def __init__(self):
        self.synced = {}
        self.pending = []  # (record number, op, name, what)

    @staticmethod
    def apply(entries, op, name, what):
        if op == "set":
            entries[name] = what
        elif op == "unlink":
            entries.pop(name, None)
        elif op == "rename" and name in entries:
            entries[what] = entries.pop(name)
        elif op == "exchange" and name in entries and what in entries:
            entries[name], entries[what] = entries[what], entries[name]

    def sync(self, before):
        for number, *change in self.pending:
            if number < before:
                self.apply(self.synced, *change)
        self.pending = [change for change in self.pending if change[0] >= before]

    def now(self):
        entries = dict(self.synced)
        for _, *change in self.pending:
            self.apply(entries, *change)
        return entries

    def entries(self, variant, chance):
        entries = dict(self.synced)
        kept = self.pending if variant != "none" else []
        if variant == "some":
            if chance.random() < 0.7:
                kept = kept[: chance.randint(0, len(kept))]
            else:
                kept = [change for change in kept if chance.random() < 0.5]
        for _, *change in kept:
            self.apply(entries, *change)
        return entries


def records(path):
    with open(path, "rb") as file:
        while line := file.readline():
            *words, size = line.decode().split(" ")
            data = file.read(int(size))
            if len(data) != int(size):
                sys.exit(f"{path}: a record is cut off")
            yield words, data


def name_of(word):
    out, at = bytearray(), 0
    while at < len(word):
        if word[at] == "%":
            out.append(int(word[at + 1 : at + 3], 16))
            at += 3
        else:
            out.append(ord(word[at]))
            at += 1
    return bytes(out)


def replay(path, root, count):
    """The root folder after the first COUNT records."""
    things = {root: Folder()}
    syncing = {}
    for number, (words, data) in enumerate(records(path)):
        if number >= count:
            break
        op, *args = words
        if op == "create" or op == "mkdir":
            things[int(args[2])] = File() if op == "create" else Folder()
            things[int(args[0])].pending.append((number, "set", name_of(args[1]), things[int(args[2])]))
        elif op == "link":
            things[int(args[0])].pending.append((number, "set", name_of(args[1]), things[int(args[2])]))
        elif op == "symlink":
            things[int(args[0])].pending.append((number, "set", name_of(args[1]), data))
        elif op == "unlink":
            things[int(args[0])].pending.append((number, "unlink", name_of(args[1]), None))
        elif op == "rename" or op == "exchange":
            old, new = things[int(args[0])], things[int(args[2])]
            if old is new:
                old.pending.append((number, op, name_of(args[1]), name_of(args[3])))
            elif op == "rename":
                new.pending.append((number, "set", name_of(args[3]), old.now()[name_of(args[1])]))
                old.pending.append((number, "unlink", name_of(args[1]), None))
            else:
                sys.exit("names of two folders are exchanged: not modelled")
        elif op == "write":
            things[int(args[0])].pending.append((number, op, int(args[1]), data))
        elif op == "truncate":
            things[int(args[0])].pending.append((number, op, 0, int(args[1])))
        elif op == "allocate":
            things[int(args[0])].pending.append((number, op, int(args[1]), int(args[2])))
        elif op == "syncing":
            syncing[args[0], args[1]] = number
        elif op == "synced":
            things[int(args[0])].sync(syncing.pop((args[0], args[1])))
        elif op != "delivered":
            sys.exit(f"{path}: unknown record {op}")
    return things[root]


def write_out(folder, path, variant, chance):
    for name, what in sorted(folder.entries(variant, chance).items()):
        full = os.path.join(os.fsencode(path), name)
        if isinstance(what, Folder):
            os.mkdir(full, 0o700)
            write_out(what, full, variant, chance)
        elif isinstance(what, bytes):
            os.symlink(what, full)
        else:
            with open(os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                content = what.content(variant, chance)
                size, kept = len(content), len(content.rstrip(b"\0"))
                file.write(content[:kept])  # preallocated segments stay sparse here
                file.truncate(size)


def main():
    command, path, *args = sys.argv[1:]
    if command == "points":
        print(sum(1 for _ in records(path)))
    elif command == "build":
        root, count, variant, seed, folder = args
        chance = random.Random(f"{seed}-{count}-{variant}")
        os.mkdir(folder)
        write_out(replay(path, int(root), int(count)), folder, variant, chance)
    elif command == "delivered":
        for number, (words, data) in enumerate(records(path)):
            if number >= int(args[0]):
                break
            if words[0] == "delivered":
                reply = json.loads(data)
                print(reply["session"], reply["turn"])
    else:
        sys.exit(__doc__)


main()
