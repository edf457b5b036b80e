"""Rows beside the log: what comes in between is never lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from fhir_coprod.instants import to_milliseconds
from fhir_coprod.store import Store, Transaction
from fhir_coprod.watch.facts import rows
from fhir_coprod.watch.facts.rows import POSTPONED, Held, Row
from fhir_coprod.watch.rules.codes import Stage
from fhir_coprod.watch.rules.standing import Standing
from tests.watch.hospital import MONDAY

NAME = "ServiceRequest/r"
SAID = Standing(NAME, "Patient/p", Stage.SENT)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """On SQLite alone: what the databases do differently is tested with the sweep."""
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield opened


def row(store: Store) -> Held | None:
    with store.connect() as connection:
        return rows.held(connection, NAME)


def mark(store: Store, due: int) -> None:
    store.write(lambda t: rows.mark(t, {NAME}, due))


def save(store: Store, was: Held | None, due: int = 100) -> None:
    store.write(lambda t: rows.save(t, rows.changed([Row(SAID, due, was)])))


def test_a_standing_is_written_where_nothing_new_has_marked_its_row(store: Store) -> None:
    mark(store, -7)
    was = row(store)
    save(store, was)
    assert row(store) == Held(100, "", False, rows._encode(SAID), None)


@pytest.mark.parametrize(
    "write",
    [
        lambda t, was: rows.save(t, rows.changed([Row(SAID, 100, was)])),
        lambda t, was: rows.forget(t, {NAME: was}),
    ],
    ids=("said", "forgotten"),
)
@pytest.mark.parametrize("known", [True, False], ids=("marked again", "marked for the first time"))
def test_a_row_that_news_has_marked_meanwhile_is_left_alone(
    store: Store, write: Callable[[Transaction, Held | None], None], known: bool
) -> None:
    if known:
        mark(store, -7)
    was = row(store)
    mark(store, -8)
    store.write(lambda t: write(t, was))
    assert row(store) == Held(-8, "", False, b"", None)


def test_a_referral_that_waits_for_all_the_others_is_due_only_after_them(store: Store) -> None:
    save(store, None, POSTPONED)
    with store.connect() as connection:
        assert rows.due_by(connection, MONDAY, 9, postponed=False) == {}
        assert set(rows.due_by(connection, MONDAY, 9, postponed=True)) == {NAME}


@pytest.mark.parametrize("microseconds", [0, 1, 500, 999])
def test_nobody_looks_again_before_the_moment(microseconds: int) -> None:
    at = MONDAY + timedelta(microseconds=microseconds)
    due = rows.milliseconds_until(at)
    assert due == to_milliseconds(MONDAY) + bool(microseconds)
    assert rows.milliseconds_until(None) == rows.NEVER


def test_what_is_marked_longest_is_looked_at_first(store: Store) -> None:
    for number in (3, 1, 2):
        store.write(lambda t, n=number: rows.mark(t, {f"ServiceRequest/r{n}"}, -n))
    with store.connect() as connection:
        due = rows.due_by(connection, MONDAY, 2, postponed=True)
    assert list(due) == ["ServiceRequest/r1", "ServiceRequest/r2"]
