"""model_server_json.py - JSON as strictly as a provider reads it, and where each value stood

A server that must see whether a block came back byte for byte cannot work on parsed values: spans() says where the
values of an array or object begin and end in the text.
"""
import hashlib
import json
import re

WHITE = re.compile(r"[ \t\n\r]*")


class Refused(Exception):
    """The client is wrong: an HTTP status, the provider's word for it, and the reason."""

    def __init__(self, status, kind, message, headers=()):
        super().__init__(message)
        self.status, self.kind, self.message, self.headers = status, kind, message, list(headers)


def invalid(message):
    return Refused(400, "invalid_request_error", message)


def _unique(pairs):
    made = dict(pairs)
    if len(made) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key given twice: {next(k for k in keys if keys.count(k) > 1)}")
    return made


def _no_constant(name):
    raise ValueError(f"{name} is no JSON")


DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def parse(raw):
    """(text, value) of the bytes of a request; Refused when they are no JSON object."""
    try:
        text = raw.decode("utf-8")
        value, end = DECODER.raw_decode(text, WHITE.match(text).end())
        if WHITE.match(text, end).end() != len(text):
            raise ValueError("text follows the object")
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise invalid(f"the request body is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise invalid("the request body is not an object")
    return text, value


def spans(text, at=0):
    """[(key or index, start, end)] of the values of the object or array that begins at `at`"""
    found, at = [], WHITE.match(text, at).end()
    closing = "}" if text[at] == "{" else "]"
    at = WHITE.match(text, at + 1).end()
    while text[at] != closing:
        key = len(found)
        if closing == "}":
            key, at = DECODER.raw_decode(text, at)
            at = WHITE.match(text, WHITE.match(text, at).end() + 1).end()
        _, end = DECODER.raw_decode(text, at)
        found.append((key, at, end))
        at = WHITE.match(text, end).end()
        if text[at] == ",":
            at = WHITE.match(text, at + 1).end()
    return found


def span_of(text, key, at=0):
    return next(((start, end) for name, start, end in spans(text, at) if name == key), None)


def canonical(value):
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))


def digest(text):
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def written(value, style):
    """One value in one of four spellings that a JSON reader must take for the same, and keep apart byte for byte."""
    if style % 4 == 0:
        return json.dumps(value, separators=(",", ":"))
    if style % 4 == 1:
        return json.dumps(value, ensure_ascii=False)
    if style % 4 == 2:
        return json.dumps(value, ensure_ascii=False, indent=1)
    return json.dumps(value, separators=(" , ", " :")).replace("/", "\\/")


# ---- shapes ----

def check_keys(where, value, known, required=()):
    if not isinstance(value, dict):
        raise invalid(f"{where}: Input should be an object")
    for key in value:
        if key not in known:
            raise invalid(f"{where}.{key}: Extra inputs are not permitted" if where else
                          f"{key}: Extra inputs are not permitted")
    for key in required:
        if key not in value:
            raise invalid(f"{where}.{key}: Field required" if where else f"{key}: Field required")


def check_type(where, value, kinds, word):
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        raise invalid(f"{where}: Input should be a valid {word}")
    return value


def check_number(where, value, least, most=None):
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < least or (most is not None and value > most):
        raise invalid(f"{where}: Input should be a number from {least} to {most}")
    return value


def check_whole(where, value, least):
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise invalid(f"{where}: Input should be greater than or equal to {least}")
    return value
