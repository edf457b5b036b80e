"""Keeps the list of pairs of records that may be the same person, and says where a person has to be asked.

A question is put only where an open referral or a plan depends on it; the rest is only listed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    TextClause,
    bindparam,
    func,
    select,
    text,
)

from fhir_coprod.instants import to_milliseconds
from fhir_coprod.store import Query, Transaction, guarded
from fhir_coprod.store.schema.many import among, array, listed
from fhir_coprod.store.schema.sync import crosswalk, doubt, sync_reference
from fhir_coprod.sync.merging.lookup import by_ehr
from fhir_coprod.sync.staging.identity import Pair
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.waking import chunks

DEPENDING: Mapping[str, str] = {
    "ServiceRequest": "draft,active,on-hold",
    "Task": "draft,requested,received,accepted,ready,in-progress,on-hold",
    "CarePlan": "draft,active,on-hold",
}
"""Types of which one that has such a status depends on who its patient is."""
_TYPE = "Patient"

# These run for every few records, so they are built once.
_d = doubt.c
_columns = (_d.ehr_a, _d.id_a, _d.ehr_b, _d.id_b, _d.why, _d.since, _d.asked)
_r = sync_reference.c
_PATIENTS = select(_r.target_ehr, _r.target).where(
    _r.ehr == bindparam("ehr"),
    _r.type == bindparam("type"),
    listed(_r.foreign_id, "ids"),
    _r.target_type == _TYPE,
)
_ABOUT = select(*_columns).where(_d.ehr_a == bindparam("ehr"), listed(_d.id_a, "ids"))
_ABOUT_OTHERS = select(*_columns).where(_d.ehr_b == bindparam("ehr"), listed(_d.id_b, "ids"))


@dataclass(frozen=True, slots=True)
class Doubt:
    """Two records that may be the same person, why, since when (milliseconds since 1970), and whether a
    Task asks."""

    pair: Pair
    why: str
    since: int
    asked: bool


def _this(pair: Pair) -> ColumnElement[bool]:
    (a, b), d = pair, doubt.c
    return (d.ehr_a == a.ehr) & (d.id_a == a.id) & (d.ehr_b == b.ehr) & (d.id_b == b.id)


def read(
    connection: Connection, which: ColumnElement[bool] | TextClause | None = None, limit: int | None = None
) -> list[Doubt]:
    """The doubts, in the order of their records; all of them, or those for which a condition holds."""
    statement = select(*_columns) if which is None else select(*_columns).where(which)
    # Sorted here: a database that sorts by all four columns walks through every doubt.
    rows = connection.execute(statement.order_by(doubt.c.ehr_a).limit(limit))
    return sorted((_doubt(row) for row in rows), key=lambda one: one.pair)


def to_decide(connection: Connection, *, asked_only: bool, most: int | None) -> list[Doubt]:
    """The doubts that wait for a person, those first on which something depends and then the oldest."""
    d = doubt.c
    which = (d.why != "") & d.asked.is_(True) if asked_only else d.why != ""
    order = (d.asked.desc(), d.since, d.ehr_a, d.id_a, d.ehr_b, d.id_b)
    rows = connection.execute(select(*_columns).where(which).order_by(*order).limit(most))
    return [_doubt(row) for row in rows]


def how_many(connection: Connection) -> int:
    """How many doubts wait for a person."""
    return int(connection.execute(select(func.count()).where(doubt.c.why != "")).scalar_one())


def _doubt(row: Sequence[Any]) -> Doubt:
    a, x, b, y, why, since, asked = row
    return Doubt((Record(a, _TYPE, x), Record(b, _TYPE, y)), why, since, bool(asked))


def about(connection: Connection, records: Collection[Record]) -> list[Doubt]:
    """The doubts about one of the records."""
    found = set()
    for ehr, ids in by_ehr(records).items():
        for chunk in chunks(ids):
            for statement in (_ABOUT, _ABOUT_OTHERS):
                found |= {
                    _doubt(row) for row in connection.execute(statement, {"ehr": ehr, "ids": array(chunk)})
                }
    return sorted(found, key=lambda one: one.pair)


def replace(
    connection: Connection,
    records: Collection[Record],
    doubts: Mapping[Pair, str],
    moved: Collection[Record],
    now: datetime,
) -> None:
    """Write down all doubts there are about these records.

    moved: records with a new id here, whose questions have to name the new one
    """
    before = {one.pair: one for one in about(connection, records)}
    for pair, one in before.items():
        why = doubts.get(pair, "")
        if not why and not one.asked:
            guarded.take(connection, doubt, _this(pair))
        elif why != one.why or {*pair} & {*moved}:
            guarded.change(connection, doubt, _this(pair), why=why, look=True)
    rows = [
        (a.ehr, a.id, b.ehr, b.id, why, to_milliseconds(now), False, True)
        for (a, b), why in sorted(doubts.items())
        if (a, b) not in before
    ]
    guarded.put(connection, doubt, rows)


def look_again(connection: Connection, records: Sequence[Record]) -> None:
    """Note that these records of a type in DEPENDING have changed: doubts about their patients may matter."""
    patients: set[Record] = set()
    for ehr, ids in by_ehr(records).items():
        for chunk in chunks(ids):
            own = {"ehr": ehr, "type": records[0].type, "ids": array(chunk)}
            rows = connection.execute(_PATIENTS, own)
            patients |= {Record(there, _TYPE, id) for there, id in rows}
    for one in about(connection, patients):
        if not one.asked:
            guarded.change(connection, doubt, _this(one.pair), look=True)


def waiting(connection: Connection, limit: int) -> list[Doubt]:
    """Doubts that have to be looked at, because they or their patients' referrals have changed."""
    return read(connection, text("look"), limit)


def looked_at(connection: Connection, pair: Pair, *, asked: bool) -> None:
    """Note that nothing is left to do about a doubt for now, and whether a Task asks about it."""
    guarded.change(connection, doubt, _this(pair), asked=asked, look=False)


def drop(connection: Connection, pair: Pair) -> None:
    """Delete what is no doubt any more."""
    (a, b) = pair
    guarded.take_all(connection, doubt, a.ehr, a.id, b.ehr, b.id)


def patients_of(connection: Connection, records: Collection[Record]) -> dict[Record, str]:
    """Our ids of the patients whom the records are of."""
    c = crosswalk.c
    found: dict[Record, str] = {}
    for ehr, ids in by_ehr(records).items():
        for chunk in chunks(ids):
            rows = connection.execute(
                select(c.foreign_id, c.id).where(c.ehr == ehr, c.type == _TYPE, among(c.foreign_id, chunk))
            )
            found |= {Record(ehr, _TYPE, id): own for id, own in rows if own}
    return found


def matters(transaction: Transaction, patient: str) -> bool:
    """Whether an open referral or a plan depends on who this patient of ours is."""
    for type, statuses in DEPENDING.items():
        criteria = [("patient", f"Patient/{patient}"), ("status", statuses), ("_count", "2")]
        if type == "Task":
            criteria.append(("intent", "order,original-order,plan,instance-order"))  # not our own questions
        if transaction.search(Query.parse(type, criteria)).matches:
            return True
    return False
