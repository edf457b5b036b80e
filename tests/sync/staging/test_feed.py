"""What a feed says about one type at one EHR after each pull."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fhir_coprod.settings import EhrSettings
from fhir_coprod.store import Store
from fhir_coprod.sync.ehr.plan import plan
from fhir_coprod.sync.staging import feed
from fhir_coprod.sync.staging.feed import Feed, Success

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
EHR = EhrSettings(name="care", url="https://care.example/fhir", types=("Task",))


def planned(store: Store, *interactions: str, now: datetime = NOW) -> None:
    offer = {"type": "Task", "interaction": [{"code": code} for code in interactions]}
    statement = {
        "resourceType": "CapabilityStatement",
        "fhirVersion": "4.0.1",
        "rest": [{"mode": "server", "resource": [offer]}],
    }
    made = plan(EHR, statement)
    store.write(lambda t: feed.planned(t.connection, made, now))


def succeeded(store: Store, started: datetime, now: datetime) -> None:
    success = Success("", started)
    store.write(lambda t: feed.succeeded(t.connection, "care", "Task", success, now))


def failed(store: Store) -> None:
    store.write(lambda t: feed.failed(t.connection, "care", ["Task"], "failed", "no answer", LATER))


def row(store: Store) -> Feed:
    with store.connect() as connection:
        (found,) = feed.feeds(connection)
    return found


def test_what_cannot_be_seen_stays_so_when_the_ehr_does_not_answer(store: Store) -> None:
    planned(store, "read")
    failed(store)
    assert (row(store).state, row(store).since) == ("not-observable", NOW)


def test_what_the_server_shows_from_now_on_is_behind_until_it_is_pulled(store: Store) -> None:
    planned(store, "read")
    planned(store, "search-type", now=LATER)
    assert (row(store).state, row(store).since) == ("behind", LATER)


def test_a_plan_leaves_a_feed_that_was_pulled_as_it_is(store: Store) -> None:
    planned(store, "search-type")
    succeeded(store, NOW, NOW)
    planned(store, "search-type", now=LATER)
    assert (row(store).state, row(store).since) == ("observable", NOW)


def test_it_is_known_up_to_the_start_of_a_pull_and_first_seen_whole_only_once(store: Store) -> None:
    planned(store, "search-type")
    succeeded(store, NOW, NOW + timedelta(minutes=30))
    assert (row(store).first_success, row(store).last_success) == (NOW, NOW)
    failed(store)
    succeeded(store, LATER, LATER + timedelta(minutes=30))
    assert (row(store).first_success, row(store).last_success) == (NOW, LATER)
