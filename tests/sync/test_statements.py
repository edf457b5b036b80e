"""Statements that the sync runs for every few records find their rows by an index, on SQLite as well."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module

import pytest
from sqlalchemy import Delete, Select, Update
from sqlalchemy.dialects import sqlite

import fhir_coprod.sync
from fhir_coprod.store import Store

_SHORT = frozenset({"json_each", "feed", "unread", "numbering"})
_OPEN = re.compile("dead_letter_(standing|open)_idx")
_LISTED = re.compile(r"(\w+) IN \(SELECT value FROM json_each")


def statements() -> Iterator[tuple[str, str]]:
    """Name and SQL of each statement that is built once."""
    for module in pkgutil.walk_packages(fhir_coprod.sync.__path__, "fhir_coprod.sync."):
        for name, value in vars(import_module(module.name)).items():
            if isinstance(value, Select | Update | Delete):
                sql = value.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": False})
                yield f"{module.name}.{name}", re.sub(r"\(__\[POSTCOMPILE_\w+\]\)", "('')", str(sql))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('plans') / 'store.db'}") as store:
        yield store


@pytest.mark.parametrize("sql", [pytest.param(sql, id=name) for name, sql in statements()])
def test_a_statement_reads_no_row_that_it_was_not_asked_for(empty: Store, sql: str) -> None:
    with empty.connect() as connection:
        values = ("[]",) * sql.count("?")
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
    # Table feed has one row for each EHR and type, numbering one for each system with odd numbers; of table
    # unread the watch asks for all, and of dead letters for all that stand open or are put aside.
    few = [line for line in plan if line.split()[1] in _SHORT or _OPEN.search(line)]
    assert not [line for line in plan if line.startswith("SCAN") and line not in few]
    assert not [line for line in plan if line.endswith("(type=?)") and line not in few]
    for column in _LISTED.findall(sql):
        assert any(f"{column}=?" in line for line in plan), (column, plan)
