"""Runs the check over a whole store, in portions, while others work with it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from fhir_coprod.errors import CoprodError
from fhir_coprod.store import reindex
from fhir_coprod.store.database import Database, ReadErrors, Session
from fhir_coprod.store.soundness.database import FOLLOWERS, Pages, Schema, Small, Texts
from fhir_coprod.store.soundness.faults import FIRST, KINDS, Fault, Mend, Part, Portion
from fhir_coprod.store.soundness.guards import Guards, Recover, nothing
from fhir_coprod.store.soundness.log import Log
from fhir_coprod.store.soundness.resources import Pointers, Resources
from fhir_coprod.store.transaction import Transaction
from fhir_coprod.store.writer import Writer

Tell = Callable[[Fault], None]
Progress = Callable[[str, float], None]
"""Called with the name of a part, and how much of it has been looked at, from 0 to 1."""


def run(
    database: Database,
    tell: Tell,
    *,
    writer: Writer | None = None,
    tell_mended: Tell = lambda fault: None,
    progress: Progress = lambda name, done: None,
    more: Sequence[Part] = (),
    recover: Recover = nothing,
) -> None:
    """Tell everything that is wrong in a store with the current schema, and with a writer repair what can be
    made anew, in one small transaction for each portion.

    Each portion is looked at as it is at one moment; others may read and write meanwhile. A repair may be
    stopped at any moment and begun again.

    tell: is told what is wrong, and remains so
    more: parts of other floors
    recover: what other floors can make anew of the small tables
    """
    with closing(_Inspection(database, writer, tell, tell_mended)) as inspection:
        first: tuple[Part, ...] = (
            Pages(database),
            Schema(database),
            Texts(database),
            Guards(recover),
            Small(database, FOLLOWERS),
        )
        for part in first:
            inspection.go_through(part, progress)
        inspection.reindex()
        head, stale = inspection.basis()
        rest: tuple[Part, ...] = (Log(head), Pointers(head), Resources(head, stale), *more)
        for part in rest:
            inspection.go_through(part, progress)


class _Inspection:
    """One run of the check."""

    def __init__(self, database: Database, writer: Writer | None, tell: Tell, tell_mended: Tell) -> None:
        self._database = database
        self._writer = writer
        self._tell = tell
        self._tell_mended = tell_mended
        self._session: Session | None = None

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def basis(self) -> tuple[int, list[str]]:
        """The newest position, and the types whose search index was made by other definitions."""
        try:
            head = self._database.read("SELECT coalesce(max(position), 0) FROM version")[0][0]
            stale = reindex.stale(self._database)
        except CoprodError as error:
            self._tell(Fault("file", "log", str(error)))
            return 0, []
        for type in stale:
            self._tell(Fault("index-stale", type))
        return head, stale

    def reindex(self) -> None:
        """Make the index of types anew that were made by other definitions, as `db upgrade` does."""
        if self._writer is None:
            return
        try:
            for type in reindex.stale(self._database):
                self._tell_mended(Fault("index-stale", type))
            reindex.run(self._writer, self._database, lambda type, count: None, threading.Event())
        except CoprodError as error:
            self._tell(Fault("file", "search index", str(error)))

    def go_through(self, part: Part, progress: Progress) -> None:
        after: Any = FIRST
        progress(part.name, 0.0)
        while after is not None:
            portion = self._look(part, after)
            if portion is None:
                return
            self._report(part, after, portion)
            after = portion.last
            progress(part.name, portion.done)
        progress(part.name, 1.0)

    def _look(self, part: Part, after: Any) -> Portion | None:
        """None if the database cannot read it; then the rest of the part is not looked at."""
        try:
            if self._session is None:
                self._session = self._database.inspector()
            with self._session.snapshot():
                return part.portion(self._session, after)
        except ReadErrors as error:
            self.close()
            why = self._database.unavailable(error).message
            self._tell(Fault("file", part.name, why))
            return None
        except Exception as error:  # noqa: BLE001 - SQLite hands out anything of a damaged page
            self._tell(Fault("file", part.name, f"holds what cannot be ({type(error).__name__})"))
            return None

    def _report(self, part: Part, after: Any, portion: Portion) -> None:
        remaining = Counter(portion.faults)
        if self._writer is not None and portion.mends and self._mend(self._writer, portion.mends):
            again = self._look(part, after)
            remaining = Counter(again.faults) if again is not None else remaining
        for fault, count in (Counter(portion.faults) - remaining).items():
            for _ in range(count):
                self._tell_mended(fault)
        for fault in remaining.elements():
            self._tell(fault._replace(is_stuck=self._writer is not None))

    def _mend(self, writer: Writer, mends: Sequence[Mend]) -> bool:
        def work(transaction: Transaction) -> None:
            transaction.lock()
            for mend in mends:
                mend(transaction)

        try:
            writer.submit(work).result()
        except CoprodError:
            return False
        return True


def damage(database: Database, more: Sequence[Part] = ()) -> list[str]:
    """What is wrong in a store with the current schema, a sentence for each kind; empty if nothing is."""
    found: list[Fault] = []
    run(database, found.append, more=more)
    database.close()
    summary = Summary()
    for fault in found:
        summary.add(fault)
    return summary.sentences()


SHOWN = 3


class Summary:
    """Counts faults by kind, and keeps the first few of each."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._first: dict[str, list[Fault]] = {}

    def add(self, fault: Fault) -> None:
        self.counts[fault.kind] += 1
        first = self._first.setdefault(fault.kind, [])
        if len(first) < SHOWN:
            first.append(fault)

    def sentences(self, *, with_cure: bool = True) -> list[str]:
        """One for each kind: how many, which the first are, and what helps."""
        said = []
        for kind, count in self.counts.items():
            about = KINDS[kind]
            which = "; ".join(
                f"{fault.at} ({fault.why})" if fault.why else fault.at for fault in self._first[kind]
            )
            more = "; …" if count > SHOWN else ""
            helps = self._first[kind][0].cure
            cure = f". {helps[0].upper()}{helps[1:]}." if with_cure else ""
            said.append(f"{count} {about.one if count == 1 else about.many}: {which}{more}{cure}")
        return said
