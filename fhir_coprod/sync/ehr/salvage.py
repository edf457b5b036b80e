"""Cuts a Bundle whose JSON is broken into its entries, so that one bad record costs only one record.

First by brackets. If they do not add up either (a quote that is not escaped turns texts inside out), then
where an entry begins: each entry that can be read is one, and what lies between two of them is another.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from fhir_coprod.jsontext.tokens import CLOSING, KEY, OPENING, STRING, UNENDED, tokens

_BEGINNING = re.compile(rb'[,\[]\s*(\{\s*"(?:fullUrl|resource|link|search|request|response)"\s*:)')
"""Where an entry begins, after the comma or the bracket before it."""
_ENTRIES = re.compile(rb'"entry"\s*:\s*\[')
_LINKS = re.compile(r'"link"\s*:\s*(?=\[)')
_TOTAL = re.compile(rb'"total"\s*:\s*(\d{1,15})\b')
_decoder = json.JSONDecoder()


class Pieces(NamedTuple):
    """What could be cut out of a broken Bundle."""

    entries: list[bytes]
    links: object
    """Bundle.link as parsed; None if it cannot be read, or may be cut off."""
    total: int | None


def cut(raw: bytes) -> Pieces | None:
    """The pieces of a Bundle that does not parse as a whole; None if no entries can be made out."""
    listed = member(raw, b'"entry"')
    if listed:
        at = raw.find(listed)
        try:
            rest = msgspec.json.decode(raw[:at] + b"[]" + raw[at + len(listed) :])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            rest = None
        if isinstance(rest, dict):  # the brackets add up
            return Pieces(list(_items(listed)), rest.get("link", []), _number(rest.get("total")))
    return _by_beginnings(raw)


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def member(raw: bytes, key: bytes) -> bytes:
    """The bytes of the object or array under `key` on the first level of `raw`; b"" if there is none."""
    depth = 0
    start = -1
    pending = False
    for token in tokens(raw):
        kind = token.lastindex
        if kind == UNENDED:
            break
        if kind == OPENING:
            depth += 1
            if pending and depth == 2:
                start = token.start()
        elif kind == CLOSING:
            depth -= 1
            if start >= 0 and depth == 1:
                return raw[start : token.end()]
        pending = kind == KEY and depth == 1 and token[STRING] == key
    return b""


def _items(array: bytes) -> Iterator[bytes]:
    """The objects of an array, by their brackets, and anything else between the commas."""
    depth = 0
    start = end = 1
    for token in tokens(array):
        kind = token.lastindex
        if kind == OPENING:
            depth += 1
            if depth == 2:
                start = token.start()
        elif kind == CLOSING:
            depth -= 1
            if depth <= 1:
                between = array[end : start if depth else token.start()].strip(b" \t\r\n,")
                if between:
                    yield between
                if depth:
                    yield array[start : token.end()]
                end = token.end()


def _by_beginnings(raw: bytes) -> Pieces | None:
    listed = _ENTRIES.search(raw)
    if listed is None:
        return None
    starts = [found.start(1) for found in _BEGINNING.finditer(raw, listed.end() - 1)]
    if not starts:
        return None
    ends = [*starts[1:], len(raw)]
    entries = [raw[start:end].rstrip(b" \t\r\n,") for start, end in zip(starts, ends, strict=True)]
    tail = b""
    whole = _first_value(entries[-1])  # the last piece also has what follows the entries
    if whole:
        entries[-1], tail = whole, entries[-1][len(whole) :]
    outside = raw[: listed.start()] + tail
    total = _TOTAL.search(outside)
    links = _links(outside if whole else raw)
    if not whole and not links:  # cut off, and perhaps the links with it
        links = None
    return Pieces(entries, links, int(total[1]) if total else None)


def _first_value(raw: bytes) -> bytes:
    """The JSON value that `raw` begins with, whatever follows it; b"" if there is none."""
    text = raw.decode(errors="surrogateescape")
    try:
        _, end = _decoder.raw_decode(text)
    except (ValueError, RecursionError):
        return b""
    return text[:end].encode(errors="surrogateescape")


def _links(outside: bytes) -> object:
    """Bundle.link. A record may have an element `link` too, whose items have no `relation`."""
    text = outside.decode(errors="replace")
    found: list[Any] = []
    for place in _LINKS.finditer(text):
        try:
            links, _ = _decoder.raw_decode(text, place.end())
        except (ValueError, RecursionError):
            return None
        found += [link for link in links if isinstance(link, dict) and "relation" in link]
    return found
