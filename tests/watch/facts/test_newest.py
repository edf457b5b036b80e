"""The newest versions of resources: asked for once, parsed once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from fhir_coprod.store import Store
from fhir_coprod.watch.facts.newest import Newest, Row
from tests.watch.hospital import MONDAY, Hospital


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    """On SQLite alone: what the databases do differently is tested with the sweep."""
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield Hospital(opened)


@pytest.fixture
def connection(hospital: Hospital) -> Iterator[Connection]:
    hospital.refer("a")
    hospital.refer("b")
    with hospital.store.connect() as opened:
        yield opened


@pytest.fixture
def asked(connection: Connection) -> list[str]:
    """The statements that the database is asked."""
    statements: list[str] = []

    def note(_c: Any, _k: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(connection, "before_cursor_execute", note)
    return statements


ALL = (("ServiceRequest", "b"), ("Task", "task-a"), ("ServiceRequest", "a"), ("Patient", "none"))


def names(rows: list[Row]) -> list[str]:
    return [row.reference for row in rows]


def test_resources_come_in_the_order_in_which_they_were_first_stored(connection: Connection) -> None:
    newest = Newest(connection)
    rows = newest.by_name(ALL)
    assert names(rows) == ["ServiceRequest/a", "Task/task-a", "ServiceRequest/b"]
    assert newest.by_key([row.key for row in reversed(rows)]) == rows


def test_what_has_been_read_is_not_asked_for_again(connection: Connection, asked: list[str]) -> None:
    newest = Newest(connection)
    rows = newest.by_name(ALL)
    asked.clear()
    assert newest.by_key(row.key for row in rows) == rows
    assert newest.by_name([(row.type, row.id) for row in rows]) == rows
    assert asked == []
    newest.by_name([("Task", "task-a"), ("Task", "task-b")])
    assert len(asked) == 1


def test_what_has_been_forgotten_is_read_anew(
    hospital: Hospital, connection: Connection, asked: list[str]
) -> None:
    newest = Newest(connection)
    newest.by_name(ALL)
    hospital.store.write(lambda t: t.delete("ServiceRequest", "a"))
    hospital.task("a", "received", MONDAY)
    assert len(newest.by_name(ALL)) == 3
    newest.forget()
    assert not newest.texts
    assert [(row.reference, row.version) for row in newest.by_name(ALL)] == [
        ("Task/task-a", 2),
        ("ServiceRequest/b", 1),
    ]


def test_a_text_that_somebody_has_parsed_is_not_parsed_again(connection: Connection) -> None:
    first = Newest(connection)
    was = {row.key: row for row in first.by_name(ALL)}
    again = Newest(connection, first.texts).by_name(ALL)
    assert len(again) == 3
    assert all(row.data is was[row.key].data for row in again)


def test_versions_come_with_their_times_since_the_last_deletion(
    hospital: Hospital, connection: Connection
) -> None:
    hospital.store.write(lambda t: t.delete("Task", "task-a"))
    hospital.task("a", "requested", MONDAY)
    hospital.task("a", "received", MONDAY)
    newest = Newest(connection)
    (row,) = newest.by_name([("Task", "task-a")])
    versions = newest.versions("Task", ["task-a", "task-b"])
    assert [data["status"] for _, data in versions["Task/task-a"]] == ["requested", "received"]
    assert versions["Task/task-a"][-1] == (row.updated, row.data)
    assert versions["Task/task-a"][-1][1] is row.data
    assert len(versions["Task/task-b"]) == 1
