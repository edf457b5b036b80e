"""Parses received JSON, and refuses what decoders silently accept: duplicate keys, NUL, extreme depth."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from fhir_coprod.errors import NotJson
from fhir_coprod.jsontext.document import Document
from fhir_coprod.jsontext.tokens import CLOSING, KEY, OPENING, STRING, tokens
from fhir_coprod.jsontext.values import MAX_DEPTH, Json, decode, decode_valid, encode

_SHORT = 100_000
"""Bytes up to which a text is indented to see how deep it is."""
_SPACED_COLON = re.compile(rb'"[ \t\n\r]+:').search


def parse(raw: bytes | str, *, max_depth: int = MAX_DEPTH) -> Document:
    """Parse one JSON object and refuse what decoders silently accept: duplicate keys, NUL, extreme depth.

    Raises NotJson with a sentence for the sender.
    """
    if isinstance(raw, str):
        try:
            raw = raw.encode()
        except UnicodeEncodeError:
            raise NotJson("The text holds a lone surrogate; send valid Unicode.") from None
    if raw[:3] == b"\xef\xbb\xbf":
        raw = raw[3:]
    data = decode(raw)
    if not isinstance(data, dict):
        raise NotJson("This is JSON, but not an object; send one FHIR resource (several as a Bundle).")
    if b"\\u0000" in raw and _has_nul(data):
        raise NotJson("A text holds the character U+0000, which FHIR does not allow; remove it.")
    if not _is_plain(raw, data, max_depth):
        _check(raw, data, max_depth)
    return Document(raw, data)


def _is_plain(raw: bytes, data: Json, max_depth: int) -> bool:
    """Whether a fast check, in compiled code, shows that no key is duplicated and nothing is nested too deep.

    Every key has a colon, and some strings have one. If the values are encoded again, they have as many
    colons as the text unless a key was lost; only a colon written as an escape could hide that. If the text
    is indented, each level has one more space; a long text could grow to sixty times its size by that.
    """
    if b"\\u00" in raw or raw.count(b":") != encode(data).count(b":"):
        return False
    if raw.count(b"{") + raw.count(b"[") <= max_depth:
        return True
    return len(raw) <= _SHORT and b"\n" + b" " * max_depth not in msgspec.json.format(raw, indent=1)


def _check(raw: bytes, data: Json, max_depth: int) -> None:
    keys, depth = _measure(data)
    if depth > max_depth:
        raise NotJson(f"The JSON nests deeper than {max_depth} levels; flatten it.")
    # There cannot be more keys than `":` in the text, so if the parsed object has as many, none was lost.
    # Only if that fails do we walk through the text.
    if raw.count(b'":') != keys or _SPACED_COLON(raw):
        refuse_duplicate_keys(raw.decode())


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(k) or _has_nul(v) for k, v in value.items())
    if isinstance(value, list):
        return any(_has_nul(v) for v in value)
    return False


def _measure(value: Json) -> tuple[int, int]:
    """The number of keys in all, and the depth of nesting, found without recursion."""
    keys = 0
    depth = 0
    level: list[Any] = [value]
    while level:
        depth += 1
        below: list[Any] = []
        for node in level:
            if node.__class__ is dict:
                keys += len(node)
                node = node.values()
            for held in node:
                if held.__class__ is dict or held.__class__ is list:
                    below.append(held)  # noqa: PERF401 (twice as fast as comprehensions here)
        level = below
    return keys, depth


def refuse_duplicate_keys(text: str) -> None:
    """Raise NotJson if an object in the (valid) JSON has the same key twice."""
    stack: list[set[str] | None] = []
    for token in tokens(text):
        kind = token.lastindex
        if kind == KEY:
            seen = stack[-1]
            key = decode_valid(token[STRING])
            if seen is not None:
                if key in seen:
                    raise NotJson(f"The key {key!r} occurs twice in one object; keep one of them.")
                seen.add(key)
        elif kind == OPENING:
            stack.append(set() if token[OPENING] == "{" else None)
        elif kind == CLOSING:
            stack.pop()
