#!/usr/bin/python3
"""Accepts the auditor's licences.json, or says what is wrong with it.

The rules do not trust the extraction: whatever a result claims must stand on the line it cites, and
every licence field and dated copyright statement of the file must be cited by somebody.
"""
import json
import re
import sys

SOURCE = "/workspace/copyright"
RESULT = "/workspace/out/licences.json"
SHOWN = 3

# A statement that names a holder: "Copyright (C) 1991-2015 Free Software Foundation, Inc."
STATEMENT = re.compile(r"copyright\s*(?:\(c\)|©)?[\s:,]*(?:19|20)\d\d\b.*[a-z]{2}", re.I)
YEAR_AND_WORD = re.compile(r"\b(?:19|20)\d\d\b.*[^\W\d_]{2}")
COMMON = re.compile(r"/usr/share/common-licenses/([A-Za-z]+)")
FIELD = re.compile(r"([A-Za-z][A-Za-z-]*):(.*)")


def fields(lines):
    """Yields (field, line number, text) for every line of a machine-readable file."""
    field = ""
    for number, line in enumerate(lines, 1):
        match = FIELD.match(line)
        if match:
            field = match[1].lower()
            yield field, number, match[2].strip()
        elif line[:1] in (" ", "\t"):
            yield field, number, line.strip()
        else:
            field = ""


def expected(lines):
    """The line numbers that a complete result cites: of licences, of holders."""
    dep5 = any(re.match(r"format(?:-specification)?:", line, re.I) for line in lines[:20])
    if not dep5:
        licences = [n for n, line in enumerate(lines, 1) if COMMON.search(line)]
        holders = [n for n, line in enumerate(lines, 1) if STATEMENT.search(line)]
        return "free", licences, holders
    licences = [n for n, line in enumerate(lines, 1) if re.match(r"license:\s*\S", line, re.I)]
    holders = [n for field, n, text in fields(lines)
               if field == "copyright" and YEAR_AND_WORD.search(text)]
    return "dep5", licences, holders


def complaints(lines, result):
    kind, licence_lines, holder_lines = expected(lines)
    if result.get("format") != kind:
        yield f'"format" is {result.get("format")!r}, but this file is {kind!r}'
    for what, key, needed in (("licence", "evidence", licence_lines), ("holder", "name", holder_lines)):
        entries = result.get(what + "s")
        if not isinstance(entries, list):
            yield f'"{what}s" is not a list'
            continue
        cited = set()
        for entry in entries:
            number = entry.get("line")
            if not isinstance(number, int) or not 1 <= number <= len(lines):
                yield f"{what} {entry.get('name')!r} cites line {number}, of {len(lines)}"
            elif not entry.get("name") or not entry.get(key) or entry[key] not in lines[number - 1]:
                yield f"{what} {entry.get('name')!r} does not stand on line {number}"
            else:
                cited.add(number)
        for number in needed:
            if number not in cited:
                yield f"line {number} names a {what} that the result lacks: {lines[number - 1].strip()[:80]}"
    if not result.get("licences"):
        yield "no licence was found"


def main():
    with open(SOURCE, encoding="utf-8", errors="replace", newline="\n") as file:
        lines = file.read().split("\n")
    try:
        with open(RESULT, encoding="utf-8") as file:
            result = json.load(file)
    except (OSError, ValueError) as error:
        print(f"{RESULT}: {error}")
        return 1
    found = list(complaints(lines, result))
    for text in found[:SHOWN]:
        print(text)
    if len(found) > SHOWN:
        print(f"and {len(found) - SHOWN} more")
    return 1 if found else 0


sys.exit(main())
