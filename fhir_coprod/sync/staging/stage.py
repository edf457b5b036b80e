"""Parses, validates and stages the records of an EHR, or keeps them as dead letters with the reason.

A record that can be read and breaks a rule is staged like any other, with marks that say what is wrong in it.

`prepare` is pure and does the expensive part (parse, hash, validate) outside any transaction. `stage` writes
a batch in one transaction, together with the watermark that covers it. A staged record is not a resource yet:
it waits to be linked and written, so that the result does not depend on the order of arrival.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    literal_column,
    select,
    update,
)

from fhir_coprod import jsontext
from fhir_coprod.errors import NotJson
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.readable import readable
from fhir_coprod.store.quality import Marks, marks, packed
from fhir_coprod.store.schema.many import among, array, insert_rows, listed
from fhir_coprod.store.schema.sync import crosswalk, received_base, sync_key, sync_reference
from fhir_coprod.sync.spilled import SpilledSet
from fhir_coprod.sync.staging import erased, exports, feed, identity, letters, references, sealed, unfinished
from fhir_coprod.sync.staging.feed import Success
from fhir_coprod.sync.staging.letters import Refused
from fhir_coprod.sync.staging.order import Order, stamps
from fhir_coprod.sync.staging.references import Bases, Record
from fhir_coprod.sync.staging.waking import TO_LINK, chunks, forget_keys, wake_holders

OPEN = crosswalk.c.state > literal_column("0")
"""Something is left to do. Worded exactly as in crosswalk_open_idx, so that SQLite uses that index."""

Validate = Callable[[Document], Outcome]

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_META_THAT_COUNTS = ("profile", "security", "tag")
"""meta.source is left out: some servers write a new one with every request."""


@dataclass(frozen=True, slots=True)
class Received:
    """One record as received, and where we found it: `Task, page 3, entry 17`.

    document: its content, if it has been parsed already
    """

    raw: bytes
    position: str
    document: Document | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """The version of a record that we took last; `updated` is in the form that `sortable` returns."""

    hash: str
    updated: str
    deleted: bool
    version: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """One record that is ready to be staged."""

    record: Record
    raw: bytes
    version: str
    updated: str
    hash: str
    keys: identity.Keys
    targets: frozenset[tuple[str, str, str]]
    """What it refers to: records as (EHR, type, id), business identifiers as ("", type, identifier)."""
    marks: Marks = ()


@dataclass(frozen=True, slots=True)
class Unchanged:
    """One record that has the content that we took before, or is older."""

    record: Record
    version: str
    updated: str


@dataclass(slots=True)
class Counts:
    """How many records of one type of one EHR were created, updated, refused and so on."""

    read: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    conflicts: int = 0
    dead: int = 0
    dismissed: int = 0
    """Refused again, and put aside by a person: no fault any more, but not taken in either."""
    merged: int = 0
    """Records that share one resource here with another EHR's record."""
    not_valid: int = 0
    """Those of the created and updated ones that are kept although they break a rule."""

    def __add__(self, other: Counts) -> Counts:
        mine, theirs = self.to_json(), other.to_json()
        return Counts(**{name: mine[name] + theirs[name] for name in mine})

    def to_json(self) -> dict[str, int]:
        return asdict(self)


@dataclass(slots=True)
class Batch:
    """Records that are staged together: usually a page."""

    ehr: str
    type: str
    taken: list[Taken] = field(default_factory=list)
    unchanged: list[Record] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    gone: list[Record] = field(default_factory=list)
    """Records that the EHR says are deleted."""
    given_up: list[tuple[Record, Record]] = field(default_factory=list)
    """Patients whose address answered with another patient, and that other: their EHR has merged them."""
    feed: Success | None = None
    """Set on the last batch of a type, when all of the type has been read."""
    unfinished: bytes = b""
    """How far the pull has come, if it should go on there after a kill; see `unfinished`."""

    @property
    def size(self) -> int:
        """How many records are in it."""
        return len(self.taken) + len(self.unchanged) + len(self.refused)

    def parts(self, most: int) -> Iterator[Batch]:
        """This batch in parts of at most `most` taken records; the last part has everything else."""
        last = max(len(self.taken) - 1, 0) // most * most
        for start in range(0, last, most):
            yield Batch(self.ehr, self.type, self.taken[start : start + most])
        yield replace(self, taken=self.taken[last:])

    def drop(self, id: str) -> None:
        """Remove a record from this batch, because a newer version of it has arrived."""
        self.taken = [taken for taken in self.taken if taken.record.id != id]
        self.unchanged = [record for record in self.unchanged if record.id != id]


