"""Stores the standing of each referral in the table `standing`, with the time to look at it again.

A row's `due` is the time from which its referral has to be looked at again: when its standing may change by
itself, or when an alert about it runs out. If something new concerns a referral, its row is marked with a
negative `due`: minus the position of that news in the log. A standing is written only if `due` is still what
it was when the facts were read, so news that comes in between is never lost, whatever other workers do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import Connection, bindparam, case, delete, func, select, text, tuple_

from fhir_coprod.instants import to_milliseconds
from fhir_coprod.store import Transaction
from fhir_coprod.store.schema.many import among
from fhir_coprod.store.schema.watch import standing as table
from fhir_coprod.store.seals import seal
from fhir_coprod.watch.rules.codes import LISTED
from fhir_coprod.watch.rules.standing import Standing

FOLLOWER: Final = "watch"
"""The name of the cursor that says how far the watch has followed the log."""
NEVER: Final = 2**62
POSTPONED: Final = -(2**62)
"""To be looked at only after every referral has been: before that we cannot tell if its alerts are news."""
SETTLED: Final = 0
SETTLED_AS_FAR_AS_SEEN: Final = 1
MOVING: Final = 2
STALLED: Final = 3
FAULT: Final = 4
"""How much interest a referral deserves; the board shows MOVING and above."""

_MILLISECOND: Final = timedelta(milliseconds=1)
_PORTION: Final = 500
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Standing).decode


class Held(NamedTuple):
    """A row as it was when the facts were read."""

    due: int
    ehr: str
    old: bool
    body: bytes
    facts: bytes | None

    @property
    def is_settled(self) -> bool:
        """Whether nothing new concerns it."""
        return self.due >= 0 or self.due == POSTPONED


HELD: Final = (table.c.due, table.c.ehr, table.c.old, table.c.body, table.c.facts)


class Row(NamedTuple):
    """A standing that is to be written.

    was:   the row when the facts were read; None: there was none.
    facts: from `kept.pack`; None: the record has to be read again.
    """

    standing: Standing
    due: int
    was: Held | None
    ehr: str = ""
    old: bool = False
    facts: bytes | None = None


def milliseconds_until(at: datetime | None) -> int:
    """The time to look again in milliseconds, rounded up so that it is not before `at`; NEVER for None."""
    return to_milliseconds(at + _MILLISECOND - timedelta(microseconds=1)) if at else NEVER


def interest(standing: Standing) -> int:
    if standing.not_assessed:
        return FAULT
    if standing.is_open:
        return STALLED if standing.stalls else MOVING
    return SETTLED_AS_FAR_AS_SEEN if standing.not_observable else SETTLED


_COLUMNS: Final = (
    *("referral", "ehr", "interest", "old", "stage", "since", "due", "body", "facts"),
    *("scope", "why", "thing", "written", "counted", "department", "waits", "asked", "steps", "seal"),
    "due_seal",
)
SEALED: Final = tuple(name for name in _COLUMNS if name not in ("due", "seal", "due_seal"))
# One list of columns, so that none is inserted and then not updated; S608 sees that names are put into SQL.
_SAVE: Final = text(
    f"INSERT INTO standing ({', '.join(_COLUMNS)}) VALUES ({', '.join(f':{name}' for name in _COLUMNS)})"  # noqa: S608
    f" ON CONFLICT (referral) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _COLUMNS[1:])}"
    " WHERE standing.due = :was"
)
_FORGET: Final = text("DELETE FROM standing WHERE referral = :referral AND due = :was")
_MARK: Final = text(
    "INSERT INTO standing (referral, ehr, interest, old, stage, since, due, body,"
    " scope, why, thing, written, counted, department, waits, asked, steps)"
    " VALUES (:referral, '', 0, false, '', 0, :due, :body, '', '', '', 0, '', '', 0, '', '')"
    " ON CONFLICT (referral) DO UPDATE SET due = excluded.due"
)
_ROW: Final = select(*HELD).where(table.c.referral == bindparam("referral"))
_DUE: Final = (
    select(table.c.referral, *HELD)
    .where(table.c.due <= bindparam("now"), table.c.due >= bindparam("least"))
    .order_by(table.c.due.desc())
    .limit(bindparam("limit"))
)
_NO_ROW: Final = NEVER + 1
"""A `due` that no row has, so that a row that has appeared in the meantime is left alone."""


def save(transaction: Transaction, rows: Iterable[tuple[Row, bytes]]) -> None:
    """Write standings with their bodies, except those whose row was marked since the facts were read."""
    values = [
        {
            "referral": row.standing.referral,
            "ehr": row.ehr,
            "interest": interest(row.standing),
            "old": row.old,
            "stage": row.standing.stage or "",
            "since": to_milliseconds(row.standing.since) if row.standing.since else 0,
            "due": row.due,
            "body": body,
            "facts": row.facts,
            **_scoped(row.standing),
            "seal": None,
            "due_seal": sealed((row.standing.referral, row.due)),
            "was": _NO_ROW if row.was is None else row.was.due,
        }
        for row, body in sorted(rows, key=lambda each: each[0].standing.referral)
    ]
    for value in values:
        value["seal"] = sealed(value[name] for name in SEALED)
    if values:
        transaction.connection.execute(_SAVE, values)


def sealed(values: Iterable[Any]) -> int:
    """The seal of a row, from its columns in SEALED; SQLite says 0 and 1 for false and true."""
    return seal(int(value) if isinstance(value, bool) else value for value in values)


def _scoped(standing: Standing) -> dict[str, str | int]:
    """The columns by which orders are counted."""
    first = next((each for each in standing.counted if each.rule in LISTED), None)
    first = first or next(iter(standing.counted), None)
    return {
        "scope": standing.scope if standing.written else "",
        "why": standing.in_scope,
        "thing": standing.thing,
        "written": to_milliseconds(standing.written) if standing.written else 0,
        "counted": first.rule if first else "",
        "department": first.owner if first else "",
        "waits": to_milliseconds(first.since) if first else 0,
        "asked": standing.department,
        "steps": " ".join(standing.steps),
    }


def says(standing: Standing, held: Held) -> bool:
    """Whether the row has exactly this standing already."""
    return _encode(standing) == held.body


def changed(rows: Iterable[Row]) -> list[tuple[Row, bytes]]:
    """The rows that differ from what is stored, with their bodies."""
    found = []
    for row in rows:
        body = _encode(row.standing)
        if row.was is None or (row.due, row.ehr, row.old, body, row.facts) != row.was:
            found.append((row, body))
    return found


def forget(transaction: Transaction, gone: Mapping[str, Held | None]) -> None:
    """Drop the rows of what is not a referral (any more), except those that were marked in the meantime."""
    known = [{"referral": name, "was": was.due} for name, was in gone.items() if was is not None]
    if known:
        transaction.connection.execute(_FORGET, known)


def copied(connection: Connection, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of these resources, as values, for a copy; pass only as many as fit into one statement."""
    statement = select(table).where(among(table.c.referral, names)).order_by(table.c.referral)
    for row in connection.execute(statement):
        packed = {name: row._mapping[name] for name in ("body", "facts")}
        unpacked = {name: msgspec.msgpack.decode(value) if value else None for name, value in packed.items()}
        yield msgspec.to_builtins({**row._mapping, **unpacked})


