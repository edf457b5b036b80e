"""The question whether two patients are one: how it reads, how often it is asked, and what ends it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from fhir_coprod import jsontext
from fhir_coprod.definitions import CANONICAL
from fhir_coprod.store import Store, Version
from fhir_coprod.store.schema.sync import crosswalk
from fhir_coprod.sync.merging import matches
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.stage import TO_LINK, WRITTEN
from tests.sync.records import patient
from tests.sync.story import goes, ids, questions, settled, told

P, Q = Record("care", "Patient", "p"), Record("ortho", "Patient", "q")
ALIKE = [("care", patient("p", "19700102")), ("ortho", patient("q"))]


def question(store: Store) -> Version:
    (found,) = questions(store)
    return found


def says(store: Store, status: str, source: str = "", **more: Any) -> None:
    """Somebody here changes the question."""
    asked = question(store)
    content = jsontext.from_data({**asked.data, "status": status, **more})
    store.write(lambda t: t.put(content, asked.id, source=source))


def answers(store: Store, word: str) -> None:
    says(store, "completed", output=[{"type": {"text": "decision"}, "valueCode": word}])


def states(store: Store) -> set[int]:
    c = crosswalk.c
    with store.connect() as connection:
        return {row[0] for row in connection.execute(select(c.state).where(c.type == "Patient"))}


def patients(store: Store) -> int:
    return len(set(ids(store, "Patient").values()))


def test_the_question_names_both_patients_and_is_for_staff_only(store: Store) -> None:
    result = told(store, *ALIKE)
    assert result.conflicts == {("ortho", "Patient"): 1}
    asked = question(store)
    assert asked.source == "sync"
    content = {key: value for key, value in asked.data.items() if key not in ("id", "meta", "authoredOn")}
    own = ids(store, "Patient")
    assert content == {
        "resourceType": "Task",
        "status": "requested",
        "intent": "proposal",
        "code": {
            "coding": [{"system": f"{CANONICAL}/CodeSystem/task-kind", "code": "possible-same-patient"}],
            "text": "Are these two the same person?",
        },
        "description": "Two departments' records look like one person, but not surely. Complete with the "
        "output 'same' or 'different'.",
        "focus": {"reference": f"Patient/{own['care/p']}"},
        "input": [
            {
                "type": {"text": "the other patient"},
                "valueReference": {"reference": f"Patient/{own['ortho/q']}"},
            }
        ],
    }
    assert asked.data["authoredOn"][:19] == asked.data["meta"]["lastUpdated"][:19]
    assert asked.data["meta"]["security"] == [
        {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}
    ]
    assert [tag["code"] for tag in asked.data["meta"]["tag"]] == ["care/Patient/p", "ortho/Patient/q"]
    assert {tag["system"] for tag in asked.data["meta"]["tag"]} == {f"{CANONICAL}/sync/record"}


def test_the_id_of_the_question_is_that_of_the_pair_in_either_order(store: Store) -> None:
    told(store, *ALIKE)
    assert question(store).id == matches.task_id((P, Q)) == matches.task_id((Q, P))


def test_two_patients_are_asked_about_once_however_many_records_they_have(store: Store) -> None:
    result = told(store, *ALIKE, ("care", patient("again", "19700102")), ("ortho", patient("q2")))
    assert result.conflicts[("ortho", "Patient")] == len(questions(store)) == 3
    asked = {
        frozenset((t.data["focus"]["reference"], t.data["input"][0]["valueReference"]["reference"]))
        for t in questions(store)
    }
    assert len(asked) == 3
    assert patients(store) == 3


def test_a_record_more_of_a_patient_raises_no_new_question(store: Store) -> None:
    told(store, *ALIKE)
    before = question(store)
    result = told(store, ("care", patient("a-first", "19700102")))
    assert not result.conflicts
    assert question(store).id == before.id


@pytest.mark.parametrize("status", ["requested", "in-progress", "on-hold"])
def test_an_open_question_follows_the_patients_to_their_new_ids(store: Store, status: str) -> None:
    told(store, *ALIKE, ("neuro", patient("r", "2", birthDate="1999-09-09")))
    says(store, status, note=[{"text": "I will call her"}])
    told(store, ("neuro", patient("r", "19700102")))
    moved = set(ids(store, "Patient").values())
    asked = question(store).data
    assert {asked["focus"]["reference"], asked["input"][0]["valueReference"]["reference"]} == {
        f"Patient/{id}" for id in moved
    }
    assert (asked["status"], asked["note"]) == (status, [{"text": "I will call her"}])


def test_a_question_withdrawn_is_asked_again_when_the_two_look_alike_again(store: Store) -> None:
    told(store, *ALIKE)
    for _ in range(2):
        result = told(store, ("ortho", patient("q", birthDate="1999-09-09")))
        assert not result.conflicts
        withdrawn = question(store).data
        assert withdrawn["status"] == "cancelled"
        assert withdrawn["statusReason"]["text"] == "The records have become one, or are no longer alike."
        result = told(store, ("ortho", patient("q")))
        assert result.conflicts == {("ortho", "Patient"): 1}
        assert question(store).data["status"] == "requested"


@pytest.mark.parametrize("status", ["cancelled", "rejected"])
def test_a_question_that_a_person_turned_down_is_not_asked_again(store: Store, status: str) -> None:
    told(store, *ALIKE)
    says(store, status)
    head = store.head()
    result = told(store, ("ortho", patient("q", gender="female")))
    assert not result.conflicts
    assert question(store).data["status"] == status
    assert store.head() == head + 1


def test_a_question_that_is_decided_stays_as_it_is_when_the_two_are_no_longer_alike(store: Store) -> None:
    told(store, *ALIKE)
    answers(store, "different")
    decided = question(store).version
    told(store, ("ortho", patient("q", birthDate="1999-09-09")))
    assert question(store).version == decided


def test_an_answer_can_be_changed(store: Store) -> None:
    told(store, *ALIKE)
    for word, expected in (("same", 1), ("different", 2), ("same", 1)):
        answers(store, word)
        settled(store)
        assert patients(store) == expected
        assert question(store).data["status"] == "completed"


def test_who_was_said_to_be_the_same_stays_one_whatever_the_records_say(store: Store) -> None:
    told(store, *ALIKE)
    answers(store, "same")
    told(store, ("ortho", patient("q", "1", birthDate="1999-09-09", name=[{"family": "Ek"}])))
    assert patients(store) == 1


def test_an_unclear_answer_is_asked_again_and_says_why(store: Store) -> None:
    told(store, *ALIKE)
    says(store, "completed")
    assert settled(store).conflicts == {("ortho", "Patient"): 1}
    asked = question(store).data
    assert asked["status"] == "requested"
    assert asked["statusReason"]["text"] == (
        "Completed without the output 'same' or 'different': please say which."
    )


@pytest.mark.parametrize(
    ("word", "carried_out", "woken"),
    [
        ("same", True, False),
        ("same", False, True),
        ("different", True, False),
        ("different", False, False),
        ("who knows", False, True),
    ],
)
def test_only_records_whose_answer_is_not_carried_out_are_linked_again(
    store: Store, word: str, carried_out: bool, woken: bool
) -> None:
    told(store, *ALIKE)
    answers(store, word)
    if carried_out:
        settled(store)
    assert states(store) == {WRITTEN}
    pairs = matches.decided(store)
    assert pairs == [(P, Q)]
    store.write(lambda t: matches.wake(t, pairs))
    assert states(store) == {TO_LINK if woken else WRITTEN}


def test_two_that_are_one_wake_when_a_person_says_they_are_not(store: Store) -> None:
    told(store, *ALIKE)
    answers(store, "same")
    settled(store)
    answers(store, "different")
    store.write(lambda t: matches.wake(t, [(P, Q)]))
    assert states(store) == {TO_LINK}


def test_a_question_about_a_record_that_is_gone_wakes_nobody(store: Store) -> None:
    told(store, *ALIKE)
    goes(store, "ortho", "Patient/q")
    settled(store)
    assert question(store).data["status"] == "cancelled"
    answers(store, "same")
    store.write(lambda t: matches.wake(t, [(P, Q), (P, Record("ortho", "Patient", "never"))]))
    assert states(store) == {WRITTEN}


def test_an_open_question_and_other_tasks_are_no_decisions(store: Store) -> None:
    told(store, *ALIKE)
    assert matches.decided(store) == []
    says(store, "cancelled")
    assert matches.decided(store) == []
    other = {"resourceType": "Task", "status": "completed", "intent": "order"}
    store.write(lambda t: t.put(jsontext.from_data(other), "other"))
    assert matches.decided(store) == []
    answers(store, "different")
    assert matches.decided(store) == [(P, Q)]


@pytest.mark.parametrize("tags", [[], ["care/Patient/p"], ["care/Patient/p", "ortho/q"]])
def test_a_question_that_does_not_name_two_records_decides_nothing(store: Store, tags: list[str]) -> None:
    told(store, *ALIKE)
    tag = [{"system": f"{CANONICAL}/sync/record", "code": code} for code in tags]
    tag.append({"system": "urn:other", "code": "ortho/Patient/q"})
    says(store, "rejected", meta={"tag": tag})
    assert matches.decided(store) == []


def test_a_question_that_somebody_deleted_is_not_made_again(store: Store) -> None:
    told(store, *ALIKE)
    id = question(store).id
    store.write(lambda t: t.delete("Task", id))
    result = told(store, ("ortho", patient("q", gender="female")))
    assert not result.conflicts
    assert not questions(store)