# --- pure -----------------------------------------------------------------------------------------


def prepare(
    ehr: str,
    type: str,
    received: Received,
    known: Callable[[str], Known | None],
    bases: Bases,
    validate: Validate,
    *,
    accept_older: bool,
    by_content: bool = False,
    keep_invalid: bool = True,
) -> Taken | Refused | Unchanged:
    """Decide what to do with one record.

    accept_older: take a record even if it is older than what we have (a full run, a restored server).
    by_content:   the EHR lists it as it is now, so an earlier time alone does not make it older.
    keep_invalid: take a record that breaks a rule, too, and say what is wrong in it.
    """

    def refused(id: str, outcome: Outcome, data: Json) -> Refused:
        return letters.refusal(ehr, type, id, received.raw, outcome, received.position, data, bases)

    try:
        document = received.document or jsontext.parse(received.raw)
    except NotJson as error:
        return refused("", error.outcome, {})
    id = document.data.get("id")
    if document.type != type or not isinstance(id, str) or not _ID.fullmatch(id):
        outcome = Outcome((Issue("error", "structure", _misplaced(document.type, type)),))
        return refused("", outcome, document.data)
    record = Record(ehr, type, id)
    version, updated = stamps(document.data)
    hash = content_hash(document)
    before = known(id)
    if before is not None and not before.deleted:
        if before.hash == hash:
            return Unchanged(record, version, updated)
        held = Order.of(before.version, before.updated)
        if not accept_older and Order.of(version, updated).is_before(held, by_content=by_content):
            return Unchanged(record, version, updated)
    outcome = validate(document)
    if not outcome and not keep_invalid:
        return refused(id, outcome, document.data)
    data = document.data if outcome else readable(document.data).data
    return Taken(
        record,
        received.raw,
        version,
        updated,
        hash,
        identity.keys(data, ehr, bases),
        references.targets(document.raw, data, ehr, bases),
        () if outcome else marks(outcome),
    )


def _misplaced(found: str, expected: str) -> str:
    if found != expected:
        what = f"a {found}" if found else "something without resourceType"
        return f"Expected a {expected}, but this is {what}; the EHR's search is at fault."
    return f"The {expected} has no id of 1 to 64 letters, digits, '-' and '.'; it cannot be told from others."


def content_hash(document: Document) -> str:
    """A hash of the document that includes the profiles, security labels and tags in its meta."""
    meta = {k: v for k, v in _meta(document.data).items() if k in _META_THAT_COUNTS and v}
    if not meta:
        return document.hash
    return hashlib.sha256(
        document.hash.encode() + msgspec.json.encode(meta, order="deterministic")
    ).hexdigest()


def _meta(data: Json) -> Json:
    meta = data.get("meta")
    return meta if isinstance(meta, dict) else {}


# --- in a transaction -----------------------------------------------------------------------------

# These run for every few records, so they are built once.
_own_record = (crosswalk.c.ehr == bindparam("ehr")) & (crosswalk.c.type == bindparam("type"))
_KNOWN = select(
    *(crosswalk.c[name] for name in ("foreign_id", "hash", "updated", "deleted", "version"))
).where(_own_record, listed(crosswalk.c.foreign_id, "ids"))


def known_records(connection: Connection, ehr: str, type: str, ids: Sequence[str]) -> dict[str, Known]:
    """The versions of these records that we took last, by id."""
    found: dict[str, Known] = {}
    for chunk in chunks(ids):
        rows = connection.execute(_KNOWN, {"ehr": ehr, "type": type, "ids": array(chunk)}).all()
        found |= {row[0]: Known(*row[1:]) for row in rows}
    return found


def living(connection: Connection, ehr: str, type: str) -> SpilledSet:
    """The ids of all records of the type that the EHR had when we last looked."""
    c = crosswalk.c
    rows = connection.execute(select(c.foreign_id).where(c.ehr == ehr, c.type == type, c.deleted.is_(False)))
    return SpilledSet(id for (id,) in rows)


@dataclass(frozen=True, slots=True)
class Holding:
    """One living record of an EHR: the hash of what we took last, and the resource of ours that it is in."""

    ehr: str
    type: str
    foreign_id: str
    id: str
    hash: str


def holdings(connection: Connection) -> list[Holding]:
    """All living records, by EHR, type and id."""
    c = crosswalk.c
    rows = connection.execute(
        select(c.ehr, c.type, c.foreign_id, c.id, c.hash)
        .where(c.deleted.is_(False))
        .order_by(c.ehr, c.type, c.foreign_id)
    )
    return [Holding(*row) for row in rows]


