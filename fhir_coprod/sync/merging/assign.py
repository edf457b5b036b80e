"""Gives each group of records its resource here, and marks what has to be written again for that.

A record without a match becomes a resource of its own. Its id is made from its EHR, type and id there
(UUID 5), so that it does not depend on the order of arrival. Matching records share the id that one of them
already has, or else the id of the first in sort order. When two resources turn out to be the same, one id
survives and the other is retired. When one resource turns out to be two, the id stays with the record that it
was made from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from functools import lru_cache
from uuid import UUID, uuid5

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    bindparam,
    case,
    literal,
    select,
    tuple_,
    update,
)

from fhir_coprod.store import guarded
from fhir_coprod.store.schema.many import among, array, listed
from fhir_coprod.store.schema.sync import crosswalk, retired, sync_reference
from fhir_coprod.sync.merging.lookup import Grouped, Row, by_ehr
from fhir_coprod.sync.staging.identity import ORDERS, PEOPLE, THINGS
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.sealed import linked
from fhir_coprod.sync.staging.waking import TO_LINK, TO_WRITE, WRITTEN, chunks, keys_of, wake_holders

_NAMESPACE = UUID("0d0f0ad6-4f6e-5c3b-9a53-6f1a3bb6f0e5")


# These run for every few records, so they are built once.
_c, _r = crosswalk.c, sync_reference.c
_ASSIGN = (
    update(crosswalk)
    .where(_c.ehr == bindparam("e"), _c.type == bindparam("t"), _c.foreign_id == bindparam("f"))
    .values(id=bindparam("i"), state=bindparam("s"), linked=bindparam("l"))
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


@lru_cache(maxsize=4096)
def new_id(record: Record) -> str:
    """The id for the resource of a record that has none yet."""
    return str(uuid5(_NAMESPACE, "/".join(record)))


def settle(connection: Connection, type: str, rows: dict[Record, Row], groups: Grouped) -> dict[Record, str]:
    """Give each group an id, and write it down; returns the ids."""
    ids = _choose(rows, groups)
    for row in rows.values():
        if row.deleted:
            ids[row.record] = row.id
    assign(connection, ids, list(rows.values()))
    _retire(connection, type, rows, ids)
    return ids


def _choose(rows: dict[Record, Row], groups: Grouped) -> dict[Record, str]:
    """An id for each group: one that its members already have, unless another group has the better claim."""
    founders = {new_id(record): record for record in rows}
    claims: dict[str, list[tuple[Record, ...]]] = defaultdict(list)
    for group in groups:
        for id in {rows[record].id for record in group} - {""}:
            claims[id].append(group)
    held: dict[tuple[Record, ...], list[str]] = defaultdict(list)
    for id, claiming in claims.items():
        with_founder = [group for group in claiming if founders.get(id) in group]
        held[(with_founder or claiming)[0]].append(id)
    chosen: dict[Record, str] = {}
    taken = set(claims)
    for group in groups:
        own = held.get(group)
        if own:
            members = [rows[record].id for record in group]
            id = min(own, key=lambda id: (-members.count(id), founders.get(id, group[0]), id))
        else:
            id = next(i for i in map(new_id, group) if i not in taken)
            taken.add(id)
        chosen.update(dict.fromkeys(group, id))
    return chosen


def assign(connection: Connection, ids: dict[Record, str], rows: Sequence[Row]) -> None:
    """Write the ids, and mark the records that refer to a record with a new id to be written again."""
    before = {row.record: row.id for row in rows}
    connection.execute(
        _ASSIGN,
        [
            {
                **{"e": r.ehr, "t": r.type, "f": r.id, "i": id, "s": TO_WRITE if id else WRITTEN},
                "l": linked(r, id),
            }
            for r, id in sorted(ids.items())
        ],
    )
    moved = [record for record, id in ids.items() if id != before[record]]
    _wake_referrers(connection, moved)


def _wake_referrers(connection: Connection, moved: Sequence[Record]) -> None:
    """Mark the records that refer to these to be written again, and orders of a patient or for a
    performer to be linked again."""
    if not moved:
        return
    type = moved[0].type
    for ehr, ids in by_ehr(moved).items():
        for chunk in chunks(ids):
            here = {"at": ehr, "own": type, "ids": array(chunk)}
            connection.execute(_WAKE_AND_LINK if type in PEOPLE | THINGS else _WAKE, here)
            if type == "Organization":  # who leads an order may depend on where its requester works
                connection.execute(_WAKE_THROUGH_ROLES, here)
            keys = keys_of(connection, ehr, type, chunk)
            wake_holders(connection, type, {key for _, kind, key in keys if kind == "identifier"})


def _retire(connection: Connection, type: str, rows: dict[Record, Row], ids: dict[Record, str]) -> None:
    """Retire the ids that no record has any more, in favour of the resource that their records moved to."""
    used = set(ids.values())
    t = retired.c
    for chunk in chunks(used):
        guarded.take(connection, retired, (t.type == type) & among(t.id, chunk))
    lost = {row.id: ids[record] for record, row in sorted(rows.items()) if row.id and row.id not in used}
    guarded.put(connection, retired, [(type, id, new, False) for id, new in lost.items()])
