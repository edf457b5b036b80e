"""Orders that are no referrals are counted, silence is listed for its department, a shift of scope is
told."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from fhir_coprod.errors import NotAllowed
from fhir_coprod.store import Store
from fhir_coprod.store.schema import core
from fhir_coprod.store.schema.watch import share, standing
from fhir_coprod.watch.facts import affected
from fhir_coprod.watch.live.loop import AGAIN, Watch
from fhir_coprod.watch.record import followup
from fhir_coprod.watch.worklist import desk
from fhir_coprod.watch.worklist.apart import orders_apart
from tests.watch.hospital import DAY, MONDAY, Hospital

LABORATORY = [{"coding": [{"system": "http://snomed.info/sct", "code": "108252007"}]}]
GP, CLINIC = {"reference": "Organization/gp"}, {"reference": "Organization/clinic"}


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    """On SQLite alone: what the databases do differently is tested with the sweep."""
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield Hospital(opened)


def order(id: str, at: datetime = MONDAY, **says: Any) -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "id": id,
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/p"},
        "requester": GP,
        "authoredOn": at.isoformat(),
        "code": {"coding": [{"system": "urn:codes", "code": "knee"}]},
    } | says


def tasks(hospital: Hospital, kind: str) -> list[dict[str, Any]]:
    return [task for task in hospital.all("Task") if followup.is_kind(task, kind)]


# -- counted -------------------------------------------------------------------------------------------------


def test_orders_apart_are_counted_by_reason_with_what_is_wrong_and_how_old(store: Store) -> None:
    hospital = Hospital(store)
    hospital.put(
        order("lab-1", category=LABORATORY),
        order("lab-2", MONDAY + DAY, category=LABORATORY),
        order("lab-3", category=LABORATORY, status="completed"),
        order("part", intent="filler-order"),
        order("lost"),
        order("sent", performer=[CLINIC]),
    )
    hospital.sweep(MONDAY + 30 * DAY)
    said = [group.sentence for group in orders_apart(hospital.store, hospital.settings, MONDAY + 30 * DAY)]
    assert said == [
        "1 order is perhaps a referral, because it is not known who is asked; 1 at Organization/gp lack "
        "a Task that sends the referral to a department, the oldest for 30 days.",
        "2 orders are for diagnostics only, because it goes to a laboratory; 2 at Organization/gp lack "
        "a final report or document in answer, the oldest for 30 days.",
        "1 order is not watched, because it is a part of another order, or only an option.",
    ]
    assert {issue["implicated"][0]["reference"] for issue in hospital.issues().values()} == {
        "ServiceRequest/sent"
    }


def test_a_relative_of_a_patient_concerns_referrals_and_no_laboratory_orders(hospital: Hospital) -> None:
    hospital.put(order("lab", category=LABORATORY), order("sent", performer=[CLINIC]))
    hospital.sweep(MONDAY)
    head = hospital.head()
    hospital.put({"resourceType": "RelatedPerson", "id": "d", "patient": {"reference": "Patient/p"}})
    with hospital.store.connect() as connection:
        found = affected.concerned(connection, hospital.store.changes(head, 10))
    assert found == {"ServiceRequest/sent"}


def test_a_store_whose_index_is_made_anew_has_its_orders_read_again(hospital: Hospital) -> None:
    """An earlier program's index knows no twins: what was read by it holds only until that is done."""
    hospital.refer("a")
    watch = Watch(hospital.store, hospital.policy, hospital.settings)
    watch.catch_up(MONDAY)

    def index_is(value: str) -> None:
        setting = core.setting
        statement = update(setting).where(setting.c.name == "index:ServiceRequest").values(value=value)
        hospital.store.write(lambda t: t.connection.execute(statement) and None)

    with hospital.store.connect() as connection:
        name = core.setting.c.name == "index:ServiceRequest"
        now = connection.execute(select(core.setting.c.value).where(name)).scalar_one()
    assert not watch.check_ground(MONDAY)
    index_is("older")
    assert watch.check_ground(MONDAY)
    assert hospital.store.cursor(AGAIN) == 1
    while watch.again(MONDAY):
        pass
    index_is(now)
    assert watch.check_ground(MONDAY)


# -- silence -------------------------------------------------------------------------------------------------


def silent(hospital: Hospital, *ids: str) -> None:
    """What may be a referral, and of which nobody records anything."""
    for id in ids:
        hospital.put(order(id, subject={"reference": f"Patient/{id}"}))


