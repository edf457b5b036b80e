"""Inserts many rows, or matches many values, in one fast statement, for code that uses SQLAlchemy.

SQLAlchemy compiles a new statement for each number of values in `IN (…)`, and inspects each row that it
inserts. That takes it longer than the database needs to answer. To build a statement takes five times as long
as to run one, so statements that run for every few records are built once, at import, with named parameters.
"""
# ruff: noqa: S608 - only compiled clauses and our own names are put into SQL; every value is bound

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Connection, Table, Text, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from fhir_coprod import jsontext


def insert_rows(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows whose values are in the order of the table's columns."""
    if rows:
        mark = "?" if connection.dialect.name == "sqlite" else "%s"
        columns = [column.name for column in table.columns]
        marks = ", ".join([mark] * len(columns))
        statement = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks})"
        connection.exec_driver_sql(statement, list(rows))


class _Among(FunctionElement[bool]):
    name = "among"
    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> _Among:
        """Itself. SQLAlchemy would write `… = 1` for SQLite, which then uses no index for it."""
        return self


def among(column: ColumnElement[str], values: Iterable[str]) -> ColumnElement[bool]:
    """Whether the text in `column` is one of these values, which go to the database as one JSON array."""
    return _Among(column, bindparam(None, array(values), Text(), unique=True))


def listed(column: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """As `among`, in a statement that is built once: the values come with each execution, as `array(values)`
    under `name`."""
    return _Among(column, bindparam(name, type_=Text()))


def array(values: Iterable[str]) -> str:
    """Values for a parameter of `listed`."""
    return jsontext.encode(list(values)).decode()


@compiles(_Among, "sqlite")
def _on_sqlite(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"


@compiles(_Among, "postgresql")
def _on_postgresql(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"""{column} = ANY(ARRAY(SELECT json_array_elements_text(CAST({values} AS json)) COLLATE "C"))"""
