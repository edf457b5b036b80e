"""Unpacks messages and documents: a whole case in one Bundle. The Bundle itself is kept as it came.

Each entry becomes a resource of its own, named by its `fullUrl`: `urn:uuid:X` gets the id X, and an address
that ends in the resource's own type and id keeps that id, unless that is the name of another place's record
here. References between the entries follow.

A message is news about its own records: a later one updates what an earlier one from the same place
brought. A document tells how things were: it fills gaps only. Neither replaces a record that came in
another way, and neither makes two patients one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from hashlib import blake2b
from typing import Final, NamedTuple
from uuid import UUID, uuid5

import msgspec

from fhir_coprod import definitions, jsontext
from fhir_coprod.errors import BadRequest, NotJson
from fhir_coprod.jsontext import Document
from fhir_coprod.store.quality import marks
from fhir_coprod.store.transaction import Transaction, check_id
from fhir_coprod.store.versions import Change
from fhir_coprod.validation import validate_document

_NAMESPACE: Final = UUID("0b5d3f0e-9a37-4b0c-8a7d-6a4f2f0a8c11")
"""The namespace of the ids of entries whose address names none."""
_UNPACKED: Final = frozenset({"document", "message"})


class _Sent(msgspec.Struct, rename="camel"):
    resource: msgspec.Raw = msgspec.Raw(b"")
    full_url: str = ""


class _Bundle(msgspec.Struct):
    type: str = ""
    entry: list[_Sent] = []


_decode: Callable[[bytes], _Bundle] = msgspec.json.Decoder(_Bundle).decode


class Unpacked(NamedTuple):
    """What storing one entry has changed, and whether the entry breaks a rule."""

    change: Change
    is_marked: bool


def unpack(
    transaction: Transaction, bundle: Document, change: Change, *, is_sound: bool = True
) -> list[Unpacked]:
    """Store the entries of a message or document, which is stored already.

    change:   what storing it has changed. If nothing, newer messages may have come since it was first
              unpacked: a message, too, only fills gaps then.
    is_sound: whether the Bundle is valid, and so all that is in it; else each entry is judged by itself.

    Another resource, or a Bundle of another type, has nothing to unpack.
    """
    if bundle.type != "Bundle" or bundle.data.get("type") not in _UNPACKED:
        return []
    try:
        content = _decode(bundle.raw)
    except msgspec.MsgspecError:
        return []
    found = [
        (document, entry.full_url)
        for entry in content.entry
        if (document := _resource(bytes(entry.resource)))
    ]
    sender = _sender(bundle, found)
    entries = [_entry(document, url, sender) for document, url in found]
    here = _Here(transaction, entries)
    entries = [
        entry._replace(id=here.id(entry.document.type, entry.id, entry.base)) if entry.base else entry
        for entry in entries
    ]
    links = _Links(entries)
    fills_gaps = content.type == "document" or change == "unchanged"
    unpacked = []
    for entry in entries:
        document, source = entry.document, f"{content.type}:{_place(entry.base)}"
        held = transaction.get(document.type, entry.id)
        if held is not None and (fills_gaps or held.source != source):
            continue
        wrong = () if is_sound else marks(validate_document(document))
        references = links.of(entry, here)
        put = transaction.put(document, entry.id, references=references, source=source, marks=wrong)
        unpacked.append(Unpacked(put.change, bool(wrong)))
    return unpacked


def _resource(raw: bytes) -> Document | None:
    """The resource of an entry; None for one that has none, or none that can be stored by itself."""
    if not raw:
        return None
    try:
        document = jsontext.parse(raw)
    except NotJson:
        return None
    known = definitions.is_resource_type(document.type) and document.type not in _not_unpacked()
    return document if known else None


@cache
def _not_unpacked() -> frozenset[str]:
    """Bundles, and the types of which this program's own definitions are."""
    return frozenset({"Bundle", *(resource["resourceType"] for resource in definitions.own_resources())})


class _Entry(NamedTuple):
    """An entry, and its names.

    base:  the address of the place that it comes from; "" if its id is unique in the whole world
    there: its id at that place; "" if it has none
    id:    its id here
    """

    document: Document
    url: str
    base: str
    there: str
    id: str


def _entry(document: Document, url: str, sender: str) -> _Entry:
    """An entry named by its address; one without an address of its own, by its id at the sender."""
    own = document.data.get("id")
    before, _, last = url.rpartition("/")
    is_absolute = ":" in url
    there = own if isinstance(own, str) else last if url.endswith(f"{document.type}/{last}") else ""
    if url.startswith("urn:uuid:"):
        base, id = "", url.removeprefix("urn:uuid:")
    elif is_absolute and url.endswith(f"/{document.type}/{there}"):
        base, id = before.removesuffix(f"/{document.type}"), there
    else:
        base, id = ("", "") if is_absolute else (sender, there)
    try:
        check_id(id)
    except BadRequest:
        address = url if is_absolute else f"{sender} {url} {document.type}{document.hash}"
        base, id = "", str(uuid5(_NAMESPACE, address))
    return _Entry(document, url, base, there, id)


