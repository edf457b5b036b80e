"""Removes the months of the audit that are past their time, without breaking the chains.

What each chain of a removed month ended with stays as a checkpoint, from which the chain goes on. The removal
is a call of the audit itself, which names the month and a hash over all its checkpoints: a month that was
taken away otherwise has no such call, and one that somebody made up does not fit.
"""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from fhir_coprod.access.rights import Rights
from fhir_coprod.audit.events import Event, by
from fhir_coprod.audit.places import Places
from fhir_coprod.instants import to_milliseconds
from fhir_coprod.store import Store, Transaction, guarded
from fhir_coprod.store.schema import audit

RETAIN: Final = "retain"
"""The interaction under which a removal is remembered."""


class Checkpoint(NamedTuple):
    """What a chain ended with in a month that was removed, as in table audit_checkpoint."""

    month: int
    chain: str
    number: int
    hash: str
    calls: int
    at: int


class Past(NamedTuple):
    """A month that is past its time, and how many calls it holds."""

    month: int
    calls: int


def checkpoints(places: Places) -> list[Checkpoint]:
    """All of them."""
    rows = places.store.read("SELECT month, chain, number, hash, calls, at FROM audit_checkpoint")
    return [Checkpoint(*row) for row in sorted(rows)]


def signed(places: Places, removed: list[Checkpoint]) -> Iterator[tuple[int, str]]:
    """The months whose removal does not stand in the audit as it should, each with the reason."""
    months = sorted({each.month for each in removed})
    if not months:
        return
    told = set()
    for month in places.months():
        rows = places.store.read(
            "SELECT query FROM audit_call WHERE month = ? AND interaction = ?", (month, RETAIN)
        )
        told |= {str(row[0]) for row in rows}
    for month in months:
        own = [each for each in removed if each.month == month]
        # What came late may have been removed a second time.
        groups = ([each for each in own if each.at == at] for at in {each.at for each in own})
        if not all(_words(month, group) in told for group in groups):
            yield month, "it was removed, and no call of the audit says so"


def past(places: Places, now: datetime, years: int) -> list[Past]:
    """The months that ended more than so many years ago."""
    limit = (now.year - years) * 100 + now.month
    found = []
    for month in places.months():
        if month < limit:
            rows = [
                base.read("SELECT count(*) FROM audit_call WHERE month = ?", (month,))
                for base in places.of(month)
            ]
            found.append(Past(month, sum(int(row[0][0]) for row in rows)))
    return found


def remove(store: Store, places: Places, month: int, rights: Rights, now: datetime) -> None:
    """Remove a month: first the checkpoints and the call that says so, in one transaction with the rows of
    the store itself, then the file of what was read."""
    at = to_milliseconds(now)
    ends = []
    for base in places.of(month):
        rows = base.read(
            "SELECT c.chain, c.number, c.hash, n.calls FROM (SELECT chain, max(number) AS number,"
            " count(*) AS calls FROM audit_call WHERE month = ? GROUP BY chain) n JOIN audit_call c"
            " ON c.month = ? AND c.chain = n.chain AND c.number = n.number",
            (month, month),
        )
        ends += [Checkpoint(month, row[0], row[1], bytes(row[2]).hex(), row[3], at) for row in rows]
    ends.sort()
    event = Event(*by(rights, ""), RETAIN, query=_words(month, ends))

    def work(transaction: Transaction) -> None:
        guarded.put(transaction.connection, audit.checkpoint, ends)
        if places.file(month) is None:
            for table in audit.BY_MONTH:
                transaction.session.run(f"DROP TABLE IF EXISTS {table.name}_{month}")
        else:
            for table in audit.BY_MONTH:
                transaction.session.run(f"DELETE FROM {table.name} WHERE month = ?", (month,))
        transaction.note(event)

    store.write(work)
    places.drop_file(month)


def _words(month: int, ends: list[Checkpoint]) -> str:
    digest = blake2b(msgspec.msgpack.encode(sorted(ends)), digest_size=20).hexdigest()
    return f"month={month}&calls={sum(each.calls for each in ends)}&ends={digest}"