def erase(connection: Connection, names: Sequence[str]) -> None:
    """Drop the rows of resources that were erased."""
    connection.execute(delete(table).where(among(table.c.referral, names)))


def mark(transaction: Transaction, referrals: Collection[str], due: int) -> None:
    """Have these referrals looked at again; `due` is negative, and used for this news only."""
    if referrals:
        transaction.connection.execute(
            _MARK, [{"referral": name, "due": due, "body": b""} for name in sorted(referrals)]
        )


def dues(connection: Connection, referrals: Collection[str]) -> dict[str, int]:
    """The `due` of each referral that has a row; pass only as many as fit into one statement."""
    statement = select(table.c.referral, table.c.due).where(table.c.referral.in_(referrals))
    return dict(connection.execute(statement).all())


def held(connection: Connection, referral: str) -> Held | None:
    """The row of one referral."""
    row = connection.execute(_ROW, {"referral": referral}).first()
    return Held(*row) if row else None


def due_by(connection: Connection, now: datetime, limit: int, *, postponed: bool) -> dict[str, Held]:
    """Referrals that have to be looked at by `now`, with their rows: those marked longest ago come first."""
    least = POSTPONED if postponed else POSTPONED + 1
    asked = {"now": to_milliseconds(now), "least": least, "limit": limit}
    return {referral: Held(*row) for referral, *row in connection.execute(_DUE, asked)}


