"""Marks records to be linked or written again, when what they were compared or referred by comes or goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sqlalchemy import Connection, bindparam, case, delete, select, tuple_, update

from fhir_coprod.store import guarded
from fhir_coprod.store.schema.many import among, array, listed
from fhir_coprod.store.schema.sync import crosswalk, numbering, odd_number, sync_key, sync_reference
from fhir_coprod.sync.staging import identity

WRITTEN, TO_WRITE, TO_LINK = 0, 1, 2
"""Values of crosswalk.state."""

# These run for every few records, so they are built once.
_c, _k, _r = crosswalk.c, sync_key.c, sync_reference.c
_KEYS = (
    select(_k.foreign_id, _k.kind, _k.key)
    .where(_k.ehr == bindparam("ehr"), _k.type == bindparam("type"), listed(_k.foreign_id, "ids"))
    # Otherwise SQLite would use the index that begins with the type, and scan all of that type.
    .order_by(_k.ehr, _k.type, _k.foreign_id)
)
_naming_it = tuple_(_c.ehr, _c.type, _c.foreign_id).in_(
    select(_r.ehr, _r.type, _r.foreign_id).where(
        _r.target_ehr == "", _r.target_type.in_(("", bindparam("own"))), listed(_r.target, "wanted")
    )
)
_to_link = case((_c.type.in_(sorted(identity.ORDERS)), TO_LINK), else_=TO_WRITE)
_WAKE_HOLDERS = update(crosswalk).where(_naming_it, _c.state == WRITTEN).values(state=TO_WRITE)
_WAKE_AND_LINK_HOLDERS = update(crosswalk).where(_naming_it, _c.state < _to_link).values(state=_to_link)
_ODD = select(odd_number.c.number, odd_number.c.system).where(listed(odd_number.c.number, "numbers"))


def chunks(values: Iterable[str]) -> Iterator[list[str]]:
    """The values, sorted, in pieces that fit into one query: not every server keeps to `_count`."""
    ordered = sorted(values)
    for start in range(0, len(ordered), 500):
        yield ordered[start : start + 500]


def forget_keys(connection: Connection, ehr: str, type: str, ids: Sequence[str]) -> None:
    """Delete the keys of these records, and wake those that knew them by one."""
    lost = keys_of(connection, ehr, type, ids)
    wake_holders(connection, type, {key for _, kind, key in lost if kind == "identifier"})
    wake_odd(connection, {key for _, kind, key in lost if kind == "number"})
    k = sync_key.c
    connection.execute(delete(sync_key).where(k.ehr == ehr, k.type == type, among(k.foreign_id, ids)))


def keys_of(connection: Connection, ehr: str, type: str, ids: Sequence[str]) -> list[tuple[str, str, str]]:
    """(id, kind, key) of these records of an EHR."""
    rows = connection.execute(_KEYS, {"ehr": ehr, "type": type, "ids": array(ids)}).all()
    return [(id, kind, key) for id, kind, key in rows]


def wake_holders(connection: Connection, type: str, keys: Iterable[str]) -> None:
    """Mark records to be written again if they have a logical reference to one of these business identifiers,
    with this type or without a type; orders of a patient to be linked again."""
    statement = _WAKE_AND_LINK_HOLDERS if type in identity.PEOPLE else _WAKE_HOLDERS
    for wanted in chunks(keys):
        connection.execute(statement, {"own": type, "wanted": array(wanted)})


def wake_odd(connection: Connection, numbers: Iterable[str]) -> None:
    """Have it found out again what numbers are worth that different people carried: one carrier has gone."""
    k, o, c, n = sync_key.c, odd_number.c, crosswalk.c, numbering.c
    for chunk in chunks(numbers):
        rows = connection.execute(_ODD, {"numbers": array(chunk)}).all()
        if not rows:
            continue
        odd = [number for number, _ in rows]
        carriers = select(k.ehr, k.type, k.foreign_id).where(
            k.type == "Patient", k.kind == "number", among(k.key, odd)
        )
        connection.execute(
            update(crosswalk)
            .where(tuple_(c.ehr, c.type, c.foreign_id).in_(carriers), c.deleted.is_(False))
            .values(state=TO_LINK)
        )
        guarded.take(connection, odd_number, among(o.number, odd))
        systems = {system for _, system in rows}
        guarded.change(connection, numbering, among(n.system, sorted(systems)), look=True)
