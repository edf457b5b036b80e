"""FHIR JSON as text that is kept, not only as values.

Bytes are the truth: a decimal `19.00`, the spelling of a date and the order of members are what somebody
wrote, and a model round trip loses them. So a resource is parsed once to look at, and written by cutting
only `id`, `meta` and rewritten references into the text that came.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from fhir_coprod.errors import NotJson

MAX_DEPTH = 64
"""Nesting beyond this is refused; real FHIR stays under 25."""

ID_PATTERN = r"[A-Za-z0-9\-.]{1,64}"
"""A logical id (https://hl7.org/fhir/R4/datatypes.html#id)."""

Json = dict[str, Any]

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder(decimal_format="number").encode
_canonical = msgspec.json.Encoder(order="deterministic", decimal_format="number").encode

# One token per string (with the colon that makes it a key) or bracket. Numbers and literals need no token:
# the decoder has already vouched for the syntax.
_TOKEN = re.compile(r'("(?:[^"\\]+|\\.)*")(\s*:)?|([{}\[\]])')
# Inside a string the quotes of a key would be escaped, so this is a key and its value.
_REFERENCE = re.compile(r'"reference"\s*:\s*("(?:[^"\\]+|\\.)*")')
_SCALAR = re.compile(r"\s*([^\s,}\]]+)")
_SPACED_COLON = re.compile(rb'"[ \t\n\r]+:').search


def encode(value: Any) -> bytes:
    """Compact JSON bytes."""
    return _encode(value)


def decode(raw: bytes | str) -> Any:
    """Any JSON value, without the checks of `parse`."""
    try:
        return _decode(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise NotJson(_reason(raw, error)) from None


_OTHER_FORMATS = (
    (b"\x1f\x8b", "it is compressed (gzip); unpack it first"),
    (b"PK\x03\x04", "it is a ZIP archive; unpack it first"),
    (b"\xff\xfe", "it is UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "it is UTF-16; save it as UTF-8"),
    (b"<", "it looks like XML or HTML; only JSON is read"),
)
"""How something starts that is taken for JSON by mistake, and what to do about it."""


def _reason(raw: bytes | str, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"The JSON nests deeper than {MAX_DEPTH} levels; flatten it."
    start = raw[:100].encode(errors="replace") if isinstance(raw, str) else bytes(raw[:100])
    if not start.strip():
        return "This is not valid JSON: it is empty; send one FHIR resource."
    for mark, advice in _OTHER_FORMATS:
        if start.lstrip().startswith(mark):
            return f"This is not valid JSON: {advice}."
    if isinstance(error, UnicodeError):
        return "This is not UTF-8; send JSON encoded as UTF-8."
    return f"This is not valid JSON: {error}."


@dataclass(frozen=True)
class Document:
    """One resource as it came (`raw`) and as values (`data`).

    received: what came, where something in `raw` has been replaced since
    """

    raw: bytes
    data: Json
    received: bytes = b""

    @property
    def type(self) -> str:
        """`resourceType`; "" when it is missing or no text."""
        name = self.data.get("resourceType")
        return name if isinstance(name, str) else ""

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) of the content without `id` and `meta`, whatever the order of its members.

        Number lexemes count: 19.0 and 19.00 are different statements of precision.
        """
        return content_hash(self)

    @cached_property
    def _text(self) -> str:
        return self.raw.decode()

    def spliced(
        self,
        id: str | None,
        meta: Json | None,
        references: Mapping[str, str] | None = None,
    ) -> bytes:
        """The same text with `id` and `meta` replaced and references rewritten; all else byte for byte.

        references: from the string found under a `reference` key to what shall stand there instead.
        """
        text = self._text
        head = f'"resourceType":{_encode(self.type).decode()}'
        if id is not None:
            head += f',"id":{_encode(id).decode()}'
        if meta:
            head += f',"meta":{_encode(meta).decode()}'
        if not references:
            return _with_head(text, self.data, head).encode()
        members, reference_spans = _spans(text)
        edits: list[tuple[int, int, str]] = []
        for start, end in reference_spans:
            value = _decode(text[start:end])
            if value in references:
                edits.append((start, end, _encode(references[value]).decode()))
        out: list[str] = ["{", head]
        for key, (start, end) in members.items():
            if key in _HEAD:
                continue
            out.append(",")
            out.append(_apply(text, start, end, edits))
        out.append("}")
        return "".join(out).encode()

    def references(self) -> list[str]:
        """Every string under a `reference` key, in the order of the text."""
        return [_decode(text) for text in _REFERENCE.findall(self._text)]


def parse(raw: bytes | str, *, max_depth: int = MAX_DEPTH) -> Document:
    """One JSON object, checked for what decoders swallow: keys given twice, NUL, extreme depth.

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
    """Whether it is plain at a glance, in compiled code, that no key stands twice and nothing nests too deep.

    Every key and some texts bring a colon. Written again, the values have as many as the text, unless a key
    was lost; only a colon written as an escape could hide that. Laid out, each level is indented by one more
    space.
    """
    if b"\\u00" in raw or raw.count(b":") != _encode(data).count(b":"):
        return False
    if raw.count(b"{") + raw.count(b"[") <= max_depth:
        return True
    return b"\n" + b" " * max_depth not in msgspec.json.format(raw, indent=1)


def _check(raw: bytes, data: Json, max_depth: int) -> None:
    keys, depth = _measure(data)
    if depth > max_depth:
        raise NotJson(f"The JSON nests deeper than {max_depth} levels; flatten it.")
    # There cannot be more keys than `":` in the text, so when the parsed object holds as many, none was lost.
    # Only when that fails is the text walked.
    if raw.count(b'":') != keys or _SPACED_COLON(raw):
        refuse_duplicate_keys(raw.decode())


def from_data(data: Mapping[str, Any]) -> Document:
    """A document from values that were made here (not received)."""
    return Document(_encode(data), dict(data))


def content_hash(document: Document) -> str:
    """SHA-256 (hex) over the content without `id` and `meta`; see `Document.hash`."""
    content = _decode_lexemes(document.raw)
    for name in ("id", "meta"):
        content.pop(name, None)
    return hashlib.sha256(_canonical(content)).hexdigest()


# Values alone cannot tell 19.0 from 19.00, so a decimal counts as the text that it is. It is marked with NUL,
# which no string of a resource holds.
_decode_lexemes = msgspec.json.Decoder(dict[str, Any], float_hook=lambda lexeme: "\0" + lexeme).decode


_HEAD = ("resourceType", "id", "meta")
_scan = json.JSONDecoder(parse_float=len, parse_int=len).raw_decode
_BETWEEN = re.compile(r"\s*[:,]\s*|\s*(?=\})")
_SPACE = re.compile(r"\s*")


def _with_head(text: str, data: Json, head: str) -> str:
    """The object with `head` in front and without the members that it replaces; the rest is not looked at."""
    if "meta" not in data:
        # As most senders write it, there is nothing to look for.
        written = (f'"{name}":{_encode(data[name]).decode()}' for name in _HEAD if name in data)
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


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(k) or _has_nul(v) for k, v in value.items())
    if isinstance(value, list):
        return any(_has_nul(v) for v in value)
    return False


def _measure(value: Json) -> tuple[int, int]:
    """Number of keys in all, and the depth of nesting, without recursion."""
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
    """Raise NotJson where an object of the (valid) JSON holds one key twice."""
    stack: list[set[str] | None] = []
    for token in _TOKEN.finditer(text):
        string, colon, bracket = token.groups()
        if colon:
            seen = stack[-1]
            key = _decode(string)
            if seen is not None:
                if key in seen:
                    raise NotJson(f"The key {key!r} stands twice in one object; keep one of them.")
                seen.add(key)
        elif bracket == "{":
            stack.append(set())
        elif bracket == "[":
            stack.append(None)
        elif bracket:
            stack.pop()


def _spans(text: str) -> tuple[dict[str, tuple[int, int]], list[tuple[int, int]]]:
    """Where each top-level member stands (key included), and each string value of a `reference` key."""
    members: dict[str, tuple[int, int]] = {}
    references: list[tuple[int, int]] = []
    depth = 0
    member_start = -1
    member_key = ""
    last_key = ""
    for token in _TOKEN.finditer(text):
        kind = token.lastindex
        if kind == 2:
            last_key = token[1]
            if depth == 1:
                member_start, member_key = token.start(), _decode(last_key)
                scalar = _SCALAR.match(text, token.end())
                if scalar and scalar[1][0] not in '"{[':
                    members[member_key] = (member_start, scalar.end())
        elif kind == 1:
            if last_key == '"reference"':
                references.append(token.span(1))
            last_key = ""
            if depth == 1:
                members[member_key] = (member_start, token.end())
        else:
            last_key = ""
            if token[3] in "{[":
                depth += 1
            else:
                depth -= 1
                if depth == 1:
                    members[member_key] = (member_start, token.end())
    return members, references


def _apply(text: str, start: int, end: int, edits: list[tuple[int, int, str]]) -> str:
    """text[start:end] with the edits that fall into it."""
    inside = [edit for edit in edits if start <= edit[0] and edit[1] <= end]
    if not inside:
        return text[start:end]
    out: list[str] = []
    at = start
    for edit_start, edit_end, new in inside:
        out += (text[at:edit_start], new)
        at = edit_end
    out.append(text[at:end])
    return "".join(out)


def patched(document: Document, before: Any, after: Any) -> bytes:
    """The document's text with only what differs between two views of it changed.

    before, after: the same resource as values, before and after somebody changed it, for instance two dumps
    of a model. They need not agree with the text in how they show a number; what is equal in both is left as
    it stands in the text, down to single elements and items of lists.
    """
    text = document.raw.decode()
    return _patched(text, _Places(text).root, before, after).encode()


def _patched(text: str, place: _Place, before: Any, after: Any) -> str:
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
                parts.append(f"{_encode(key).decode()}:{_encode(value).decode()}")
        return "{" + ",".join(parts) + "}"
    if (
        place.items is not None
        and isinstance(before, list)
        and isinstance(after, list)
        and len(place.items) == len(before) == len(after)
    ):
        triples = zip(place.items, before, after, strict=True)
        return "[" + ",".join(_patched(text, item, old, new) for item, old, new in triples) + "]"
    return _encode(after).decode()


@dataclass(slots=True)
class _Place:
    """Where one JSON value stands in a text; for a member of an object also where its key starts."""

    start: int
    end: int
    members: dict[str, tuple[int, _Place]] | None = None
    items: list[_Place] | None = None


class _Places:
    """Where every value of a text stands. The text is known to be valid JSON of bounded depth."""

    _token = re.compile(r'\s*(?:([{\[])|([}\]])|,|("(?:[^"\\]+|\\.)*"|[^\s,\]}{\[:"]+)(\s*:)?)')

    def __init__(self, text: str) -> None:
        self._tokens = self._token.finditer(text)
        self.root = self._value(next(self._tokens))

    def _value(self, token: re.Match[str]) -> _Place:
        if token[1] == "{":
            return self._object(token.start(1))
        if token[1]:
            return self._array(token.start(1))
        return _Place(token.start(3), token.end(3))

    def _object(self, start: int) -> _Place:
        members: dict[str, tuple[int, _Place]] = {}
        for token in self._tokens:
            if token[2]:
                return _Place(start, token.end(), members=members)
            if token[4]:
                members[_decode(token[3])] = (token.start(3), self._value(next(self._tokens)))
        raise AssertionError("an object without an end cannot have been parsed")

    def _array(self, start: int) -> _Place:
        items: list[_Place] = []
        for token in self._tokens:
            if token[2]:
                return _Place(start, token.end(), items=items)
            if token[1] or token[3]:
                items.append(self._value(token))
        raise AssertionError("an array without an end cannot have been parsed")
