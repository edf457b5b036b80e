"""Finds the references in a received record, and rewrites them to our own ids or to absolute addresses.

    Patient/1, Patient/1/_history/3               a record of the same EHR
    https://ehr.example/fhir/Patient/1            a record of the EHR that has that base address, by http or
                                                  https, or an alias of it
    {"identifier": {...}} without a reference     the record with that business identifier; if there is
                                                  exactly one, `reference` is added beside it
    #contained, urn:uuid:…, anything else         left unchanged

A reference to a record that has not arrived becomes its absolute address at the EHR, which is right whatever
happens next; when the target arrives, the record is written again with our own id. The relative address of an
attachment (`Binary/1`) becomes absolute too, because attachments stay at the EHR.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Json
from fhir_coprod.jsontext.tokens import CLOSING, OPENING, tokens
from fhir_coprod.sync.staging.numbers import LONGEST_KEY, Numbering, shipped

_RELATIVE = re.compile(r"([A-Z][A-Za-z]{2,63})/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")
_ODD = re.compile(r"([A-Z][A-Za-z]{2,63})/([^/?#\s|]+)(?:/_history/[^/?#\s|]+)?")
"""The same with an id that FHIR does not allow: such a record never arrives, but it is that EHR's and not
ours."""
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
# A quote inside a JSON text is escaped, so this can only match a key and its value.
_LITERAL = re.compile(rb'("reference"\s*:\s*)"((?:[^"\\]++|\\.)*+)"')
_LITERAL_TEXT = re.compile(rb'"reference"\s*:\s*"((?:[^"\\]++|\\.)*+)"')
_ONE_IDENTIFIER = re.compile(rb'"identifier"\s*:\s*\{|\\u00')
"""Where there is none (nor an escape that may hide one), nothing is referred to by identifier."""

_REFERENCE_MEMBERS = frozenset(("id", "extension", "type", "identifier", "display", "_type", "_display"))


class Record(NamedTuple):
    """One record at one EHR."""

    ehr: str
    type: str
    id: str

    @property
    def reference(self) -> str:
        return f"{self.type}/{self.id}"

    @property
    def can_arrive(self) -> bool:
        """Whether FHIR allows its id; a record whose id it does not allow is refused."""
        return _ID.fullmatch(self.id) is not None


class Holder(NamedTuple):
    """The record that has a business identifier; its type is "" if the reference does not name one."""

    type: str
    key: str


@dataclass(frozen=True)
class Bases:
    """How the names in a record are understood: the base addresses of all EHRs, without a slash at the end.

    aliases:   other addresses by which records name an EHR: behind its proxy, or as it was called before
    numbering: which identifiers name a person
    """

    addresses: Mapping[str, str]
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbering: Numbering = field(default_factory=shipped)

    def address(self, record: Record) -> str:
        """The address of the record at its EHR; "" for an EHR that is no longer in the settings."""
        base = self.addresses.get(record.ehr, "")
        return f"{base}/{record.type}/{record.id}" if base else ""

    def target(self, reference: str, ehr: str) -> Record | None:
        """The record that `reference` names in a record of `ehr`; None if it belongs to no EHR."""
        own = _RELATIVE.fullmatch(reference) or _ODD.fullmatch(reference)
        if own is not None:
            return Record(ehr, own[1], own[2])
        if not reference.startswith("http"):
            return None
        bare = _without_scheme(reference)
        for name, base in self._by_length:
            if bare.startswith(base) and (name == ehr or not self._is_shared(base, ehr)):
                rest = bare[len(base) :]
                there = _RELATIVE.fullmatch(rest) or _ODD.fullmatch(rest)
                if there is not None:
                    return Record(name, there[1], there[2])
        return None

    def of(self, ehr: str) -> tuple[str, ...]:
        """All addresses of one EHR."""
        own = self.addresses.get(ehr, "")
        return (*([own] if own else []), *self.aliases.get(ehr, ()))

    def is_known(self, base: str) -> bool:
        """Whether some EHR has this address, by http or https."""
        return any(known == f"{_without_scheme(base)}/" for _, known in self._by_length)

    def knowing(self, more: Iterable[tuple[str, str]]) -> Bases:
        """These, and other addresses (EHR, base)."""
        aliases = dict(self.aliases)
        for ehr, base in more:
            if ehr in self.addresses and base not in self.of(ehr):
                aliases[ehr] = (*aliases.get(ehr, ()), base)
        return replace(self, aliases=aliases)

    @cached_property
    def _by_length(self) -> list[tuple[str, str]]:
        """(EHR, address without its scheme, with a slash), the longest first; an EHR's url before aliases."""
        found = [(ehr, f"{_without_scheme(base)}/") for ehr, base in self.addresses.items() if base]
        found += [(ehr, f"{_without_scheme(base)}/") for ehr, own in self.aliases.items() for base in own]
        return sorted(found, key=lambda one: -len(one[1]))

    def _is_shared(self, base: str, ehr: str) -> bool:
        """Whether `ehr` has that address as well, and a record of its own means itself by it."""
        return (ehr, base) in self._by_length


def _without_scheme(address: str) -> str:
    """An address without http or https, without their usual ports, and with its host in small letters."""
    scheme, _, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return host.lower().removesuffix(":80" if scheme == "http" else ":443") + slash + path


