"""Alerts are written by what holds just then; what stops being a referral takes its own with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, event, insert

from fhir_coprod import jsontext
from fhir_coprod.settings import EhrSettings, Settings, SiteSettings
from fhir_coprod.store import Store, Transaction
from fhir_coprod.store.schema import sync as sync_tables
from fhir_coprod.store.schema import watch as watch_tables
from fhir_coprod.watch.alerts import resources
from fhir_coprod.watch.facts import rows
from fhir_coprod.watch.facts.rows import FOLLOWER
from fhir_coprod.watch.live.evaluate import look_at
from fhir_coprod.watch.live.loop import AGAIN, Watch
from fhir_coprod.watch.worklist import desk
from tests.watch.hospital import DAY, MONDAY, Hospital

LATE = MONDAY + 90 * DAY
MESSAGE = {
    "resourceType": "Communication",
    "id": "m",
    "status": "completed",
    "subject": {"reference": "Patient/p"},
    "sender": {"reference": "Patient/p"},
    "recipient": [{"reference": "Organization/clinic"}],
    "sent": MONDAY.isoformat(),
    "category": [{"coding": [{"system": "urn:codes", "code": "referral-request"}]}],
}
REQUEST = {
    "resourceType": "ServiceRequest",
    "id": "s",
    "status": "active",
    "intent": "proposal",
    "subject": {"reference": "Patient/p"},
    "requester": {"reference": "Patient/p"},
    "performer": [{"reference": "Organization/clinic"}],
    "authoredOn": MONDAY.isoformat(),
}
REFERRAL = [{"coding": [{"system": "http://snomed.info/sct", "code": "3457005"}]}]
LABORATORY = [{"coding": [{"system": "http://snomed.info/sct", "code": "108252007"}]}]
Resource = dict[str, Any]


@pytest.fixture
def hospital(store: Store) -> Hospital:
    return Hospital(store)


def stalled(hospital: Hospital, resource: Resource) -> Watch:
    """A request that nobody answers, of which nobody told the patient: two alerts."""
    hospital.put(resource)
    watch = Watch(hospital.store, hospital.policy, hospital.settings)
    watch.catch_up(LATE)
    assert set(hospital.issues()) == {"request-unanswered", "patient-not-informed"}
    assert len(desk.worklist(hospital.store, hospital.settings)) == 1
    return watch


def follow(watch: Watch, now: datetime) -> None:
    """What a worker does, but for a look at everything."""
    while watch.follow() | watch.due(now):
        pass


def is_withdrawn(hospital: Hospital) -> bool:
    return (
        set(hospital.issues("cancelled")) == {"request-unanswered", "patient-not-informed"}
        and not hospital.issues()
        and not hospital.issues("final")
        and desk.worklist(hospital.store, hospital.settings) == []
        and [task["status"] for task in hospital.followups()] == ["cancelled"]
    )


def without(resource: Resource, *keys: str) -> Resource:
    return {key: value for key, value in resource.items() if key not in keys}


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (MESSAGE, without(MESSAGE, "category")),
        (MESSAGE, {**MESSAGE, "category": [{"text": "referral-request"}]}),
        (MESSAGE, {**MESSAGE, "sender": {"reference": "PractitionerRole/gp"}}),
        (MESSAGE, without(MESSAGE, "sender")),
        (MESSAGE, {**MESSAGE, "status": "entered-in-error"}),
        (MESSAGE, {**MESSAGE, "status": "not-done"}),
        (MESSAGE, {**MESSAGE, "sent": (LATE + 9 * DAY).isoformat()}),
        (MESSAGE, None),
        (REQUEST, {**REQUEST, "status": "entered-in-error"}),
        (REQUEST, {**REQUEST, "doNotPerform": True}),
        (REQUEST, {**REQUEST, "category": LABORATORY, "requester": {"reference": "PractitionerRole/gp"}}),
        (REQUEST, without({**REQUEST, "category": LABORATORY, "intent": "order"}, "requester")),
        (REQUEST, None),
    ],
    ids=(
        "a message without its category",
        "a message whose category is a word",
        "a message of somebody else",
        "a message of nobody",
        "a message entered in error",
        "a message never sent",
        "a message of later",
        "a message deleted",
        "a request entered in error",
        "a request not to perform",
        "a laboratory order of the practice",
        "a laboratory order of nobody",
        "a request deleted",
    ),
)
def test_what_turns_out_to_be_no_referral_withdraws_its_alerts(
    hospital: Hospital, was: Resource, becomes: Resource | None
) -> None:
    watch = stalled(hospital, was)
    if becomes is None:
        hospital.store.write(lambda t: t.delete(was["resourceType"], was["id"]))
    else:
        hospital.put(becomes)
    follow(watch, LATE + timedelta(minutes=1))
    assert is_withdrawn(hospital)


@pytest.mark.parametrize(
    "becomes",
    [
        {**REQUEST, "category": REFERRAL, "requester": {"reference": "PractitionerRole/gp"}},
        {**REQUEST, "category": REFERRAL, "intent": "order"},
    ],
    ids=("requester", "intent"),
)
def test_a_patient_s_request_that_is_an_order_by_now_asks_for_what_an_order_waits_for(
    hospital: Hospital, becomes: Resource
) -> None:
    """It is a referral as before, so nothing is withdrawn: what stood is over."""
    watch = stalled(hospital, REQUEST)
    hospital.put(becomes)
    follow(watch, LATE + timedelta(minutes=1))
    assert set(hospital.issues()) == {"not-sent", "patient-not-informed"}
    assert set(hospital.issues("final")) == {"request-unanswered"}
    worklist = desk.worklist(hospital.store, hospital.settings)
    assert [resources.stage_of(task) for task in worklist] == ["written"]


@pytest.mark.parametrize("then", [MESSAGE, None], ids=("asks again", "deleted"))
def test_a_message_that_asked_once_may_ask_again_or_be_deleted(
    hospital: Hospital, then: Resource | None
) -> None:
    watch = stalled(hospital, MESSAGE)
    hospital.put(without(MESSAGE, "category"))
    follow(watch, LATE + timedelta(minutes=1))
    if then is None:
        hospital.store.write(lambda t: t.delete("Communication", "m"))
        follow(watch, LATE + timedelta(minutes=2))
        assert is_withdrawn(hospital)
    else:
        hospital.put(then)
        follow(watch, LATE + timedelta(minutes=2))
        assert set(hospital.issues()) == {"request-unanswered", "patient-not-informed"}
        assert [task["status"] for task in hospital.followups()] == ["requested"]


@pytest.mark.parametrize("sender", ["Patient/p", "PractitionerRole/gp", ""])
@pytest.mark.parametrize("what", ["DetectedIssue", "Task"])
def test_what_was_withdrawn_cannot_be_opened_by_hand(hospital: Hospital, sender: str, what: str) -> None:
    watch = stalled(hospital, MESSAGE)
    if sender:
        hospital.put({**without(MESSAGE, "category"), "sender": {"reference": sender}})
    else:
        hospital.store.write(lambda t: t.delete("Communication", "m"))
    follow(watch, LATE + timedelta(minutes=1))
    assert is_withdrawn(hospital)
    if what == "Task":
        (task,) = hospital.followups()
        hospital.put({**task, "status": "requested"})
    else:
        issue = hospital.issues("cancelled")["request-unanswered"]
        hospital.put({**issue, "status": "preliminary"})
    follow(watch, LATE + timedelta(minutes=2))
    assert is_withdrawn(hospital)


@pytest.mark.parametrize(
    "becomes", [{"sender": {"reference": "PractitionerRole/gp"}}, {"category": []}, None]
)
def test_a_look_at_everything_finds_alerts_whose_referral_nobody_remembers(
    hospital: Hospital, becomes: Resource | None
) -> None:
    """As an earlier version has left them: the standing forgotten, the alerts still open."""
    stalled(hospital, MESSAGE)
    if becomes is None:
        hospital.store.write(lambda t: t.delete("Communication", "m"))
    else:
        hospital.put({**MESSAGE, **becomes})

    def forget(transaction: Transaction) -> None:
        transaction.connection.execute(delete(watch_tables.standing))
        transaction.set_cursor(FOLLOWER, hospital.head())
        transaction.set_cursor(AGAIN, 1)

    hospital.store.write(forget)
    Watch(hospital.store, hospital.policy, hospital.settings).catch_up(LATE + timedelta(minutes=1))
    assert is_withdrawn(hospital)


@pytest.mark.parametrize("becomes", [without(MESSAGE, "category"), None], ids=("asks no more", "deleted"))
def test_alerts_that_a_later_clock_has_judged_are_withdrawn_when_ours_is_there_too(
    hospital: Hospital, becomes: Resource | None
) -> None:
    watch = stalled(hospital, MESSAGE)
    if becomes is None:
        hospital.store.write(lambda t: t.delete("Communication", "m"))
    else:
        hospital.put(becomes)
    follow(watch, LATE - timedelta(seconds=2))
    assert set(hospital.issues()) == {"request-unanswered", "patient-not-informed"}
    follow(watch, LATE)
    assert is_withdrawn(hospital)
    with hospital.store.connect() as connection:
        assert rows.held(connection, "Communication/m") is None


# -- between the look and the write ---------------------------------------------------------------------


@contextmanager
def once_it_has_looked(store: Store, work: Callable[[], None]) -> Iterator[None]:
    """Something happens when the next connection for reading is given back."""
    waiting = [work]

    def given_back(*_: object) -> None:
        if waiting:
            waiting.pop()()

    event.listen(store._database.engine, "checkin", given_back)
    try:
        yield
    finally:
        event.remove(store._database.engine, "checkin", given_back)
    assert not waiting, "it happened"


def a_feed_fails(hospital: Hospital) -> None:
    row = {"ehr": "ortho", "type": "Task", "state": "failed", "since": 0, "reason": "time-out"}
    row |= {"watermark": "", "first_success": 0, "last_success": 0}
    hospital.store.write(lambda t: t.connection.execute(insert(sync_tables.feed).values(**row)) and None)


def about_to_stall(hospital: Hospital) -> tuple[Watch, datetime]:
    """A referral of an EHR that is marked, and stalled by now, though nobody has looked yet."""
    hospital.settings = Settings(ehr=(EhrSettings(name="ortho", url="https://ortho.example/fhir"),))
    hospital.refer()
    data = hospital.store.read("Task", "task-r").data | {"description": "from the EHR"}
    hospital.store.write(lambda t: t.put(jsontext.from_data(data), "task-r", source="ehr:ortho"))
    watch = Watch(hospital.store, hospital.policy, hospital.settings)
    watch.catch_up(MONDAY)
    hospital.tell("r", MONDAY + timedelta(hours=1))
    assert watch.follow()
    return watch, MONDAY + 9 * DAY


def held(hospital: Hospital) -> rows.Held | None:
    with hospital.store.connect() as connection:
        return rows.held(connection, "ServiceRequest/r")


def another_policy(hospital: Hospital) -> None:
    hospital.policy = replace(hospital.policy, version="another")


def another_zone(hospital: Hospital) -> None:
    hospital.settings = Settings(site=SiteSettings(timezone="Pacific/Auckland"), ehr=hospital.settings.ehr)


@pytest.mark.parametrize("loud", [True, False], ids=("an alert to raise", "nothing to raise"))
@pytest.mark.parametrize("changes", [a_feed_fails, another_policy, another_zone])
def test_nothing_is_written_when_what_it_was_judged_by_has_changed_meanwhile(
    hospital: Hospital, changes: Callable[[Hospital], None], loud: bool
) -> None:
    watch, late = about_to_stall(hospital)
    now = late if loud else MONDAY + DAY
    before, head = held(hospital), hospital.head()

    def meanwhile() -> None:
        changes(hospital)
        Watch(hospital.store, hospital.policy, hospital.settings).check_ground(now)

    with once_it_has_looked(hospital.store, meanwhile):
        assert not look_at(watch.site, {"ServiceRequest/r": before}, now, news=True, written=Counter())
    assert hospital.head() == head
    assert held(hospital) == before, "still marked: it is looked at again"
    Watch(hospital.store, hospital.policy, hospital.settings).catch_up(now)
    assert held(hospital) != before
    assert set(hospital.issues()) == ({"unacknowledged"} if loud and changes is not a_feed_fails else set())


def test_no_alert_is_raised_from_what_a_feed_that_fails_meanwhile_has_said(hospital: Hospital) -> None:
    """Even where nobody has noticed yet that it fails: what is written is judged in the same transaction."""
    watch, now = about_to_stall(hospital)
    rows = {"ServiceRequest/r": held(hospital)}
    with once_it_has_looked(hospital.store, lambda: a_feed_fails(hospital)):
        assert look_at(watch.site, rows, now, news=True, written=Counter())
    assert hospital.issues() == {}
    watch.catch_up(now)
    assert hospital.issues() == {}


def test_news_between_the_look_and_the_write_is_what_counts(hospital: Hospital) -> None:
    watch, now = about_to_stall(hospital)
    rows = {"ServiceRequest/r": held(hospital)}
    with once_it_has_looked(hospital.store, lambda: hospital.task("r", "received", now - DAY)):
        assert look_at(watch.site, rows, now, news=True, written=Counter())
    assert hospital.issues() == {}
