"""The two databases behind one face: raw connections that are fast, one statement dialect, one way to lock.

SQL is written once, with `?` for values. Reads go through a pool of read-only connections; writes through one
connection that belongs to the writer thread (`writer.py`) and is an SQLAlchemy connection, so that other
floors can put their own rows into the same transaction.
"""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import inf
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar, cast

import psycopg
import sqlalchemy
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, Engine, Table, event
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool, QueuePool

from fhir_coprod.errors import ConfigError, Overloaded
from fhir_coprod.settings import data_folder

T = TypeVar("T")
Row = tuple[Any, ...]
READ_SECONDS = 60
"""A pooled reader that takes longer is stopped: nobody waits for its answer any more."""
BUSY_SECONDS = 30
"""How long a writer waits for another process before it gives up."""
_GLANCE_SECONDS = 0.001
"""Between two tries of a writer on SQLite."""
_LOG_LOCK = 0x636F70726F64
"""The advisory lock under which PostgreSQL gives out log positions ("coprod" in ASCII)."""

DatabaseErrors = (sqlite3.Error, psycopg.Error)


class Session(ABC):
    """A raw connection that runs our SQL."""

    @abstractmethod
    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """All rows of a SELECT; `?` stands for a value."""

    @abstractmethod
    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; the number of rows it touched."""

    @abstractmethod
    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows whose values stand in the order of the table's columns."""

    @abstractmethod
    def among(self, column: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
        """`column` is one of `values`: a condition and its values."""

    @abstractmethod
    def of_type(self, type: str, ids: Sequence[str]) -> tuple[str, list[Any]]:
        """A FROM item, the rows of table resource with these ids, and its values."""

    @abstractmethod
    def lock(self) -> None:
        """Wait until nobody else writes to the log; held until the transaction ends."""

    @abstractmethod
    def close(self) -> None: ...


class Database(ABC):
    """How to connect to one database."""

    url: URL

    def __init__(self, url: URL) -> None:
        self.url = url
        self._idle: deque[Session] = deque()
        self._engine: Engine | None = None

    @abstractmethod
    def _connect_reader(self) -> Session: ...

    @abstractmethod
    def make_engine(self) -> Engine:
        """An SQLAlchemy engine whose transactions may write; no pool."""

    @abstractmethod
    def _make_reading_engine(self) -> Engine: ...

    @abstractmethod
    def session(self, connection: Connection) -> Session:
        """The raw side of an SQLAlchemy connection, in the same transaction."""

    def ask(self, question: Callable[[Session], T]) -> T:
        """What a question comes to, asked of a pooled read-only session, where each statement sees what is
        committed when it starts; asked once more when the pooled connection turns out to be dead."""
        try:
            pooled = self._idle.pop()
        except IndexError:
            pooled = None
        try:
            if pooled is not None:
                return self._asked(pooled, question)
        except DatabaseErrors as error:
            if not is_lost(error):
                raise unavailable(error) from error
        try:
            return self._asked(self._connect_reader(), question)
        except DatabaseErrors as error:
            raise unavailable(error) from error

    def _asked(self, session: Session, question: Callable[[Session], T]) -> T:
        try:
            answer = question(session)
        except DatabaseErrors:
            session.close()
            raise
        except BaseException:
            self._idle.append(session)
            raise
        self._idle.append(session)
        return answer

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


def unavailable(error: Exception) -> Overloaded:
    """A database error as the sentence a caller may read; what the database said stays in __cause__."""
    text = str(error).lower()
    if "locked" in text or "busy" in text:
        return Overloaded("Another process has held the database for too long; try again.")
    if "interrupted" in text or "statement timeout" in text:
        return Overloaded(f"The search took longer than {READ_SECONDS} seconds; narrow it, or ask for less.")
    if "full" in text or "no space" in text:
        return Overloaded(
            "The database has no room left; nothing was written. Free some space, then try again."
        )
    return Overloaded(f"The database could not answer ({type(error).__name__}); try again.")


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone, so that a new one may succeed."""
    if not isinstance(error, psycopg.OperationalError):
        return False
    # Without a code the server was not there to give one. 08: connection; 57P: shut down, or starting up.
    return not error.sqlstate or error.sqlstate.startswith(("08", "57P"))


def is_conflict(error: BaseException) -> bool:
    """Whether two transactions got into each other's way, so that the same work may succeed when done
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


def connect(url: str) -> Database:
    """The database a URL names; ConfigError when it names none."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ConfigError(
            "store.url is not a URL; write sqlite:///file.db or postgresql://user@host/database."
        ) from None
    backend = parsed.get_backend_name()
    if backend == "sqlite":
        if parsed.database in (None, "", ":memory:"):
            raise ConfigError("store.url names no file; write sqlite:///file.db.")
        return SqliteDatabase(parsed)
    if backend in ("postgresql", "postgres"):
        return PostgresqlDatabase(parsed.set(drivername="postgresql+psycopg"))
    raise ConfigError(f"store.url: {backend} is not supported; use sqlite:/// or postgresql://.")


# ------------------------------------------------------------------------------------------------- SQLite


class SqliteSession(Session):
    """sqlite3 as it is; `?` is its own placeholder."""

    def __init__(self, connection: sqlite3.Connection, *, limited: bool = False) -> None:
        self._connection = connection
        self._deadline = inf
        if limited:
            # Asked every so many steps of SQLite's machine; a search that never ends would hold its thread.
            connection.set_progress_handler(lambda: monotonic() > self._deadline, 1_000_000)
        self._limited = limited

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        if self._limited:
            self._deadline = monotonic() + READ_SECONDS
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

    def lock(self) -> None:
        """Nothing to do: BEGIN IMMEDIATE already holds the only write lock there is."""

    def close(self) -> None:
        self._connection.close()


def _begin(connection: sqlite3.Connection) -> None:
    """Begin to write as soon as nobody else does.

    At once as a writer: a transaction that turns into one later fails when another one wrote meanwhile.
    SQLite itself would look again after ever longer sleeps, at last of a tenth of a second, while others
    who come later go first.
    """
    deadline = monotonic() + BUSY_SECONDS
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


class SqliteDatabase(Database):
    """One file. Write-ahead log, so that readers never wait; every commit is on the disk before it is
    answered (synchronous=FULL: with NORMAL a power cut would lose what was already acknowledged; group
    commit pays for it).
    """

    def __init__(self, url: URL) -> None:
        super().__init__(url)
        self.path = Path(cast(str, url.database)).expanduser()

    def _connect_reader(self) -> SqliteSession:
        return SqliteSession(self._connect_read_only(), limited=True)

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
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=512,
            )
        except sqlite3.Error as error:
            raise ConfigError(f"{self.path}: the database cannot be opened ({error}).") from None
        connection.execute("PRAGMA cache_size=-32000")
        connection.execute("PRAGMA mmap_size=268435456")
        return connection

    def _connect_writer(self) -> sqlite3.Connection:
        self._make_private()
        connection = self._connect("rwc")
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA wal_autocheckpoint=4000")
            connection.execute("PRAGMA busy_timeout=0")  # `_begin` waits
        except sqlite3.Error as error:
            connection.close()
            raise ConfigError(f"{self.path}: not a usable SQLite database ({error}).") from None
        return connection

    def _make_private(self) -> None:
        """The file holds records of patients: a new one is for its owner alone, and SQLite gives its
        companions (-wal, -shm) the same rights."""
        try:
            if self.path.parent == data_folder():
                self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Never opened when it is there already: closing it again would drop the locks that SQLite holds
            # on it in this process.
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            return
        except FileNotFoundError:
            raise ConfigError(
                f"There is no folder {self.path.parent}; correct store.url, or make the folder first."
            ) from None
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be made, or not be written ({error.strerror}).") from None

    def make_engine(self) -> Engine:
        engine = sqlalchemy.create_engine("sqlite://", creator=self._connect_writer, poolclass=NullPool)

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            _begin(cast(sqlite3.Connection, connection.connection.driver_connection))

        return engine

    def session(self, connection: Connection) -> SqliteSession:
        return SqliteSession(cast(sqlite3.Connection, connection.connection.driver_connection))


# --------------------------------------------------------------------------------------------- PostgreSQL


class PostgresqlSession(Session):
    """psycopg 3, binary both ways; `?` becomes `%s`. Rows go in as arrays, one statement a table."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._cursor = connection.cursor(binary=True)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._cursor.execute(_percent(sql), values).fetchall()

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        return self._cursor.execute(_percent(sql), values).rowcount

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        statement, kinds = _postgresql_insert(table)
        columns = zip(*rows, strict=True)
        self._cursor.execute(
            statement, [_ARRAYS[kind](column) for kind, column in zip(kinds, columns, strict=True)]
        )

    def among(self, column: str, values: Sequence[Any]) -> tuple[str, list[Any]]:
        return f"{column} = ANY(?)", [list(values)]

    def of_type(self, type: str, ids: Sequence[str]) -> tuple[str, list[Any]]:
        return _OF_TYPE, [text_array(ids), type]

    def lock(self) -> None:
        self._cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOG_LOCK,))

    def close(self) -> None:
        self._connection.close()


