"""Unpacks messages and documents: a whole case in one Bundle. The Bundle itself is kept as it came.

Each entry becomes a resource of its own, named by its `fullUrl`: `urn:uuid:X` gets the id X, and an address
that ends in the resource's own type and id keeps that id, unless that is the name of another place's record
here. References between the entries follow.

A message is news about its own records: a later one updates what an earlier one from the same place
brought. A document tells how things were: it fills gaps only. Neither replaces a record that came in
another way, and neither makes two patients one.

The answer to a message is about a visit that often does not say what was asked for (BaRS: its focus is the
Encounter of whoever answers). Then the visit is based on the order that was asked for: that of the message
whose id the answer gives (MessageHeader.response), or an order that it repeats, if there is one only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid5

import msgspec

from fhir_coprod import definitions, jsontext
from fhir_coprod.errors import BadRequest, NotJson
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.store.entering import astray, judge
from fhir_coprod.store.links import referring
from fhir_coprod.store.quality import marks
from fhir_coprod.store.search.query import Query
from fhir_coprod.store.transaction import Transaction, check_id
from fhir_coprod.store.versions import Change

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
    case = _Case(transaction, bundle)
    type = bundle.data["type"]
    visits, orders = _answered(transaction, case) if type == "message" else ((), ())
    fills_gaps = type == "document" or change == "unchanged"
    unpacked = []
    for entry in case.entries:
        document, source = entry.document, f"{type}:{_place(entry.base)}"
        held = transaction.get(document.type, entry.id)
        if held is not None and (fills_gaps or held.source != source):
            continue
        document = referring(document, case.references(entry))
        if entry.name in visits:
            document = _on(document, orders)
        outcome = judge(document) if document is not entry.document or not is_sound else astray(document)
        wrong = marks(outcome)
        put = transaction.put(document, entry.id, source=source, marks=wrong)
        unpacked.append(Unpacked(put.change, bool(wrong)))
    return [*unpacked, *_base(transaction, visits, orders)]


class _Case:
    """What is in a Bundle, by its names here; nothing if its entries have another form than R4 gives them."""

    def __init__(self, transaction: Transaction, bundle: Document) -> None:
        try:
            content = _decode(bundle.raw)
        except msgspec.MsgspecError:
            content = _Bundle()
        found = [
            (document, entry.full_url)
            for entry in content.entry
            if (document := _resource(bytes(entry.resource)))
        ]
        sender = _sender(bundle, found)
        entries = [_entry(document, url, sender) for document, url in found]
        self._here = here = _Here(transaction, entries)
        self.id = bundle.data.get("id")
        self.entries = [
            entry._replace(id=here.id(entry.document.type, entry.id, entry.base)) if entry.base else entry
            for entry in entries
        ]
        self.header = next((one for one in self.entries if one.document.type == "MessageHeader"), None)
        self._links = _Links(self.entries)

    def references(self, entry: _Entry) -> dict[str, str]:
        """What each reference of an entry becomes."""
        return self._links.of(entry, self._here)

    def focus(self) -> list[str]:
        """What its header says that it is about, by our references."""
        if self.header is None:
            return []
        here = self.references(self.header)
        return [here.get(name, name) for name in _focus(self.header.document.data)]


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
    """Bundles, what is not served, and the types of which this program's own definitions are."""
    own = {resource["resourceType"] for resource in definitions.own_resources()}
    return frozenset({"Bundle", "Subscription", *own})


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

    @property
    def name(self) -> str:
        """Our reference to it."""
        return f"{self.document.type}/{self.id}"


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
    if not _is_id(id):
        address = url if is_absolute else f"{sender} {url} {document.type}{document.hash}"
        base, id = "", str(uuid5(_NAMESPACE, address))
    return _Entry(document, url, base, there, id)


