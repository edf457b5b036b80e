"""`Document`: one resource as received text and as values; edits id, meta and references in the text."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from fhir_coprod.jsontext.tokens import KEY, STRING, tokens
from fhir_coprod.jsontext.values import Json, decode_valid, encode, uncollected

_canonical = msgspec.json.Encoder(order="deterministic", decimal_format="number").encode

# Inside a string the quotes of a key would be escaped, so this can only match a key and its value.
_REFERENCE = re.compile(r'"reference"\s*:\s*("(?:[^"\\]++|\\.)*+")')


@dataclass(frozen=True)
class Document:
    """One resource as text (`raw`) and as values (`data`).

    received: the text as it was received, if something in `raw` has been replaced since
    """

    raw: bytes
    data: Json
    received: bytes = b""

    @property
    def type(self) -> str:
        """`resourceType`; "" if it is missing or not a string."""
        name = self.data.get("resourceType")
        return name if isinstance(name, str) else ""

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the content without `id` and `meta`, whatever the order of its members.

        The spelling of numbers counts: 19.0 and 19.00 state different precisions.
        """
        return content_hash(self)

    @cached_property
    def _text(self) -> str:
        return self.raw.decode()

    def spliced(self, id: str | None, meta: Json | None) -> bytes:
        """The text with `id` and `meta` replaced; all else stays byte for byte."""
        head = f'"resourceType":{encode(self.type).decode()}'
        if id is not None:
            head += f',"id":{encode(id).decode()}'
        if meta:
            head += f',"meta":{encode(meta).decode()}'
        return _with_head(self._text, self.data, head).encode()

    def references(self) -> list[str]:
        """Every string under a `reference` key, in the order of the text."""
        text = self._text
        if may_spell(self.raw):
            return [decode_valid(text[start:end]) for start, end in _references(text)]
        return [decode_valid(found) for found in _REFERENCE.findall(text)]


def from_data(data: Mapping[str, Any]) -> Document:
    """A document from values that we made ourselves (not received)."""
    return Document(encode(data), dict(data))


def content_hash(document: Document) -> str:
    """SHA-256 (hex) of the content without `id` and `meta`; see `Document.hash`."""
    with uncollected(document.raw):
        content = _decode_lexemes(document.raw)
        for name in ("id", "meta"):
            content.pop(name, None)
        said = _canonical(content)
        del content
    return hashlib.sha256(said).hexdigest()


# Values alone cannot tell 19.0 from 19.00, so a decimal is hashed as its text. It is marked with NUL, which
# no string in a resource contains.
_decode_lexemes = msgspec.json.Decoder(dict[str, Any], float_hook=lambda lexeme: "\0" + lexeme).decode


_HEAD = ("resourceType", "id", "meta")
_scan = json.JSONDecoder(parse_float=len, parse_int=len).raw_decode
_BETWEEN = re.compile(r"\s*[:,]\s*|\s*(?=\})")
_SPACE = re.compile(r"\s*")


def _with_head(text: str, data: Json, head: str) -> str:
    """The object with `head` in front and without the members that it replaces; the rest is not scanned."""
    # If these members come first and without spaces, as most senders write them, we need not scan for them.
    written = [f'"{name}":{encode(data[name]).decode()}' for name in _HEAD if name in data]
    as_sent = "{" + ",".join(written)
    if text.startswith(as_sent + ","):
        return "{" + head + text[len(as_sent) :].rstrip()
    at = _SPACE.match(text, text.index("{") + 1).end()  # type: ignore[union-attr]
    left = sum(name in data for name in _HEAD)
    kept: list[str] = []
    while left:
        begin = at
        key, at = _scan(text, at)
        at = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]
        _, end = _scan(text, at)
        at = _BETWEEN.match(text, end).end()  # type: ignore[union-attr]
        if key in _HEAD:
            left -= 1
        else:
            kept.append(text[begin:end])
    rest = text[at : text.rindex("}")].rstrip()
    return "{" + ",".join([head, *kept, *([rest] if rest else [])]) + "}"


def with_references(text: str, references: Mapping[str, str]) -> str:
    """The text with strings under a `reference` key replaced, however that key is spelt.

    references: from such a string to the string that replaces it.
    """
    out: list[str] = []
    at = 0
    for start, end in _references(text):
        value = decode_valid(text[start:end])
        if value in references:
            out += (text[at:start], encode(references[value]).decode())
            at = end
    out.append(text[at:])
    return "".join(out)


def _references(text: str) -> list[tuple[int, int]]:
    """The start and end of each string under a `reference` key."""
    if may_spell(text.encode()):
        return list(_spelt_references(text))
    return [found.span(1) for found in _REFERENCE.finditer(text)]


_SPELT = re.compile(rb"\\u00[4-7]").search


def may_spell(raw: bytes) -> bool:
    """Whether a text may spell letters from A to z as escapes, perhaps in a key, which no pattern would find.

    Others are escaped by many programs.
    """
    return b"\\" in raw and _SPELT(raw) is not None


def _spelt_references(text: str) -> Iterator[tuple[int, int]]:
    is_reference = False
    for token in tokens(text):
        if is_reference and token.lastindex == STRING:
            yield token.span()
        is_reference = token.lastindex == KEY and decode_valid(token[STRING]) == "reference"