def stage(connection: Connection, batch: Batch, now: datetime) -> Counts:
    """Write the batch and count what was new in it. Staging the same batch again changes nothing."""
    left_out = _leave_out(connection, batch)
    counts = Counts(unchanged=len(batch.unchanged) + left_out, dead=len(batch.refused))
    known = known_records(connection, batch.ehr, batch.type, [t.record.id for t in batch.taken])
    newest = {taken.record.id: taken for taken in batch.taken}
    new, changed = [], []
    for taken in newest.values():
        before = known.get(taken.record.id)
        if before is None:
            new.append(taken)
        elif before.deleted or before.hash != taken.hash:
            changed.append(taken)
    counts.created = len(new)
    counts.updated = len(changed)
    counts.not_valid = sum(1 for taken in (*new, *changed) if taken.marks)
    counts.unchanged += len(newest) - len(new) - len(changed)
    counts.read = len(newest) + len(batch.unchanged) + len(batch.refused) + left_out
    if changed:
        _forget(connection, [taken.record for taken in changed])
        _update_rows(connection, changed)
    insert_rows(connection, crosswalk, [_crosswalk_row(taken) for taken in new])
    if new or changed:
        _remember(connection, [*new, *changed])
    counts.deleted = _bury(connection, batch.gone)
    for old, successor in batch.given_up:
        _give_up(connection, old, successor)
    counts.dismissed = letters.write(connection, batch.refused, now)
    counts.dead -= counts.dismissed
    letters.resolve(connection, [taken.record for taken in newest.values()] + batch.unchanged + batch.gone)
    if batch.unfinished:
        unfinished.save(connection, batch.ehr, batch.type, batch.unfinished)
    if batch.feed is not None:
        unfinished.forget(connection, batch.ehr, batch.type)
        exports.type_done(connection, batch.ehr, batch.type)
        feed.succeeded(connection, batch.ehr, batch.type, batch.feed, now)
        if (began := batch.feed.whole_since) is not None:
            letters.resolve_what_came_no_more(connection, batch.ehr, batch.type, began)
    return counts


def _leave_out(connection: Connection, batch: Batch) -> int:
    """Take out of a batch what was erased: the records themselves, and new ones that name nobody but patients
    who were. Returns how many that are."""
    if not erased.were_any(connection):
        return 0
    named = {taken.record: _patients(taken.targets) for taken in batch.taken}
    named |= {Record(one.ehr, one.type, one.foreign_id): sorted(one.patients) for one in batch.refused}
    wanted = {*named, *batch.unchanged, *batch.gone, *(one for many in named.values() for one in many)}
    wanted |= {old for old, _ in batch.given_up}
    gone = erased.among(connection, wanted)
    if not gone:
        return 0
    gone |= {record for record, many in named.items() if many and gone.issuperset(many)}
    before = batch.size
    batch.taken = [one for one in batch.taken if one.record not in gone]
    batch.refused = [one for one in batch.refused if Record(one.ehr, one.type, one.foreign_id) not in gone]
    batch.unchanged = [record for record in batch.unchanged if record not in gone]
    batch.gone = [record for record in batch.gone if record not in gone]
    batch.given_up = [pair for pair in batch.given_up if pair[0] not in gone]
    return before - batch.size


def _patients(targets: frozenset[tuple[str, str, str]]) -> list[Record]:
    return [Record(*target) for target in sorted(targets) if target[0] and target[1] == "Patient"]


def _crosswalk_row(taken: Taken) -> tuple[Any, ...]:
    seal = sealed.taken(taken.record, taken.version, taken.updated, taken.hash, deleted=False)
    own = (*taken.record, "", taken.version, taken.updated, taken.hash, False, TO_LINK)
    return (*own, seal, sealed.linked(taken.record, ""))


def _update_rows(connection: Connection, changed: Sequence[Taken]) -> None:
    c = crosswalk.c
    connection.execute(
        update(crosswalk)
        .where(c.ehr == bindparam("e"), c.type == bindparam("t"), c.foreign_id == bindparam("f"))
        .values(
            version=bindparam("v"),
            updated=bindparam("u"),
            hash=bindparam("h"),
            deleted=False,
            state=TO_LINK,
            seal=bindparam("s"),
        ),
        [
            {
                "e": t.record.ehr,
                "t": t.record.type,
                "f": t.record.id,
                "v": t.version,
                "u": t.updated,
                "h": t.hash,
                "s": sealed.taken(t.record, t.version, t.updated, t.hash, deleted=False),
            }
            for t in changed
        ],
    )


