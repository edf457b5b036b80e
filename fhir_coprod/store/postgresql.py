"""PostgreSQL behind the interface of `database.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, cast

import psycopg
import sqlalchemy
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.pool import NullPool

from fhir_coprod.errors import ConfigError
from fhir_coprod.remembering import remembering_short
from fhir_coprod.store.database import Database, Row, Session, between

_LOG_LOCK = 0x636F70726F64
"""The advisory lock to hold while handing out log positions ("coprod" in ASCII)."""


class PostgresqlSession(Session):
    """psycopg 3, binary both ways; `?` becomes `%s`. Rows are inserted as arrays, one statement per table."""

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

    def together(self) -> AbstractContextManager[Any]:
        return self._connection.pipeline()

    def snapshot(self) -> AbstractContextManager[None]:
        return between(self, "BEGIN ISOLATION LEVEL REPEATABLE READ")

    def begin_lasting(self, lasting: bool) -> None:
        if not lasting:
            self._cursor.execute("SET LOCAL synchronous_commit = off")

    def milliseconds(self) -> int:
        return int(self.rows("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")[0][0])

    def lock(self) -> None:
        self._cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOG_LOCK,))

    def stop(self) -> None:
        self._connection.cancel()

    def close(self) -> None:
        self._connection.close()


@remembering_short(2048, 8_000)
def _percent(sql: str) -> bytes:
    return sql.replace(_TIME, _TIME_IN_UTC).replace("%", "%%").replace("?", "%s").encode()


# SQLite's is in UTC already, and cannot say so.
_TIME, _TIME_IN_UTC = "CURRENT_TIMESTAMP AS TEXT", "CURRENT_TIMESTAMP AT TIME ZONE 'UTC' AS TEXT"


# Every query of the store is written to walk indexes in the order it names, and its text is always the same.
# So plans are made once per connection, and must never read whole tables. A bitmap scan reads all matches
# before a LIMIT can stop it, so its cost would grow with the store.
_OUR_PLANS = (
    "SET jit = off; SET plan_cache_mode = force_generic_plan;"
    " SET enable_seqscan = off; SET enable_bitmapscan = off;"
    " SET enable_hashjoin = off; SET enable_mergejoin = off"
)


# Looks up each id by itself: with `id = ANY(…)`, a plan that was made while the store was almost empty, and
# kept, would read all resources of the type.
_OF_TYPE = (
    "(SELECT found.* FROM unnest(?::text[]) AS asked(id) CROSS JOIN LATERAL"
    ' (SELECT * FROM resource WHERE type = ? AND id = asked.id COLLATE "C" OFFSET 0) found)'
)


# Our own readers set it for themselves; what others get is in reset_val.
_READ_ONLY = (
    "SELECT pg_is_in_recovery() OR (SELECT reset_val = 'on' FROM pg_settings"
    " WHERE name = 'default_transaction_read_only')"
)


def _numbers(values: Iterable[float]) -> str:
    return "{" + ",".join(map(str, values)) + "}"


def text_array(values: Iterable[str]) -> str:
    """A text[] in PostgreSQL's notation."""
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
"""How a column of values becomes a PostgreSQL array: as text, since psycopg takes five times as long."""

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
    """A database on a server, which any number of processes may share."""

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

    def _read_limit(self) -> bytes:
        return f"SET statement_timeout = '{round(self.patience.read * 1000)}ms'".encode()

    def _connect_reader(self) -> PostgresqlSession:
        connection = self._connect_read_only()
        connection.execute(self._read_limit())
        connection.execute(_OUR_PLANS)
        return PostgresqlSession(connection)

    def inspector(self) -> PostgresqlSession:
        connection = self._connect_read_only()
        connection.execute(_OUR_PLANS)
        return PostgresqlSession(connection)

    async def connect_async(self) -> psycopg.AsyncCursor[Row]:
        """The same as a pooled reader, but on a connection that an event loop waits for."""
        try:
            connection = await psycopg.AsyncConnection.connect(**self._arguments(), autocommit=True)
        except psycopg.Error as error:
            raise self._unreachable(error) from None
        await connection.execute("SET default_transaction_read_only = on")
        await connection.execute(self._read_limit())
        await connection.execute(_OUR_PLANS)
        return connection.cursor(binary=True)

    def _connect_read_only(self) -> psycopg.Connection[Any]:
        connection = self._connect(autocommit=True)
        connection.execute("SET default_transaction_read_only = on")
        return connection

    def _make_reading_engine(self) -> Engine:
        return sqlalchemy.create_engine("postgresql+psycopg://", creator=self._connect_read_only)

    def is_read_only(self) -> bool:
        return bool(self.read(_READ_ONLY)[0][0])

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
