"""From staged records to resources: who is one, then each resource written once.

It begins when all EHRs have been read, so that the end does not depend on which of them was faster; and it
can be cut off anywhere: what is linked or written is marked so in the same transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from sqlalchemy import Connection, func, select

from fhir_coprod.errors import Conflict
from fhir_coprod.store import Transaction
from fhir_coprod.store.lease import holder_of
from fhir_coprod.store.schema.sync import crosswalk
from fhir_coprod.sync import alone
from fhir_coprod.sync.merging import matches, publish
from fhir_coprod.sync.merging.change import Change
from fhir_coprod.sync.merging.link import Linked, link
from fhir_coprod.sync.merging.publish import Published, View, write_retired
from fhir_coprod.sync.merging.sources import Context
from fhir_coprod.sync.staging.identity import ORDERS, PEOPLE, THINGS, Pair
from fhir_coprod.sync.staging.stage import OPEN, Validate
from fhir_coprod.watched import PULLED

T = TypeVar("T")
Work = Callable[[Transaction], T]
TRIES = 3
"""So often a draft is made of a resource that others write meanwhile; then they have to wait for it."""


class _Do(Protocol):
    """Does one step in a transaction of its own."""

    def __call__(self, work: Work[T], /) -> T: ...


_FIRST = (*sorted(THINGS), *sorted(PEOPLE))
ORDER = (*_FIRST, *(t for t in PULLED if t not in {*_FIRST, *ORDERS}), *sorted(ORDERS))
"""Types in the order in which they are linked: whether two orders are one depends on whose they are."""


@dataclass(slots=True)
class Settled:
    """What came of it. Keys are (EHR, type)."""

    conflicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Questions put before a person: possible matches, and elements changed on both sides."""
    merged: dict[tuple[str, str], int] = field(default_factory=dict)
    """Living records that are one resource here with another living record."""
    changes: list[Change] = field(default_factory=list)
    """Every resource written; kept only when asked for."""


class Settling:
    """The steps of it, and what they came to. `keep` hands out every change, with what stood there before."""

    def __init__(
        self, context: Context, decided: Sequence[Pair], validate: Validate, *, keep: bool = False
    ) -> None:
        self._context = context
        self._validate = validate
        self._decided = decided
        self._keep = keep
        self.settled = Settled()

    def in_steps(
        self,
        write: _Do,
        look: Callable[[], AbstractContextManager[View]],
        after_each: Callable[[], None],
    ) -> Settled:
        """Each step by `write`, with `after_each` between them; what needs no transaction looks by `look`."""
        holder: str | None = None

        def do(work: Work[T]) -> T:
            nonlocal holder

            def step(transaction: Transaction) -> tuple[str, T]:
                now = _holder(transaction)
                if holder not in (None, now):
                    raise Conflict("Another sync has taken over; this one ends here, and nothing is lost.")
                return now, work(transaction)

            holder, result = write(step)
            after_each()
            return result

        if self._decided:
            do(lambda t: matches.wake(t, self._decided))
        for type in do(_open_types):
            while self._linked(do(lambda t, type=type: link(t, type))):  # type: ignore[misc]
                pass
        while self._published(do(write_retired)):
            pass
        for type in do(_open_types):
            self._publish(type, do, look)
        with look() as view:
            self.settled.merged = _merged(view.connection)
        return self.settled

    def _publish(self, type: str, do: _Do, look: Callable[[], AbstractContextManager[View]]) -> None:
        """All resources of the type that wait, drafted some at a time and committed few at a time."""
        tries: Counter[str] = Counter()
        while True:
            with look() as view:
                ids = publish.waiting(view.connection, type)
                calm = [id for id in ids if tries[id] < TRIES]
                drafts = publish.draft(view, type, calm, self._context, self._validate)
            if not ids:
                return
            for start in range(0, len(drafts), publish.BATCH):
                some = drafts[start : start + publish.BATCH]
                published = do(lambda t, some=some: publish.commit(t, type, some, keep=self._keep))  # type: ignore[misc]
                self._published(published)
                tries.update(published.stale)
            contested = [id for id in ids if tries[id] >= TRIES]
            if contested:
                self._published(do(lambda t, ids=contested: self._insist(t, type, ids)))  # type: ignore[misc]

    def _insist(self, transaction: Transaction, type: str, ids: Sequence[str]) -> Published:
        """Resources that somebody else writes all the time, while nobody else can write."""
        transaction.lock()
        view = View(transaction.connection, transaction.newest)
        drafts = publish.draft(view, type, ids, self._context, self._validate)
        return publish.commit(transaction, type, drafts, keep=self._keep)

    def _linked(self, linked: Linked) -> int:
        self.settled.conflicts.update(linked.conflicts)
        self._note(linked.changes)
        return linked.records

    def _published(self, published: Published) -> int:
        self.settled.conflicts.update(published.conflicts)
        self._note(published.changes)
        return published.resources

    def _note(self, changes: Sequence[Change]) -> None:
        if self._keep:
            self.settled.changes += changes


def _holder(transaction: Transaction) -> str:
    """Who has the right to sync; "" when nobody took it, as in a dry run."""
    return holder_of(transaction, alone.NAME) or ""


def _open_types(transaction: Transaction) -> list[str]:
    """Types with something to link or write. Patients that move may make orders be linked again."""
    c = crosswalk.c
    rows = transaction.connection.execute(select(c.type).where(OPEN).distinct())
    found = {row[0] for row in rows}
    if found & PEOPLE:
        found |= ORDERS
    return [t for t in ORDER if t in found] + sorted(found - set(ORDER))


def _merged(connection: Connection) -> dict[tuple[str, str], int]:
    c = crosswalk.c
    shared = (
        select(c.type, c.id)
        .where(c.deleted.is_(False), c.id != "")
        .group_by(c.type, c.id)
        .having(func.count() > 1)
        .subquery()
    )
    rows = connection.execute(
        select(c.ehr, c.type, func.count())
        .join(shared, (c.type == shared.c.type) & (c.id == shared.c.id))
        .where(c.deleted.is_(False))
        .group_by(c.ehr, c.type)
    )
    return {(ehr, type): number for ehr, type, number in rows}
