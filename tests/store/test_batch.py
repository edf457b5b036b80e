"""One batch of works: what it has read holds until it is written, and all of it is written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import text

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Document
from fhir_coprod.store import Query, Store, Transaction, index
from fhir_coprod.store.batch import Batch, Stale
from fhir_coprod.store.schema import core


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """SQLite alone: what other writers do to PostgreSQL is tested with the writer."""
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


@contextmanager
def batch(store: Store) -> Iterator[Batch]:
    """A batch that does not hold the log's lock yet, as on PostgreSQL."""
    engine = store._database.make_engine()
    with engine.connect() as connection, connection.begin():
        yield Batch(connection, store._database.session(connection), locked=False)
    engine.dispose()


def put(store: Store, type: str, *ids: str, language: str = "sv") -> None:
    for id in ids:
        document = jsontext.from_data({"resourceType": type, "language": language})
        store.write(lambda t, d=document, i=id: t.put(d, i))


def rows(store: Store, sql: str) -> list[tuple[Any, ...]]:
    with store.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


def write_over(batch: Batch, type: str, id: str) -> None:
    """What the database holds once somebody else's batch is committed."""
    batch.connection.execute(
        text("UPDATE resource SET version = version + 1 WHERE type = :type AND id = :id"),
        {"type": type, "id": id},
    )


def create_beside(batch: Batch, type: str, id: str) -> None:
    batch.connection.execute(
        text(
            "INSERT INTO resource (key, type, id, version, position, updated, deleted)"
            " VALUES (99, :type, :id, 1, 1, 0, false)"
        ),
        {"type": type, "id": id},
    )


READ = [("Task", "a"), ("Task", "b"), ("Patient", "a"), ("Patient", "new")]


def test_what_was_read_without_the_lock_and_still_holds_may_be_written_on(store: Store) -> None:
    put(store, "Task", "a", "b", "a")
    put(store, "Patient", "a", "unread")
    with batch(store) as one:
        one.fetch(READ)
        write_over(one, "Patient", "unread")
        one.lock()
        assert one.locked


@pytest.mark.parametrize("changed", [("Task", "a"), ("Task", "b"), ("Patient", "a")])
def test_one_resource_that_was_read_and_then_written_by_another_makes_the_batch_stale(
    store: Store, changed: tuple[str, str]
) -> None:
    put(store, "Task", "a", "b")
    put(store, "Patient", "a")
    with batch(store) as one:
        one.fetch(READ)
        write_over(one, *changed)
        with pytest.raises(Stale):
            one.lock()


def test_what_was_not_there_and_is_created_by_another_makes_the_batch_stale(store: Store) -> None:
    put(store, "Task", "a")
    with batch(store) as one:
        assert one.held(("Patient", "new")) is None
        create_beside(one, "Patient", "new")
        with pytest.raises(Stale):
            one.lock()


def test_nothing_is_checked_again_once_the_lock_is_held(store: Store) -> None:
    put(store, "Task", "a")
    with batch(store) as one:
        one.fetch(READ)
        one.lock()
        write_over(one, "Task", "a")
        one.lock()


def test_a_batch_without_writes_takes_no_lock(store: Store) -> None:
    put(store, "Task", "a")
    with batch(store) as one:
        one.fetch(READ)
        one.flush(one.pending)
        assert not one.locked


def test_what_is_read_twice_is_one_reading(store: Store) -> None:
    put(store, "Task", "a", "b")
    with batch(store) as one:
        first = one.held(("Task", "a"))
        assert first is not None
        assert (first.version.id, first.version.version, first.key) == ("a", 1, 1)
        one.fetch([("Task", "a"), ("Task", "b")])
        assert one.held(("Task", "a")) is first


def test_nothing_is_read_that_was_not_asked_for(store: Store) -> None:
    """What is read beside would not be among what the lock checks."""
    put(store, "Task", "a", "b")
    put(store, "Patient", "a", "b")
    with batch(store) as one:
        one.fetch([("Task", "a"), ("Patient", "b")])
        assert set(one.latest) == {("Task", "a"), ("Patient", "b")}


