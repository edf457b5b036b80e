"""`_typeFilter`: whether a resource, as it was at the position of an export, matches one of some searches.

The index of the store knows only the newest versions. So the rows of the version are put into a small index
in memory, and searched there.
"""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from sqlalchemy import create_engine

from fhir_coprod.errors import BadRequest
from fhir_coprod.store import Query, Version, index
from fhir_coprod.store.schema import core, metadata
from fhir_coprod.store.search.conditions import Sql, all_of

_OF_THE_ANSWER = frozenset(
    ("_include", "_revinclude", "_sort", "_count", "_total", "_summary", "_elements", "_contained", "_cursor")
)
MOST, MOST_BYTES = 100, 20_000
"""Searches of one export, and their characters together."""


def parsed(type: str, query: str, base: str, zone: ZoneInfo) -> Query:
    """One search of a `_typeFilter`. Raises BadRequest, UnknownParameter or Unsupported."""
    try:
        pairs = parse_qsl(query, strict_parsing=True, keep_blank_values=True)
    except ValueError:
        raise BadRequest(
            f"_typeFilter: what follows {type}? is no search; write {type}?status=active."
        ) from None
    for name, _ in pairs:
        if name.partition(":")[0] in _OF_THE_ANSWER:
            raise BadRequest(f"_typeFilter takes no {name[:64]}, which is about an answer; leave it out.")
        if "." in name or name.startswith(("_has", "quality", "_list", "_text", "_content", "near")):
            raise BadRequest(
                f"_typeFilter: {name[:64]} is not searched in an export; search by its own elements."
            )
    return Query.parse(type, pairs, strict=True, base=base, zone=zone)


class Filters:
    """The searches of one export, by type."""

    def __init__(self, searches: Mapping[str, tuple[str, ...]], base: str, zone: ZoneInfo) -> None:
        self._tests: dict[str, Sql] = {}
        for type, queries in searches.items():
            tests = [all_of(parsed(type, query, base, zone).conditions, "r") for query in queries]
            text = " OR ".join(f"(1 = 1{test.text})" for test in tests)
            self._tests[type] = Sql(text, tuple(value for test in tests for value in test.values))
        self._index: sqlite3.Connection | None = None

    def match(self, version: Version) -> bool:
        """Whether a resource matches; one of a type without searches does."""
        test = self._tests.get(version.type)
        if test is None:
            return True
        connection = self._index = self._index or _empty()
        row = (version.type, version.id, version.version, version.position, version.milliseconds)
        connection.execute("INSERT INTO resource VALUES (1, ?, ?, ?, ?, ?, false)", row)
        made = index.rows(version.type, version.data, is_sound=False)
        for table in core.INDEX_TABLES:
            if rows := made.get(table.name):
                marks = ", ".join("?" * (1 + len(next(iter(rows)))))
                connection.executemany(
                    f"INSERT INTO {table.name} VALUES ({marks})", [(1, *each) for each in rows]
                )
        found = connection.execute(f"SELECT 1 FROM resource r WHERE {test.text}", test.values).fetchone()
        connection.rollback()
        return found is not None

    def close(self) -> None:
        if self._index is not None:
            self._index.close()


_RESOURCE = "CREATE TABLE resource (key INTEGER PRIMARY KEY, type, id, version, position, updated, deleted)"


def _empty() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    engine = create_engine("sqlite://", creator=lambda: connection)
    metadata.create_all(engine, tables=core.INDEX_TABLES)
    connection.execute(_RESOURCE)
    connection.commit()
    return connection
