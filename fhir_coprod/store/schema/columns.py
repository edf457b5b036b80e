"""Column types that work alike on SQLite and PostgreSQL, and the MetaData that all tables share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Index, Integer, MetaData, Text, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "fk": "%(table_name)s_%(column_0_N_name)s_fk",
    }
)

# SQLite uses a column as its row number only if it is declared INTEGER, which is 64 bits wide there.
Long: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
# Compared byte by byte on both databases: the order of a page must not depend on a locale.
Name: TypeEngine[str] = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def column(name: str, kind: TypeEngine[Any], **options: Any) -> Column[Any]:
    """A column that is never NULL."""
    return Column(name, kind, nullable=False, **options)


def partial_index(name: str, where: str, *columns: ColumnElement[Any]) -> Index:
    """An index of the rows for which a condition in SQL holds; of columns of a table that is made already."""
    condition = text(where)
    return Index(name, *columns, sqlite_where=condition, postgresql_where=condition)
