"""`column IN (…many values…)` as a statement that is the same for any number of them.

The values go as one JSON array. SQLAlchemy's own `in_` writes a statement for each number of values, which
costs it more time than the database needs to answer.
"""
# ruff: noqa: S608 - only compiled clauses are put into SQL; every value is bound

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Text, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from fhir_coprod import jsontext


class _Among(FunctionElement[bool]):
    name = "among"
    type = Boolean()
    inherit_cache = True


def among(column: ColumnElement[str], values: Iterable[str]) -> ColumnElement[bool]:
    """Whether the text in `column` is one of these."""
    return _Among(column, bindparam(None, jsontext.encode(list(values)).decode(), Text(), unique=True))


@compiles(_Among, "sqlite")
def _on_sqlite(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"


@compiles(_Among, "postgresql")
def _on_postgresql(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"""{column} = ANY(ARRAY(SELECT json_array_elements_text(CAST({values} AS json)) COLLATE "C"))"""
