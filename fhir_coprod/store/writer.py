"""The writer thread with group commit: everything that is waiting is committed together.

Every piece of work runs by itself: when it fails, nothing of it remains and only its caller gets the error.
No caller gets an answer before its work is committed, and on disk, unless the caller can do without that.
Work whose caller's time is over is dropped, or ends where it is.
When two processes get into each other's way, the work of the batch is done again, one piece at a time, with
the log locked from the start; so work must have no effects outside its transaction.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import Connection, Engine

from fhir_coprod import deadline
from fhir_coprod.errors import CoprodError, Overloaded, Unwritable
from fhir_coprod.instants import now
from fhir_coprod.store.batch import Batch, Clock, Stale
from fhir_coprod.store.database import Database, DatabaseErrors, Session, is_conflict, is_lost
from fhir_coprod.store.transaction import Transaction

T = TypeVar("T")
Work = Callable[[Transaction], Any]
Keep = Callable[[Session, Sequence[Any]], Callable[[bool], None]]
"""Writes notes (`Transaction.note`) into the transaction that ends; what it returns is told whether that was
committed, False if nobody knows."""

MAX_WORKS = 256
"""Most pieces of work in one commit."""
MAX_SECONDS = 0.05
"""After so long a batch takes no more work: the callers in it are waiting."""

_Errors = (*DatabaseErrors, sqlalchemy.exc.DBAPIError)


class _Submitted:
    """One piece of submitted work, its caller's future, and its result."""

    __slots__ = ("deadline", "error", "future", "lasting", "result", "work")

    def __init__(self, work: Work, lasting: bool) -> None:
        self.work = work
        self.lasting = lasting
        self.deadline = deadline.current()
        self.future: Future[Any] = Future()
        self.result: Any = None
        self.error: BaseException | None = None

    def answer(self) -> None:
        # A future that its owner cancelled takes no answer; its writes stay.
        with suppress(InvalidStateError):
            if self.error is not None:
                self.future.set_exception(self.error)
            else:
                self.future.set_result(self.result)

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.answer()