def remembered(connection: Connection, least: int = MOVING, but: Collection[str] = ()) -> Iterator[Standing]:
    """The standings of `least` interest or more, except of the referrals in `but`, by interest and
    reference."""
    after: tuple[int, str] = (least, "")
    while True:
        interest, referral = after
        statement = (
            select(table.c.interest, table.c.referral, table.c.body)
            .where(tuple_(table.c.interest, table.c.referral) > (interest, referral), table.c.interest > 0)
            .order_by(table.c.interest, table.c.referral)
            .limit(_PORTION * 4)
        )
        rows = connection.execute(statement).all()
        if not rows:
            return
        for row in rows:
            if row[2] and row[1] not in but:
                yield _decode(row[2])
        after = (rows[-1][0], rows[-1][1])


class _Stall(msgspec.Struct):
    rule: str


class _Stalled(msgspec.Struct):
    stalls: list[_Stall] = []


_stalled: Final = msgspec.msgpack.Decoder(_Stalled).decode


def counts(connection: Connection) -> tuple[dict[int, int], dict[str, int]]:
    """How many referrals there are of each interest, and how many stalls by each rule.

    Reads the referrals that are stalled, of each only the rules: 10,000 take a tenth of a second.
    """
    statement = select(table.c.interest, func.count()).where(text("interest > 0")).group_by(table.c.interest)
    interests: dict[int, int] = dict(connection.execute(statement).all())
    rules: Counter[str] = Counter()
    bodies = select(table.c.body).where(text("interest > 0"), table.c.interest == STALLED)
    for body in connection.execute(bodies).scalars():
        if body:
            rules.update(stall.rule for stall in _stalled(body).stalls)
    return interests, dict(rules)


def old_by_ehr(connection: Connection) -> dict[str, int]:
    """How many referrals of each EHR were already stalled when it was first read, and still are."""
    statement = select(table.c.ehr, func.count()).where(text("old")).group_by(table.c.ehr)
    return dict(connection.execute(statement).all())


def old_of(connection: Connection, ehr: str) -> Iterator[Standing]:
    """The standings of one EHR's referrals that were already stalled when it was first read."""
    statement = select(table.c.body).where(text("old"), table.c.ehr == ehr)
    for body in connection.execute(statement).scalars():
        if body:
            yield _decode(body)


class Apart(NamedTuple):
    """Orders that are not watched as referrals, and are not closed: of one scope, for one reason."""

    scope: str
    why: str
    rule: str
    """What is wrong with them, and only counted; "" if nothing is."""
    department: str
    """Who can move that."""
    orders: int
    oldest: int
    """Since when the oldest of them waits, or was written; milliseconds."""


def apart(connection: Connection) -> list[Apart]:
    """How many orders are not watched as referrals, by scope, reason, and what is counted of whom."""
    column = table.c
    waits = case((column.counted != "", column.waits), else_=column.written)
    keys = (column.scope, column.why, column.counted, column.department)
    statement = (
        select(*keys, func.count(), func.min(waits))
        .where(text("scope IN ('diagnostic', 'out', 'unclear')"), column.stage != "closed")
        .group_by(*keys)
        .order_by(*keys)
    )
    return [Apart(*row) for row in connection.execute(statement).all()]


def silent(connection: Connection, rule: str) -> dict[str, int]:
    """How many orders each department has of which this is counted first."""
    column = table.c
    statement = (
        select(column.department, func.count())
        .where(text("counted <> ''"), column.counted == rule)
        .group_by(column.department)
    )
    return dict(connection.execute(statement).all())


def longest_silent(connection: Connection, rule: str, department: str, limit: int) -> list[tuple[str, int]]:
    """The orders of a department that have been so for longest, each with since when."""
    column = table.c
    statement = (
        select(column.referral, column.waits)
        .where(text("counted <> ''"), column.counted == rule, column.department == department)
        .order_by(column.waits, column.referral)
        .limit(limit)
    )
    return [(referral, since) for referral, since in connection.execute(statement)]
