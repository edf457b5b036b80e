"""Damages a store at random, and what a store says when somebody asks it everything."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Table, UniqueConstraint, select, text

from fhir_coprod.store import opening
from fhir_coprod.store.schema import core, metadata

Rows = dict[str, list[tuple[Any, ...]]]
READ = (core.version, core.received, core.resource, core.quality, core.relation, *core.INDEX_TABLES)
"""What every read, search and history is answered from."""
PASSING = ("lease", "async_request", "session", "used_assertion")
"""Tables of the moment: who works just now, and what is answered later."""


def dump(url: str) -> Rows:
    """Every row of the store, but for what only says how far a job has come that is over."""
    engine = opening.connect(url).make_engine()
    try:
        with engine.connect() as connection:
            return {
                table.name: sorted(
                    (row for row in map(tuple, connection.execute(select(table))) if not _passing(row)),
                    key=repr,
                )
                for table in metadata.sorted_tables
                if table.name not in PASSING
            }
    finally:
        engine.dispose()


def _passing(row: tuple[Any, ...]) -> bool:
    return str(row[0]).startswith("reindex:")


def answers(rows: Rows) -> Rows:
    """What reads, searches and histories are answered from."""
    return {table.name: rows[table.name] for table in READ}


def _unique(column: Column[Any]) -> bool:
    """Whether it is part of what has to be unique."""
    constraints = column.table.constraints if isinstance(column.table, Table) else ()
    return any(isinstance(one, UniqueConstraint) and column.name in one.columns for one in constraints)


class Damage:
    """One random damage, the same for the same seed."""

    def __init__(self, seed: int, url: str) -> None:
        self.random = random.Random(seed)
        self.url = url
        kinds: list[Callable[[Connection], str]] = [self.delete, self.flip, self.exchange, self.copy]
        self.kind = self.random.choices([*kinds, None], weights=[4, 4, 2, 2, 3 if self._file else 0])[0]

    @property
    def _file(self) -> Path | None:
        return Path(self.url.removeprefix("sqlite:///")) if self.url.startswith("sqlite") else None

    def do(self) -> str:
        """Do it; says what was done, as kind and table."""
        if self.kind is None:
            return self.page()
        engine = opening.connect(self.url).make_engine()
        try:
            with engine.connect() as connection:
                if connection.dialect.name == "postgresql":
                    connection.execute(text("SET session_replication_role = replica"))
                    connection.commit()
                with connection.begin():
                    return self.kind(connection)
        finally:
            engine.dispose()

    def _row(self, connection: Connection, *tables: Table) -> tuple[Table, dict[str, Any]]:
        """A row of a table that has some: each table as likely as any other."""
        chosen = list(tables or [t for t in metadata.sorted_tables if t.name not in PASSING])
        self.random.shuffle(chosen)
        for table in chosen:
            rows = sorted(connection.execute(select(table)).mappings(), key=repr)
            if rows:
                return table, dict(self.random.choice(rows))
        raise AssertionError("an empty store")

    def _at(self, table: Table, row: dict[str, Any]) -> Any:
        key = [column == row[column.name] for column in table.primary_key.columns]
        return key[0] if len(key) == 1 else key[0] & self._all(key[1:])

    def _all(self, conditions: list[Any]) -> Any:
        found = conditions[0]
        for one in conditions[1:]:
            found = found & one
        return found

    def delete(self, connection: Connection) -> str:
        table, row = self._row(connection)
        assert connection.execute(table.delete().where(self._at(table, row))).rowcount == 1
        return f"row deleted: {table.name}"

    def flip(self, connection: Connection) -> str:
        table, row = self._row(connection)
        names = [name for name, value in row.items() if value not in (None, "", b"")]
        name = self.random.choice(names)
        value = row[name]
        if isinstance(value, bool):
            value = not value
        elif isinstance(value, bytes):
            at = self.random.randrange(len(value))
            value = value[:at] + bytes([value[at] ^ (1 << self.random.randrange(8))]) + value[at + 1 :]
        elif isinstance(value, str):
            at = self.random.randrange(len(value))
            value = (
                value[:at] + chr(33 + (ord(value[at]) + self.random.randrange(1, 90)) % 90) + value[at + 1 :]
            )
        elif isinstance(value, int):
            value ^= 1 << self.random.randrange(24)
        else:
            value += 1.5
        try:
            with connection.begin_nested():
                connection.execute(table.update().where(self._at(table, row)).values({name: value}))
        except Exception:  # noqa: BLE001 - such a row is there already
            return self.delete(connection)
        return f"byte flipped: {table.name}.{name}"

    def exchange(self, connection: Connection) -> str:
        """Exchange the bodies of two rows, or all that is beside the key where rows have none."""
        table, one = self._row(connection)
        names = [c.name for c in table.columns if not c.primary_key and not _unique(c)]
        if "body" in table.c:
            names = ["body"]
        _, other = self._row(connection, table)
        if not names:
            return self.delete(connection)
        for here, there in ((one, other), (other, one)):
            values = {name: there[name] for name in names}
            connection.execute(table.update().where(self._at(table, here)).values(values))
        return f"{'bodies' if names == ['body'] else 'rows'} exchanged: {table.name}"

    def copy(self, connection: Connection) -> str:
        """A second row like one that is there, with another key."""
        table, row = self._row(connection)
        for column in table.columns:
            if column.primary_key or _unique(column):
                value = row[column.name]
                more = 10**9 + self.random.randrange(10**6)
                if isinstance(value, int | float):  # within the 32 bits that a column may have
                    row[column.name] = value + more if value < 10**9 else value - more
                else:
                    row[column.name] = f"{value}x"
        connection.execute(table.insert().values(row))
        return f"row copied: {table.name}"

    def page(self) -> str:
        """Random bytes somewhere in the SQLite file, from one byte to a page."""
        file = self._file
        assert file is not None
        data = bytearray(file.read_bytes())
        size = self.random.choice((1, 1, 8, 100, 4096))
        at = self.random.randrange(len(data) - size)
        if size == 4096:
            at -= at % 4096
        data[at : at + size] = self.random.randbytes(size)
        file.write_bytes(data)
        return f"file: {size} random bytes"
