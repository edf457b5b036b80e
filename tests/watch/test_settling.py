"""What stops being a referral takes its alerts with it, soon and without a look at everything."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from fhir_coprod.store import Store, Transaction, schema
from fhir_coprod.watch import carriers, desk, standings
from fhir_coprod.watch.live import AGAIN, Watch
from fhir_coprod.watch.standings import FOLLOWER
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
        (REQUEST, {**REQUEST, "category": LABORATORY, "requester": {}, "intent": "order"}),
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
    [{**REQUEST, "requester": {"reference": "PractitionerRole/gp"}}, {**REQUEST, "intent": "order"}],
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
    assert [carriers.stage_of(task) for task in worklist] == ["written"]


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
        transaction.connection.execute(delete(schema.standing))
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
        assert standings.held(connection, "Communication/m") is None
