"""What the watch and the pages are told of the EHRs: whom to rely on, and what nobody could read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from fhir_coprod.instants import to_milliseconds
from fhir_coprod.settings import EhrSettings
from fhir_coprod.store import Store
from fhir_coprod.store.schema.sync import crosswalk, dead_letter, feed, unread
from fhir_coprod.sync import observed
from fhir_coprod.sync.observed import Unread, Unreliable, Waiting

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def a_feed(
    store: Store,
    state: str,
    type: str = "Task",
    *,
    ehr: str = "care",
    since: datetime = NOON,
    first: datetime | None = None,
    last: datetime | None = None,
    reason: str = "",
) -> None:
    row = {
        "ehr": ehr,
        "type": type,
        "state": state,
        "since": to_milliseconds(since),
        "reason": reason,
        "watermark": "",
        "first_success": to_milliseconds(first) if first else 0,
        "last_success": to_milliseconds(last) if last else 0,
    }
    store.write(lambda t: t.connection.execute(insert(feed), [row]) and None)


def a_letter(
    store: Store, foreign_id: str, at: datetime, state: str = "open", *, ehr: str = "care", hash: str = "h"
) -> None:
    row = {
        "ehr": ehr,
        "type": "Task",
        "foreign_id": foreign_id,
        "hash": hash,
        "position": "",
        "body": b"",
        "outcome": "{}",
        "received": to_milliseconds(at),
        "state": state,
    }
    store.write(lambda t: t.connection.execute(insert(dead_letter), [row]) and None)


def a_record(store: Store, foreign_id: str, id: str, type: str = "Task", ehr: str = "care") -> None:
    stamps: dict[str, Any] = {"version": "", "updated": "", "hash": "", "deleted": False, "state": 0}
    row = {"ehr": ehr, "type": type, "foreign_id": foreign_id, "id": id, **stamps}
    store.write(lambda t: t.connection.execute(insert(crosswalk), [row]) and None)


def unreliable(store: Store, pulled_since: datetime | None = None) -> list[Unreliable]:
    with store.connect() as connection:
        return observed.unreliable_feeds(connection, pulled_since)


def struggling(store: Store, pulled_since: datetime) -> dict[str, tuple[datetime, str]]:
    with store.connect() as connection:
        return observed.struggling(connection, pulled_since)


@pytest.mark.parametrize("state", ["behind", "not-observable"])
def test_a_feed_that_is_behind_or_shows_nothing_is_unreliable_since_it_first_was(
    store: Store, state: str
) -> None:
    a_feed(store, state, since=NOON, last=NOON + HOUR, reason="why")
    assert unreliable(store) == [Unreliable("care", "Task", state, NOON, "why")]


@pytest.mark.parametrize("state", ["observable", "failed"])
def test_a_feed_is_relied_on_from_the_instant_it_has_to_be_pulled_since(store: Store, state: str) -> None:
    a_feed(store, state, last=NOON)
    assert unreliable(store) == []
    assert unreliable(store, NOON) == []
    assert len(unreliable(store, NOON + timedelta(milliseconds=1))) == 1


def test_a_feed_that_was_not_pulled_for_long_is_known_up_to_its_last_pull(store: Store) -> None:
    a_feed(store, "observable", since=NOON - HOUR, last=NOON)
    assert [row.since for row in unreliable(store, NOON + HOUR)] == [NOON]


def test_a_feed_that_fails_for_long_is_unreliable_since_it_fails(store: Store) -> None:
    a_feed(store, "failed", since=NOON + HOUR, last=NOON, reason="no answer")
    assert unreliable(store, NOON + 2 * HOUR) == [
        Unreliable("care", "Task", "failed", NOON + HOUR, "no answer")
    ]


def test_a_feed_that_was_never_seen_is_unreliable_however_patient_one_is(store: Store) -> None:
    a_feed(store, "failed", since=NOON)
    assert [row.state for row in unreliable(store)] == ["failed"]
    assert struggling(store, datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) == {}


def test_remarks_are_told_of_feeds_that_were_read_whole_for_every_patient(store: Store) -> None:
    a_feed(store, "observable", "Task", last=NOON, reason="it counts in its own way")
    a_feed(store, "observable", "Patient", last=NOON)
    a_feed(store, "behind", "Encounter", last=NOON, reason="a page is missing")
    a_feed(store, "observable", "Appointment", last=NOON, reason="1 of 2 patients could not be asked")
    gap = {"ehr": "care", "type": "Appointment", "what": "Patient/p", "reason": "", "since": 0}
    store.write(lambda t: t.connection.execute(insert(unread), [gap]) and None)
    with store.connect() as connection:
        assert observed.remarks(connection) == [("care", "Task", "it counts in its own way")]


def test_an_ehr_struggles_while_its_last_good_pull_is_not_long_ago(store: Store) -> None:
    a_feed(store, "failed", "Task", last=NOON, reason="a")
    a_feed(store, "failed", "Patient", last=NOON + HOUR, reason="b")
    a_feed(store, "observable", last=NOON, ehr="ortho")
    assert struggling(store, NOON) == {"care": (NOON, "a")}
    assert struggling(store, NOON + HOUR) == {"care": (NOON + HOUR, "b")}
    assert struggling(store, NOON + 2 * HOUR) == {}


def test_an_ehr_was_first_read_whole_when_the_last_of_its_types_was(store: Store) -> None:
    a_feed(store, "observable", "Task", first=NOON)
    a_feed(store, "failed", "Patient", first=NOON + HOUR)
    a_feed(store, "not-observable", "Communication")
    a_feed(store, "observable", "Task", ehr="ortho", first=NOON)
    a_feed(store, "behind", "Patient", ehr="ortho")
    with store.connect() as connection:
        assert observed.first_read(connection) == {"care": NOON + HOUR, "ortho": None}


def test_a_resource_is_unread_since_the_first_open_letter_about_it(store: Store) -> None:
    a_record(store, "t", "own")
    a_letter(store, "t", NOON + HOUR, hash="1")
    a_letter(store, "t", NOON, hash="2")
    a_letter(store, "t", NOON - HOUR, "resolved", hash="3")
    with store.connect() as connection:
        assert list(observed.unread_records(connection)) == [Unread("care", "Task", "own", NOON)]


def test_only_a_letter_about_a_resource_of_ours_leaves_it_unread(store: Store) -> None:
    a_record(store, "not-linked", "")
    a_record(store, "", "nobody")
    a_record(store, "t", "of another type", type="Patient")
    a_record(store, "t", "of another EHR", ehr="ortho")
    for foreign_id in ("not-linked", "", "t", "never-taken"):
        a_letter(store, foreign_id, NOON)
    with store.connect() as connection:
        assert list(observed.unread_records(connection)) == []


def test_ehrs_with_open_letters_are_told_by_name_with_the_number_of_the_last(store: Store) -> None:
    a_letter(store, "a", NOON, ehr="ortho")
    a_letter(store, "b", NOON)
    a_letter(store, "c", NOON)
    a_letter(store, "d", NOON, "superseded")
    a_letter(store, "e", NOON, "resolved", ehr="neuro")
    with store.connect() as connection:
        assert observed.waiting_dead_letters(connection) == [Waiting("care", 2, 3), Waiting("ortho", 1, 1)]


def test_the_department_of_an_ehr_is_our_resource_of_the_record_that_the_settings_name(store: Store) -> None:
    a_record(store, "1", "own", type="Organization")
    a_record(store, "1", "place", type="Location")
    a_record(store, "1", "theirs", type="Organization", ehr="ortho")
    a_record(store, "2", "", type="Organization")

    def of(department: str) -> dict[str, tuple[str, ...]]:
        ehr = EhrSettings(name="care", url="https://care.example/fhir", department=department)
        with store.connect() as connection:
            return observed.departments(connection, [EhrSettings(name="x", url="https://x.example"), ehr])

    assert of("Organization/1") == {"care": ("Organization/own",)}
    assert of("Organization/2") == {"care": ()}
    assert of("Organization/3") == {"care": ()}
    assert of("") == {}