def test_a_department_gets_one_list_of_what_is_silent_until_somebody_has_looked(hospital: Hospital) -> None:
    silent(hospital, "a", "b")
    hospital.sweep(MONDAY + 59 * DAY)
    assert tasks(hospital, followup.SILENCE) == []
    later = MONDAY + 61 * DAY
    hospital.sweep(later)
    (listed,) = tasks(hospital, followup.SILENCE)
    assert listed["status"] == "requested"
    assert listed["owner"] == GP
    assert listed["description"].startswith(
        "Of 2 open referrals nothing was recorded for too long, the longest since 2 March 2026:"
        " ServiceRequest/a, ServiceRequest/b. "
    )
    assert hospital.issues() == {}
    assert [desk.as_json(task)["kind"] for task in desk.worklist(hospital.store, hospital.settings)] == [
        "silence"
    ]
    head = hospital.head()
    hospital.sweep(later)
    assert hospital.head() == head, "looking again writes nothing"
    with pytest.raises(NotAllowed, match="Say who"):
        desk.looked_at(hospital.store, hospital.settings, "a", " ", later)
    with pytest.raises(desk.NoSuchAlert, match="no referral ServiceRequest/nobody"):
        desk.looked_at(hospital.store, hospital.settings, "nobody", "Eva Lind", later)
    for id in ("a", "b"):
        desk.looked_at(hospital.store, hospital.settings, id, "Eva Lind", later, "Rang the clinic.")
    hospital.sweep(later)
    assert [task["status"] for task in tasks(hospital, followup.SILENCE)] == ["completed"]
    (noted, _) = tasks(hospital, followup.LOOKED_AT)
    assert noted["note"][0]["authorString"] == "Eva Lind"
    hospital.sweep(later + 61 * DAY)
    assert [task["status"] for task in tasks(hospital, followup.SILENCE)] == ["requested"], "it starts again"


# -- a shift of scope ----------------------------------------------------------------------------------------


def shares(hospital: Hospital) -> dict[str, tuple[int, int]]:
    with hospital.store.connect() as connection:
        rows = connection.execute(select(share.c.thing, share.c.orders, share.c.hidden)).all()
    return {thing: (orders, hidden) for thing, orders, hidden in rows}


def test_a_jump_in_what_is_not_watched_is_told_and_ends_when_it_is_undone(store: Store) -> None:
    hospital = Hospital(store)
    for number in range(20):
        hospital.put(order(f"r{number}", performer=[CLINIC], subject={"reference": f"Patient/{number}"}))
    hospital.sweep(MONDAY)
    assert shares(hospital) == {"urn:codes|knee": (20, 0)}
    hospital.sweep(MONDAY + DAY)
    assert tasks(hospital, followup.SCOPE_SHIFT) == []
    for number in range(5):
        hospital.put(order(f"r{number}", subject={"reference": f"Patient/{number}"}))
    hospital.sweep(MONDAY + 2 * DAY)
    (told,) = tasks(hospital, followup.SCOPE_SHIFT)
    assert told["status"] == "requested"
    assert "urn:codes|knee: 0% before, 25% now" in told["description"]
    hospital.sweep(MONDAY + 20 * DAY)
    (told,) = tasks(hospital, followup.SCOPE_SHIFT)
    assert told["status"] == "requested", "it stays, also when the days before are forgotten"
    for number in range(5):
        hospital.put(order(f"r{number}", performer=[CLINIC], subject={"reference": f"Patient/{number}"}))
    hospital.sweep(MONDAY + 21 * DAY)
    assert [task["status"] for task in tasks(hospital, followup.SCOPE_SHIFT)] == ["completed"]


def test_few_orders_say_nothing_about_a_share(hospital: Hospital) -> None:
    for number in range(19):
        hospital.put(order(f"r{number}", performer=[CLINIC], subject={"reference": f"Patient/{number}"}))
    hospital.sweep(MONDAY)
    for number in range(19):
        hospital.put(order(f"r{number}", subject={"reference": f"Patient/{number}"}))
    hospital.sweep(MONDAY + 2 * DAY)
    assert tasks(hospital, followup.SCOPE_SHIFT) == []


def test_the_columns_of_a_row_say_what_its_standing_says(hospital: Hospital) -> None:
    hospital.put(order("lab", category=LABORATORY), order("never", doNotPerform=True))
    hospital.sweep(MONDAY + 30 * DAY)
    columns = ("scope", "why", "thing", "counted", "department")
    with hospital.store.connect() as connection:
        statement = select(standing.c.referral, *(standing.c[name] for name in columns))
        rows = {referral: tuple(rest) for referral, *rest in connection.execute(statement)}
    assert rows["ServiceRequest/lab"] == (
        *("diagnostic", "it goes to a laboratory", "urn:codes|knee", "results-missing", "Organization/gp"),
    )
    assert rows["ServiceRequest/never"][0] == ""