@lru_cache(maxsize=2048)
def _percent(sql: str) -> bytes:
    return sql.replace("%", "%%").replace("?", "%s").encode()


# Every query of the store is written to walk indexes in the order it names, and is the same text again and
# again: plans are made once per connection, and never by reading whole tables. A bitmap reads all matches
# before a LIMIT can stop it, so its cost would grow with the store.
_OUR_PLANS = (
    "SET jit = off; SET plan_cache_mode = force_generic_plan;"
    " SET enable_seqscan = off; SET enable_bitmapscan = off;"
    " SET enable_hashjoin = off; SET enable_mergejoin = off"
)


# Each id looked up by itself: with `id = ANY(…)` a plan made while the store was almost empty, and kept,
# would read all resources of the type.
_OF_TYPE = (
    "(SELECT found.* FROM unnest(?::text[]) AS asked(id) CROSS JOIN LATERAL"
    ' (SELECT * FROM resource WHERE type = ? AND id = asked.id COLLATE "C" OFFSET 0) found)'
)


def _numbers(values: Iterable[float]) -> str:
    return "{" + ",".join(map(str, values)) + "}"


def text_array(values: Iterable[str]) -> str:
    """A text[] as PostgreSQL writes it."""
    escaped = [value.replace("\\", "\\\\").replace('"', '\\"') for value in values]
    return '{"' + '","'.join(escaped) + '"}'