def _remember(connection: Connection, taken: Sequence[Taken]) -> None:
    """Store bytes, keys and references; mark records that refer to these identifiers to be written again."""
    insert_rows(connection, received_base, [_base_row(one) for one in taken])
    keys = [
        (t.record.type, kind, key, t.record.ehr, t.record.id)
        for t in taken
        for kind, values in t.keys.items()
        for key in values
    ]
    insert_rows(connection, sync_key, keys)
    held = {key for _, kind, key, _, _ in keys if kind == "identifier"}
    if held:
        wake_holders(connection, taken[0].record.type, held)
    targets = [(*t.record, *target) for t in taken for target in t.targets]
    insert_rows(connection, sync_reference, targets)


def _base_row(taken: Taken) -> tuple[Any, ...]:
    marks = packed(taken.marks)
    return (*taken.record, taken.raw, marks, sealed.received(taken.record, taken.raw, marks))


def _forget(connection: Connection, records: Sequence[Record]) -> None:
    """Delete the bytes, keys and references of records that will be staged again, or were deleted."""
    ehr, type = records[0].ehr, records[0].type
    for ids in chunks(record.id for record in records):
        forget_keys(connection, ehr, type, ids)
        for table in (received_base, sync_reference):
            connection.execute(
                delete(table).where(table.c.ehr == ehr, table.c.type == type, among(table.c.foreign_id, ids))
            )


def _bury(connection: Connection, gone: Sequence[Record]) -> int:
    """Mark records as deleted at their EHR; returns how many of them were alive until now."""
    if not gone:
        return 0
    _forget(connection, gone)
    c = crosswalk.c
    buried = 0
    for ids in chunks(record.id for record in gone):
        own = (c.ehr == gone[0].ehr) & (c.type == gone[0].type) & among(c.foreign_id, ids)
        alive = connection.execute(
            select(c.ehr, c.type, c.foreign_id, c.version, c.updated).where(own, c.deleted.is_(False))
        ).all()
        for *record, version, updated in alive:
            _without_hash(connection, Record(*record), version, updated, deleted=True)
        buried += len(alive)
    return buried


def _without_hash(
    connection: Connection, record: Record, version: str, updated: str, *, deleted: bool
) -> None:
    """Whatever the EHR says of it next is new."""
    values = {
        "deleted": deleted,
        "seal": sealed.taken(record, version, updated, "", deleted=deleted),
        **dict(zip(("_ehr", "_type", "_id"), record, strict=True)),
    }
    connection.execute(_WITHOUT_HASH, values)


_WITHOUT_HASH = (
    update(crosswalk)
    .where(
        crosswalk.c.ehr == bindparam("_ehr"),
        crosswalk.c.type == bindparam("_type"),
        crosswalk.c.foreign_id == bindparam("_id"),
    )
    .values(deleted=bindparam("deleted"), hash="", state=TO_LINK, seal=bindparam("seal"))
)


def _give_up(connection: Connection, old: Record, new: Record) -> None:
    """Note that the EHR has put another patient in this one's place, as if the record said so itself."""
    b, c, k = received_base.c, crosswalk.c, sync_key.c
    own = (b.ehr == old.ehr) & (b.type == old.type) & (b.foreign_id == old.id)
    kept = connection.execute(select(b.body, b.marks).where(own)).first()
    replaced = (
        (k.ehr == old.ehr) & (k.type == old.type) & (k.foreign_id == old.id) & (k.kind == "replaced-by")
    )
    known = connection.execute(select(k.key).where(replaced)).scalars().all()
    key = "/".join(new)
    if kept is None or known == [key] or old == new:
        return
    data = jsontext.decode(bytes(kept.body))
    link = {"other": {"reference": new.reference}, "type": "replaced-by"}
    body = jsontext.encode({**data, "active": False, "link": [link]})
    seal = sealed.received(old, body, kept.marks)
    connection.execute(update(received_base).where(own).values(body=body, seal=seal))
    connection.execute(delete(sync_key).where(replaced))
    insert_rows(connection, sync_key, [(old.type, "replaced-by", key, old.ehr, old.id)])
    its = (c.ehr == old.ehr) & (c.type == old.type) & (c.foreign_id == old.id)
    version, updated, deleted = connection.execute(select(c.version, c.updated, c.deleted).where(its)).one()
    _without_hash(connection, old, version, updated, deleted=deleted)
