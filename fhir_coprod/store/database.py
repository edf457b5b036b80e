"""The common interface to SQLite and PostgreSQL: fast raw connections, one SQL dialect, one way to lock.

SQL is written once, with `?` for values. Reads go through a pool of read-only connections. Writes go through
one connection that belongs to the writer thread (`writer.py`) and is an SQLAlchemy connection, so that other
floors can put their own rows into the same transaction.
"""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

import psycopg
import sqlalchemy
from sqlalchemy import Connection, Engine, Table
from sqlalchemy.engine import URL

from fhir_coprod import deadline
from fhir_coprod.errors import CoprodError, Damaged, Overloaded, Unwritable

T = TypeVar("T")
Row = tuple[Any, ...]

DatabaseErrors = (sqlite3.Error, psycopg.Error)
ReadErrors = (*DatabaseErrors, UnicodeDecodeError)
"""The same, and what Python raises if SQLite's own words about a damaged file are no text."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the store waits, in seconds."""

    read: float = 60
    """A pooled read that takes longer is stopped: nobody is waiting for its answer any more."""
    busy: float = 30
    """How long a writer waits for another process before it gives up."""


PATIENCE = Patience()
"""What people who wait for an answer put up with."""


BROKEN = "\ufdd0"
"""What an inspector reads instead of bytes that are no text: a character that nobody may use."""


