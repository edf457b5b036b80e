"""Unpacks messages and documents: a whole case in one Bundle. The Bundle itself is kept as it came.

Each entry becomes a resource of its own, named by its `fullUrl`: `urn:uuid:X` gets the id X, and an address
that ends in the resource's own type and id keeps that id. References between the entries follow.

A message is news about its own records: a later one updates what an earlier one from the same place
brought. A document tells how things were: it fills gaps only. Neither replaces a record that came in
another way, and neither makes two patients one.
"""

from __future__ import annotations

from collections.abc import Callable
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


class _Entry(msgspec.Struct, rename="camel"):
    resource: msgspec.Raw = msgspec.Raw(b"")
    full_url: str = ""


class _Bundle(msgspec.Struct):
    type: str = ""
    entry: list[_Entry] = []


_decode: Callable[[bytes], _Bundle] = msgspec.json.Decoder(_Bundle).decode


class Unpacked(NamedTuple):
    """What storing one entry has changed, and whether the entry breaks a rule."""

    change: Change
    is_marked: bool


def unpack(
    transaction: Transaction, bundle: Document, change: Change, *, is_sound: bool = True
) -> list[Unpacked]:
    """Store the entries of a message or document, which is stored already.

    change:   what storing it has changed. If nothing, it was unpacked before, and newer messages may have
              come since.
    is_sound: whether the Bundle is valid, and so all that is in it; else each entry is judged by itself.

    Another resource, or a Bundle of another type, has nothing to unpack.
    """
    if bundle.type != "Bundle" or bundle.data.get("type") not in _UNPACKED or change == "unchanged":
        return []
    try:
        content = _decode(bundle.raw)
    except msgspec.MsgspecError:
        return []
    entries = [
        (document, entry.full_url, _id(document, entry.full_url))
        for entry in content.entry
        if (document := _resource(bytes(entry.resource)))
    ]
    references: dict[str, str] = {}
    for document, url, id in entries:
        references[url] = f"{document.type}/{id}"
        own = f"{document.type}/{document.data.get('id')}"
        if url.endswith(f"/{own}"):
            references[own] = references[url]  # named relative to the address
    transaction.fetch((document.type, id) for document, _, id in entries)
    unpacked = []
    for document, url, id in entries:
        source = _source(content.type, url)
        held = transaction.get(document.type, id)
        if held is not None and (content.type == "document" or held.source != source):
            continue
        wrong = () if is_sound else marks(validate_document(document))
        put = transaction.put(document, id, references=references, source=source, marks=wrong)
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


def _id(document: Document, url: str) -> str:
    own = document.data.get("id")
    named = url.removeprefix("urn:uuid:") if url.startswith("urn:uuid:") else ""
    if isinstance(own, str) and (not url or url.endswith(f"/{document.type}/{own}")):
        named = own
    try:
        check_id(named)
    except BadRequest:
        return str(uuid5(_NAMESPACE, url or document.type + document.hash))
    return named


def _source(kind: str, url: str) -> str:
    """Where an entry comes from, as the log has it: its address without type and id, as a hash."""
    base = url.rsplit("/", 2)[0] if "//" in url else ""
    return f"{kind}:{blake2b(base.encode(), digest_size=8).hexdigest()}"