def test_two_versions_of_one_batch_are_one_resource_with_the_index_of_the_newer(store: Store) -> None:
    def twice(transaction: Transaction) -> None:
        for status in ("requested", "completed"):
            data = {"resourceType": "Task", "status": status, "intent": "order"}
            transaction.put(jsontext.from_data(data), "a")

    put(store, "Patient", "p")
    store.write(twice)
    assert rows(store, "SELECT key, version, position, deleted FROM resource WHERE id = 'a'") == [
        (2, 2, 3, False)
    ]
    assert rows(store, "SELECT id, position, version FROM version ORDER BY position") == [
        ("p", 1, 1),
        ("a", 2, 1),
        ("a", 3, 2),
    ]
    for status, found in (("requested", []), ("completed", ["a"])):
        page = store.search(Query.parse("Task", [("status", status)]))
        assert [version.id for version in page.matches] == found


def test_only_what_was_there_before_has_its_index_removed_first(store: Store) -> None:
    """A first sync writes nothing but new resources; to look for their old index would be for nothing."""

    def removals(*ids: str) -> int:
        with batch(store) as one:
            said: list[str] = []
            sqlite = cast(sqlite3.Connection, one.connection.connection.driver_connection)
            sqlite.set_trace_callback(said.append)
            transaction = Transaction(one)
            for id in ids:
                transaction.put(jsontext.from_data({"resourceType": "Task", "status": "ready"}), id)
            transaction.finish()
            one.flush(one.pending)
            return sum(sql.startswith("DELETE") for sql in said)

    put(store, "Task", "a", "b")
    assert removals("c", "d") == 0
    marks = 1  # what was wrong in the version before
    assert removals("a", "b", "c") == len(core.INDEX_TABLES) + marks


def test_a_later_batch_keeps_the_key_and_marks_what_was_deleted(store: Store) -> None:
    put(store, "Task", "a", "b")
    store.write(lambda t: t.delete("Task", "a"))
    assert rows(store, "SELECT id, key, version, position, deleted FROM resource ORDER BY key") == [
        ("a", 1, 2, 3, True),
        ("b", 2, 1, 2, False),
    ]


def test_a_write_inside_a_work_is_seen_by_the_next_with_its_position(store: Store) -> None:
    put(store, "Task", "a")
    written = store.write(lambda t: t.put(jsontext.from_data({"resourceType": "Task"}), "b"))
    assert written.version.position == store.head() == 2


def test_the_text_as_it_was_received_is_kept_beside_its_version_and_a_deletion_has_none(store: Store) -> None:
    document = Document(b'{"resourceType":"Task"}', {"resourceType": "Task"}, received=b"<Task/>")
    store.write(lambda t: t.put(document, "a"))
    store.write(lambda t: t.delete("Task", "a"))
    put(store, "Task", "b")
    assert rows(store, "SELECT position, body FROM received ORDER BY position") == [
        (1, b"<Task/>"),
        (3, b'{"resourceType":"Task","language":"sv"}'),
    ]


def test_the_definitions_of_an_index_are_noted_with_the_first_resource_of_a_type(store: Store) -> None:
    noted = "SELECT name, value FROM setting WHERE name LIKE 'index:%' ORDER BY name"
    before = rows(store, noted)
    put(store, "Task", "a", "b")
    put(store, "Patient", "a")
    assert [row for row in rows(store, noted) if row not in before] == [
        (f"index:{type}", index.fingerprint(type)) for type in ("Patient", "Task")
    ]


def test_an_index_is_made_anew_for_living_resources_of_that_version_alone(store: Store) -> None:
    put(store, "Task", "alive", "gone", "changed")
    put(store, "Task", "changed", language="en")
    store.write(lambda t: t.delete("Task", "gone"))
    made = index.rows("Task", {"resourceType": "Task", "status": "ready"})
    store.write(lambda t: t.replace_index([(1, 1, made), (2, 1, made), (2, 2, made), (3, 1, made)]))
    page = store.search(Query.parse("Task", [("status", "ready")]))
    assert [version.id for version in page.matches] == ["alive"]
    indexed = " UNION ".join(f"SELECT key FROM {table.name}" for table in core.INDEX_TABLES)
    assert rows(store, indexed) == [(1,)]
