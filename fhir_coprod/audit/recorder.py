"""Writes what was read into the audit, before the answers leave: all who wait share one commit.

One thread with a connection of its own. What comes while a commit is under way goes into the next one, so
nobody waits for more than two.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic, time_ns
from typing import Final

import sqlalchemy
from sqlalchemy import Connection, Engine

from fhir_coprod import faults
from fhir_coprod.audit.chain import month_of, new_chain
from fhir_coprod.audit.events import Event, rows
from fhir_coprod.audit.heads import SECONDS, Heads
from fhir_coprod.audit.places import Places
from fhir_coprod.errors import CoprodError, Unrecorded
from fhir_coprod.store.database import DatabaseErrors, Session
from fhir_coprod.store.schema import audit

log = logging.getLogger("fhir_coprod.audit")
MOST: Final = 512
"""Most calls in one commit."""
_Waiting = tuple[Sequence[Event], "Future[None]"]


class Line:
    """One chain, as it grows; used by one thread at a time."""

    def __init__(self, heads: Heads) -> None:
        self._heads = heads
        self.head = new_chain()
        self._at = 0

    def write(self, session: Session, events: Sequence[Event]) -> Callable[[bool], None]:
        """Insert the rows of events. What it returns has to be told whether they were committed; if nobody
        knows, the chain ends and another begins."""
        self._at = max(self._at, time_ns() // 1_000_000)
        head, calls, resources = rows(self.head, events, self._at)
        session.insert(audit.call, calls)
        if resources:
            session.insert(audit.resource, resources)

        def ended(is_committed: bool) -> None:
            self.head = head if is_committed else new_chain()
            if is_committed:
                self._heads.tell(head)

        return ended

    @property
    def next_month(self) -> int:
        """The month in which the next row falls."""
        self._at = max(self._at, time_ns() // 1_000_000)
        return month_of(self._at)


class Recorder:
    """The thread, its queue and its connection."""

    def __init__(self, places: Places, heads: Heads, month: int) -> None:
        self._places = places
        self._heads = heads
        self._line = Line(heads)
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._month = 0
        self._engine: Engine | None = None
        self._connection: Connection | None = None
        self._told = 0.0
        self._begin(month)
        self._thread = threading.Thread(target=self._serve, name="coprod-audit", daemon=True)
        self._thread.start()

    def submit(self, events: Sequence[Event]) -> Future[None]:
        """Queue the events of one answer; the future is done once they are on disk. It raises Unrecorded."""
        future: Future[None] = Future()
        self._queue.put((events, future))
        return future

    def close(self) -> None:
        """Write what is queued, and the ends of the chains."""
        self._queue.put(None)
        self._thread.join()
        self._disconnect()
        self._heads.write()

    # -------------------------------------------------------------------------------------- in the thread

    def _serve(self) -> None:
        while True:
            try:
                first = self._queue.get(timeout=SECONDS)
            except Empty:
                self._look_after()
                continue
            if first is None:
                return
            waiting = self._waiting(first)
            try:
                self._keep([event for events, _ in waiting for event in events])
            except BaseException as error:  # noqa: BLE001 - the thread must outlive whatever a driver raises
                said = self._explained(error)
                for _, future in waiting:
                    with suppress(InvalidStateError):
                        future.set_exception(said)
            else:
                for _, future in waiting:
                    with suppress(InvalidStateError):
                        future.set_result(None)
            if monotonic() > self._told + SECONDS:
                self._look_after()

    def _waiting(self, first: _Waiting) -> list[_Waiting]:
        waiting = [first]
        while len(waiting) < MOST:
            try:
                item = self._queue.get_nowait()
            except Empty:
                break
            if item is None:
                self._queue.put(None)
                break
            waiting.append(item)
        return waiting

    def _look_after(self) -> None:
        """Write down where the chains end, and make room for the next month in time."""
        self._told = monotonic()
        self._heads.write()
        if self._line.next_month != self._month:
            with suppress(CoprodError, sqlalchemy.exc.DBAPIError, *DatabaseErrors):  # the next row tells
                self._begin(self._line.next_month)

    def _begin(self, month: int) -> None:
        if month != self._month:
            self._disconnect()
            self._places.begin(month)
            self._month = month

    def _keep(self, events: Sequence[Event]) -> None:
        """Write and commit; once more on a new connection if the old one turns out to be dead."""
        self._begin(self._line.next_month)
        if self._connection is not None:
            try:
                return self._commit(self._connection, events)
            except (sqlalchemy.exc.DBAPIError, *DatabaseErrors) as error:
                self._disconnect()
                if not _is_gone(error):
                    raise
        try:
            self._commit(self._connected(), events)
        except BaseException:
            self._disconnect()
            raise

    def _connected(self) -> Connection:
        if self._connection is None:
            base = self._places.reads(self._month)
            self._engine = base.make_engine()
            self._connection = self._engine.connect()
            base.session(self._connection).begin_lasting(True)
        return self._connection

    def _commit(self, connection: Connection, events: Sequence[Event]) -> None:
        with connection.begin() as transaction:
            ended = self._line.write(self._places.reads(self._month).session(connection), events)
            try:
                transaction.commit()
            except BaseException:
                ended(False)
                raise
            ended(True)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.invalidate()
                connection.close()
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _explained(self, error: BaseException) -> Exception:
        original = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
        if isinstance(original, DatabaseErrors):
            why = self._places.reads(self._month).unavailable(original).message
        elif isinstance(original, CoprodError):
            why = original.message
        else:
            why = f"({type(original).__name__})"
            log.error("audit: %s", faults.traced(error) if isinstance(error, Exception) else why)
        log.error("the audit cannot be written: %s", why)
        return Unrecorded()


def _is_gone(error: Exception) -> bool:
    from fhir_coprod.store.database import is_lost

    original = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    return original is not None and is_lost(original)
