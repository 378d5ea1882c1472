#!/usr/bin/env python3
"""schema.py SCHEMA FILE... - judge manifests by a JSON Schema, with a validator that is not ours

One line a file: "ok FILE", "bad FILE PLACE: REASON" or "yaml FILE: REASON" where it cannot even be read.
Exit status 77 where the packages python3-jsonschema and python3-yaml are missing.
"""
import json
import re
import sys

sys.path.append("/usr/lib/python3/dist-packages")  # Debian's packages, whichever python3 is first
try:
    import jsonschema
    import yaml
except ImportError as missing:
    print(missing)
    sys.exit(77)


class Core(yaml.SafeLoader):
    """Plain scalars by the core schema of YAML 1.2, as editors read them; a key twice is refused."""

    def construct_mapping(self, node, deep=False):
        keys = [str(key.value) for key, _ in node.value if key.value != "<<"]
        if len(set(keys)) != len(keys):
            raise yaml.constructor.ConstructorError(None, None, "a key twice", node.start_mark)
        return super().construct_mapping(node, deep)


Core.yaml_implicit_resolvers = {}
for tag, pattern, first in (
    ("null", r"^(~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    ("float", r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$", list("-+.0123456789")),
    ("merge", r"^<<$", ["<"]),
):
    Core.add_implicit_resolver("tag:yaml.org,2002:" + tag, re.compile(pattern), first)
Core.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value.replace("0o", "0O"), 0)
                     if not re.fullmatch(r"[-+]?0[0-9]+", node.value) else int(node.value, 10))
Core.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(node.value))


def judge(validator, path):
    try:
        with open(path, "rb") as file:
            document = yaml.load(file.read(), Core)
    except (yaml.YAMLError, UnicodeError, RecursionError, ValueError) as error:
        return "yaml %s: %s" % (path, str(error).splitlines()[0])
    error = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if error is None:
        return "ok " + path
    return "bad %s %s: %s" % (path, "/".join(map(str, error.absolute_path)), error.message[:200])


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    for path in sys.argv[2:]:
        print(judge(validator, path), flush=True)


main()
