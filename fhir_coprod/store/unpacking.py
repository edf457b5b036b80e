"""Unpacks messages and documents: a whole case in one Bundle. The Bundle itself is kept as it came.

Each entry becomes a resource of its own, named by its `fullUrl`: `urn:uuid:X` gets the id X, and an address
that ends in the resource's own type and id keeps that id. References between the entries follow.

A message is news about its own records: a later one updates what an earlier one from the same place
brought. A document tells how things were: it fills gaps only. Neither replaces a record that came in
another way, and neither makes two patients one.

The answer to a message is about a visit that often does not say what was asked for (BaRS: its focus is the
Encounter of whoever answers). Then the visit is based on the order that was asked for: that of the message
whose id the answer gives (MessageHeader.response), or an order that it repeats, if there is one only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

import msgspec

from fhir_coprod import definitions, jsontext
from fhir_coprod.errors import BadRequest, NotJson
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.store.quality import marks
from fhir_coprod.store.search.query import Query
from fhir_coprod.store.transaction import Transaction, check_id
from fhir_coprod.store.versions import Change
from fhir_coprod.validation import validate_document

_NAMESPACE: Final = UUID("0b5d3f0e-9a37-4b0c-8a7d-6a4f2f0a8c11")
"""The namespace of the ids of entries whose address names none."""
_UNPACKED: Final = frozenset({"document", "message"})


class _Entry(msgspec.Struct):
    resource: msgspec.Raw = msgspec.Raw(b"")
    fullUrl: str = ""  # noqa: N815 - FHIR's name


class _Bundle(msgspec.Struct):
    type: str = ""
    entry: list[_Entry] = []


class _Named(NamedTuple):
    """A resource of an entry, the entry's address, and the id that the resource gets here."""

    document: Document
    url: str
    id: str


_decode: Callable[[bytes], _Bundle] = msgspec.json.Decoder(_Bundle).decode


def unpack(transaction: Transaction, bundle: Document, *, is_sound: bool = True) -> list[Change]:
    """Store the entries of a message or document, which is stored already; what each write changed.

    is_sound: whether the Bundle is valid, and so all that is in it; else each entry is judged by itself.

    Another resource, or a Bundle of another type, has nothing to unpack.
    """
    if bundle.type != "Bundle" or bundle.data.get("type") not in _UNPACKED:
        return []
    content = _content(bundle.raw)
    entries = _entries(content)
    references = _references(entries)
    transaction.fetch((document.type, id) for document, _, id in entries)
    earlier: list[str] = []
    if content.type == "message":
        entries = _based(transaction, entries, references)
        earlier = _answers_to(transaction, bundle, entries)
    changes = []
    for document, url, id in entries:
        source = _source(content.type, url)
        held = transaction.get(document.type, id)
        if held is not None and (content.type == "document" or held.source != source):
            continue
        wrong = () if is_sound else marks(validate_document(document))
        put = transaction.put(document, id, references=references, source=source, marks=wrong)
        changes.append(put.change)
    asked = _orders(references.get(name, name) for name in _focus(_header(entries)))
    return [*changes, *_base(transaction, earlier, asked)]


def _references(entries: Iterable[_Named]) -> dict[str, str]:
    """What the entries call each other → our references."""
    references: dict[str, str] = {}
    for document, url, id in entries:
        references[url] = f"{document.type}/{id}"
        own = f"{document.type}/{document.data.get('id')}"
        if url.endswith(f"/{own}"):
            references[own] = references[url]  # named relative to the address
    return references


def _content(raw: bytes) -> _Bundle:
    """What is in a Bundle; nothing if its entries have another form than R4 gives them."""
    try:
        return _decode(raw)
    except msgspec.MsgspecError:
        return _Bundle()


def _entries(content: _Bundle) -> list[_Named]:
    return [
        _Named(document, entry.fullUrl, _id(document, entry.fullUrl))
        for entry in content.entry
        if (document := _resource(bytes(entry.resource)))
    ]


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
    return named if _is_id(named) else str(uuid5(_NAMESPACE, url or document.type + document.hash))


def _is_id(text: object) -> bool:
    try:
        check_id(text if isinstance(text, str) else "")
    except BadRequest:
        return False
    return True


