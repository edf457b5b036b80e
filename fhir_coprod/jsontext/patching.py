"""Writes a changed resource so that everything that did not change keeps its original text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fhir_coprod.jsontext.document import Document
from fhir_coprod.jsontext.tokens import CLOSING, KEY, OPENING, STRING, tokens
from fhir_coprod.jsontext.values import decode_valid, encode


def patched(document: Document, before: Any, after: Any) -> bytes:
    """The document's text, changed only where two views of it differ.

    before, after: the same resource as values, before and after somebody changed it, for instance two dumps
    of a model. They may show a number differently from the text. What is equal in both keeps its text, down
    to single elements and items of lists.
    """
    text = document.raw.decode()
    return _patched(text, _place(text), before, after).encode()


def _patched(text: str, place: _Span, before: Any, after: Any) -> str:
    if before == after:
        return text[place.start : place.end]
    if place.members is not None and isinstance(before, dict) and isinstance(after, dict):
        parts: list[str] = []
        for key, (start, value) in place.members.items():
            if key in after:
                parts.append(text[start : value.start] + _patched(text, value, before.get(key), after[key]))
            elif key not in before:
                parts.append(text[start : value.end])  # neither view shows it, so nobody took it away
        for key, value in after.items():
            if key not in place.members and (key not in before or before[key] != value):
                parts.append(f"{encode(key).decode()}:{encode(value).decode()}")
        return "{" + ",".join(parts) + "}"
    if (
        place.items is not None
        and isinstance(before, list)
        and isinstance(after, list)
        and len(place.items) == len(before) == len(after)
    ):
        triples = zip(place.items, before, after, strict=True)
        return "[" + ",".join(_patched(text, item, old, new) for item, old, new in triples) + "]"
    return encode(after).decode()


@dataclass(slots=True)
class _Span:
    """Where one JSON value is in a text; for members of an object also where the key starts."""

    start: int
    end: int
    members: dict[str, tuple[int, _Span]] | None = None
    items: list[_Span] | None = None


def _place(text: str) -> _Span:
    """Where every value is in a text that is known to be valid JSON of limited depth."""
    following = tokens(text)
    return _value(next(following), following)


def _value(token: re.Match[str], following: Iterator[re.Match[str]]) -> _Span:
    if token.lastindex != OPENING:
        return _Span(token.start(), token.end())
    return (_object if token[OPENING] == "{" else _array)(token.start(), following)


def _object(start: int, following: Iterator[re.Match[str]]) -> _Span:
    members: dict[str, tuple[int, _Span]] = {}
    for token in following:
        if token.lastindex == CLOSING:
            return _Span(start, token.end(), members=members)
        if token.lastindex == KEY:
            members[decode_valid(token[STRING])] = (token.start(), _value(next(following), following))
    raise AssertionError("an object without an end cannot have been parsed")


def _array(start: int, following: Iterator[re.Match[str]]) -> _Span:
    items: list[_Span] = []
    for token in following:
        if token.lastindex == CLOSING:
            return _Span(start, token.end(), items=items)
        items.append(_value(token, following))
    raise AssertionError("an array without an end cannot have been parsed")
