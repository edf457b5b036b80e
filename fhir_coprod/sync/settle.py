"""Makes resources of staged records: finds which records are the same, then writes each resource once.

This begins after all EHRs have been read, so that the result does not depend on which of them was faster. It
can be interrupted anywhere: each transaction also marks the records that it has linked or written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

from sqlalchemy import Connection, func, select

from fhir_coprod.errors import Conflict
from fhir_coprod.store import Transaction
from fhir_coprod.store.lease import holder_of
from fhir_coprod.store.schema.sync import crosswalk
from fhir_coprod.sync import alone
from fhir_coprod.sync.merging import matches, publish, reread, trusted
from fhir_coprod.sync.merging.change import Change
from fhir_coprod.sync.merging.link import link
from fhir_coprod.sync.merging.matches import Asked
from fhir_coprod.sync.merging.publish import Published, View, write_retired
from fhir_coprod.sync.merging.sources import Context
from fhir_coprod.sync.pace import ALONE
from fhir_coprod.sync.staging.identity import ORDERS, PEOPLE, THINGS
from fhir_coprod.sync.staging.stage import OPEN, Validate
from fhir_coprod.watched import PULLED

T = TypeVar("T")
Work = Callable[[Transaction], T]
TRIES = 3
"""How many drafts of a resource others may overtake before we lock them out and write it."""


class _Do(Protocol):
    """Runs one step in a transaction of its own."""

    def __call__(self, work: Work[T], /) -> T: ...


_FIRST = (*sorted(THINGS), *sorted(PEOPLE))
ORDER = (*_FIRST, *(t for t in PULLED if t not in {*_FIRST, *ORDERS}), *sorted(ORDERS))
"""Types in the order of linking: whether two orders are the same depends on which patient they are for."""


@dataclass(slots=True)
class Settled:
    """The result. Keys are (EHR, type)."""

    conflicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Questions put before a person: possible matches, and elements changed on both sides."""
    merged: dict[tuple[str, str], int] = field(default_factory=dict)
    """Living records that share one resource here with another living record."""
    changes: list[Change] = field(default_factory=list)
    """Every resource written; only if asked for."""


class Settling:
    """Runs the steps and adds up their results; with `keep`, also lists each change and what was before."""

    def __init__(self, context: Context, validate: Validate, *, keep: bool = False) -> None:
        self._context = context
        self._validate = validate
        self._keep = keep
        self.settled = Settled()

    def in_steps(
        self,
        write: _Do,
        look: Callable[[], AbstractContextManager[View]],
        after_each: Callable[[], None],
        most: Callable[[], int] = lambda: ALONE,
    ) -> Settled:
        """Run each step in `write`, then call `after_each`; reads that need no transaction use `look`.

        most: how many records to write in the next step, at most
        """
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

        while do(lambda t: reread.some(t.connection, self._context)):
            pass
        for type in do(_open_types):
            self._link(type, do, most)
        while self._published(do(partial(write_retired, most=most()))):
            pass
        for type in do(_open_types):
            self._publish(type, do, look, most)
        self._ask(do)
        with look() as view:
            self.settled.merged = _merged(view.connection)
        return self.settled

    def _link(self, type: str, do: _Do, most: Callable[[], int]) -> None:
        """Link all records of the type; people again where the data have shown what a number is worth."""
        while True:
            while do(partial(link, type=type, context=self._context, most=most())):
                pass
            if type not in PEOPLE or not do(lambda t: trusted.judge(t.connection)):
                return

    def _ask(self, do: _Do) -> None:
        """Put the questions on which something depends: that is known when all else is written."""
        while self._asked(do(matches.ask)):
            pass

    def _publish(
        self, type: str, do: _Do, look: Callable[[], AbstractContextManager[View]], most: Callable[[], int]
    ) -> None:
        """Write all waiting resources of the type: draft many at a time, commit a few at a time."""
        tries: Counter[str] = Counter()
        while True:
            with look() as view:
                ids = publish.waiting(view.connection, type)
                calm = [id for id in ids if tries[id] < TRIES]
                drafts = publish.draft(view, type, calm, self._context, self._validate)
            if not ids:
                return
            while drafts:
                number = most()
                some, drafts = drafts[:number], drafts[number:]
                published = do(partial(publish.commit, type=type, drafts=some, keep=self._keep))
                self._published(published)
                tries.update(published.stale)
            contested = [id for id in ids if tries[id] >= TRIES]
            if contested:
                self._published(do(partial(self._insist, type=type, ids=contested)))

    def _insist(self, transaction: Transaction, type: str, ids: Sequence[str]) -> Published:
        """Write resources that others keep changing, with the store locked against them."""
        transaction.lock()
        view = View(transaction.connection, transaction.newest)
        drafts = publish.draft(view, type, ids, self._context, self._validate)
        return publish.commit(transaction, type, drafts, keep=self._keep)

    def _asked(self, asked: Asked) -> int:
        self.settled.conflicts.update(asked.conflicts)
        self._note(asked.changes)
        return asked.doubts

    def _published(self, published: Published) -> int:
        self.settled.conflicts.update(published.conflicts)
        self._note(published.changes)
        return published.resources

    def _note(self, changes: Sequence[Change]) -> None:
        if self._keep:
            self.settled.changes += changes


def _holder(transaction: Transaction) -> str:
    """Who holds the lease to sync; "" if nobody does, as in a dry run."""
    return holder_of(transaction, alone.NAME) or ""


def _open_types(transaction: Transaction) -> list[str]:
    """Types with something to link or write. When a patient or a performer moves, orders may need to be
    linked again."""
    c = crosswalk.c
    # With the state, as in the index of what is open: else SQLite walks through all that is written.
    rows = transaction.connection.execute(select(c.state, c.type).where(OPEN).distinct())
    found = {row.type for row in rows}
    if found & (PEOPLE | THINGS):
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
