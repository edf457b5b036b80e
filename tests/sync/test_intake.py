"""What an EHR has is taken in, whether it is valid or not, and what is wrong is said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fhir_coprod.jsontext import Document
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.settings import EhrSettings
from fhir_coprod.store import Store
from fhir_coprod.sync import dead_letters
from fhir_coprod.validation import validate_document
from fhir_coprod.watch.facts.reader import gather
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.assess import assess
from tests.sync.departments import every, one, synced
from tests.sync.records import organization, patient, referral, task
from tests.sync.server import Ehr, serving
from tests.sync.story import ids, questions, settled, shown
from tests.sync.test_arrival import put

SIDE = [
    {"priority": "HIGH"},
    {"businessStatus": {"coding": [{"system": 7}]}},
    {"meta": {"profile": ["https://nobody.example/StructureDefinition/unknown"]}},
    {"meta": {"profile": "not a list"}},
    {"extension": [{"url": "https://foreign.example/x", "valueString": "y"}]},
    {"extension": [{"url": "https://foreign.example/x"}]},
    {"modifierExtension": [{"url": "https://foreign.example/not", "valueBoolean": True}]},
    {"implicitRules": "https://foreign.example/rules"},
    {"text": {"status": "generated", "div": "<p>no namespace</p>"}},
    {"colour": "red"},
]


@pytest.mark.parametrize("more", SIDE)
def test_nothing_beside_the_fact_costs_a_record(store: Store, more: dict[str, Any]) -> None:
    ehr = Ehr().load(
        organization("care"), patient("p"), {**task("t", "Patient/p", "ServiceRequest/s", "accepted"), **more}
    )
    with serving(ehr):
        report = synced(store, care=ehr)["care"]
        assert report.ok
        assert report.counts["Task"].created == 1
    kept = one(store, "Task")
    assert kept.data["status"] == "accepted"
    for key in more.keys() - {"meta"}:
        assert kept.data[key] == more[key]


def test_a_record_that_is_not_valid_is_kept_marked_and_counted_until_a_sound_version_comes(
    store: Store,
) -> None:
    ehr = Ehr().load(
        organization("care"),
        patient("p"),
        task("t", "Patient/p", "ServiceRequest/s", "accepted", priority="HIGH"),
    )
    with serving(ehr):
        assert synced(store, care=ehr)["care"].counts["Task"].not_valid == 1
        (fault,) = store.faults()
        assert (fault.ehr, fault.type, fault.rule, fault.element, fault.resources) == (
            "care",
            "Task",
            "code-invalid",
            "Task.priority",
            1,
        )
        assert one(store, "Task", quality="not-valid").data["priority"] == "HIGH"
        ehr.put({**ehr.resources["Task/t"], "priority": "urgent"})
        assert synced(store, care=ehr)["care"].counts["Task"].not_valid == 0
    assert store.faults() == []
    assert one(store, "Task", quality="valid").data["priority"] == "urgent"


def test_an_ehr_that_refuses_has_a_dead_letter_and_takes_it_in_when_it_keeps(store: Store) -> None:
    ehr = Ehr().load(
        organization("care"),
        patient("p"),
        task("t", "Patient/p", "ServiceRequest/s", "accepted", priority="HIGH"),
    )
    with serving(ehr):
        refused = synced(store, on_invalid="refuse", care=ehr)["care"]
        assert (refused.ok, refused.dead, refused.dead_letters, every(store, "Task")) == (False, 1, 1, [])
        ehr.log.clear()  # the server says that nothing has changed
        assert synced(store, care=ehr)["care"].ok
    assert one(store, "Task").data["priority"] == "HIGH"
    with store.connect() as connection:
        assert [letter.state for letter in dead_letters.read(connection, all=True)] == ["resolved"]


def test_to_keep_is_the_default() -> None:
    assert EhrSettings(name="a", url="https://a.example").on_invalid == "keep"


# --- merges ---------------------------------------------------------------------------------------


def check(document: Document) -> Outcome:
    return validate_document(document)


def two(store: Store, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    put(store, ("care", first), ("ortho", second), validate=check)
    settled(store, validate=check)
    return shown(store, first["resourceType"], f"care/{first['id']}")


def test_an_invalid_leading_record_never_throws_away_what_others_say(store: Store) -> None:
    merged = two(
        store,
        patient("1", "19700102", gender="man"),
        patient("9", "19700102", telecom=[{"system": "phone", "value": "070"}]),
    )
    assert len(set(ids(store, "Patient").values())) == 1
    assert merged["gender"] == "man"
    assert [phone["value"] for phone in merged["telecom"]] == ["070"]
    assert questions(store, "merge-conflict") == []
    assert [(fault.ehr, fault.element) for fault in store.faults()] == [("care", "Patient.gender")]


def test_a_fault_that_another_brings_is_told_of_that_ehr(store: Store) -> None:
    merged = two(
        store,
        patient("1", "19700102"),
        patient("9", "19700102", telecom=[{"system": "phones", "value": "070"}]),
    )
    assert [phone["value"] for phone in merged["telecom"]] == ["070"]
    assert [(fault.ehr, fault.element) for fault in store.faults()] == [("ortho", "Patient.telecom.system")]


def test_a_merge_that_breaks_a_rule_that_no_record_breaks_leaves_out_that_part_only(store: Store) -> None:
    named = organization("1", "GP", telecom=[{"system": "phone", "value": "1"}])
    other = organization("9", "GP", telecom=[{"system": "phone", "value": "2"}])
    fine = organization("5", "GP", alias=["the practice"])
    put(store, ("care", named), ("ortho", other), ("lab", fine), validate=check)

    def strict(document: Document) -> Outcome:
        """Refuses two telephones: no record has more than one."""
        outcome = validate_document(document)
        many = len(document.data.get("telecom", [])) > 1
        bad = Issue("error", "business-rule", "two telephones", "Organization.telecom")
        return Outcome((*outcome.issues, bad)) if many else outcome

    settled(store, validate=strict)
    found = shown(store, "Organization", "care/1")
    assert [phone["value"] for phone in found["telecom"]] == ["2"]  # of ortho, the first in the settings
    assert found["alias"] == ["the practice"]
    assert len(questions(store, "merge-conflict")) == 1


# --- what the watch makes of it -------------------------------------------------------------------


def stage_of(store: Store, now: datetime) -> tuple[str | None, set[str], tuple[str, ...]]:
    """Where the one referral stands: stage, stalls, and what cannot be seen."""
    facts = gather(store, one(store, "ServiceRequest").id)
    standing = assess(facts, policies.load("default"), now)
    return standing.stage, {stall.rule for stall in standing.stalls}, standing.not_observable


def test_an_acceptance_with_a_fault_beside_it_is_an_acceptance(store: Store) -> None:
    """It names its referral by identifier only, at another EHR."""
    care = Ehr().load(
        organization("care", "GP"),
        patient("p", "19700102"),
        referral("s", "Patient/p", "R1", authoredOn="2026-01-07T10:00:00Z"),
    )
    accepted = task("t", "Patient/q", "", "accepted", priority="HIGH")
    accepted["focus"] = {"type": "ServiceRequest", "identifier": {"system": "urn:referral", "value": "R1"}}
    accepted |= {"authoredOn": "2026-01-07T10:00:00Z", "lastModified": "2026-01-08T10:00:00Z"}
    ortho = Ehr().load(organization("ortho", "OR"), patient("q", "19700102"), accepted)
    with serving(care, ortho):
        synced(store, care=care, ortho=ortho)
    stage, stalls, unseen = stage_of(store, datetime(2026, 1, 14, tzinfo=UTC))
    assert (stage, "not-sent" in stalls, unseen) == ("accepted", False, ())


def test_a_report_with_a_fault_in_a_side_element_is_a_result(store: Store) -> None:
    report = {
        "resourceType": "DiagnosticReport",
        "id": "r",
        "status": "final",
        "code": {"text": "MRI"},
        "subject": {"reference": "Patient/p"},
        "basedOn": [{"reference": "ServiceRequest/s"}],
        "issued": "2026-01-09T10:00:00Z",
        "media": [{"link": {"reference": "ImagingStudy/i"}}],
    }
    put(
        store,
        ("care", patient("p")),
        ("care", referral("s", "Patient/p", authoredOn="2026-01-07T10:00:00Z")),
        ("care", report),
        validate=check,
    )
    settled(store, validate=check)
    assert [fault.element for fault in store.faults()] == ["DiagnosticReport.media.link"]
    stage, stalls, _ = stage_of(store, datetime(2026, 1, 12, tzinfo=UTC))
    assert (stage, "not-sent" in stalls) == ("resulted", False)
