"""What people entered in a resource that is given up for another, and what becomes of it when they part."""

from __future__ import annotations

from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import OK, Outcome
from fhir_coprod.store import Store
from fhir_coprod.sync.merging.merge import ORIGIN
from tests.sync.merging.test_publishing import BAD, edited
from tests.sync.records import Json, patient, referral
from tests.sync.story import ids, questions, settled, shown, told
from tests.sync.test_arrival import put


def phone(value: str) -> Json:
    return {"system": "phone", "value": value}


def test_what_was_entered_in_a_patient_who_is_given_up_is_shown_in_the_one_that_is_left(store: Store) -> None:
    old = patient("b", "2", gender="male", telecom=[phone("1")])
    told(store, ("care", patient("a", "1", telecom=[phone("0")])), ("ortho", old))
    edited(
        store,
        "Patient",
        "ortho/b",
        maritalStatus={"text": "married"},
        telecom=[phone("1"), phone("070")],
        multipleBirthBoolean=True,
        active=True,
    )
    before = {name: shown(store, "Patient", name) for name in ("care/a", "ortho/b")}
    lost = ids(store, "Patient")["ortho/b"]
    told(store, ("ortho", {**old, **patient("b", "1")}))
    left = shown(store, "Patient", "care/a")
    assert (left["maritalStatus"], left["multipleBirthBoolean"]) == ({"text": "married"}, True)
    assert [one["value"] for one in left["telecom"]] == ["1", "0", "070"]
    assert left["telecom"][2]["extension"] == [{"url": ORIGIN, "valueUri": f"Patient/{lost}"}]
    assert len(left["link"]) == 2, "the two records"
    assert "active" not in left

    told(store, ("ortho", {**old, **patient("b", "1"), "telecom": []}))
    values = [one["value"] for one in shown(store, "Patient", "care/a")["telecom"]]
    assert values == ["0", "070"], "what the EHR takes back goes, what was entered here stays"
    told(store, ("ortho", old))
    again = {name: shown(store, "Patient", name) for name in before}
    assert [data.pop("meta")["source"] for data in again.values()] == [
        data.pop("meta")["source"] for data in before.values()
    ]
    assert again == before


def test_a_security_label_entered_in_a_patient_who_is_given_up_protects_the_one_that_is_left(
    store: Store,
) -> None:
    told(store, ("care", patient("a", "1")), ("ortho", patient("b", "2")))
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "V"}
    edited(store, "Patient", "ortho/b", meta={"security": [label]})
    told(store, ("ortho", patient("b", "1")))
    assert shown(store, "Patient", "care/a")["meta"]["security"] == [label]
    told(store, ("ortho", patient("b", "2")))
    assert "security" not in shown(store, "Patient", "care/a")["meta"]
    assert shown(store, "Patient", "ortho/b")["meta"]["security"] == [label]


def test_what_the_records_say_wins_over_what_was_entered_in_a_patient_who_is_given_up(store: Store) -> None:
    told(store, ("care", patient("a", "1", gender="male")), ("ortho", patient("b", "2")))
    edited(store, "Patient", "ortho/b", gender="female")
    told(store, ("ortho", patient("b", "1")))
    assert shown(store, "Patient", "care/a")["gender"] == "male"


def test_what_was_entered_in_a_patient_who_is_given_up_and_breaks_a_rule_is_left_out(store: Store) -> None:
    def validate(document: Document) -> Outcome:
        return BAD if document.data.keys() >= {"gender", "maritalStatus"} else OK

    told(store, ("care", patient("a", "1", gender="male")), ("ortho", patient("b", "2")))
    edited(store, "Patient", "ortho/b", maritalStatus={"text": "married"})
    put(store, ("ortho", patient("b", "1")))
    assert settled(store, validate=validate).conflicts == {("ortho", "Patient"): 1}
    assert "maritalStatus" not in shown(store, "Patient", "care/a")
    assert len(questions(store, "merge-conflict")) == 1


def test_a_note_entered_in_an_order_that_is_given_up_is_shown_in_the_one_that_is_left(store: Store) -> None:
    told(
        store,
        ("care", referral("s", "Patient/p", "R1")),
        ("ortho", referral("t", "Patient/q", "R1")),
        ("care", patient("p", "1")),
        ("ortho", patient("q", "2")),
    )
    edited(store, "ServiceRequest", "ortho/t", note=[{"text": "asked by telephone"}])
    told(store, ("ortho", patient("q", "1")))
    own = ids(store, "ServiceRequest")
    assert own["care/s"] == own["ortho/t"]
    assert shown(store, "ServiceRequest", "care/s")["note"] == [{"text": "asked by telephone"}]
