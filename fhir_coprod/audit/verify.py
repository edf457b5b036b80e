"""Proves that nothing of the audit is missing, added or altered.

Each row's hash covers the row, what it is about, and the row before. So a row that was altered, put in or
taken out shows at the row that follows. Whoever calculates all hashes anew is found by the ends that were
written down outside the database, and so is who cuts off the end of a chain or takes a whole one.
"""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import groupby
from typing import Any, NamedTuple

from fhir_coprod.audit.chain import START, Head, Row, link
from fhir_coprod.audit.finding import CALL, RESOURCE
from fhir_coprod.audit.places import Places
from fhir_coprod.audit.retention import Checkpoint, checkpoints, signed
from fhir_coprod.store.database import Database, Session

AT_ONCE = 2000
Progress = Callable[[int, int], None]
"""Called with a month and how many calls were looked at in all."""


class Flaw(NamedTuple):
    """What is wrong, and where.

    kind: altered, missing, added, cut, chain, recomputed, unsigned
    """

    kind: str
    month: int
    chain: str
    number: int
    why: str

    def __str__(self) -> str:
        where = f"month {self.month}, " if self.month else ""
        return f"{where}chain {self.chain}, row {self.number}: {self.why}"


class Verified(NamedTuple):
    """What was looked at: calls, chains, months, and ends that were written down outside."""

    calls: int
    chains: int
    months: int
    heads: int


def verify(
    places: Places,
    heads: Iterable[Head],
    tell: Callable[[Flaw], None],
    progress: Progress = lambda month, calls: None,
) -> Verified:
    """Go through everything. `heads` is read before the rows, as others may go on writing meanwhile."""
    outside: dict[str, dict[int, bytes]] = defaultdict(dict)
    count = 0
    for head in heads:
        outside[head.chain][head.number] = head.hash
        count += 1
    removed = checkpoints(places)
    for month, why in signed(places, removed):
        tell(Flaw("unsigned", month, "-", 0, why))
    check = _Check(outside, removed, tell)
    months = places.months()
    for month in months:
        for base in places.of(month):
            for call, resources in _rows(base, month):
                check.take(call, resources)
                if check.calls % AT_ONCE == 0:
                    progress(month, check.calls)
            with closing(base.inspector()) as session:  # which may take its time
                orphans = session.rows(_ORPHANS, (month,))
            for row in orphans:
                tell(Flaw("added", month, row[0], row[1], "rows about resources, and no call to them"))
    check.end()
    return Verified(check.calls, len(check.newest), len(months), count)


_ORPHANS = (
    "SELECT DISTINCT r.chain, r.number FROM audit_resource r WHERE r.month = ? AND NOT EXISTS (SELECT 1 FROM"
    " audit_call c WHERE c.month = r.month AND c.chain = r.chain AND c.number = r.number) LIMIT 20"
)


class _Check:
    """What is known of each chain on the way."""

    def __init__(
        self,
        outside: dict[str, dict[int, bytes]],
        removed: list[Checkpoint],
        tell: Callable[[Flaw], None],
    ) -> None:
        self.calls = 0
        self.newest: dict[str, Head] = {}
        self._outside = outside
        self._tell = tell
        self._checked: dict[str, set[int]] = defaultdict(set)
        for each in sorted(removed):
            self.newest[each.chain] = Head(each.chain, each.number, bytes.fromhex(each.hash))

    def take(self, call: Row, resources: list[Row]) -> None:
        """Look at the next row of its chain."""
        self.calls += 1
        month, chain, number, found = call[0], call[1], call[2], bytes(call[-1])
        before = self.newest.get(chain, Head(chain, 0, START))
        if number != before.number + 1:
            gone = number - before.number - 1
            said = f"{gone} rows before it are missing" if gone > 0 else "its number stands here twice"
            self._tell(Flaw("missing" if gone > 0 else "added", month, chain, number, said))
        elif link(before.hash, call[:-1], resources) != found:
            self._tell(Flaw("altered", month, chain, number, "it or the row before was altered"))
        known = self._outside.get(chain, {}).get(number)
        if known is not None and known != found:
            said = "its hash is not the one that was written down outside: the chain was calculated anew"
            self._tell(Flaw("recomputed", month, chain, number, said))
        self.newest[chain] = Head(chain, number, found)

    def end(self) -> None:
        """Tell which chains go on further outside than here."""
        for chain, ends in self._outside.items():
            last = max(ends)
            here = self.newest.get(chain)
            if here is None:
                self._tell(Flaw("chain", 0, chain, last, f"the whole chain of {last} rows is gone"))
            elif here.number < last:
                said = f"the chain ends at row {here.number}; {last - here.number} rows after it are gone"
                self._tell(Flaw("cut", 0, chain, last, said))


def _rows(base: Database, month: int) -> Iterator[tuple[Row, list[Row]]]:
    """The calls of a month by chain and number, each with its resources."""
    after: tuple[str, int] = ("", 0)
    while True:

        def look(session: Session, after: tuple[str, int] = after) -> tuple[list[Row], list[Row]]:
            with session.snapshot():
                calls = session.rows(
                    f"SELECT {CALL} FROM audit_call c WHERE c.month = ? AND (c.chain, c.number) > (?, ?)"
                    " ORDER BY c.chain, c.number LIMIT ?",
                    (month, *after, AT_ONCE),
                )
                if not calls:
                    return [], []
                resources = session.rows(
                    f"SELECT {RESOURCE} FROM audit_resource WHERE month = ? AND (chain, number) >= (?, ?)"
                    " AND (chain, number) <= (?, ?) ORDER BY chain, number, place",
                    (month, *calls[0][1:3], *calls[-1][1:3]),
                )
            return calls, resources

        calls, resources = base.ask(look)
        if not calls:
            return
        own: dict[Any, list[Row]] = {
            key: list(rows) for key, rows in groupby(resources, lambda row: row[1:3])
        }
        for call in calls:
            yield call, own.get(call[1:3], [])
        after = calls[-1][1], calls[-1][2]