def _is_id(text: object) -> bool:
    try:
        check_id(text if isinstance(text, str) else "")
    except BadRequest:
        return False
    return True


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
        addresses = self._by_address
        found = {text: addresses[text] for text in entry.document.references() if text in addresses}
        for type, id in _named_in(entry):
            text = f"{type}/{id}"
            address = f"{entry.base}/{text}"
            known = self._by_address.get(address) if entry.base else self._only.get(text)
            if known:
                found[text] = known
            elif entry.base and (own := here.id(type, id, entry.base)) != id:
                found[text] = f"{type}/{own}" if here.has(type, own) else address
        return found


_RELATIVE = re.compile(rf"([A-Z][A-Za-z]+)/({jsontext.ID_PATTERN})")


def _named_in(entry: _Entry) -> set[tuple[str, str]]:
    """Type and id of what relative references in an entry name."""
    found = map(_RELATIVE.fullmatch, entry.document.references())
    return {(match[1], match[2]) for match in found if match}


# --- the answer to a message ----------------------------------------------------------------------

_VISITS: Final = frozenset({"Encounter", "Appointment"})


def _answered(transaction: Transaction, case: _Case) -> tuple[Collection[str], Sequence[str]]:
    """The visits that this message or earlier answers to it are about, and the orders that they answer."""
    if case.header is None:
        return (), ()
    if message := _answers(case.header.document.data):
        return case.focus(), _asked(transaction, message) or _repeated(transaction, case.entries)
    orders = _orders(case.focus())
    ids = {case.id, case.header.id} if orders else set()
    visits: set[str] = set()
    for id in filter(_is_id, ids):
        query = Query.parse("MessageHeader", [("response-id", str(id)), ("_count", "100")])
        for answer in transaction.search(query).matches:
            visits.update(_focus(answer.data))
    return visits, orders


def _answers(header: Json) -> str:
    """The id of the message that this one answers; "" if it is no answer."""
    response = header.get("response")
    id = response.get("identifier") if isinstance(response, dict) else ""
    return id if isinstance(id, str) else ""


def _focus(header: Json) -> list[str]:
    focus = header.get("focus")
    named: list[Any] = focus if isinstance(focus, list) else []
    references = [one.get("reference") for one in named if isinstance(one, dict)]
    return [reference for reference in references if isinstance(reference, str)]


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
    return _orders(_Case(transaction, Document(bundle.body, bundle.data)).focus())


def _repeated(transaction: Transaction, entries: Iterable[_Entry]) -> list[str]:
    """The order that is in the answer and was here before it, if there is one only."""
    ids = [entry.id for entry in entries if entry.document.type == "ServiceRequest"]
    known = [id for id, held in transaction.newest("ServiceRequest", ids).items() if not held.deleted]
    return [f"ServiceRequest/{known[0]}"] if len(ids) == len(known) == 1 else []


def _orders(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith("ServiceRequest/")]


def _on(visit: Document, orders: Sequence[str]) -> Document:
    """The visit, based on these orders unless it says itself what it is based on."""
    if visit.type not in _VISITS or "basedOn" in visit.data or not orders:
        return visit
    based = {**visit.data, "basedOn": [{"reference": order} for order in orders]}
    return replace(jsontext.parse(jsontext.patched(visit, visit.data, based)), received=visit.received)


def _base(transaction: Transaction, visits: Iterable[str], orders: Sequence[str]) -> Iterator[Unpacked]:
    """Base those of these visits that are here already, and that messages have brought, on these orders."""
    for name in sorted(visits) if orders else ():
        type, _, id = name.partition("/")
        held = transaction.get(type, id) if type in _VISITS and _is_id(id) else None
        if held is None or held.deleted or "basedOn" in held.data or not held.source.startswith("message:"):
            continue
        wrong = transaction.marks(type, id)
        based = _on(Document(held.body, held.data), orders)
        put = transaction.put(based, id, source=held.source, marks=wrong)
        yield Unpacked(put.change, bool(wrong))
