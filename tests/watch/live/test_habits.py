"""Which steps of referrals are in use somewhere is learned from many, kept, and fixed by settings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from fhir_coprod import jsontext
from fhir_coprod.settings import PracticeSettings, Settings, WatchSettings
from fhir_coprod.store import Store
from fhir_coprod.watch.facts.habits import Practices, habits
from fhir_coprod.watch.record import followup
from fhir_coprod.watch.rules.steps import Use, upper_bound, use_of
from fhir_coprod.watch.worklist.unwatched import what_cannot_be_watched
from tests.watch.hospital import DAY, MONDAY, Hospital

Resource = dict[str, Any]
REFERRAL = [{"coding": [{"system": "http://snomed.info/sct", "code": "3457005"}]}]
LATER = MONDAY + 40 * DAY


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hospital]:
    """On SQLite alone: what the databases do differently is tested with the sweep."""
    with Store.open(f"sqlite:///{tmp_path / 'store.db'}") as opened:
        yield Hospital(opened)


def put(hospital: Hospital, *resources: dict[str, Any]) -> None:
    """Write them as taken from the EHR of the orthopaedics."""
    hospital.store.write(
        lambda t: [t.put(jsontext.from_data(each), each["id"], source="ehr:ortho") for each in resources]
    )


def referral(id: str, at: datetime = MONDAY, *, seen: bool = True, task: bool = False) -> list[Resource]:
    found: list[Resource] = [
        {
            "resourceType": "ServiceRequest",
            "id": id,
            "status": "active",
            "intent": "order",
            "category": REFERRAL,
            "subject": {"reference": f"Patient/{id}"},
            "requester": {"reference": "Organization/gp"},
            "performer": [{"reference": "Organization/clinic"}],
            "authoredOn": at.isoformat(),
        }
    ]
    if seen:
        found.append(
            {
                "resourceType": "Encounter",
                "id": f"e-{id}",
                "status": "in-progress",
                "basedOn": [{"reference": f"ServiceRequest/{id}"}],
                "period": {"start": (at + DAY).isoformat()},
            }
        )
    if task:
        found.append(
            {
                "resourceType": "Task",
                "id": f"t-{id}",
                "status": "accepted",
                "intent": "order",
                "focus": {"reference": f"ServiceRequest/{id}"},
                "owner": {"reference": "Organization/clinic"},
                "lastModified": at.isoformat(),
            }
        )
    return found


def learned(hospital: Hospital, step: str = "task", asked: str = "Organization/clinic") -> tuple[Any, ...]:
    with hospital.store.connect() as connection:
        for found in habits(connection):
            if (found.step, found.asked, found.thing) == (step, asked, ""):
                return (found.shown, found.referrals, found.use, found.was_used)
    return ()


def said(hospital: Hospital, now: datetime) -> list[str]:
    limits = what_cannot_be_watched(hospital.store, hospital.policy, hospital.settings, (), now)
    return [limit.sentence for limit in limits]


@pytest.mark.parametrize(
    ("shown", "of", "use"),
    [
        (0, 30, Use.ABSENT),
        (1, 30, Use.ABSENT),
        (2, 30, Use.MIXED),
        (12, 100, Use.ABSENT),
        (13, 100, Use.MIXED),
        (79, 100, Use.MIXED),
        (80, 100, Use.USED),
    ],
)
def test_a_step_is_absent_only_where_that_is_sure(shown: int, of: int, use: Use) -> None:
    assert use_of(shown, of, 0.2) is use
    assert shown / of < upper_bound(shown, of) < 1


def test_what_no_referral_of_a_department_shows_is_counted_and_asked_about(hospital: Hospital) -> None:
    for number in range(30):
        put(hospital, *referral(f"r{number}"))
    hospital.sweep(LATER)
    assert learned(hospital) == (0, 30, "absent", False)
    put(hospital, *referral("new", LATER, seen=False))
    hospital.sweep(LATER + 5 * DAY)
    assert "not-sent" not in hospital.issues()
    (told, *_) = said(hospital, LATER + 5 * DAY)
    assert told.startswith("ortho: 0 of 30 referrals")
    assert "were sent by a Task. It seems to be recorded never" in " ".join(said(hospital, LATER + 5 * DAY))


def test_what_a_person_says_in_the_settings_is_so_and_ends_the_question(hospital: Hospital) -> None:
    for number in range(30):
        put(hospital, *referral(f"r{number}"))
    put(hospital, *referral("new", LATER, seen=False))

    def practice(used: bool) -> Settings:
        said = PracticeSettings(step="task", used=used, ehr="ortho")
        return Settings(watch=WatchSettings(practice=(said,)))

    hospital.settings = practice(used=True)
    hospital.sweep(LATER)
    hospital.sweep(LATER + 5 * DAY)
    assert "not-sent" in hospital.issues()
    hospital.settings = practice(used=False)
    hospital.sweep(LATER + 25 * DAY)
    assert "not-sent" not in hospital.issues()
    assert "no-trace" in hospital.issues()
    assert not any("sent by a Task" in each for each in said(hospital, LATER + 25 * DAY))


def test_a_few_referrals_and_those_of_files_say_nothing(hospital: Hospital) -> None:
    for number in range(29):
        put(hospital, *referral(f"r{number}"))
    for number in range(40):
        hospital.put(*referral(f"file{number}"))
    hospital.sweep(LATER)
    assert learned(hospital) == ()


def test_a_step_that_was_in_use_stays_in_use_and_its_fall_asks_a_person(store: Store) -> None:
    hospital = Hospital(store)
    for number in range(30):
        put(hospital, *referral(f"r{number}", task=True))
    hospital.sweep(LATER)
    assert learned(hospital) == (30, 30, "used", True)
    for number in range(60):
        put(hospital, *referral(f"s{number}", LATER))
    put(hospital, *referral("new", LATER, seen=False))
    hospital.sweep(LATER + 30 * DAY)
    assert learned(hospital)[2:] == ("mixed", True)
    assert "not-sent" in hospital.issues(), "alerts go on as before"
    asked = [task for task in hospital.all("Task") if followup.is_kind(task, followup.PRACTICE)]
    assert [task["status"] for task in asked] == ["requested"]
    assert "30 of 90 referrals of Organization/clinic were sent by a Task" in asked[0]["description"]
    head = hospital.head()
    hospital.sweep(LATER + 30 * DAY)
    assert hospital.head() == head
    answer = PracticeSettings(step="task", used=True, ehr="ortho")
    hospital.settings = Settings(watch=WatchSettings(practice=(answer,)))
    hospital.sweep(LATER + 31 * DAY)
    (asked_once,) = (task for task in hospital.all("Task") if followup.is_kind(task, followup.PRACTICE))
    assert asked_once["status"] == "completed", "who has answered is asked no more"


def test_the_figures_are_told_for_each_group_of_referrals(hospital: Hospital) -> None:
    for number in range(30):
        put(hospital, *referral(f"r{number}"))
    hospital.sweep(LATER)
    with hospital.store.connect() as connection:
        told = [found.to_json() for found in habits(connection) if found.step == "task"]
    assert told == [
        {
            "step": "task",
            "department": department,
            "code": None,
            "referrals": 30,
            "shown": 0,
            "use": "absent",
            "was_used": False,
        }
        for department in (None, "Organization/clinic")
    ]


def test_what_was_learned_is_read_once_until_it_is_learned_again(hospital: Hospital, tmp_path: Path) -> None:
    """Every look needs it, and it grows with departments and codes. Other stores learn other things."""
    for number in range(30):
        put(hospital, *referral(f"r{number}"))
    hospital.sweep(LATER)
    asked: list[str] = []

    def task_is_used(store: Store) -> bool:
        asked.clear()
        with store.connect() as connection:
            event.listen(connection, "before_cursor_execute", lambda _c, _k, text, *_: asked.append(text))
            found = dict(Practices.known(connection, Settings()).of("ortho", ("Organization/clinic",), ""))
        return found.get("task", Use.USED) == Use.USED

    assert not task_is_used(hospital.store)
    assert not task_is_used(hospital.store)
    assert not [text for text in asked if "habit" in text]
    with Store.open(f"sqlite:///{tmp_path / 'other.db'}") as other:
        assert task_is_used(other)
    assert not task_is_used(hospital.store)
    for number in range(200):
        put(hospital, *referral(f"s{number}", task=True))
    hospital.sweep(LATER + DAY)
    assert task_is_used(hospital.store)
