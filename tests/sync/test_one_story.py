"""Records of several departments become one story; who may be one person is asked."""

from __future__ import annotations

from fhir_coprod import jsontext
from fhir_coprod.store import Store, Version
from fhir_coprod.sync import people
from fhir_coprod.sync.engine import run
from tests.sync.conftest import settings_for
from tests.sync.departments import a_department, every, one, synced
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import Ehr, serving


def test_two_departments_become_one_story(store: Store) -> None:
    care = a_department()
    ortho = Ehr().load(
        organization("ortho", "OR", name="Orthopaedics"),
        patient("900", "19700102", telecom=[{"system": "phone", "value": "070"}]),
        referral("77", "Patient/900", "R1", status="on-hold", requester={"display": "the GP"}),
        task("1", "Patient/900", "ServiceRequest/77", "accepted", owner={"reference": "Organization/ortho"}),
    )
    with serving(care, ortho):
        reports = synced(store, care=care, ortho=ortho)
        assert synced(store, care=care, ortho=ortho)["care"].ok
    assert reports["ortho"].counts["Patient"].merged == 1
    assert not any(counts.conflicts for report in reports.values() for counts in report.counts.values())
    order = one(store, "ServiceRequest")
    assert order.data["status"] == "active"
    assert len(every(store, "Task", focus=order.reference)) == 2
    owner = {v.data["owner"]["reference"] for v in every(store, "Task")}
    assert len(owner) == 1
    assert store.head() == 6  # 2 organisations, patient, order, 2 tasks: written once each


def _asked(store: Store) -> Version:
    return one(store, "Task", code="possible-same-patient")


def _two_who_are_alike() -> tuple[Ehr, Ehr]:
    return Ehr().load(patient("p", "19700102"), referral("s", "Patient/p")), Ehr().load(patient("900"))


def test_who_is_only_alike_stays_two_until_a_person_says_that_they_are_one(store: Store) -> None:
    care, ortho = _two_who_are_alike()
    with serving(care, ortho):
        reports = synced(store, care=care, ortho=ortho)
        assert len(every(store, "Patient")) == 2
        assert reports["ortho"].counts["Patient"].conflicts == 1
        question = _asked(store)
        asked = {
            question.data["focus"]["reference"],
            question.data["input"][0]["valueReference"]["reference"],
        }
        assert asked == {v.reference for v in every(store, "Patient")}
        head = store.head()
        synced(store, full=True, care=care, ortho=ortho)
        assert store.head() == head

        said = people.decide(
            store, settings_for(care=care, ortho=ortho), [question.id[:8]], "same", " Karin  Sand "
        )
        assert (said.carried_out, said.by) == (True, "Karin Sand")
        living = _in_use(store)
        assert len(living) == 1
        assert one(store, "ServiceRequest").data["subject"]["reference"] == living[0].reference
        retired = next(v for v in every(store, "Patient") if v.data.get("active") is False)
        assert retired.data["link"] == [{"other": {"reference": living[0].reference}, "type": "replaced-by"}]
        head = store.head()
        synced(store, full=True, care=care, ortho=ortho)
        assert store.head() == head


def test_what_a_person_added_to_the_question_stays(store: Store) -> None:
    care, ortho = _two_who_are_alike()
    with serving(care, ortho):
        synced(store, care=care, ortho=ortho)
        question = _asked(store)
        taken = {**question.data, "status": "in-progress", "note": [{"text": "I will call her"}]}
        store.write(lambda t: t.put(jsontext.from_data(taken), question.id))
        for gender in ("female", "unknown"):
            ortho.put(patient("900", gender=gender))
            synced(store, care=care, ortho=ortho)
        standing = _asked(store).data
        assert (standing["status"], standing["note"]) == ("in-progress", taken["note"])
        ortho.put(patient("900", birthDate="1999-09-09"))
        synced(store, care=care, ortho=ortho)
    withdrawn = _asked(store).data
    assert (withdrawn["status"], withdrawn["note"]) == ("cancelled", taken["note"])


def test_a_question_that_a_program_completes_joins_nobody_and_is_asked_again(store: Store) -> None:
    care, ortho = _two_who_are_alike()
    with serving(care, ortho):
        synced(store, care=care, ortho=ortho)
        question = _asked(store)
        answer = {**question.data, "status": "completed"}
        answer["output"] = [{"type": {"text": "decision"}, "valueCode": "same"}]
        store.write(lambda t: t.put(jsontext.from_data(answer), question.id))
        synced(store, care=care, ortho=ortho)
        assert _asked(store).data["status"] == "requested"
        head = store.head()
        synced(store, full=True, care=care, ortho=ortho)
        assert store.head() == head
    assert len(_in_use(store)) == 2