_ARRAYS: Mapping[str, Callable[[Iterable[Any]], Any]] = {
    "integer": _numbers,
    "bigint": _numbers,
    "double precision": _numbers,
    "boolean": _numbers,
    "text": text_array,
    "bytea": list,
}
"""How a column of values becomes a PostgreSQL array: as text, which psycopg would make five times slower."""

_KINDS = {"float": "double precision", "double": "double precision"}


@lru_cache(maxsize=64)
def _postgresql_insert(table: Table) -> tuple[bytes, tuple[str, ...]]:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    kinds = []
    for column in table.columns:
        declared = column.type.compile(dialect).lower().split()[0].split("(")[0]
        kinds.append(_KINDS.get(declared, declared))
    names = ", ".join(column.name for column in table.columns)
    arrays = ", ".join(f"{'%b' if kind == 'bytea' else '%s'}::{kind}[]" for kind in kinds)
    statement = f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays})"  # noqa: S608
    return statement.encode(), tuple(kinds)


class PostgresqlDatabase(Database):
    """A database on a server; any number of processes share it."""

    def _arguments(self) -> dict[str, Any]:
        given = self.url.translate_connect_args(username="user", database="dbname")
        options = {key: str(value) for key, value in self.url.query.items()}
        return {"connect_timeout": "10", "application_name": "fhir-coprod", **given, **options}

    def _connect(self, *, autocommit: bool) -> psycopg.Connection[Any]:
        try:
            connection = psycopg.connect(**self._arguments(), autocommit=autocommit)
        except psycopg.Error as error:
            raise self._unreachable(error) from None
        if (
            connection.info.encoding != "utf-8"
            or connection.info.parameter_status("server_encoding") != "UTF8"
        ):
            connection.close()
            raise ConfigError(
                "The PostgreSQL database is not encoded in UTF8; create it with ENCODING 'UTF8'."
            )
        return connection

    def _unreachable(self, error: psycopg.Error) -> ConfigError:
        place = conninfo_to_dict(**self._arguments())
        port = f":{place['port']}" if place.get("port") else ""
        where = f"{place.get('host', 'local socket')}{port}/{place.get('dbname', '')}"
        reason = " ".join(str(error).split()) or type(error).__name__
        return ConfigError(f"PostgreSQL at {where} cannot be reached: {reason}")

    def _connect_reader(self) -> PostgresqlSession:
        connection = self._connect_read_only()
        connection.execute(f"SET statement_timeout = '{READ_SECONDS}s'")
        connection.execute(_OUR_PLANS)
        return PostgresqlSession(connection)

    async def connect_async(self) -> psycopg.AsyncCursor[Row]:
        """As a pooled reader, on a connection that an event loop waits for."""
        try:
            connection = await psycopg.AsyncConnection.connect(**self._arguments(), autocommit=True)
        except psycopg.Error as error:
            raise self._unreachable(error) from None
        await connection.execute("SET default_transaction_read_only = on")
        await connection.execute(f"SET statement_timeout = '{READ_SECONDS}s'")
        await connection.execute(_OUR_PLANS)
        return connection.cursor(binary=True)

    def _connect_read_only(self) -> psycopg.Connection[Any]:
        connection = self._connect(autocommit=True)
        connection.execute("SET default_transaction_read_only = on")
        return connection

    def _make_reading_engine(self) -> Engine:
        return sqlalchemy.create_engine("postgresql+psycopg://", creator=self._connect_read_only)

    def _connect_writer(self) -> psycopg.Connection[Any]:
        connection = self._connect(autocommit=False)
        connection.execute(_OUR_PLANS)
        connection.commit()
        return connection

    def make_engine(self) -> Engine:
        return sqlalchemy.create_engine(
            "postgresql+psycopg://", creator=self._connect_writer, poolclass=NullPool
        )

    def session(self, connection: Connection) -> PostgresqlSession:
        return PostgresqlSession(cast("psycopg.Connection[Any]", connection.connection.driver_connection))
