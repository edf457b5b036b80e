"""Counts what the pages of one search have shown, and tells whether that can be all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fhir_coprod.sync.spilled import SpilledSet


@dataclass
class Tally:
    """What is on the pages of one search so far, beside what the server says about its number."""

    keys: SpilledSet = field(default_factory=SpilledSet)
    """What came: ids of records or, in a history, of their versions, since its total counts those."""
    entries: int = 0
    """How much came, each thing as often as it did."""
    nameless: int = 0
    """How many of them have no id that can be read."""
    totals: list[int] = field(default_factory=list)
    """What the server says on each page that says anything."""
    sizes: list[int] = field(default_factory=list)
    """How much each page has."""
    earlier: int = 0
    """How many came in an earlier run that was cut off."""
    has_next: bool = False
    """Whether the last page names a next one."""

    def turn(self, keys: Sequence[str], total: int | None, *, has_next: bool) -> bool:
        """Add a page; returns whether it has anything new."""
        before = self.came
        self.keys.update(keys)
        if "" in self.keys:
            self.keys.discard("")
            self.nameless += keys.count("")
        self.entries += len(keys)
        self.sizes.append(len(keys))
        self.has_next = has_next
        if total is not None:
            self.totals.append(total)
        return self.came > before

    @property
    def came(self) -> int:
        """How many different ones came."""
        return len(self.keys) + self.nameless + self.earlier

    @property
    def total(self) -> int | None:
        """How many there are, as the server said last; None if it did not, or only counted each page."""
        if not self.totals or (len(self.sizes) > 1 and self.totals == self.sizes):
            return None
        return self.totals[-1]

    @property
    def is_met(self) -> bool:
        """Whether as many came as there are."""
        return self.total is not None and self.came >= self.total

    @property
    def missing(self) -> int:
        """How many did not come of those that the server counts."""
        return max((self.total or 0) - self.came, 0)

    @property
    def has_moved(self) -> bool:
        """Whether records came or went while the pages were read: then some may have slipped from a page that
        was not read yet to one that was."""
        if len(self.sizes) < 2:
            return False
        return self.entries > self.came - self.earlier or (
            self.total is not None and len(set(self.totals)) > 1
        )

    def lacks_next(self, asked: int) -> bool:
        """Whether the last page should have named a next one: something is missing, and it is a full page."""
        if self.has_next or not self.missing or not self.sizes or not self.sizes[-1]:
            return False
        return self.sizes[-1] >= asked or (len(self.sizes) > 1 and self.sizes[-1] == max(self.sizes))
