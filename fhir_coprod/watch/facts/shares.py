"""Remembers by day, EHR and code what share of the orders is out of scope or unclear.

One slip in a mapping could take a whole specialty out of scope, and nothing would be heard of it any more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Connection, case, func, select

from fhir_coprod.instants import to_milliseconds
from fhir_coprod.store import Transaction, guarded
from fhir_coprod.store.schema.watch import share, standing

COMPARED: Final = 7
"""Days with which a share is compared."""
_WRITTEN_WITHIN: Final = timedelta(days=28)
"""The orders whose share is taken: those written lately, else old ones would hide a change."""


class Shares(NamedTuple):
    """The orders of one EHR for one thing."""

    ehr: str
    thing: str
    orders: int
    now: float
    """The share that is out of scope or unclear, from 0 to 1."""
    before: float | None
    """The least share of the days before; None if none is known."""


def last_day(connection: Connection) -> int:
    """The last day (as an ordinal) of which shares are known; 0 if there is none."""
    return int(connection.execute(select(func.max(share.c.day))).scalar() or 0)


class Hidden(NamedTuple):
    """Of how many orders of an EHR for one thing how many are out of scope or unclear."""

    ehr: str
    thing: str
    orders: int
    hidden: int


def counted(connection: Connection, now: datetime) -> list[Hidden]:
    """Count the orders that were written lately."""
    column = standing.c
    hidden = func.sum(case((column.scope.in_(("out", "unclear")), 1), else_=0))
    statement = (
        select(column.ehr, column.thing, func.count(), hidden)
        .where(column.written >= to_milliseconds(now - _WRITTEN_WITHIN), column.scope != "")
        .group_by(column.ehr, column.thing)
    )
    return [Hidden(*row) for row in connection.execute(statement)]


def keep(transaction: Transaction, day: int, counts: Sequence[Hidden]) -> None:
    """Store the shares of this day, and forget those that are compared with no more."""
    connection = transaction.connection
    guarded.take(connection, share, (share.c.day < day - COMPARED) | (share.c.day >= day))
    guarded.forget_lost(connection, share, which=lambda key: not day - COMPARED <= key[0] < day)
    # A day without orders is known, too.
    guarded.put(connection, share, [(day, *each) for each in counts or (Hidden("", "", 0, 0),)])


def compared(connection: Connection, day: int, least: int) -> Iterator[Shares]:
    """The shares of this day beside the least of the days before, where at least so many orders tell."""
    enough = (share.c.orders >= max(least, 1),)
    part = share.c.hidden * 1.0 / share.c.orders
    before = {
        (ehr, thing): float(least_part)
        for ehr, thing, least_part in connection.execute(
            select(share.c.ehr, share.c.thing, func.min(part))
            .where(share.c.day < day, *enough)
            .group_by(share.c.ehr, share.c.thing)
        )
    }
    today = select(share.c.ehr, share.c.thing, share.c.orders, part).where(share.c.day == day, *enough)
    for ehr, thing, orders, present in connection.execute(today.order_by(share.c.ehr, share.c.thing)):
        yield Shares(ehr, thing, orders, float(present), before.get((ehr, thing)))
