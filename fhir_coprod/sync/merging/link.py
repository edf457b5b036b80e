"""Links each staged record to the resource of ours that it belongs to.

A record without a match becomes a resource of its own. Its id is made from its EHR, type and id there
(UUID 5), so that it does not depend on the order of arrival. Matching records share the id that one of them
already has, or else the id of the first in sort order. When two resources turn out to be the same, one id
survives and the other is retired. When one resource turns out to be two, the id stays with the record that it
was made from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from uuid import UUID, uuid5

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal,
    select,
    tuple_,
    update,
)

from fhir_coprod.store import Transaction
from fhir_coprod.store.schema.many import among, array, listed
from fhir_coprod.store.schema.sync import crosswalk, retired, sync_key, sync_reference
from fhir_coprod.sync.merging import matches
from fhir_coprod.sync.merging.change import Change
from fhir_coprod.sync.staging.identity import CROWD, MATCHED, ORDERS, PEOPLE, Candidate, Resolution, resolve
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.stage import OPEN, TO_LINK, TO_WRITE, WRITTEN, chunks, keys_of, wake_holders

_NAMESPACE = UUID("0d0f0ad6-4f6e-5c3b-9a53-6f1a3bb6f0e5")
_MATCHING = ("identifier", "order", "person", matches.ASKED)
"""The kinds of keys that find matching records; the other kinds only tell whether they agree."""


# These run for every few records, so they are built once.
_c, _k, _r = crosswalk.c, sync_key.c, sync_reference.c
_TO_LINK = (
    select(_c.ehr, _c.type, _c.foreign_id, _c.id, _c.deleted)
    .where(OPEN, _c.state == TO_LINK, _c.type == bindparam("type"))
    .limit(bindparam("most"))
)
_carried = (_k.type == bindparam("type")) & (_k.kind == bindparam("kind")) & listed(_k.key, "keys")
_CARRIERS = select(_k.ehr, _k.foreign_id).where(_carried)
_CARRIED = select(_k.key, func.count()).where(_carried).group_by(_k.key)
_SAME_RESOURCE = select(_c.ehr, _c.type, _c.foreign_id).where(
    _c.type == bindparam("type"), listed(_c.id, "ids")
)
_ROWS = select(_c.foreign_id, _c.id, _c.deleted).where(
    _c.ehr == bindparam("ehr"), _c.type == bindparam("type"), listed(_c.foreign_id, "ids")
)
_ASSIGN = (
    update(crosswalk)
    .where(_c.ehr == bindparam("e"), _c.type == bindparam("t"), _c.foreign_id == bindparam("f"))
    .values(id=bindparam("i"), state=bindparam("s"))
)
_referring = (
    (_r.target_ehr == bindparam("at")) & (_r.target_type == bindparam("own")) & listed(_r.target, "ids")
)
_records_at = tuple_(_c.ehr, _c.type, _c.foreign_id)


def _waking(which: ColumnElement[bool], to_link: Collection[str] = frozenset()) -> Update:
    """Marks records with such rows in sync_reference to be written again; types in `to_link`, linked too."""
    state = case((_c.type.in_(sorted(to_link)), TO_LINK), else_=TO_WRITE) if to_link else literal(TO_WRITE)
    waiting = select(_r.ehr, _r.type, _r.foreign_id).where(which)
    return update(crosswalk).where(_records_at.in_(waiting), _c.state < state).values(state=state)


_WAKE = _waking(_referring)
_WAKE_AND_LINK = _waking(_referring, to_link=ORDERS)
_WAKE_THROUGH_ROLES = _waking(
    tuple_(_r.target_ehr, _r.target_type, _r.target).in_(
        select(_r.ehr, _r.type, _r.foreign_id).where(_referring, _r.type == "PractitionerRole")
    )
)


@dataclass(slots=True)
class Linked:
    """The result of one batch: how many records were linked, and the new questions for a person."""

    records: int = 0
    conflicts: dict[tuple[str, str], int] = field(default_factory=dict)
    """(EHR, type) → number of possible matches that a person was newly asked about."""
    changes: list[Change] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Row:
    record: Record
    id: str
    deleted: bool


@lru_cache(maxsize=4096)
def new_id(record: Record) -> str:
    """The id for the resource of a record that has none yet."""
    return str(uuid5(_NAMESPACE, "/".join(record)))


def link(transaction: Transaction, type: str, most: int) -> Linked:
    """Link at most `most` staged records of `type`; `records` is 0 if none is left."""
    connection = transaction.connection
    found = connection.execute(_TO_LINK, {"type": type, "most": most})
    rows = sorted((_Row(Record(*row[:3]), row[3], row[4]) for row in found), key=lambda row: row.record)
    if not rows:
        return Linked()
    if type not in MATCHED:
        _assign(connection, {row.record: row.id or new_id(row.record) for row in rows}, rows)
        return Linked(len(rows))
    return _link_matched(transaction, type, rows)


def _link_matched(transaction: Transaction, type: str, seeds: Sequence[_Row]) -> Linked:
    connection = transaction.connection
    rows, keys, crowded = _closure(connection, type, seeds)
    subjects = _subjects(connection, keys) if type in ORDERS else {}
    candidates = [
        Candidate(row.record, keys.get(row.record, {}), subjects.get(row.record, ""))
        for row in rows.values()
        if not row.deleted
    ]
    resolution = resolve(candidates, crowded)
    asked = {id for by_kind in keys.values() for id in by_kind.get(matches.ASKED, ())}
    if type in PEOPLE and (resolution.possible or asked):
        decisions = matches.decisions(transaction, resolution.possible, asked)
        resolution = resolve(candidates, crowded, decisions)
    ids = _choose(rows, resolution)
    for row in rows.values():
        if row.deleted:
            ids[row.record] = row.id
    _assign(connection, ids, list(rows.values()))
    _retire(connection, type, rows, ids)
    linked = Linked(len(seeds))
    if type in PEOPLE:
        linked.conflicts, linked.changes = matches.raise_and_withdraw(
            transaction, resolution.possible, asked, ids
        )
    return linked


def _closure(
    connection: Connection, type: str, seeds: Sequence[_Row]
) -> tuple[dict[Record, _Row], dict[Record, dict[str, frozenset[str]]], set[str]]:
    """All that matching the seeds could depend on: rows, their keys, and keys that too many records share."""
    rows = {row.record: row for row in seeds}
    keys: dict[Record, dict[str, frozenset[str]]] = {}
    crowded: set[str] = set()
    asked: set[tuple[str, str]] = set()
    frontier: list[_Row] = list(seeds)
    while frontier:
        loaded = _keys_of(connection, type, [row.record for row in frontier])
        keys.update(loaded)
        wanted = {
            (kind, key) for by_kind in loaded.values() for kind in _MATCHING for key in by_kind.get(kind, ())
        } - asked
        asked |= wanted
        records, crowd = _carriers(connection, type, wanted)
        crowded |= crowd
        mates = _same_resource(connection, type, {row.id for row in frontier if row.id})
        replaced = {
            Record(row.record.ehr, type, reference.rsplit("/", 1)[-1])
            for row in frontier
            for reference in keys.get(row.record, {}).get("replaced-by", ())
        }
        frontier = _rows(connection, (records | mates | replaced) - rows.keys())
        rows.update((row.record, row) for row in frontier)
    return rows, keys, crowded


def _by_ehr(records: Iterable[Record]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for record in records:
        found[record.ehr].append(record.id)
    return found


def _keys_of(
    connection: Connection, type: str, records: Collection[Record]
) -> dict[Record, dict[str, frozenset[str]]]:
    found: dict[Record, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for ehr, ids in _by_ehr(records).items():
        for chunk in chunks(ids):
            for id, kind, key in keys_of(connection, ehr, type, chunk):
                found[Record(ehr, type, id)][kind].add(key)
    return {
        record: {kind: frozenset(values) for kind, values in by_kind.items()}
        for record, by_kind in found.items()
    }


def _carriers(
    connection: Connection, type: str, wanted: Collection[tuple[str, str]]
) -> tuple[set[Record], set[str]]:
    """Records that have one of these keys, and the keys that are not followed because too many have them."""
    records: set[Record] = set()
    crowded: set[str] = set()
    for kind in sorted({kind for kind, _ in wanted}):
        for chunk in chunks(key for own, key in wanted if own == kind):
            own = {"type": type, "kind": kind}
            counts = connection.execute(_CARRIED, {**own, "keys": array(chunk)})
            shared = {key: number for key, number in counts if number > 1}
            crowd = {key for key, number in shared.items() if number > CROWD}
            crowded |= crowd
            few = sorted(shared.keys() - crowd)
            if few:
                rows = connection.execute(_CARRIERS, {**own, "keys": array(few)})
                records |= {Record(ehr, type, id) for ehr, id in rows}
    return records, crowded


def _same_resource(connection: Connection, type: str, ids: Collection[str]) -> set[Record]:
    found: set[Record] = set()
    for chunk in chunks(ids):
        rows = connection.execute(_SAME_RESOURCE, {"type": type, "ids": array(chunk)})
        found |= {Record(*row) for row in rows}
    return found


def _rows(connection: Connection, records: Iterable[Record]) -> list[_Row]:
    found: list[_Row] = []
    by_type: dict[tuple[str, str], list[str]] = defaultdict(list)
    for record in records:
        by_type[record.ehr, record.type].append(record.id)
    for (ehr, type), ids in by_type.items():
        for chunk in chunks(ids):
            rows = connection.execute(_ROWS, {"ehr": ehr, "type": type, "ids": array(chunk)})
            found += [_Row(Record(ehr, type, id), own, deleted) for id, own, deleted in rows]
    return sorted(found, key=lambda row: row.record)


def _subjects(connection: Connection, keys: dict[Record, dict[str, frozenset[str]]]) -> dict[Record, str]:
    """Our patient's id for each order whose patient has arrived."""
    wanted: dict[Record, Record] = {}
    for record, by_kind in keys.items():
        for reference in by_kind.get("subject", ()):
            parts = reference.split("/_history/")[0].split("/")
            if len(parts) >= 2:
                wanted[record] = Record(record.ehr, parts[-2], parts[-1])
    ids = {row.record: row.id for row in _rows(connection, set(wanted.values())) if not row.deleted}
    return {record: ids[subject] for record, subject in wanted.items() if ids.get(subject)}