def fitted(key: str) -> str:
    """`key`, or if it is longer than a database index allows, its beginning and its hash."""
    if len(key) <= LONGEST_KEY:
        return key
    return f"{key[:100]}#{hashlib.sha256(key.encode()).hexdigest()}"


def identifier_key(identifier: object) -> str:
    """`system|value` of an Identifier that has both; "" otherwise."""
    if not isinstance(identifier, dict):
        return ""
    system, value = identifier.get("system"), identifier.get("value")
    if isinstance(system, str) and isinstance(value, str) and system and value:
        return fitted(f"{system}|{value.strip()}")
    return ""


def named(raw: bytes) -> list[str]:
    """Every literal reference in a resource, each once, contained ones included.

    Found in the text by compiled code: to walk the values takes more time than to parse them.
    """
    if b"\\u00" in raw:  # perhaps a key written with escapes
        nodes = _objects(jsontext.decode(raw))
        found = [text for node in nodes if isinstance(text := node.get("reference"), str)]
    else:
        found = [_unquoted(text) for text in dict.fromkeys(_LITERAL_TEXT.findall(raw))]
    return list(dict.fromkeys(found))


def rewritten(raw: bytes, there: Mapping[str, str]) -> bytes:
    """`raw` with each literal reference in `there` replaced by what it leads to, all else byte for byte."""
    if not there:
        return raw
    if b"\\u00" in raw:  # perhaps a key written with escapes
        return jsontext.with_references(raw.decode(), there).encode()

    def replace(match: re.Match[bytes]) -> bytes:
        new = there.get(_unquoted(match[2]))
        return match[0] if new is None else match[1] + jsontext.encode(new)

    return _LITERAL.sub(replace, raw)


def _unquoted(text: bytes) -> str:
    return str(jsontext.decode(b'"' + text + b'"')) if b"\\" in text else text.decode()


def held(raw: bytes, data: Json) -> Iterator[Holder]:
    """Every logical reference in a resource: an identifier, and no literal reference beside it."""
    if _ONE_IDENTIFIER.search(raw) is None:
        return
    for node in _objects(data):
        if node is not data and _is_logical(node):
            key = identifier_key(node["identifier"])
            if key:
                yield Holder(_text(node.get("type")), key)


def _is_logical(node: Json) -> bool:
    return "identifier" in node and isinstance(node["identifier"], dict) and node.keys() <= _REFERENCE_MEMBERS


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _objects(data: Json) -> Iterator[Json]:
    stack: list[Any] = [data]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield node
            stack.extend(value for value in node.values() if isinstance(value, dict | list))
        else:
            stack.extend(value for value in node if isinstance(value, dict | list))


def targets(raw: bytes, data: Json, ehr: str, bases: Bases) -> frozenset[tuple[str, str, str]]:
    """What a record of `ehr` refers to: records as (EHR, type, id), identifiers as ("", type, identifier).

    data: what can be read of it
    """
    found: set[tuple[str, str, str]] = {("", holder.type, holder.key) for holder in held(raw, data)}
    for text in named(raw):
        target = bases.target(text, ehr)
        if target is not None and target.can_arrive:
            found.add((target.ehr, target.type, target.id))
    return frozenset(found)


def patients(raw: bytes, ehr: str, bases: Bases) -> frozenset[Record]:
    """The patients that a record of `ehr` refers to, whether or not it can be parsed."""
    texts = (text.replace(b"\\/", b"/").decode(errors="replace") for text in _LITERAL_TEXT.findall(raw))
    found = {target for text in texts if (target := bases.target(text, ehr)) is not None}
    return frozenset(record for record in found if record.type == "Patient" and record.can_arrive)


# --- the same bytes with other references ---------------------------------------------------------

# A quote inside a JSON text is escaped, so these can only match a key and its value.
_ATTACHED = re.compile(rb'("url"\s*:\s*")((?:Binary|DocumentReference|Media)/[A-Za-z0-9\-.]{1,64})"')


def absolute_attachments(raw: bytes, base: str) -> bytes:
    """`raw` with relative addresses of attachments (`Binary/1`) made absolute at `base`."""
    return _ATTACHED.sub(lambda m: m[1] + f"{base}/".encode() + m[2] + b'"', raw) if base else raw


def add_references(raw: bytes, data: Json, found: Mapping[Holder, str]) -> bytes:
    """`raw` with `"reference"` put into each logical reference whose holder is in `found`."""
    if not found or not any(holder in found for holder in held(raw, data)):
        return raw
    edits: list[tuple[int, bytes]] = []
    starts: list[int] = []
    for token in tokens(raw):
        if token.lastindex == OPENING:
            starts.append(token.start())
        elif token.lastindex == CLOSING:
            start = starts.pop()
            if token[CLOSING] == b"}" and starts and b'"identifier"' in raw[start : token.end()]:
                node = jsontext.decode(raw[start : token.end()])
                if _is_logical(node):
                    holder = Holder(_text(node.get("type")), identifier_key(node["identifier"]))
                    if holder in found:
                        edits.append((start + 1, b'"reference":' + jsontext.encode(found[holder]) + b","))
    return _inserted(raw, sorted(edits))


def _inserted(raw: bytes, edits: Sequence[tuple[int, bytes]]) -> bytes:
    out: list[bytes] = []
    at = 0
    for place, text in edits:
        out += (raw[at:place], text)
        at = place
    out.append(raw[at:])
    return b"".join(out)
