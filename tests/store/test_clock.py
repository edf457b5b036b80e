"""Clocks that are set back or forth, or differ between machines: times in the store rise all the same."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from sqlalchemy import update

from fhir_coprod import instants, jsontext
from fhir_coprod.jsontext import Document
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Query, Store
from fhir_coprod.store.lease import Lease
from fhir_coprod.store.prepared import prepare
from fhir_coprod.store.schema import core
from fhir_coprod.sync import hours

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAYS = timedelta(days=2)


class Clock:
    """A clock that anybody can set."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


def basic(text: str = "") -> Document:
    return jsontext.from_data({"resourceType": "Basic", "code": {"text": text or "a"}})


def write(store: Store, id: str, text: str = "") -> str:
    """The lastUpdated of what was written."""
    version = store.write(lambda transaction: transaction.put(basic(text), id)).version
    assert version.data["meta"]["lastUpdated"] == instants.last_updated(version.updated)
    assert store.read("Basic", id) == version
    return str(version.data["meta"]["lastUpdated"])


def poll(store: Store, since: str) -> list[str]:
    found = store.search(Query.parse("Basic", [("_lastUpdated", f"gt{since}")])).matches
    return [version.id for version in found]


@pytest.mark.parametrize("back", [timedelta(), DAYS, 9999 * DAYS])
def test_who_polls_by_last_updated_misses_nothing_when_the_clock_is_set_back(
    store_url: str, back: timedelta
) -> None:
    clock = Clock()
    with Store.open(store_url, clock=clock) as store:
        seen = write(store, "before")
        clock.now -= back
        for id in ("after", "later", "before"):
            last = write(store, id, "changed")
            assert poll(store, seen) == [id]
            seen = last
        store.write(lambda transaction: transaction.delete("Basic", "after"))
        assert [version.id for version in store.history(since=store.vread("Basic", "before", 2).updated)] == [
            "after",
            "before",
        ]
        clock.now = NOON + timedelta(hours=1)
        assert write(store, "again") == "2026-03-02T13:00:00.000Z"


def test_a_clock_that_was_ahead_is_followed_until_it_was_right(store_url: str) -> None:
    clock = Clock(NOON + DAYS)
    with Store.open(store_url, clock=clock) as store:
        write(store, "ahead")
        clock.now = NOON
        assert write(store, "a") == "2026-03-04T12:00:00.001Z"
        assert write(store, "b") == "2026-03-04T12:00:00.002Z"
        clock.now = NOON + DAYS + timedelta(seconds=1)
        assert write(store, "c") == "2026-03-04T12:00:01.000Z"


def test_all_forms_of_writing_get_the_time_they_are_shown_with(store_url: str) -> None:
    clock = Clock()
    text = '"lastUpdated":"2026-02-28T12:00:00.000Z"'
    with Store.open(store_url, clock=clock) as store:
        write(store, "before")
        clock.now -= DAYS
        made = store.write(lambda transaction: transaction.create(basic(text)))
        ready = prepare(basic(text), "ready", {"tag": [{"code": text}]})
        put = store.write(lambda transaction: transaction.put_prepared(ready))
        # One work that reads what it has written, and writes it again.
        twice = store.write(
            lambda t: [
                t.put(basic("x"), "x"),
                t.get("Basic", "x").data,
                t.put(basic("y"), "x"),
                t.delete("Basic", "x"),
            ]  # type: ignore[union-attr]
        )
        for version in (made.version, put.version):
            kept = store.read("Basic", version.id)
            assert kept == version
            assert kept.data["meta"]["lastUpdated"] == instants.last_updated(kept.updated)
            assert kept.data["code"]["text"] == text
        assert [version.version for version in store.history("Basic", "x")] == [3, 2, 1]
        assert twice[0].version.data["meta"]["lastUpdated"] == instants.last_updated(twice[0].version.updated)
        log = store.changes(0)
        assert all(a.milliseconds < b.milliseconds for a, b in pairwise(log))


def test_times_rise_with_the_log_when_machines_disagree(postgresql_store: str) -> None:
    """Three servers, whose clocks differ by days, write at once; some of it collides."""
    with ExitStack() as stack:
        stores = [
            stack.enter_context(Store.open(postgresql_store, clock=Clock(NOON + part * DAYS)))
            for part in (-1, 0, 1)
        ]
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda n: write_only(stores[n % 3], f"b{n % 7}", str(n)), range(90)))
        log = stores[0].changes(0)
        assert len(log) == 90
        assert all(a.milliseconds <= b.milliseconds for a, b in pairwise(log))
        for each in log:
            assert each.data["meta"]["lastUpdated"] == instants.last_updated(each.updated)


def write_only(store: Store, id: str, text: str) -> None:
    store.write(lambda transaction: transaction.put(basic(text), id))


# --------------------------------------------------------------------------------------- leases and schedules


@pytest.fixture
def stores(store_url: str) -> Iterator[tuple[Store, Store]]:
    """The same store from a machine whose clock is right, and from one whose is two days ahead."""
    right, ahead = Clock(instants.now()), Clock(instants.now() + DAYS)
    with Store.open(store_url, clock=right) as one, Store.open(store_url, clock=ahead) as other:
        yield one, other


def test_a_lease_lasts_as_long_whoever_s_clock_is_wrong(stores: tuple[Store, Store]) -> None:
    for mine, other in (stores, stores[::-1]):
        first, second = Lease("job", 60, "a/1/elsewhere/x"), Lease("job", 60, "b/1/elsewhere/y")
        assert mine.write(first.take) is None
        assert other.write(second.take) == first.holder
        assert mine.write(first.prolong)
        mine.write(first.give_up)
        assert other.write(second.take) is None
        other.write(second.give_up)


def test_a_lease_from_before_the_clock_was_set_back_holds_nobody_up(store: Store) -> None:
    dead, next = Lease("job", 60, "a/1/elsewhere/x"), Lease("job", 60, "b/1/elsewhere/y")
    store.write(dead.take)
    later = round((instants.now() + DAYS).timestamp() * 1000)
    store.write(lambda t: t.connection.execute(update(core.lease).values(until=later)))
    assert store.write(next.take) is None
    assert store.write(next.prolong)


def test_a_sync_is_due_when_the_last_one_began_in_the_future(stores: tuple[Store, Store]) -> None:
    one, other = stores
    settings = Settings(ehr=(EhrSettings(name="care", url="https://care.example/fhir"),))

    def due(store: Store) -> list[str]:
        return store.write(lambda transaction: hours.take_due(transaction, settings, instants.now()))

    assert due(other) == ["care"]
    assert due(one) == [], "they share one clock"
    ahead = round((instants.now() + DAYS).timestamp())
    one.write(lambda transaction: transaction.set_cursor("sync:began:care", ahead))
    assert due(one) == ["care"]
    assert due(other) == []