def _choose(rows: dict[Record, _Row], resolution: Resolution) -> dict[Record, str]:
    """An id for each group: one that its members already have, unless another group has the better claim."""
    founders = {new_id(record): record for record in rows}
    claims: dict[str, list[tuple[Record, ...]]] = defaultdict(list)
    for group in resolution.groups:
        for id in {rows[record].id for record in group} - {""}:
            claims[id].append(group)
    held: dict[tuple[Record, ...], list[str]] = defaultdict(list)
    for id, groups in claims.items():
        with_founder = [group for group in groups if founders.get(id) in group]
        held[(with_founder or groups)[0]].append(id)
    chosen: dict[Record, str] = {}
    taken = set(claims)
    for group in resolution.groups:
        own = held.get(group)
        if own:
            members = [rows[record].id for record in group]
            id = min(own, key=lambda id: (-members.count(id), founders.get(id, group[0]), id))
        else:
            id = next(i for i in map(new_id, group) if i not in taken)
            taken.add(id)
        chosen.update(dict.fromkeys(group, id))
    return chosen


def _assign(connection: Connection, ids: dict[Record, str], rows: Sequence[_Row]) -> None:
    """Write the ids, and mark the records that refer to a record with a new id to be written again."""
    before = {row.record: row.id for row in rows}
    connection.execute(
        _ASSIGN,
        [
            {"e": r.ehr, "t": r.type, "f": r.id, "i": id, "s": TO_WRITE if id else WRITTEN}
            for r, id in sorted(ids.items())
        ],
    )
    moved = [record for record, id in ids.items() if id != before[record]]
    _wake_referrers(connection, moved)


