"""Takes the records of files into the store: judges each as it will be stored, and stores it.

References by criteria are looked up in the transaction that stores the record. A record for which they find
nothing waits until all files have been read: what it means may come later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import NamedTuple
from uuid import UUID, uuid5

from fhir_coprod import definitions, jsontext
from fhir_coprod.errors import (
    BadRequest,
    CoprodError,
    InvalidResource,
    NotAllowed,
    PreconditionFailed,
    TooLarge,
)
from fhir_coprod.files.reading import too_many
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import Outcome
from fhir_coprod.store import entering
from fhir_coprod.store.entering import Validate, refuse_unserved
from fhir_coprod.store.links import Addresses, criteria_types, provisional, settled
from fhir_coprod.store.matching import Finder
from fhir_coprod.store.quality import Marks, marks
from fhir_coprod.store.repository import Store
from fhir_coprod.store.transaction import Transaction, check_id
from fhir_coprod.store.unpacking import Unpacked, unpack
from fhir_coprod.store.versions import Change, Version, Written
from fhir_coprod.validation import is_part, validate_to_store

CHUNK = 250
"""Resources in one transaction."""
NAMED = 1_000
"""How many records that could not be loaded are reported one by one; the others are only counted."""
WAITING_BYTES = 64_000_000
"""Bytes of the records that may wait for what their criteria mean."""

NO_ADDRESSES = Addresses({})
_NAMESPACE = UUID("6f0d7c1e-6d1c-4b0c-9d6c-0a5a3c1f0b52")
"""The namespace of the ids for resources that have none."""


@dataclass(frozen=True, slots=True)
class Dead:
    """A record that could not be loaded.

    place: file and line, or file and number of the entry
    raw:   its bytes; empty if the file itself cannot be read
    """

    place: str
    outcome: Outcome
    raw: bytes = b""
    type: str = ""


@dataclass(slots=True)
class Loaded:
    """The result of a load."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    """Stored by an earlier run that was interrupted."""
    not_valid: int = 0
    """Those of the created and updated ones that break a rule, and are kept with marks."""
    dead: int = 0
    """Records that could not be loaded."""
    named: list[Dead] = field(default_factory=list)
    """The first of them, without their bytes."""

    @property
    def read(self) -> int:
        return self.created + self.updated + self.unchanged + self.skipped + self.dead

    def count(self, change: Change) -> None:
        setattr(self, change, getattr(self, change) + 1)

    def add(self, stored: Sequence[Unpacked]) -> None:
        """Count what has been stored."""
        for change, is_marked in stored:
            self.count(change)
            self.not_valid += is_marked and change in ("created", "updated")

    def refuse(self, dead: Dead) -> None:
        """Count a record that could not be loaded, and name it while there are few."""
        self.dead += 1
        if len(self.named) < NAMED:
            self.named.append(Dead(dead.place, dead.outcome))


Bury = Callable[[Transaction, str, Sequence[Dead], bool], None]
"""Called in the transaction of the records around them with a file, its records that could not be loaded, and
whether the file is being read from its beginning, so that its earlier dead letters are out of date."""


class Loadable(NamedTuple):
    """A record that can be stored.

    refers: whether it refers to others by criteria, so that these references are rewritten when it is stored
    place:  file and line
    """

    document: Document
    id: str
    marks: Marks
    refers: bool = False
    file: str = ""
    place: str = ""


def judge(
    raw: bytes,
    validate: Validate = validate_to_store,
    *,
    keep_invalid: bool = True,
    elements: int = jsontext.MAX_ELEMENTS,
    addresses: Addresses = NO_ADDRESSES,
    full_url: str = "",
) -> Loadable:
    """Whether a record can be stored. Raises CoprodError if not.

    addresses: what the fullUrls in its Bundle mean; full_url: its own
    """
    if jsontext.has_more_elements(raw, elements):
        issue = too_many(elements, len(raw))
        raise TooLarge(issue.message, outcome=Outcome((issue,)))
    document = jsontext.parse(raw)
    if not definitions.is_resource_type(document.type):
        raise BadRequest("The record is not a FHIR R4 resource: its resourceType is not one of R4.")
    id = id_of(document)
    _check_id(document, id)
    if document.type == "Bundle" and document.data.get("type") == "history":
        raise BadRequest(
            "A history is not loaded, as the store makes versions by itself; load the resources as they are"
            " now."
        )
    refuse_unserved(document)
    document = settled(document, addresses, full_url).document
    refers = bool(criteria_types(document))
    # What is found makes no difference: it has the type that is judged here.
    judged = settled(document, NO_ADDRESSES, "", provisional).document if refers else document
    outcome = entering.judge(judged, validate)
    if outcome:
        return Loadable(document, id, (), refers)
    if not keep_invalid or is_part(document):
        raise InvalidResource("The record breaks rules of FHIR R4 or its profile.", outcome=outcome)
    return Loadable(document, id, marks(outcome), refers)


def take(transaction: Transaction, raw: bytes, validate: Validate) -> bool:
    """Store a record that could not be loaded before; False if it still cannot."""
    try:
        one = judge(raw, validate)
    except CoprodError:
        return False
    return not store_all(transaction, [one]).unfound


class Stored(NamedTuple):
    """What one transaction has stored, and the records whose references by criteria did not find one each,
    or that may not be stored."""

    done: list[Unpacked]
    unfound: list[tuple[Loadable, CoprodError]]


Rule = Callable[[Transaction, Document, str], None]
"""Raises CoprodError for a document that may not be stored under an id, although it can be."""


def no_rule(transaction: Transaction, document: Document, id: str) -> None:
    """Whoever has the file may store what is in it."""


After = Callable[[Transaction, Sequence[Version]], None]
"""Told what was stored or was there already, within the transaction."""


def nothing_after(transaction: Transaction, versions: Sequence[Version]) -> None:
    """Nobody wants to know."""


def store_all(
    transaction: Transaction,
    records: Sequence[Loadable],
    rule: Rule = no_rule,
    after: After = nothing_after,
) -> Stored:
    """Store these records, in their order, with what they hold if they are messages or documents. What the
    rule refuses is among the unfound: what is stored later may allow it."""
    transaction.fetch((one.document.type, one.id) for one in records)
    finder = Finder(transaction, NO_ADDRESSES)
    stored = Stored([], [])
    bundles: list[tuple[Loadable, Change]] = []
    versions: list[Version] = []
    for one in records:
        try:
            rule(transaction, one.document, one.id)
        except (NotAllowed, InvalidResource) as error:
            stored.unfound.append((one, error))
            continue
        try:
            written = _store(transaction, one, finder)
        except (BadRequest, PreconditionFailed) as error:
            if not one.refers:
                raise
            stored.unfound.append((one, error))
            continue
        stored.done.append(Unpacked(written.change, bool(one.marks)))
        versions.append(written.version)
        bundles += [(one, written.change)] if one.document.type == "Bundle" else []
    for bundle, change in bundles:
        stored.done.extend(unpack(transaction, bundle.document, change, is_sound=not bundle.marks))
    after(transaction, versions)
    return stored


def _store(transaction: Transaction, one: Loadable, finder: Finder) -> Written:
    document = settled(one.document, NO_ADDRESSES, "", finder.find).document if one.refers else one.document
    written = transaction.put(document, one.id, marks=one.marks)
    finder.forget(document.type)
    return written


def dead(one: Loadable, error: CoprodError) -> Dead:
    """A record that could not be stored, with the links that are known already."""
    raw = one.document.spliced(one.id, one.document.data.get("meta"))
    return Dead(one.place, error.outcome, raw, one.document.type)


class Waiting:
    """Records whose references by criteria found nothing: what they mean may be in a later file."""

    def __init__(self, rule: Rule = no_rule, after: After = nothing_after) -> None:
        self.rule = rule
        self.after = after
        self._records: list[tuple[Loadable, CoprodError]] = []
        self._size = 0

    def keep(self, one: Loadable, error: CoprodError) -> bool:
        """Keep one for later; False if there is no room."""
        if self._size + len(one.document.raw) > WAITING_BYTES:
            return False
        self._size += len(one.document.raw)
        self._records.append((one, error))
        return True

    def try_again(self, store: Store, done: Loaded, bury: Bury) -> None:
        """Store what can be stored now, as long as one brings what another waits for; the rest is dead."""
        before = 0
        while self._records and len(self._records) != before:
            before = len(self._records)
            parts = [self._records[at : at + CHUNK] for at in range(0, before, CHUNK)]
            self._records = []
            for part in parts:
                stored = store.write(
                    partial(store_all, records=[one for one, _ in part], rule=self.rule, after=self.after)
                )
                done.add(stored.done)
                self._records += stored.unfound
        for file, left in groupby(self._records, lambda each: each[0].file):
            refused = [dead(*each) for each in left]
            for each in refused:
                done.refuse(each)
            store.write(partial(_bury, bury=bury, file=file, refused=refused))
        self._records = []


def _bury(transaction: Transaction, bury: Bury, file: str, refused: Sequence[Dead]) -> None:
    bury(transaction, file, refused, False)


def id_of(document: Document) -> str:
    """Its own id, or one made from its content."""
    id = document.data.get("id")
    return id if isinstance(id, str) else str(uuid5(_NAMESPACE, document.type + document.hash))


def _check_id(document: Document, id: str) -> None:
    if not isinstance(document.data.get("id", ""), str):
        raise BadRequest("The id of the record is no text, so that nobody can refer to it; correct it.")
    check_id(id)
