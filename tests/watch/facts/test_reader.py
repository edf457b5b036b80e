"""Facts read from a store are those that the pure reader makes of the same resources."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from sqlalchemy import insert

from fhir_coprod import jsontext
from fhir_coprod.errors import NotFound
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Store
from fhir_coprod.store.schema import sync as sync_tables
from fhir_coprod.watch import Facts, assess
from fhir_coprod.watch.facts import queries, reader
from fhir_coprod.watch.record.around import Surroundings
from fhir_coprod.watch.record.compose import compose
from fhir_coprod.watch.rules import policies
from tests.watch.hospital import Hospital
from tests.watch.stored import all_stories, put_all, staff, tell
from tests.watch.story import BEHIND

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def in_order(found: Facts) -> Facts:
    """The same facts, each kind sorted: the order in which they were found says nothing."""
    return msgspec.structs.replace(
        found,
        **{
            kind: tuple(sorted(getattr(found, kind), key=repr))
            for kind in ("tasks", "appointments", "visits", "results", "messages", "side_tasks", "siblings")
        },
    )


def test_every_story_is_read_back_from_the_store(store: Store) -> None:
    stories = [story for story in all_stories() if not story.blind and story.zone.key == "UTC"][::4]
    store.write(lambda t: put_all(t, staff()))
    wanted = {}
    for number, story in enumerate(stories):
        prefix = f"s{number}"
        request, related, siblings = tell(store, story, prefix)
        wanted[request.reference] = in_order(
            compose(
                request,
                related,
                siblings,
                proxies=(f"RelatedPerson/{prefix}-daughter",),
                around=Surroundings(ZoneInfo("UTC"), BEHIND),
            )
        )
    found = {known.request.id: in_order(known) for known in reader.all_open(store)}
    for reference, expected in wanted.items():
        assert found[reference] == expected
        assert in_order(reader.gather(store, reference)) == expected


def test_an_unknown_referral_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="ServiceRequest/nobody"):
        reader.gather(store, "nobody")


def test_a_message_that_asks_for_nothing_is_no_referral(store: Store) -> None:
    message = {
        "resourceType": "Communication",
        "id": "thanks",
        "status": "completed",
        "sender": {"reference": "Patient/p"},
    }
    store.write(lambda t: put_all(t, [message]))
    assert list(reader.all_open(store)) == []
    with pytest.raises(NotFound):
        reader.gather(store, "Communication/thanks")


def referral(owner: str = "Organization/ours") -> list[dict[str, object]]:
    return [
        {
            "resourceType": "ServiceRequest",
            "id": "r",
            "status": "active",
            "intent": "order",
            "subject": {"reference": "Patient/p"},
            "requester": {"reference": "Organization/gp"},
            "authoredOn": "2026-03-02T09:00:00Z",
        },
        {
            "resourceType": "Task",
            "id": "t",
            "status": "accepted",
            "intent": "order",
            "focus": {"reference": "ServiceRequest/r"},
            "owner": {"reference": owner},
            "lastModified": "2026-03-03T09:00:00Z",
        },
    ]


def feed(store: Store, ehr: str, type: str, state: str, last_success: int = 0) -> None:
    row = {
        "ehr": ehr,
        "type": type,
        "state": state,
        "since": 0,
        "reason": "the server does not show it",
        "watermark": "",
        "first_success": 0,
        "last_success": last_success,
    }
    store.write(lambda t: t.connection.execute(insert(sync_tables.feed).values(**row)) and None)


def configured(store: Store) -> Settings:
    row = {
        "ehr": "ortho",
        "type": "Organization",
        "foreign_id": "77",
        "id": "ours",
        "version": "",
        "updated": "",
        "hash": "",
        "deleted": False,
        "state": 0,
    }
    store.write(lambda t: t.connection.execute(insert(sync_tables.crosswalk).values(**row)) and None)
    ehr = EhrSettings(name="ortho", url="https://ortho.example/fhir", department="Organization/77")
    return Settings(ehr=(ehr,))


def rules(store: Store, settings: Settings | None, **options: datetime) -> tuple[set[str], tuple[str, ...]]:
    standing = assess(reader.gather(store, "r", settings, **options), policies.load("default"), NOW)
    return {stall.rule.value for stall in standing.stalls}, standing.not_observable


def test_what_a_department_s_ehr_does_not_show_is_not_observable(store: Store) -> None:
    settings = configured(store)
    store.write(lambda t: put_all(t, referral()))
    feed(store, "ortho", "Appointment", "not-observable")
    assert rules(store, settings) == ({"patient-not-informed"}, ("Appointment",))


def test_another_department_is_not_touched_by_it(store: Store) -> None:
    settings = configured(store)
    store.write(lambda t: put_all(t, referral("Organization/theirs")))
    feed(store, "ortho", "Appointment", "not-observable")
    assert rules(store, settings) == ({"unscheduled", "patient-not-informed"}, ())


def test_resources_that_no_ehr_gave_are_fully_observable(store: Store) -> None:
    store.write(lambda t: put_all(t, referral()))
    feed(store, "ortho", "Appointment", "not-observable")
    assert rules(store, None)[0] == {"unscheduled", "patient-not-informed"}


def test_an_ehr_of_unnamed_department_may_hold_anybody_s_records(store: Store) -> None:
    def from_ehr(t: object) -> None:
        for data in referral():
            t.put(jsontext.from_data(data), data["id"], source="ehr:ortho")  # type: ignore[attr-defined]

    store.write(from_ehr)
    feed(store, "ortho", "Appointment", "failed")
    assert rules(store, None) == ({"patient-not-informed"}, ("Appointment",))


def test_a_feed_not_pulled_for_long_is_behind(store: Store) -> None:
    settings = configured(store)
    store.write(lambda t: put_all(t, referral()))
    pulled = datetime(2026, 5, 20, tzinfo=UTC)
    feed(store, "ortho", "Appointment", "observable", int(pulled.timestamp() * 1000))
    assert rules(store, settings, pulled_since=pulled - timedelta(days=1))[1] == ()
    assert rules(store, settings, pulled_since=pulled + timedelta(days=1))[1] == ("Appointment",)


def test_a_pull_that_failed_takes_nothing_away_from_the_one_before_it(store: Store) -> None:
    settings = configured(store)
    store.write(lambda t: put_all(t, referral()))
    pulled = datetime(2026, 5, 20, tzinfo=UTC)
    feed(store, "ortho", "Appointment", "failed", int(pulled.timestamp() * 1000))
    assert rules(store, settings, pulled_since=pulled - timedelta(days=1))[1] == ()
    assert rules(store, settings, pulled_since=pulled + timedelta(days=1))[1] == ("Appointment",)


def test_more_letters_than_one_statement_takes_values_are_all_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "AT_ONCE", 3)
    letters = [
        {
            "resourceType": "Communication",
            "id": f"c{number}",
            "status": "completed",
            "about": [{"reference": "ServiceRequest/r"}],
            "sent": f"2026-03-{number + 10}T09:00:00Z",
            "recipient": [{"reference": "Patient/p"}],
        }
        for number in range(10)
    ]
    store.write(lambda t: put_all(t, (*referral(), *letters)))
    found = reader.gather(store, "r")
    assert len(found.messages) == 10


def test_a_deleted_booking_is_no_booking(store: Store) -> None:
    booking = {
        "resourceType": "Appointment",
        "id": "a",
        "status": "booked",
        "created": "2026-03-04",
        "start": "2026-07-01T09:00:00Z",
        "end": "2026-07-01T10:00:00Z",
        "basedOn": [{"reference": "ServiceRequest/r"}],
        "participant": [],
    }
    store.write(lambda t: put_all(t, [*referral(), booking]))
    assert "unscheduled" not in rules(store, None)[0]
    store.write(lambda t: t.delete("Appointment", "a"))
    assert "unscheduled" in rules(store, None)[0]


class _Faulty(reader.Reader):
    """Stands in for a fault of ours that nobody foresaw, where it reads around several referrals at once."""

    def _follow(self, roots: Any) -> Any:
        if any(root.id == "bad" for root in roots):
            raise ZeroDivisionError
        return super()._follow(roots)


def test_a_fault_while_several_referrals_are_read_at_once_holds_up_none_but_its_own(store: Store) -> None:
    hospital = Hospital(store)
    for id in ("a", "bad", "c"):
        hospital.refer(id)
    with store.connect() as connection:
        (portion,) = reader.portions(_Faulty(connection, Settings()))
    faults = {one.referral: one.fault for one in portion}
    assert faults == {
        "ServiceRequest/a": "",
        "ServiceRequest/bad": "ZeroDivisionError",
        "ServiceRequest/c": "",
    }
    with store.connect() as connection, pytest.raises(ZeroDivisionError):
        reader.read_one(_Faulty(connection, Settings()), "bad")