class Writer:
    """The thread, its queue and its connection."""

    def __init__(self, database: Database, clock: Clock = now) -> None:
        self._database = database
        self._clock = clock
        self._queue: SimpleQueue[_Submitted | None] = SimpleQueue()
        self._next: _Submitted | None = None
        """Taken from the queue, but left for the next batch."""
        self._engine: Engine = database.make_engine()
        self._connection: Connection | None = None
        self._closed = False
        self.failed: CoprodError | None = None
        """Why the database took no write when it was last asked to; None if it did."""
        self.keep: Keep | None = None
        self._known_types: set[str] = set()
        self._locked_from_start = database.url.get_backend_name() == "sqlite"
        self._thread = threading.Thread(target=self._serve, name="coprod-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[Transaction], T], *, lasting: bool = True) -> Future[T]:
        """Queue some work; the future is done once the work is committed or has failed alone.

        lasting: whether it also waits until the work is on disk
        """
        if self._closed:
            raise Overloaded("The store is closed; open it again.")
        if threading.current_thread() is self._thread:
            raise RuntimeError("a work cannot wait for another write; do it in the same transaction")
        item = _Submitted(work, lasting)
        self._queue.put(item)
        return item.future

    def close(self) -> None:
        """Finish what is queued, then end the thread."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
            self._thread.join()

    # -------------------------------------------------------------------------------------- in the thread

    def _serve(self) -> None:
        while True:
            first, self._next = self._next or self._queue.get(), None
            if first is None:
                break
            done: list[_Submitted] = []
            try:
                items = self._waiting(first)
                self._commit(items, done, locked=self._locked_from_start, lasting=first.lasting)
            except _Retry:
                if any(item.deadline is not None and item.deadline.is_over for item in done):
                    self._disconnect()  # what was to stop a statement may still be on its way
                for item in done:
                    self._alone(item)
            except BaseException as error:  # noqa: BLE001 - the thread must outlive whatever a driver raises
                for item in done:
                    item.fail(self._explained(error))
            else:
                for item in done:
                    item.answer()
        self._disconnect()
        self._engine.dispose()

    def _waiting(self, first: _Submitted) -> Iterator[_Submitted]:
        """The first piece of work and those like it queued behind it, for as long as the batch may grow."""
        deadline = time.monotonic() + MAX_SECONDS
        yield first
        for _ in range(MAX_WORKS - 1):
            if time.monotonic() > deadline:
                return
            try:
                item = self._queue.get_nowait()
            except Empty:
                return
            if item is None:
                self._queue.put(None)
                return
            if item.lasting != first.lasting:
                self._next = item
                return
            yield item

    def _alone(self, item: _Submitted) -> None:
        """Do one piece of work again, in a transaction of its own that holds the lock from the start."""
        item.error = None
        try:
            self._commit(iter((item,)), [], locked=True, lasting=item.lasting, last=True)
        except BaseException as error:  # noqa: BLE001 - as above
            item.fail(self._explained(error))
        else:
            item.answer()

    def _commit(
        self,
        items: Iterator[_Submitted],
        done: list[_Submitted],
        *,
        locked: bool,
        lasting: bool,
        last: bool = False,
    ) -> None:
        """Run the works and commit. `_Retry` when another try may succeed; nothing is written then."""
        try:
            connection = self._connect()
            session = self._database.session(connection)
            session.begin_lasting(lasting)
            transaction = connection.begin()
            batch = Batch(
                connection,
                session,
                locked=self._locked_from_start,
                known_types=self._known_types,
                clock=self._clock,
            )
            if locked:
                batch.lock()
        except BaseException as error:
            done += items
            self._disconnect()
            if last or not isinstance(error, _Errors):
                raise
            raise _Retry from error
        try:
            for item in items:
                if item.future.running() or item.future.set_running_or_notify_cancel():
                    done.append(item)
                    _run(batch, item)
            batch.flush(batch.pending)
            ended = self._keep(session, batch.notes)
        except BaseException as error:
            self._roll_back(transaction, error)
            if not last and isinstance(error, (Stale, *_Errors)):
                raise _Retry from error
            raise
        try:
            transaction.commit()
        except BaseException as error:
            ended(False)
            self._roll_back(transaction, error)
            if not last and is_conflict(error):
                raise _Retry from error
            raise
        ended(True)
        self.failed = None
        self._known_types |= batch.new_types

    def _keep(self, session: Session, notes: Sequence[Any]) -> Callable[[bool], None]:
        if not notes:
            return _nothing
        if self.keep is None:
            raise RuntimeError("there are notes, and nobody keeps them")
        return self.keep(session, notes)

    def _connect(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _roll_back(self, transaction: sqlalchemy.RootTransaction, error: BaseException) -> None:
        try:
            transaction.rollback()
        except _Errors:
            self._disconnect()
        original = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
        if original is not None and is_lost(original):
            self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # Not closed first: SQLAlchemy would roll it back, and if the server has gone it would log
            # that error with its whole story, which may quote what was being written.
            connection.invalidate()
            connection.close()

    def _explained(self, error: BaseException) -> BaseException:
        """The error that the caller gets when the database failed."""
        original = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
        if isinstance(original, DatabaseErrors):
            explained = self._database.unavailable(original)
            explained.__cause__ = error
            self.failed = explained
            if isinstance(explained, Unwritable) and explained.state == "read-only":
                # As long as one connection is open that was opened read-only, SQLite opens no other kind.
                self._disconnect()
                self._database.close()
            return explained
        return error


def _nothing(is_committed: bool) -> None:
    """Nobody has to be told."""


class _Retry(Exception):
    """Nothing of the batch was written; its work may be done again, one piece at a time."""


def _run(batch: Batch, item: _Submitted) -> None:
    """Run one piece of work in a batch. Its own error goes to its caller; a database error ends the batch."""
    transaction = Transaction(batch)
    try:
        item.result = _in_time(batch, item, transaction)
    except (Stale, *_Errors):
        raise
    except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
        item.error = error
        transaction.undo()
    else:
        transaction.finish()


def _in_time(batch: Batch, item: _Submitted, transaction: Transaction) -> Any:
    """Do the work within its caller's time; do not even begin if that is over."""
    if item.deadline is None:
        return item.work(transaction)
    item.deadline.begin_to_write()
    with deadline.within(item.deadline), item.deadline.stopping(batch.session.stop):
        return item.work(transaction)
