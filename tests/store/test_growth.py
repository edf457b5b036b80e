"""What an operation makes the database do does not grow with the store.

Counted in steps of SQLite's machine, which are the same on every computer, however busy; `python -m
benchmarks.growth` measures the time of the same operations up to a million resources, on both databases.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from benchmarks import growth
from fhir_coprod.jsontext import Document, from_data
from fhir_coprod.store import Query, Store, sqlite

pytestmark = pytest.mark.long

THIN = {"search by status and a day": 45_000}
"""Whose matches are thin on the ground: such a search walks until its page is full, so many steps at any size
of the store (a millisecond); in a small store it lists the few there are."""


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object], int], float]:
    """The steps that an operation takes in the mean."""
    counted = 0

    def count() -> None:
        nonlocal counted
        counted += 10

    def watched(connection: sqlite3.Connection) -> sqlite3.Connection:
        connection.set_progress_handler(count, 10)
        return connection

    base = sqlite.SqliteDatabase
    writer = base._connect_writer
    monkeypatch.setattr(
        base, "_connect_reader", lambda self: sqlite.SqliteSession(watched(self._connect_read_only()))
    )
    monkeypatch.setattr(base, "_connect_writer", lambda self: watched(writer(self)))

    def cost(operation: Callable[[], object], times: int) -> float:
        nonlocal counted
        counted = 0
        for _ in range(times):
            operation()
        return counted / times

    return cost


def test_no_operation_takes_more_steps_in_a_larger_store(
    tmp_path: Path, steps: Callable[[Callable[[], object], int], float]
) -> None:
    small, large = 2_000, 10_000
    url = f"sqlite:///{tmp_path / 'store.db'}"
    *_, found = growth.grow(url, (small, large), lambda line: None, steps, times=20)
    assert len(found[large]) > 15
    for name, count in found[large].items():
        assert count <= THIN.get(name, 1.25 * found[small][name]), (name, found[small][name], count)
    with Store.open(url) as store:
        # A whole walk, for comparison: the count above would notice one.
        all_of_them = steps(
            lambda: store.search(
                Query.parse("ServiceRequest", [("_summary", "count"), ("status", "active")])
            ),
            1,
        )
        assert all_of_them > 5 * found[large]["search by status"]


def test_a_postgresql_writer_reads_no_more_rows_as_the_store_grows(postgresql_store: str) -> None:
    """Its plans are made while the store is as good as empty, and kept."""
    with Store.open(postgresql_store) as store, psycopg.connect(postgresql_store) as watcher:

        def rows_read() -> int:
            # The writer tells what it has counted when it commits, if it is asked to.
            store.write(lambda t: t.connection.exec_driver_sql("SELECT pg_stat_force_next_flush()") and None)
            watcher.rollback()
            [(count,)] = watcher.execute("SELECT sum(idx_tup_read + idx_scan) FROM pg_stat_user_indexes")
            return int(count)

        def put(numbers: range, status: str) -> float:
            """Rows read for each task that is put."""
            before = rows_read()
            for start in numbers[::100]:
                made = {f"t{number}": task(number, status) for number in range(start, start + 100)}
                store.write(lambda t, made=made: [t.put(document, id) for id, document in made.items()])
            return (rows_read() - before) / len(numbers)

        creates = put(range(1_000), "requested"), put(range(1_000, 6_000), "requested")
        updates = put(range(100), "accepted"), put(range(1_000, 1_500), "accepted")
        assert put(range(6_000, 7_000), "requested") < 1.25 * creates[0] + 1, creates
        assert updates[1] < 1.25 * updates[0] + 1, updates


def task(number: int, status: str) -> Document:
    identifier = [{"system": "urn:number", "value": str(number)}]
    return from_data({"resourceType": "Task", "status": status, "identifier": identifier})
