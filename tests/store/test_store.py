"""Versions, history, log and cursors: what a store promises, on both databases."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.errors import BadRequest, Conflict, Gone, NotFound, Overloaded, PreconditionFailed
from fhir_coprod.jsontext import Document
from fhir_coprod.store import Query, Store, Transaction, Written, index, writer


def task(**elements: Any) -> Document:
    return jsontext.from_data({"resourceType": "Task", "status": "requested", "intent": "order", **elements})


def put(store: Store, document: Document, id: str, **options: Any) -> Written:
    return store.write(lambda transaction: transaction.put(document, id, **options))


def create(store: Store, document: Document, **options: Any) -> Written:
    return store.write(lambda transaction: transaction.create(document, **options))


def delete(store: Store, type: str, id: str, **options: Any) -> Written | None:
    return store.write(lambda transaction: transaction.delete(type, id, **options))


def test_read_returns_what_was_created_with_id_and_meta(store: Store) -> None:
    written = create(store, task(description="x"))
    read = store.read("Task", written.version.id)
    assert read == written.version
    assert written.change == "created"
    assert (read.version, read.position, read.method) == (1, 1, "create")
    assert read.data["meta"]["versionId"] == "1"
    assert read.data["description"] == "x"
    assert read.data["meta"]["lastUpdated"].endswith("Z")


def test_text_is_kept_byte_for_byte(store: Store) -> None:
    quantity = b'"valueQuantity":{"value": 19.00,"unit":"\\u00e5"}'
    raw = b'{ "id":"o", "resourceType" : "Observation",\n ' + quantity + b', "status":"final" }'
    written = put(store, jsontext.parse(raw), "o")
    assert quantity in store.read("Observation", "o").body
    assert store.received("Observation", "o", written.version.version) == raw


def test_update_makes_a_version_and_time_rises(store: Store) -> None:
    def thrice(transaction: Transaction) -> list[Written]:
        return [transaction.put(task(description=str(n)), "t") for n in range(3)]

    first, second, third = (written.version for written in store.write(thrice))
    assert [first.version, second.version, third.version] == [1, 2, 3]
    assert first.updated < second.updated < third.updated
    assert [v.position for v in store.changes(0)] == [1, 2, 3]
    assert store.vread("Task", "t", 2).data["description"] == "1"


def test_unchanged_resource_makes_no_version(store: Store) -> None:
    put(store, task(), "t")
    again = put(store, jsontext.parse(store.read("Task", "t").body), "t")
    assert again.change == "unchanged"
    assert again.version.version == 1
    assert store.head() == 1


@pytest.mark.parametrize("member", ["tag", "security"])
def test_changed_meta_makes_a_version(store: Store, member: str) -> None:
    put(store, task(), "t")
    changed = put(store, task(meta={member: [{"system": "urn:x", "code": "a"}]}), "t")
    assert changed.change == "updated"
    assert store.read("Task", "t").data["meta"][member] == [{"system": "urn:x", "code": "a"}]


def test_other_decimals_are_another_statement(store: Store) -> None:
    put(store, jsontext.parse(b'{"resourceType":"Observation","valueQuantity":{"value":19.0}}'), "o")
    again = put(store, jsontext.parse(b'{"resourceType":"Observation","valueQuantity":{"value":19.00}}'), "o")
    assert again.change == "updated"


def test_delete_leaves_history_and_can_be_undone_by_put(store: Store) -> None:
    put(store, task(), "t")
    gone = delete(store, "Task", "t")
    assert gone is not None
    assert gone.version.deleted
    with pytest.raises(Gone):
        store.read("Task", "t")
    with pytest.raises(Gone):
        store.vread("Task", "t", 2)
    assert delete(store, "Task", "t") is None
    assert delete(store, "Task", "never") is None
    back = put(store, task(), "t")
    assert (back.change, back.version.version) == ("created", 3)
    assert [v.method for v in store.history("Task", "t")] == ["update", "delete", "update"]


def test_what_is_not_there_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound):
        store.read("Task", "t")
    with pytest.raises(NotFound):
        store.vread("Task", "t", 1)
    with pytest.raises(NotFound):
        store.vread("Task", "t", 10**30)


def test_if_match_must_name_the_newest_version(store: Store) -> None:
    with pytest.raises(PreconditionFailed):
        put(store, task(), "t", if_match=1)
    put(store, task(), "t")
    with pytest.raises(PreconditionFailed, match="is at version 1"):
        put(store, task(description="x"), "t", if_match=2)
    assert put(store, task(description="x"), "t", if_match=1).version.version == 2
    with pytest.raises(PreconditionFailed):
        delete(store, "Task", "t", if_match=1)
    assert delete(store, "Task", "t", if_match=2) is not None


def test_create_under_a_living_id_conflicts(store: Store) -> None:
    create(store, task(), id="t")
    with pytest.raises(Conflict):
        create(store, task(), id="t")


@pytest.mark.parametrize("id", ["", "a/b", "x" * 65, "å", "a b", "a\n"])
def test_an_id_that_fhir_does_not_allow_is_refused(store: Store, id: str) -> None:
    with pytest.raises(BadRequest):
        put(store, task(), id)


def test_history_is_newest_first_and_pages_by_position(store: Store) -> None:
    for n in range(5):
        put(store, task(description=str(n)), "a")
        put(store, jsontext.from_data({"resourceType": "Patient", "active": bool(n % 2)}), "p")
    assert [v.version for v in store.history("Task", "a")] == [5, 4, 3, 2, 1]
    first = store.history("Task", count=2)
    rest = store.history("Task", before=first[-1].position)
    assert [v.version for v in first + rest] == [5, 4, 3, 2, 1]
    assert [v.position for v in store.history()] == list(range(10, 0, -1))
    newest = store.history()[0].updated
    assert [v.position for v in store.history(since=newest)][:1] == [10]
    assert store.history(since=newest + timedelta(seconds=1)) == []


def test_log_is_read_in_order_and_in_parts(store: Store) -> None:
    for n in range(7):
        put(store, task(description=str(n)), f"t{n}")
    assert [v.id for v in store.changes(0, limit=3)] == ["t0", "t1", "t2"]
    assert [v.id for v in store.changes(3)] == ["t3", "t4", "t5", "t6"]
    assert store.changes(7) == []
    assert store.head() == 7


def test_cursor_moves_with_the_effects_it_vouches_for(store: Store) -> None:
    def fail(transaction: Transaction) -> None:
        transaction.set_cursor("watch", 5)
        transaction.create(task())
        raise ValueError

    with pytest.raises(ValueError):
        store.write(fail)
    assert (store.cursor("watch"), store.head()) == (0, 0)
    store.write(lambda transaction: transaction.set_cursor("watch", 5))
    store.write(lambda transaction: transaction.set_cursor("watch", 6))
    assert store.cursor("watch") == 6


def test_a_failing_work_fails_alone(store: Store) -> None:
    """Works that wait together are committed together; one that fails takes no other with it."""

    def work(n: int) -> Callable[[Transaction], Written]:
        def do(transaction: Transaction) -> Written:
            written = transaction.put(task(description=str(n)), f"t{n}")
            if n % 3 == 0:
                transaction.search(Query.parse("Task", []))
            if n % 2:
                raise ValueError(n)
            return written

        return do

    futures = [store.submit(work(n)) for n in range(40)]
    for n, future in enumerate(futures):
        if n % 2:
            with pytest.raises(ValueError, match=str(n)):
                future.result()
        else:
            assert future.result().version.id == f"t{n}"
    assert [v.id for v in store.changes(0)] == [f"t{n}" for n in range(0, 40, 2)]
    page = store.search(Query.parse("Task", [("_count", "100")]))
    assert [v.id for v in page.matches] == [f"t{n}" for n in range(0, 40, 2)]


def test_a_work_sees_its_own_writes(store: Store) -> None:
    def work(transaction: Transaction) -> list[str]:
        assert transaction.get("Task", "a") is None
        transaction.put(task(), "a")
        assert transaction.get("Task", "a") is not None
        found = transaction.search(Query.parse("Task", [("status", "requested")]))
        transaction.put(task(status="completed"), "a")
        again = transaction.search(Query.parse("Task", [("status", "requested")]))
        assert again.matches == []
        transaction.delete("Task", "a")
        newest = transaction.get("Task", "a")
        assert newest is not None
        assert newest.deleted
        return [version.id for version in found.matches]

    assert store.write(work) == ["a"]
    assert [v.version for v in store.history("Task", "a")] == [3, 2, 1]


def test_rows_of_other_floors_commit_and_fail_with_the_resources(store: Store) -> None:
    def work(transaction: Transaction, fail: bool) -> None:
        transaction.put(task(), "a")
        transaction.connection.exec_driver_sql("INSERT INTO setting (name, value) VALUES ('x', 'y')")
        if fail:
            raise ValueError

    with pytest.raises(ValueError):
        store.write(lambda transaction: work(transaction, True))
    with store.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM setting WHERE name = 'x'").scalar() == 0
    store.write(lambda transaction: work(transaction, False))
    with store.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM setting WHERE name = 'x'").scalar() == 1
    assert store.head() == 1


def test_index_rows_of_an_older_version_replace_none_of_a_newer_one(store: Store) -> None:
    def found(status: str) -> list[str]:
        return [version.id for version in store.search(Query.parse("Task", [("status", status)])).matches]

    older = put(store, task(), "a").version
    with store.connect() as connection:
        key = connection.exec_driver_sql("SELECT key FROM resource").scalar_one()
    made = [(key, older.version, index.rows("Task", older.data))]
    put(store, task(status="completed"), "a")
    store.write(lambda transaction: transaction.replace_index(made))
    assert (found("requested"), found("completed")) == ([], ["a"])


def test_meta_that_the_store_writes_itself_makes_no_version(store: Store) -> None:
    put(store, task(meta={"source": "urn:x"}), "a")
    theirs = {
        "source": "urn:x",
        "versionId": "77",
        "lastUpdated": "2020-01-01T00:00:00Z",
        "_versionId": {"id": "v"},
        "_lastUpdated": {"id": "u"},
    }
    assert put(store, task(meta=theirs), "a").change == "unchanged"


def test_history_since_a_moment_holds_what_was_written_at_it(store: Store) -> None:
    first = put(store, task(), "a").version
    second = put(store, task(status="completed"), "a").version
    assert store.history("Task", "a", since=second.updated) == [second]
    assert store.history("Task", "a", since=first.updated) == [second, first]


@pytest.mark.parametrize("version", [0, -1, 2, 2**62, 2**64, 10**30])
def test_a_version_that_cannot_be_is_not_found(store: Store, version: int) -> None:
    put(store, task(), "a")
    with pytest.raises(NotFound):
        store.vread("Task", "a", version)


def batches_of(store: Store, count: int) -> list[int]:
    """How many works are in each commit when so many wait for the writer."""
    waiting = threading.Event()
    store.submit(lambda _: waiting.wait(10))
    works = [store.submit(lambda transaction: transaction._batch) for _ in range(count)]
    waiting.set()
    batches = [work.result(10) for work in works]
    return list(Counter(map(id, batches)).values())


def test_a_batch_takes_so_many_works_and_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_SECONDS", 60.0)
    monkeypatch.setattr(writer, "MAX_WORKS", 4)
    # The work that holds the writer up is the first of the first batch.
    assert batches_of(store, 9) == [3, 4, 2]


def test_a_batch_takes_no_work_after_its_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_SECONDS", -1.0)
    assert batches_of(store, 3) == [1, 1, 1]


def waits_for_the_disk(transaction: Transaction) -> bool:
    connection = transaction.connection
    if connection.dialect.name == "sqlite":
        return bool(connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2)  # FULL
    return bool(connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on")


def as_a_clinic_sets_it_up(store: Store) -> None:
    """The server that the tests start does not wait for the disk, to be fast."""
    if store._database.url.get_backend_name() == "postgresql":
        store.write(lambda t: t.connection.exec_driver_sql("SET synchronous_commit = on") and None)


def test_each_write_waits_for_the_disk_unless_its_caller_can_do_without(store: Store) -> None:
    as_a_clinic_sets_it_up(store)
    assert store.write(waits_for_the_disk)
    assert not store.write(waits_for_the_disk, lasting=False)
    assert store.write(waits_for_the_disk)


def test_a_lasting_write_never_shares_a_commit_with_one_that_does_not_wait(store: Store) -> None:
    as_a_clinic_sets_it_up(store)
    waiting = threading.Event()
    store.submit(lambda _: waiting.wait(10))
    wanted = [True, True, False, False, True, False]
    works = [store.submit(waits_for_the_disk, lasting=lasting) for lasting in wanted]
    waiting.set()
    assert [work.result(10) for work in works] == wanted


def test_closing_finishes_what_is_queued_and_takes_nothing_more(store_url: str) -> None:
    store = Store.open(store_url)
    waiting = threading.Event()
    store.submit(lambda _: waiting.wait(10))
    queued = [store.submit(lambda transaction: transaction.create(task())) for _ in range(40)]
    threading.Timer(0.05, waiting.set).start()
    store.close()
    assert all(work.done() and work.exception() is None for work in queued)
    with pytest.raises(Overloaded, match="closed"):
        store.submit(lambda transaction: transaction.create(task()))


def test_a_work_that_would_wait_for_another_write_is_told(store: Store) -> None:
    """It would wait for ever: the thread that should write is the one that waits."""

    def work(_: Transaction) -> None:
        store.write(lambda inner: inner.create(task()))

    with pytest.raises(RuntimeError, match="same transaction"):
        store.submit(work).result(10)
    assert store.head() == 0


def test_everything_is_there_after_reopening(store_url: str) -> None:
    with Store.open(store_url) as first:
        put(first, task(), "t")
    with Store.open(store_url) as second:
        assert second.read("Task", "t").version == 1
        assert put(second, task(description="more"), "t").version.version == 2


def test_raw_json_survives_a_round_trip_as_json(store: Store) -> None:
    document = jsontext.parse(json.dumps({"resourceType": "Basic", "code": {"text": 'ÅÄÖ 🙂 \\ "'}}))
    written = create(store, document)
    assert store.read("Basic", written.version.id).data["code"] == document.data["code"]


def test_a_caller_that_goes_away_does_not_end_the_writer(store: Store) -> None:
    started, go_on = threading.Event(), threading.Event()

    def wait(_: Transaction) -> None:
        started.set()
        go_on.wait(10)

    store.submit(wait)
    started.wait(10)
    gone = store.submit(lambda transaction: transaction.create(jsontext.parse(b'{"resourceType":"Basic"}')))
    assert gone.cancel()
    go_on.set()
    written = store.write(lambda transaction: transaction.create(jsontext.parse(b'{"resourceType":"Basic"}')))
    assert store.read("Basic", written.version.id).version == 1