class Session(ABC):
    """A raw connection that runs our SQL."""

    @abstractmethod
    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows of a SELECT; each `?` takes a value."""

    @abstractmethod
    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; returns the number of rows it touched."""

    @abstractmethod
    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows whose values are in the order of the table's columns."""

    @abstractmethod
    def among(self, column: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
        """The condition that `column` is one of `values`, and its values."""

    @abstractmethod
    def of_type(self, type: str, ids: Sequence[str]) -> tuple[str, list[Any]]:
        """A FROM item for the rows of table resource with these ids, and its values."""

    @abstractmethod
    def together(self) -> AbstractContextManager[Any]:
        """Send the statements inside without waiting for each one to end, if there is a server. Do not look
        at their answers; an error may not be raised before the last statement."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[None]:
        """While the block runs, all statements see the database as it was at the first of them."""

    @abstractmethod
    def begin_lasting(self, lasting: bool) -> None:
        """Whether the next commit waits until it is on disk; to be said before its transaction begins."""

    @abstractmethod
    def milliseconds(self) -> int:
        """Since 1970, by the clock of the database: the same for all who use it."""

    @abstractmethod
    def lock(self) -> None:
        """Wait until nobody else is writing to the log; held until the transaction ends."""

    @abstractmethod
    def stop(self) -> None:
        """End the statement that runs; to be called from another thread."""

    @abstractmethod
    def close(self) -> None: ...


class Database(ABC):
    """How to connect to one database."""

    def __init__(self, url: URL, patience: Patience) -> None:
        self.url = url
        self.patience = patience
        self.is_damaged = False
        """Whether damage was found since the program began. It does not heal by itself."""
        self._idle: deque[Session] = deque()
        self._engine: Engine | None = None

    @abstractmethod
    def _connect_reader(self) -> Session: ...

    @abstractmethod
    def inspector(self) -> Session:
        """A new read-only session for looking at what may be damaged: it has no limit of time, and text that
        is not UTF-8 does not stop it."""

    @abstractmethod
    def make_engine(self) -> Engine:
        """An SQLAlchemy engine whose transactions may write; no pool."""

    @abstractmethod
    def _make_reading_engine(self) -> Engine: ...

    @abstractmethod
    def session(self, connection: Connection) -> Session:
        """The raw side of an SQLAlchemy connection, in the same transaction."""

    def ask(self, question: Callable[[Session], T]) -> T:
        """The answer to a question from a pooled read-only session, in which each statement sees what is
        committed when it starts. If the pooled connection turns out to be dead, it is asked once more."""
        try:
            pooled = self._idle.pop()
        except IndexError:
            pooled = None
        try:
            if pooled is not None:
                return self._asked(pooled, question)
        except ReadErrors as error:
            if not is_lost(error):
                raise self.unavailable(error) from error
        try:
            return self._asked(self._connect_reader(), question)
        except ReadErrors as error:
            raise self.unavailable(error) from error

    def unavailable(self, error: Exception) -> CoprodError:
        """An error of the database as a sentence for the caller; its own words stay in __cause__."""
        match trouble(error):
            case Trouble.BUSY:
                return Overloaded("Another process has held the database for too long; try again.")
            case Trouble.SLOW:
                seconds = f"{self.patience.read:g} seconds"
                return Overloaded(f"The search took longer than {seconds}; narrow it, or ask for less.")
            case Trouble.FULL:
                return Unwritable(NO_ROOM, "disk-full")
            case Trouble.READ_ONLY:
                return Unwritable(READ_ONLY, "read-only")
            case Trouble.DAMAGED:
                self.is_damaged = True
                return Damaged(DAMAGED)
            case Trouble.DISK:
                return Damaged(DISK)
        return Overloaded(f"The database could not answer ({type(error).__name__}); try again.")

    @abstractmethod
    def is_read_only(self) -> bool:
        """Whether it can be told without trying that nothing can be written."""

    def _asked(self, session: Session, question: Callable[[Session], T]) -> T:
        waiting = deadline.current()
        try:
            if waiting is None:
                answer = question(session)
            else:
                with waiting.stopping(session.stop):
                    answer = question(session)
        except ReadErrors:
            session.close()
            raise
        except BaseException:
            self._put_back(session, waiting)
            raise
        self._put_back(session, waiting)
        return answer

    def _put_back(self, session: Session, waiting: deadline.Deadline | None) -> None:
        if waiting is not None and waiting.is_over:
            session.close()  # what was to stop its statement may still be on its way
        else:
            self._idle.append(session)

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows of one SELECT."""
        return self.ask(lambda session: session.rows(sql, values))

    @property
    def engine(self) -> Engine:
        """An engine for other floors' own reads."""
        if self._engine is None:
            self._engine = self._make_reading_engine()
        return self._engine

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        if self._engine is not None:
            self._engine.dispose()


class Trouble(Enum):
    """What the database means by an error."""

    BUSY = "somebody else holds it"
    SLOW = "it was stopped for taking too long"
    FULL = "no room is left"
    READ_ONLY = "it may not be written"
    DAMAGED = "what it reads cannot be right"
    DISK = "the disk gives or takes nothing"
    OTHER = "something else"


NO_ROOM = (
    "The disk of the database is full, so nothing can be written; free some space. It goes on by itself then."
)
READ_ONLY = (
    "The database is read-only (the file, its folder, the file system, or the server), so nothing can be"
    " written; make it writable. It goes on by itself then."
)
RESTORE = "Restore the backup: docs/operations.md#restore."
DAMAGED = f"The database is damaged; fhir-coprod db check says what is lost. {RESTORE}"
DISK = (
    "The disk of the database fails to read or write (I/O error): look at the disk, then run fhir-coprod db"
    " check; if the database is damaged, restore the backup: docs/operations.md#restore."
)

_OF_SQLITE = {
    sqlite3.SQLITE_BUSY: Trouble.BUSY,
    sqlite3.SQLITE_LOCKED: Trouble.BUSY,
    sqlite3.SQLITE_INTERRUPT: Trouble.SLOW,
    sqlite3.SQLITE_FULL: Trouble.FULL,
    sqlite3.SQLITE_READONLY: Trouble.READ_ONLY,
    sqlite3.SQLITE_CORRUPT: Trouble.DAMAGED,
    sqlite3.SQLITE_NOTADB: Trouble.DAMAGED,
    sqlite3.SQLITE_FORMAT: Trouble.DAMAGED,
    sqlite3.SQLITE_IOERR: Trouble.DISK,
}
_OF_POSTGRESQL = {
    "57014": Trouble.SLOW,
    "53100": Trouble.FULL,
    "25006": Trouble.READ_ONLY,
    "XX001": Trouble.DAMAGED,
    "XX002": Trouble.DAMAGED,
    "58030": Trouble.DISK,
}


def trouble(error: BaseException | None) -> Trouble:
    """What an error of either database means. What SQLite and PostgreSQL call it is told by their codes."""
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        return trouble(error.orig)
    if isinstance(error, sqlite3.Error):
        text = str(error)
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:
            # Python itself says so of text that is not UTF-8, which nobody has written.
            return Trouble.DAMAGED if text.startswith("Could not decode to UTF-8") else Trouble.OTHER
        if code == sqlite3.SQLITE_ERROR and text.startswith(("no such", "malformed database schema")):
            return Trouble.DAMAGED  # part of the schema, which was there at the start
        return _OF_SQLITE.get(code & 0xFF, Trouble.OTHER)
    if isinstance(error, UnicodeDecodeError):
        return Trouble.DAMAGED
    if isinstance(error, psycopg.Error):
        # A server without room for its own log stops, and says so where it can say anything.
        full = "No space left on device" in str(error)
        return Trouble.FULL if full else _OF_POSTGRESQL.get(error.sqlstate or "", Trouble.OTHER)
    return Trouble.OTHER


@contextmanager
def between(session: Session, begin: str) -> Iterator[None]:
    """Run the block in a transaction that only reads."""
    session.run(begin)
    try:
        yield
    finally:
        with suppress(*ReadErrors):  # what went wrong inside is what is to be told
            session.run("ROLLBACK")


def last_given(session: Session) -> int:
    """The newest position that a version has, or had before it was erased; 0 if there was none yet."""
    ends = "SELECT max(position) AS last FROM version UNION ALL SELECT max(last) FROM erased_range"
    return int(session.rows(f"SELECT coalesce(max(last), 0) FROM ({ends}) ends")[0][0])  # noqa: S608


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone, so that a new one may succeed."""
    if not isinstance(error, psycopg.OperationalError):
        return False
    # Without a code, the server was not there to give one. 08: connection; 57P: shut down, or starting up.
    return not error.sqlstate or error.sqlstate.startswith(("08", "57P"))


def is_conflict(error: BaseException) -> bool:
    """Whether two transactions got into each other's way, so that the same work may succeed if it is done
    alone."""
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        return is_conflict(error.orig)
    return isinstance(
        error,
        psycopg.errors.UniqueViolation
        | psycopg.errors.DeadlockDetected
        | psycopg.errors.SerializationFailure
        | psycopg.errors.ForeignKeyViolation,
    )
