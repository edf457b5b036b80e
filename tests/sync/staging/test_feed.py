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


def all_feeds(store: Store, ehr: str | None = None) -> list[tuple[str, str, str]]:
    with store.connect() as connection:
        return [(row.ehr, row.type, row.state) for row in feed.feeds(connection, ehr)]


def test_a_feed_that_fails_in_another_way_does_so_since_then(store: Store) -> None:
    def fails(state: feed.State, reason: str, now: datetime) -> Feed:
        store.write(lambda t: feed.failed(t.connection, "care", ["Task"], state, reason, now))
        return row(store)

    first = fails("failed", "no answer", NOW)
    assert (first.since, first.reason, first.first_success, first.last_success) == (
        NOW,
        "no answer",
        None,
        None,
    )
    again = fails("failed", "no usable answer", LATER)
    assert (again.since, again.reason) == (NOW, "no usable answer")
    assert fails("behind", "some", LATER).since == LATER


def test_a_pull_that_is_behind_moves_the_watermark_and_not_what_is_known(store: Store) -> None:
    def pulled(mark: str, behind: str = "") -> Feed:
        success = Success(mark, LATER, behind)
        store.write(lambda t: feed.succeeded(t.connection, "care", "Task", success, LATER))
        return row(store)

    succeeded(store, NOW, NOW)
    found = pulled("m1", "two are missing")
    assert (found.state, found.reason, found.since) == ("behind", "two are missing", LATER)
    assert (found.first_success, found.last_success) == (NOW, NOW)
    assert found.watermark == "m1"
    found = pulled("m2")
    assert (found.state, found.reason, found.last_success) == ("observable", "", LATER)


def test_feeds_are_told_by_name_and_type_and_those_nobody_asks_for_are_dropped(store: Store) -> None:
    for ehr, type in (("ortho", "Task"), ("care", "Task"), ("care", "Goal")):
        store.write(lambda t, e=ehr, y=type: feed.failed(t.connection, e, [y], "failed", "", NOW))
    everything = [("care", "Goal", "failed"), ("care", "Task", "failed"), ("ortho", "Task", "failed")]
    assert all_feeds(store) == everything
    assert all_feeds(store, "care") == everything[:2]
    planned(store, "search-type")
    assert all_feeds(store) == everything[1:]
    store.write(lambda t: feed.forget_others(t.connection, ["ortho", "neuro"]))
    assert all_feeds(store) == everything[2:]


def test_what_the_server_no_longer_shows_says_so_at_once(store: Store) -> None:
    planned(store, "search-type")
    succeeded(store, NOW, NOW)
    planned(store, now=LATER)
    found = row(store)
    assert (found.state, found.since) == ("not-observable", LATER)
    assert found.reason == "the server does not let Task be searched"
    assert found.last_success == NOW
