"""Tells of the orders that are not watched as referrals: how many, why, and what is wrong with them.

They raise no alert, but none of them disappears.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from fhir_coprod.instants import from_milliseconds
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.watch.facts.names import names_of
from fhir_coprod.watch.facts.reader import Reader
from fhir_coprod.watch.facts.rows import Apart, apart
from fhir_coprod.watch.rules.codes import ABOUT, Rule


@dataclass(frozen=True, slots=True)
class Counted:
    """What is wrong with some orders of one department."""

    rule: str
    department: str
    """Name of who can move it; "" if nobody is named."""
    orders: int
    oldest_days: int

    @property
    def sentence(self) -> str:
        days = "1 day" if self.oldest_days == 1 else f"{self.oldest_days} days"
        who = f" at {self.department}" if self.department else ""
        return f"{self.orders}{who} lack {ABOUT[Rule(self.rule)].missing}, the oldest for {days}"


@dataclass(frozen=True, slots=True)
class Group:
    """The orders that are in one scope for one reason, and not closed."""

    scope: str
    why: str
    orders: int
    counted: tuple[Counted, ...]
    """The most first."""

    @property
    def sentence(self) -> str:
        noun = "1 order is" if self.orders == 1 else f"{self.orders} orders are"
        said = f"{noun} {_SAID[self.scope]}, because {self.why}"
        return "; ".join([said, *(each.sentence for each in self.counted)]) + "."


_SAID = {
    "unclear": "perhaps a referral",
    "diagnostic": "for diagnostics only",
    "out": "not watched",
}


def orders_apart(store: Store, settings: Settings, now: datetime) -> list[Group]:
    """The orders that are not watched as referrals, as the watch last found them; first what may be one."""
    with store.connect() as connection:
        found = apart(connection)
        names = names_of(Reader(connection, settings), (each.department for each in found))
    groups = [
        _group(scope, why, rows, names, now)
        for (scope, why), rows in groupby(found, key=lambda each: (each.scope, each.why))
    ]
    return sorted(groups, key=lambda group: (list(_SAID).index(group.scope), -group.orders, group.why))


def _group(scope: str, why: str, rows: Iterable[Apart], names: Mapping[str, str], now: datetime) -> Group:
    held = list(rows)
    counted = sorted(_counted(held, names, now), key=lambda each: (-each.orders, each.rule, each.department))
    return Group(scope, why, sum(each.orders for each in held), tuple(counted))


def _counted(rows: Iterable[Apart], names: Mapping[str, str], now: datetime) -> Iterator[Counted]:
    for row in rows:
        if row.rule:
            days = max((now - from_milliseconds(row.oldest)).days, 0)
            yield Counted(row.rule, names.get(row.department, row.department), row.orders, days)
