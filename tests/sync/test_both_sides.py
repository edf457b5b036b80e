"""What was changed here and at an EHR is brought together, or a person is asked."""

from __future__ import annotations

from typing import Any

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Store
from fhir_coprod.sync.engine import run
from tests.sync.conftest import settings_for
from tests.sync.departments import a_department, one, synced
from tests.sync.records import patient
from tests.sync.server import Ehr, serving


def test_what_somebody_here_changed_is_kept_when_the_ehr_changes_something_else(store: Store) -> None:
    ehr = a_department()
    with serving(ehr):
        synced(store, care=ehr)
        ours = one(store, "Task")
        noted = {**ours.data, "note": [{"text": "afraid of the scanner"}]}
        store.write(lambda t: t.put(jsontext.from_data(noted), ours.id))
        synced(store, full=True, care=ehr)
        assert one(store, "Task").version == 2
        for status in ("accepted", "in-progress"):
            ehr.put({**ehr.resources["Task/t"], "status": status})
            report = synced(store, care=ehr)["care"]
            merged = one(store, "Task")
            assert merged.data["note"] == [{"text": "afraid of the scanner"}]
            assert merged.data["status"] == status
            assert report.counts["Task"].conflicts == 0


def test_an_element_changed_on_both_sides_keeps_ours_and_asks_a_person(store: Store) -> None:
    ehr = a_department()
    with serving(ehr):
        synced(store, care=ehr)
        ours = one(store, "Task")
        store.write(lambda t: t.put(jsontext.from_data({**ours.data, "priority": "urgent"}), ours.id))
        ehr.put({**ehr.resources["Task/t"], "priority": "stat", "status": "accepted"})
        report = synced(store, care=ehr)["care"]
        again = synced(store, full=True, care=ehr)["care"]
    merged = store.read("Task", ours.id)
    assert (merged.data["priority"], merged.data["status"]) == ("urgent", "accepted")
    assert report.counts["Task"].conflicts == 1
    assert again.counts["Task"].conflicts == 0
    question = one(store, "Task", code="merge-conflict")
    assert question.data["focus"]["reference"] == ours.reference
    assert "priority" in question.data["description"]
    assert "urgent" not in question.data["description"]


def test_a_resource_changed_here_deleted_at_the_ehr_and_made_again_is_whole(store: Store) -> None:
    ehr = a_department(history=True)
    with serving(ehr):
        synced(store, care=ehr)
        ours = one(store, "Task")
        store.write(lambda t: t.put(jsontext.from_data({**ours.data, "priority": "urgent"}), ours.id))
        ehr.put({**ehr.resources["Task/t"], "status": "accepted"})
        synced(store, care=ehr)
        again = ehr.resources["Task/t"]
        ehr.delete("Task/t")
        synced(store, care=ehr)
        ehr.put(again)
        synced(store, care=ehr)
    found = one(store, "Task")
    assert (found.id, found.data["status"], found.data["intent"]) == (ours.id, "accepted", "order")
    assert "focus" in found.data


def test_a_resource_deleted_here_is_whole_when_the_ehr_changes_it(store: Store) -> None:
    ehr = a_department()
    with serving(ehr):
        synced(store, care=ehr)
        ours = one(store, "Task")
        store.write(lambda t: t.put(jsontext.from_data({**ours.data, "priority": "urgent"}), ours.id))
        ehr.put({**ehr.resources["Task/t"], "status": "accepted"})
        synced(store, care=ehr)
        store.write(lambda t: t.delete("Task", ours.id))
        ehr.put({**ehr.resources["Task/t"], "status": "in-progress"})
        synced(store, care=ehr)
    found = one(store, "Task").data
    assert (found["status"], found["intent"]) == ("in-progress", "order")


def a_goal(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Goal",
        "id": "g",
        "lifecycleStatus": "active",
        "description": {"text": "walk to the shop"},
        "subject": {"reference": "Patient/p"},
        **more,
    }


def of_goals(ehr: Ehr) -> Settings:
    return Settings(ehr=(EhrSettings(name="care", url=ehr.url, types=("Patient", "Goal")),))


def test_a_choice_that_both_sides_made_otherwise_stays_one_choice(store: Store) -> None:
    ehr = Ehr().load(patient("p"), a_goal(startDate="2026-01-01"))
    with serving(ehr):
        run(store, of_goals(ehr))
        ours = one(store, "Goal")
        chosen = {key: value for key, value in ours.data.items() if key != "startDate"}
        chosen["startCodeableConcept"] = {"text": "after the operation"}
        store.write(lambda t: t.put(jsontext.from_data(chosen), ours.id))
        ehr.put(a_goal(startDate="2026-02-02", note=[{"text": "new"}]))
        (report,) = run(store, of_goals(ehr))
    merged = one(store, "Goal").data
    assert merged["startCodeableConcept"] == {"text": "after the operation"}
    assert merged["note"] == [{"text": "new"}]
    assert "startDate" not in merged
    assert report.counts["Goal"].conflicts == 1
    assert "start[x]" in one(store, "Task", code="merge-conflict").data["description"]


def test_changes_that_together_break_fhirs_rules_leave_ours_whole_and_ask_a_person(store: Store) -> None:
    target = {"measure": {"text": "steps"}, "detailInteger": 500}
    ehr = Ehr().load(patient("p"), a_goal(note=[{"text": "old"}], target=[target]))
    both_reported = Outcome((Issue("error", "invariant", "made up: not both"),))

    def validate(document: Document) -> Outcome:
        return both_reported if document.data.keys() >= {"category", "statusDate"} else Outcome(())

    with serving(ehr):
        run(store, of_goals(ehr), validate=validate)
        ours = one(store, "Goal")
        edited = {**ours.data, "statusDate": "2026-03-03"}
        store.write(lambda t: t.put(jsontext.from_data(edited), ours.id))
        ehr.put(a_goal(category=[{"text": "diet"}], target=[target]))
        (report,) = run(store, of_goals(ehr), validate=validate)
        kept = one(store, "Goal")
        assert kept.version == 2
        assert report.counts["Goal"].conflicts == 1
        assert "FHIR's rules" in one(store, "Task", code="merge-conflict").data["description"]
        ehr.put(a_goal(target=[target], priority={"text": "high"}))
        run(store, of_goals(ehr), validate=validate)
    merged = one(store, "Goal").data
    assert (merged["statusDate"], merged["priority"]) == ("2026-03-03", {"text": "high"})
    assert "note" not in merged  # what the EHR took away while nothing could be merged


def test_records_that_together_break_fhirs_rules_leave_the_first_whole_and_ask_a_person(store: Store) -> None:
    care = Ehr().load(patient("p", "19700102", gender="female"))
    ortho = Ehr().load(patient("900", "19700102", maritalStatus={"text": "married"}))

    def validate(document: Document) -> Outcome:
        bad = document.data.keys() >= {"gender", "maritalStatus"}
        return Outcome((Issue("error", "invariant", "made up"),)) if bad else Outcome(())

    with serving(care, ortho):
        reports = run(store, settings_for(care=care, ortho=ortho), validate=validate)
    kept = one(store, "Patient")
    assert kept.data["gender"] == "female"
    assert "maritalStatus" not in kept.data
    assert one(store, "Task", code="merge-conflict").data["focus"]["reference"] == kept.reference
    assert reports[0].counts["Patient"].conflicts == 1