def _sender(bundle: Document, found: Sequence[tuple[Document, str]]) -> str:
    """Who sends a Bundle, by the address in its MessageHeader; otherwise a name for the Bundle itself."""
    for document, _ in found:
        source = document.data.get("source")
        if document.type == "MessageHeader" and isinstance(source, dict) and source.get("endpoint"):
            return str(source["endpoint"])
    identifier = bundle.data.get("identifier")
    if isinstance(identifier, dict) and identifier.get("value"):
        return f"{identifier.get('system', '')}|{identifier['value']}"
    return bundle.hash


def _place(base: str) -> str:
    return blake2b(base.encode(), digest_size=8).hexdigest()


_ANYWHERE: Final = _place("")


class _Here:
    """What the store has already, as seen from the places that the entries of a Bundle come from."""

    def __init__(self, transaction: Transaction, entries: Sequence[_Entry]) -> None:
        self._transaction = transaction
        names = {(entry.document.type, entry.id, entry.base) for entry in entries}
        names |= {(type, id, entry.base) for entry in entries for type, id in _named_in(entry)}
        transaction.fetch({(type, id) for type, id, _ in names})
        transaction.fetch({(type, _apart(type, id, base)) for type, id, base in names if base})
        self._strangers = {entry.base for entry in entries if self._is_somebody_else(entry)}
        """Places whose numbers mean other patients than the same numbers here"""

    def has(self, type: str, id: str) -> bool:
        return self._transaction.get(type, id) is not None

    def id(self, type: str, id: str, base: str) -> str:
        """The id here of a record that a place calls by an id: the same, unless that is another record's."""
        apart = _apart(type, id, base)
        return apart if self.has(type, apart) or self._is_of_another(type, id, base) else id

    def _is_of_another(self, type: str, id: str, base: str) -> bool:
        held = self._transaction.get(type, id)
        if held is None:
            return False
        kind, _, place = held.source.partition(":")
        if kind in _UNPACKED:
            return place not in (_ANYWHERE, _place(base))
        return base in self._strangers

    def _is_somebody_else(self, entry: _Entry) -> bool:
        """Whether a patient was born on another day than the one whom the store has under that id."""
        type = entry.document.type
        held = self._transaction.get(type, entry.id) if entry.base and type == "Patient" else None
        if held is None or held.source.partition(":")[0] in _UNPACKED or not held.body:
            return False
        born = {str(data.get("birthDate")) for data in (entry.document.data, held.data)}
        return len(born) == 2 and all(map(_DAY, born))


_DAY = re.compile(r"\d{4}-\d\d-\d\d").fullmatch


def _apart(type: str, id: str, base: str) -> str:
    """An id for a record of a place that no other place can use."""
    return str(uuid5(_NAMESPACE, f"{base}/{type}/{id}"))


class _Links:
    """What the references in the entries of one Bundle mean here."""

    def __init__(self, entries: Sequence[_Entry]) -> None:
        self._by_address: dict[str, str] = {}
        by_name: dict[str, set[str]] = {}
        for document, url, base, there, id in entries:
            here, name = f"{document.type}/{id}", f"{document.type}/{there}"
            if url:
                self._by_address[url] = here
            if base:
                self._by_address[f"{base}/{name}"] = here
            if there:
                by_name.setdefault(name, set()).add(here)
        self._only = {name: here.pop() for name, here in by_name.items() if len(here) == 1}
        """`Type/id` there → reference here, where that is the same for the whole Bundle"""

    def of(self, entry: _Entry, here: _Here) -> dict[str, str]:
        """What each reference of an entry becomes.

        A relative one means a record of the place that the entry comes from. If that is not here, and a
        record of another place has its name, it becomes absolute: it must not point to the other one.
        """
        found: dict[str, str] = {}
        for type, id in _named_in(entry):
            text = f"{type}/{id}"
            address = f"{entry.base}/{text}"
            known = self._by_address.get(address) if entry.base else self._only.get(text)
            if known:
                found[text] = known
            elif entry.base and (own := here.id(type, id, entry.base)) != id:
                found[text] = f"{type}/{own}" if here.has(type, own) else address
        return self._by_address | found


_RELATIVE = re.compile(rf"([A-Z][A-Za-z]+)/({jsontext.ID_PATTERN})")


def _named_in(entry: _Entry) -> set[tuple[str, str]]:
    """Type and id of what relative references in an entry name."""
    found = map(_RELATIVE.fullmatch, entry.document.references())
    return {(match[1], match[2]) for match in found if match}
