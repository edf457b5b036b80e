"""SQLite behind the interface of `database.py`."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import lru_cache
from math import inf
from pathlib import Path
from time import monotonic, sleep, time_ns
from typing import Any, cast

import sqlalchemy
from sqlalchemy import Connection, Engine, Table, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool, QueuePool

from fhir_coprod.errors import ConfigError, CoprodError, Damaged, Unwritable
from fhir_coprod.settings import data_folder
from fhir_coprod.store.database import (
    BROKEN,
    READ_ONLY,
    RESTORE,
    Database,
    Patience,
    Row,
    Session,
    Trouble,
    between,
    trouble,
)

_GLANCE_SECONDS = 0.001
"""Seconds between two tries of a writer."""


class SqliteSession(Session):
    """Plain sqlite3; `?` is its own placeholder. A SELECT that takes longer is stopped."""

    def __init__(self, connection: sqlite3.Connection, *, read_seconds: float = inf) -> None:
        self._connection = connection
        self._read_seconds = read_seconds
        self._deadline = inf
        if read_seconds < inf:
            # Called every so many steps of SQLite's virtual machine, to stop a search that would never end.
            connection.set_progress_handler(lambda: monotonic() > self._deadline, 1_000_000)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        if self._read_seconds < inf:
            self._deadline = monotonic() + self._read_seconds
        return self._connection.execute(sql, values).fetchall()

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        return self._connection.execute(sql, values).rowcount

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        self._connection.executemany(_sqlite_insert(table), rows)

    def among(self, column: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
        return f"{column} IN ({','.join('?' * len(values))})", list(values)

    def of_type(self, type: str, ids: Sequence[str]) -> tuple[str, list[Any]]:
        marks = ",".join("?" * len(ids))
        return f"(SELECT * FROM resource WHERE type = ? AND id IN ({marks}))", [type, *ids]  # noqa: S608

    def together(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def snapshot(self) -> AbstractContextManager[None]:
        return between(self, "BEGIN")

    def begin_lasting(self, lasting: bool) -> None:
        # NORMAL keeps the order of commits: whatever is committed with FULL later takes these along.
        self._connection.execute(f"PRAGMA synchronous={'FULL' if lasting else 'NORMAL'}")

    def milliseconds(self) -> int:
        return time_ns() // 1_000_000

    def lock(self) -> None:
        """Nothing to do: BEGIN IMMEDIATE already holds the only write lock."""

    def stop(self) -> None:
        self._connection.interrupt()

    def close(self) -> None:
        self._connection.close()


def _begin(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Begin a write transaction as soon as nobody else has one; sqlite3's error after `busy_seconds`.

    It starts as a writer: a transaction that only becomes one later fails if another has written
    meanwhile. SQLite's own waiting sleeps longer and longer between tries, up to a tenth of a second, and
    lets others who come later go first.
    """
    deadline = monotonic() + busy_seconds
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or monotonic() > deadline:
                raise
        else:
            return
        sleep(_GLANCE_SECONDS)


@lru_cache(maxsize=64)
def _sqlite_insert(table: Table) -> str:
    columns = [column.name for column in table.columns]
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return BROKEN


def _cannot_open(error: BaseException | None) -> bool:
    if isinstance(error, sqlalchemy.exc.DBAPIError):
        return _cannot_open(error.orig)
    code = getattr(error, "sqlite_errorcode", 0)
    return isinstance(error, sqlite3.Error) and code & 0xFF == sqlite3.SQLITE_CANTOPEN


class SqliteDatabase(Database):
    """One file. It uses a write-ahead log, so readers never wait, and a commit is on disk before its caller
    gets an answer (synchronous=FULL: with NORMAL, a power cut would lose acknowledged writes; group commit
    makes up for the cost), unless the caller can do without (`Store.write`).
    """

    def __init__(self, url: URL, patience: Patience) -> None:
        super().__init__(url, patience)
        self.path = Path(cast(str, url.database)).expanduser()

    def _connect_reader(self) -> SqliteSession:
        return SqliteSession(self._connect_read_only(), read_seconds=self.patience.read)

    def inspector(self) -> SqliteSession:
        connection = self._connect_read_only()
        connection.text_factory = _text
        return SqliteSession(connection)

    def _connect_read_only(self) -> sqlite3.Connection:
        connection = self._connect("ro")
        connection.execute("PRAGMA query_only=1")
        return connection

    def _make_reading_engine(self) -> Engine:
        return sqlalchemy.create_engine("sqlite://", creator=self._connect_read_only, poolclass=QueuePool)

    def _connect(self, mode: str) -> sqlite3.Connection:
        address = f"{self.path.absolute().as_uri()}?mode={mode}"
        try:
            connection = sqlite3.connect(
                address,
                uri=True,
                timeout=self.patience.busy,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=128,
            )
        except sqlite3.Error as error:
            raise ConfigError(f"{self.path}: the database cannot be opened ({error}).") from None
        try:
            # A server may have some fifty readers, each with its own cache; most that they read is mapped.
            connection.execute(f"PRAGMA cache_size={-4_000 if mode == 'ro' else -32_000}")
            connection.execute("PRAGMA mmap_size=268435456")
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect_writer(self) -> sqlite3.Connection:
        self._make_private()
        connection = self._connect("rwc")
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA wal_autocheckpoint=4000")
            connection.execute("PRAGMA busy_timeout=0")  # `_begin` waits
        except (sqlite3.Error, UnicodeDecodeError) as error:
            connection.close()
            if trouble(error) is not Trouble.OTHER or _cannot_open(error):
                raise
            raise ConfigError(f"{self.path}: not a usable SQLite database ({error}).") from None
        return connection

    def is_read_only(self) -> bool:
        # The file's companions come and go in the folder.
        return not (os.access(self.path, os.W_OK) and os.access(self.path.absolute().parent, os.W_OK))

    def unavailable(self, error: Exception) -> CoprodError:
        if trouble(error) is Trouble.OTHER and _cannot_open(error):
            if not self.path.exists():
                return Damaged(f"The file of the database is gone. {RESTORE}")
            if self.is_read_only():
                return Unwritable(READ_ONLY, "read-only")
        return super().unavailable(error)

    def _make_private(self) -> None:
        """The file holds records of patients: give a new file to its owner alone; SQLite gives its companions
        (-wal, -shm) the same permissions."""
        try:
            if self.path.parent == data_folder():
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Do not open it if it exists: closing it again would drop the locks that SQLite holds on it in
            # this process.
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            return
        except FileNotFoundError:
            raise ConfigError(
                f"There is no folder {self.path.parent}; correct store.url, or make the folder first."
            ) from None
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be made, or not be written ({error.strerror}).") from None

    def close(self) -> None:
        super().close()
        # Readers leave the write-ahead log where it is. The last connection that closes takes it into the
        # file and removes it, if it may write.
        with suppress(sqlite3.Error, ConfigError):
            last = self._connect("rw")
            last.execute("PRAGMA journal_mode")
            last.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
            last.close()

    def make_engine(self) -> Engine:
        engine = sqlalchemy.create_engine("sqlite://", creator=self._connect_writer, poolclass=NullPool)

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            raw = cast(sqlite3.Connection, connection.connection.driver_connection)
            _begin(raw, self.patience.busy)

        return engine

    def session(self, connection: Connection) -> SqliteSession:
        return SqliteSession(cast(sqlite3.Connection, connection.connection.driver_connection))