def test_the_first_run_and_a_full_one_tell_what_they_saw_of_each_system(store: Store) -> None:
    policy = {"system": "urn:policy", "value": "P1"}
    family = [("Karl", "1960-05-05"), ("Anna", "1990-06-06")]
    care = Ehr().load(
        *(
            {
                **patient(f"f{n}", birthDate=born, name=[{"family": "Ek", "given": [given]}]),
                "identifier": [policy],
            }
            for n, (given, born) in enumerate(family)
        ),
        patient("p", "19700102"),
    )
    ortho = Ehr().load(patient("900", "19700102"), patient("901", "7"))
    with serving(care, ortho):
        first = synced(store, care=care, ortho=ortho)
        again = synced(store, care=care, ortho=ortho)
        full = synced(store, full=True, care=care, ortho=ortho)
    numbers = {"system": "urn:number", "values": 1, "shared": 1, "different": 0, "trusted": True}
    odd = {"system": "urn:policy", "values": 1, "shared": 1, "different": 1, "trusted": True}
    assert first["care"].to_json()["identifiers"] == [numbers, odd]
    assert first["ortho"].to_json()["identifiers"] == [{**numbers, "values": 2}]
    assert again["care"].to_json()["identifiers"] == []
    assert full["care"].to_json()["identifiers"] == [numbers, odd]


def test_a_mistaken_identifier_corrected_at_the_ehr_parts_what_was_one(store: Store) -> None:
    care = a_department()
    ortho = Ehr().load(
        patient("900", "19700102"),
        referral("77", "Patient/900", "R1"),
        task("1", "Patient/900", "ServiceRequest/77"),
    )
    with serving(care, ortho):
        synced(store, care=care, ortho=ortho)
        before = one(store, "Patient").id
        ortho.put(patient("900", "19990909", birthDate="1999-09-09"))
        synced(store, care=care, ortho=ortho)
    kept, parted = sorted(every(store, "Patient"), key=lambda v: v.id != before)
    assert kept.id == before
    assert kept.data["birthDate"] == "1970-01-02"
    assert "link" not in kept.data
    assert parted.data["birthDate"] == "1999-09-09"
    orders = {v.data["subject"]["reference"]: v.reference for v in every(store, "ServiceRequest")}
    assert set(orders) == {kept.reference, parted.reference}
    tasks = {v.data["for"]["reference"]: v.data["focus"]["reference"] for v in every(store, "Task")}
    assert tasks == orders


def test_a_patient_given_up_at_its_ehr_does_not_lead(store: Store) -> None:
    link = [{"other": {"reference": "Patient/b"}, "type": "replaced-by"}]
    ehr = Ehr().load(patient("a", "1", active=False, link=link), patient("b", "1", active=True))
    with serving(ehr):
        synced(store, care=ehr)
    assert one(store, "Patient").data["active"] is True


def _in_use(store: Store) -> list[Version]:
    return [v for v in every(store, "Patient") if v.data.get("active") is not False]


def test_postgresql_holds_the_same_story(postgresql_store: str) -> None:
    long = "9" * 5000
    care = a_department()
    care.put(organization("long", long))
    ortho = Ehr(history=True).load(
        organization("ortho", "OR"),
        organization("as-long", long),
        patient("900", "19700102"),
        patient("901"),
        referral("77", "Patient/900", "R1", status="on-hold"),
        task("1", "Patient/900", "ServiceRequest/77", "accepted"),
    )
    ortho.broken["Task/1"] = b"{}"
    with Store.open(postgresql_store) as store, serving(care, ortho):
        reports = synced(store, care=care, ortho=ortho)
        assert reports["ortho"].counts["Organization"].merged == 2
        assert reports["ortho"].counts["Task"].dead == 1
        assert one(store, "ServiceRequest").data["status"] == "active"
        assert one(store, "Task", code="possible-same-patient")
        ortho.broken.clear()
        ortho.delete("Patient/901")
        run(store, settings_for(care=care, ortho=ortho), dry_run=True)
        reports = synced(store, care=care, ortho=ortho)
        assert reports["ortho"].ok
        assert reports["ortho"].counts["Patient"].deleted == 1
        assert one(store, "Task", code="possible-same-patient").data["status"] == "cancelled"
        head = store.head()
        synced(store, full=True, care=care, ortho=ortho)
        assert store.head() == head