def _source(kind: str, url: str) -> str:
    """Where an entry comes from, as the log has it: its address without type and id, as a hash."""
    base = url.rsplit("/", 2)[0] if "//" in url else ""
    return f"{kind}:{blake2b(base.encode(), digest_size=8).hexdigest()}"


# --- the answer to a message ----------------------------------------------------------------------

_VISITS: Final = frozenset({"Encounter", "Appointment"})


def _based(transaction: Transaction, entries: list[_Named], references: Mapping[str, str]) -> list[_Named]:
    """The entries, where the visit in the focus of an answer is based on what was asked for."""
    header = _header(entries)
    answered = _answered(header)
    if not answered:
        return entries
    asked = _asked(transaction, answered) or _repeated(transaction, entries)
    focus = {references.get(name, name) for name in _focus(header)}
    return [
        entry._replace(document=_on(entry.document, asked))
        if asked and f"{entry.document.type}/{entry.id}" in focus
        else entry
        for entry in entries
    ]


def _answers_to(transaction: Transaction, bundle: Document, entries: Sequence[_Named]) -> list[str]:
    """What the answers to this message that came before it are about."""
    header = _header(entries)
    if not _focus(header) or _answered(header):
        return []
    ids = {entry.id for entry in entries if entry.document.type == "MessageHeader"}
    about: list[str] = []
    for id in sorted({*ids, str(bundle.data.get("id", ""))}):
        if _is_id(id):
            query = Query.parse("MessageHeader", [("response-id", id), ("_count", "100")])
            about += (name for answer in transaction.search(query).matches for name in _focus(answer.data))
    return about


def _base(transaction: Transaction, visits: Iterable[str], orders: Sequence[str]) -> Iterator[Change]:
    """Base these visits, which a message brought, on these orders."""
    for name in visits if orders else ():
        type, _, id = name.partition("/")
        held = transaction.get(type, id) if type in _VISITS and _is_id(id) else None
        if held is not None and not held.deleted and held.source.startswith("message:"):
            based = _on(Document(held.body, held.data), orders)
            yield transaction.put(based, id, source=held.source, marks=transaction.marks(type, id)).change


def _header(entries: Iterable[_Named]) -> Json:
    """The first MessageHeader; empty if there is none."""
    found = (entry.document.data for entry in entries if entry.document.type == "MessageHeader")
    return next(found, {})


def _answered(header: Json) -> str:
    """The id of the message that this one answers; "" if it is no answer."""
    response = header.get("response")
    id = response.get("identifier") if isinstance(response, dict) else ""
    return id if isinstance(id, str) else ""


def _focus(header: Json) -> list[str]:
    focus = header.get("focus")
    named = [one.get("reference") for one in _list(focus) if isinstance(one, dict)]
    return [name for name in named if isinstance(name, str)]


def _asked(transaction: Transaction, message: str) -> list[str]:
    """The orders that a message asked for, by its id (so R4) or that of its Bundle (so BaRS)."""
    if not _is_id(message):
        return []
    header = transaction.get("MessageHeader", message)
    if header is not None and not header.deleted:
        return _orders(_focus(header.data))
    bundle = transaction.get("Bundle", message)
    if bundle is None or bundle.deleted or bundle.data.get("type") != "message":
        return []
    entries = _entries(_content(bundle.body))
    references = _references(entries)
    return _orders(references.get(name, name) for name in _focus(_header(entries)))


def _repeated(transaction: Transaction, entries: Iterable[_Named]) -> list[str]:
    """The order that is in the answer and was here before it, if there is one only."""
    ids = [entry.id for entry in entries if entry.document.type == "ServiceRequest"]
    known = [id for id, held in transaction.newest("ServiceRequest", ids).items() if not held.deleted]
    return [f"ServiceRequest/{known[0]}"] if len(ids) == len(known) == 1 else []


def _orders(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith("ServiceRequest/")]


def _on(visit: Document, orders: Sequence[str]) -> Document:
    """The visit, based on these orders unless it says itself what it is based on."""
    if visit.type not in _VISITS or "basedOn" in visit.data:
        return visit
    based = {**visit.data, "basedOn": [{"reference": order} for order in orders]}
    return jsontext.parse(jsontext.patched(visit, visit.data, based))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
