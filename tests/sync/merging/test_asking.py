"""The question whether two patients are one: when it is put, how it reads, and what ends it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.definitions import CANONICAL
from fhir_coprod.store import Store, Version
from fhir_coprod.sync.merging import doubts, matches
from fhir_coprod.sync.staging.identity import Pair
from fhir_coprod.sync.staging.references import Record
from tests.sync.records import Json, patient, referral
from tests.sync.story import goes, ids, questions, settled, shown, told

P, Q = Record("care", "Patient", "p"), Record("ortho", "Patient", "q")
ALIKE = [("care", patient("p", "19700102")), ("ortho", patient("q"))]
REFERRED = [*ALIKE, ("care", referral("s", "Patient/p", "R1"))]


def question(store: Store) -> Version:
    (found,) = questions(store)
    return found


def listed(store: Store) -> list[Pair]:
    with store.connect() as connection:
        return [one.pair for one in doubts.read(connection)]


def says(store: Store, status: str, source: str = "", **more: Any) -> None:
    """Some program changes the Task."""
    asked = question(store)
    content = jsontext.from_data({**asked.data, "status": status, **more})
    store.write(lambda t: t.put(content, asked.id, source=source))


def answers(store: Store, word: str, who: str = "Karin Sand", pairs: Sequence[Pair] = ((P, Q),)) -> None:
    """A person answers."""
    store.write(lambda t: matches.say(t, pairs, word, who))


def patients(store: Store) -> int:
    return len(set(ids(store, "Patient").values()))


# --- when it is put -------------------------------------------------------------------------------


def test_a_pair_on_which_nothing_depends_is_listed_and_nobody_is_asked(store: Store) -> None:
    assert told(store, *ALIKE).conflicts == {}
    assert not questions(store)
    assert listed(store) == [(P, Q)]


PLAN: Json = {"resourceType": "CarePlan", "id": "c", "intent": "plan", "subject": {"reference": "Patient/q"}}


@pytest.mark.parametrize(
    ("ehr", "record", "asked"),
    [
        ("care", referral("s", "Patient/p"), True),
        ("ortho", referral("s", "Patient/q", status="on-hold"), True),
        ("care", referral("s", "Patient/p", status="completed"), False),
        ("care", referral("s", "Patient/p", status="revoked"), False),
        ("ortho", {**PLAN, "status": "active"}, True),
        ("ortho", {**PLAN, "status": "completed"}, False),
        ("ortho", referral("s", "Patient/somebody-else"), False),
    ],
)
def test_it_is_put_as_soon_as_an_open_referral_or_a_plan_depends_on_it(
    store: Store, ehr: str, record: Json, asked: bool
) -> None:
    told(store, *ALIKE)
    result = told(store, (ehr, record))
    assert result.conflicts == ({("ortho", "Patient"): 1} if asked else {})
    assert len(questions(store)) == asked


def test_the_question_names_both_patients_and_is_for_staff_only(store: Store) -> None:
    result = told(store, *REFERRED)
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
        "description": "Two departments' records look like one person, but not surely. Please answer with "
        "`fhir-coprod people same` or `different`, or on the page /people, under your name. This closes the "
        f"Task; the pair is named {asked.id} there.",
        "focus": {"reference": f"Patient/{own['care/p']}"},
        "input": [
            {
                "type": {"text": "the other patient"},
                "valueReference": {"reference": f"Patient/{own['ortho/q']}"},
            }
        ],
        "reasonCode": {"text": "no number in common"},
    }
    assert asked.data["authoredOn"][:19] == asked.data["meta"]["lastUpdated"][:19]
    assert asked.data["meta"]["security"] == [
        {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}
    ]
    assert [tag["code"] for tag in asked.data["meta"]["tag"]] == ["care/Patient/p", "ortho/Patient/q"]
    assert {tag["system"] for tag in asked.data["meta"]["tag"]} == {f"{CANONICAL}/sync/record"}


def test_the_id_of_the_question_is_that_of_the_pair_in_either_order(store: Store) -> None:
    told(store, *REFERRED)
    assert question(store).id == matches.task_id((P, Q)) == matches.task_id((Q, P))


def test_two_patients_are_asked_about_once_however_many_records_they_have(store: Store) -> None:
    result = told(
        store, *REFERRED, ("care", patient("again", "19700102")), ("neuro", patient("third", "19700102"))
    )
    assert patients(store) == 2
    assert len(listed(store)) == 3
    assert result.conflicts == {("ortho", "Patient"): 1}
    assert len(questions(store)) == 1


def test_a_record_more_of_a_patient_raises_no_new_question(store: Store) -> None:
    told(store, *REFERRED)
    before = question(store)
    assert not told(store, ("care", patient("a-first", "19700102"))).conflicts
    assert question(store).id == before.id


@pytest.mark.parametrize("status", ["requested", "in-progress", "on-hold"])
def test_an_open_question_follows_the_patients_to_their_new_ids(store: Store, status: str) -> None:
    told(store, *REFERRED, ("neuro", patient("r", "2", birthDate="1999-09-09")))
    says(store, status, note=[{"text": "I will call her"}])
    told(store, ("neuro", patient("r", "19700102")))
    moved = set(ids(store, "Patient").values())
    asked = question(store).data
    assert {asked["focus"]["reference"], asked["input"][0]["valueReference"]["reference"]} == {
        f"Patient/{id}" for id in moved
    }
    assert (asked["status"], asked["note"]) == (status, [{"text": "I will call her"}])


# --- what ends it ---------------------------------------------------------------------------------


def test_a_question_withdrawn_is_asked_again_when_the_two_look_alike_again(store: Store) -> None:
    told(store, *REFERRED)
    for _ in range(2):
        assert not told(store, ("ortho", patient("q", birthDate="1999-09-09"))).conflicts
        withdrawn = question(store).data
        assert withdrawn["status"] == "cancelled"
        assert withdrawn["statusReason"]["text"] == "The records have become one, or are no longer alike."
        assert listed(store) == []
        assert told(store, ("ortho", patient("q"))).conflicts == {("ortho", "Patient"): 1}
        assert question(store).data["status"] == "requested"


def test_a_question_that_answers_itself_is_withdrawn(store: Store) -> None:
    told(store, *REFERRED)
    told(store, ("ortho", patient("q", "19700102")))
    assert question(store).data["status"] == "cancelled"
    assert patients(store) == 1


@pytest.mark.parametrize("status", ["cancelled", "rejected"])
def test_a_question_that_was_turned_down_is_not_asked_again_but_stays_listed(
    store: Store, status: str
) -> None:
    told(store, *REFERRED)
    says(store, status)
    head = store.head()
    assert not told(store, ("ortho", patient("q", gender="female"))).conflicts
    assert question(store).data["status"] == status
    assert store.head() == head + 1
    assert listed(store) == [(P, Q)]


def test_a_question_that_somebody_deleted_is_not_made_again(store: Store) -> None:
    told(store, *REFERRED)
    id = question(store).id
    store.write(lambda t: t.delete("Task", id))
    assert not told(store, ("ortho", patient("q", gender="female"))).conflicts
    assert not questions(store)


def test_a_question_about_a_record_that_is_gone_is_withdrawn(store: Store) -> None:
    told(store, *REFERRED)
    goes(store, "ortho", "Patient/q")
    settled(store)
    assert question(store).data["status"] == "cancelled"
    assert listed(store) == []


@pytest.mark.parametrize("source", ["", "ehr:care", "sync"])
@pytest.mark.parametrize(
    "output",
    [
        [{"type": {"text": "decision"}, "valueCode": "same"}],
        [{"type": {"text": "decision"}, "valueCodeableConcept": {"text": "same"}}],
        [],
    ],
)
def test_a_task_joins_nobody_whoever_wrote_it_and_is_opened_again(
    store: Store, source: str, output: list[Json]
) -> None:
    told(store, *REFERRED)
    says(store, "completed", source, output=output)
    settled(store)
    assert patients(store) == 2
    asked = question(store).data
    assert asked["status"] == "requested"
    assert asked["statusReason"]["text"].startswith(
        "Closed, but a Task joins and parts nobody: please answer"
    )
    assert "output" not in asked


def test_a_task_that_a_program_makes_up_joins_nobody(store: Store) -> None:
    told(store, *ALIKE)
    made = {
        "resourceType": "Task",
        "meta": {
            "tag": [{"system": f"{CANONICAL}/sync/record", "code": "/".join(record)} for record in (P, Q)]
        },
        "status": "completed",
        "intent": "proposal",
        "code": {"coding": [{"system": matches.CODES, "code": matches.POSSIBLE}]},
        "output": [{"type": {"text": "decision"}, "valueCode": "same"}],
    }
    store.write(lambda t: t.put(jsontext.from_data(made), matches.task_id((P, Q)), source="sync"))
    told(store, ("ortho", patient("q", gender="female")))
    assert patients(store) == 2


# --- a person's word ------------------------------------------------------------------------------


def test_a_persons_word_closes_the_question_under_the_persons_name(store: Store) -> None:
    told(store, *REFERRED)
    answers(store, "same")
    closed = question(store).data
    assert closed["status"] == "completed"
    assert closed["output"] == [{"type": {"text": "decision of Karin Sand"}, "valueCode": "same"}]
    settled(store)
    assert patients(store) == 1
    assert question(store).data["status"] == "completed"
    assert listed(store) == []


def test_a_word_can_be_changed_and_the_last_one_counts(store: Store) -> None:
    told(store, *REFERRED)
    for word, expected in (("same", 1), ("different", 2), ("same", 1), ("different", 2)):
        answers(store, word)
        settled(store)
        assert patients(store) == expected
        assert question(store).data["status"] == "completed"
        assert listed(store) == []


CHANGES: list[tuple[str, list[tuple[str, Json]]]] = [
    ("different numbers, dates and names", [("ortho", patient("q", "1", birthDate="1999-09-09", name=[]))]),
    ("both again", [("care", patient("p", "7")), ("ortho", patient("q", "8"))]),
    ("the same number", [("ortho", patient("q", "19700102"))]),
    ("a third", [("neuro", patient("r", "19700102"))]),
    ("an order", [("ortho", referral("t", "Patient/q", "R2"))]),
]


@pytest.mark.parametrize("word", ["same", "different"])
@pytest.mark.parametrize("records", [records for _, records in CHANGES], ids=[said for said, _ in CHANGES])
def test_a_word_once_given_survives_whatever_the_records_become(
    store: Store, word: str, records: list[tuple[str, Json]]
) -> None:
    told(store, *REFERRED)
    answers(store, word)
    settled(store)
    told(store, *records)
    own = ids(store, "Patient")
    assert (own["care/p"] == own["ortho/q"]) is (word == "same")
    goes(store, "ortho", "Patient/q")
    settled(store)
    told(store, ("ortho", patient("q")))
    own = ids(store, "Patient")
    assert (own["care/p"] == own["ortho/q"]) is (word == "same"), "also when the record was away"


def test_a_word_about_two_who_look_like_nobody_joins_them(store: Store) -> None:
    told(store, ("care", patient("p", "1")), ("ortho", patient("q", "2", birthDate="1999-09-09")))
    assert listed(store) == []
    answers(store, "same")
    settled(store)
    assert patients(store) == 1


def test_a_pair_told_apart_is_not_asked_about_again(store: Store) -> None:
    told(store, *REFERRED)
    answers(store, "different")
    settled(store)
    assert not told(store, ("ortho", patient("q", gender="female"))).conflicts
    assert question(store).data["status"] == "completed"
    assert patients(store) == 2


# --- joining and parting leave everything else whole ----------------------------------------------


def whole(store: Store) -> dict[str, Json]:
    """Every living resource but the questions, without what each version has of its own."""
    found = {}
    for version in {(v.type, v.id): v for v in store.changes(0, 10_000)}.values():
        if not version.deleted and version.source != "sync":
            data = jsontext.decode(version.body)
            meta = {k: v for k, v in data.pop("meta", {}).items() if k not in ("versionId", "lastUpdated")}
            found[version.reference] = {**data, "meta": meta}
    return found


def test_joining_and_parting_leave_everything_else_whole_both_ways(store: Store) -> None:
    told(
        store,
        *REFERRED,
        ("ortho", referral("t", "Patient/q", "R1", status="on-hold")),
        ("ortho", referral("u", "Patient/q", "R9")),
        ("ortho", {**PLAN, "status": "active"}),
    )
    own = ids(store, "Patient")
    entered = {**shown(store, "Patient", "ortho/q"), "telecom": [{"system": "phone", "value": "070"}]}
    store.write(lambda t: t.put(jsontext.from_data(entered), own["ortho/q"]))
    mine = {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "to stand"}}
    goal = {**mine, "subject": {"reference": f"Patient/{own['ortho/q']}"}}
    store.write(lambda t: t.put(jsontext.from_data(goal), "entered-here"))
    apart = whole(store)

    answers(store, "same")
    settled(store)
    joined = whole(store)
    assert joined[f"Patient/{own['ortho/q']}"]["link"][0]["type"] == "replaced-by"
    patients_named = {
        data["subject"]["reference"]
        for r, data in joined.items()
        if "subject" in data and r != "Goal/entered-here"
    }
    assert patients_named == {f"Patient/{own['care/p']}"}
    orders = {r for r in joined if r.startswith("ServiceRequest/")}
    assert len(orders) == 2, "R1 is one order now"

    answers(store, "different")
    settled(store)
    assert whole(store) == apart
    answers(store, "same")
    settled(store)
    assert whole(store) == joined