def _wake_referrers(connection: Connection, moved: Sequence[Record]) -> None:
    """Mark the records that refer to these to be written again, and a patient's orders to be linked again."""
    if not moved:
        return
    type = moved[0].type
    for ehr, ids in _by_ehr(moved).items():
        for chunk in chunks(ids):
            here = {"at": ehr, "own": type, "ids": array(chunk)}
            connection.execute(_WAKE_AND_LINK if type in PEOPLE else _WAKE, here)
            if type == "Organization":  # who leads an order may depend on where its requester works
                connection.execute(_WAKE_THROUGH_ROLES, here)
            keys = keys_of(connection, ehr, type, chunk)
            wake_holders(connection, type, {key for _, kind, key in keys if kind == "identifier"})


def _retire(connection: Connection, type: str, rows: dict[Record, _Row], ids: dict[Record, str]) -> None:
    """Retire the ids that no record has any more, in favour of the resource that their records moved to."""
    used = set(ids.values())
    t = retired.c
    for chunk in chunks(used):
        connection.execute(delete(retired).where(t.type == type, among(t.id, chunk)))
    lost = {row.id: ids[record] for record, row in sorted(rows.items()) if row.id and row.id not in used}
    if lost:
        connection.execute(
            insert(retired),
            [{"type": type, "id": id, "successor": new, "written": False} for id, new in lost.items()],
        )
