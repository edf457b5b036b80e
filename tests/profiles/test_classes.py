"""The profile classes: what they build is valid, what they read they give back.

That user code type-checks is shown by typed_use.py beside this file, which `make check` reads."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest

from fhir_coprod import definitions, profiles, validate
from fhir_coprod.errors import InvalidResource, NotJson
from fhir_coprod.profiles import (
    Accommodation,
    Agency,
    CoproductionCarePlan,
    CoproductionCommunication,
    CoproductionGoal,
    CoproductionServiceRequest,
    GoalAcceptance,
    PatientTask,
    PlanAgreement,
    Profiled,
    ReferralTask,
    StalledReferral,
    StallFollowup,
)

CLASSES: list[type[Profiled]] = [
    CoproductionCarePlan,
    CoproductionCommunication,
    CoproductionGoal,
    CoproductionServiceRequest,
    PatientTask,
    ReferralTask,
    StalledReferral,
    StallFollowup,
]

BUILT: list[Profiled] = [
    CoproductionGoal.in_own_words(
        "Gå till brevlådan igen",
        patient="Patient/1",
        lifecycle_status="active",
        acceptances=[GoalAcceptance("Patient/1", "agree"), GoalAcceptance("Practitioner/2", "pending")],
    ),
    CoproductionCarePlan.build(
        patient="Patient/1",
        goals=["Goal/1"],
        activities=["Task/1", "ServiceRequest/1"],
        status="active",
        contributors=["Patient/1", "Practitioner/2"],
        phase="co-design",
        agreements=[PlanAgreement("Patient/1", "agreed", "2026-03-02", reason="It fits my work")],
    ),
    CoproductionCommunication.said(
        "Your scan is booked",
        patient="Patient/1",
        sender="Organization/1",
        recipients=["Patient/1"],
        sent="2026-03-02T10:00:00+01:00",
        about=["ServiceRequest/1"],
        topic="appointment-booked",
        why="To see whether a nerve is pinched",
        phase="co-deliver",
    ),
    CoproductionServiceRequest.refer(
        "MRI of the lumbar spine",
        patient="Patient/1",
        requester="Organization/1",
        authored_on="2026-03-02T10:00:00+01:00",
        to=["Organization/2"],
        why="Numb foot",
        priority="urgent",
        goals=["Goal/1"],
        accommodations=[
            Accommodation("More time", why="Afraid of the tube", extra_time=20, agreed_by=("Patient/1",))
        ],
        for_patient="The pictures show where the nerve is pinched.",
    ),
    CoproductionServiceRequest.ask("An X-ray of my back", patient="Patient/1", authored_on="2026-03-02"),
    ReferralTask.build(
        referral="ServiceRequest/1",
        patient="Patient/1",
        requester="Organization/1",
        owner="Organization/2",
        authored_on="2026-03-02T10:00:00+01:00",
        status="accepted",
    ),
    PatientTask.build(
        "Walk ten minutes a day",
        patient="Patient/1",
        agreed="2026-03-02",
        by_when="2026-04-01",
        plan="CarePlan/1",
        goals=["Goal/1"],
        agency=Agency("patient-led", "Practitioner/2", patient_confirmed=True),
    ),
]


@pytest.mark.parametrize("resource", BUILT, ids=lambda r: f"{type(r).__name__}-{BUILT.index(r)}")
def test_what_a_builder_builds_is_valid_against_its_profile(resource: Profiled) -> None:
    outcome = resource.check()
    assert outcome, str(outcome)
    assert json.loads(resource.write())["meta"]["profile"] == [resource.profile_url()]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda c: c.__name__)
def test_each_class_has_its_profile_and_names_the_same_type(kind: type[Profiled]) -> None:
    structure = definitions.structure(kind.profile_url())
    assert structure["type"] == kind.get_resource_type()


@pytest.mark.parametrize("kind", CLASSES, ids=lambda c: c.__name__)
def test_elements_of_the_python_class_are_those_of_r4(kind: type[Profiled]) -> None:
    base = kind.get_resource_type()
    elements = {
        element["path"].split(".")[1]: element
        for element in definitions.structure(base)["snapshot"]["element"]
        if element["path"].count(".") == 1
    }
    of_class = {
        field.alias or name
        for name, field in kind.model_fields.items()
        if not name.endswith("__ext") and name not in ("fhir_comments", "resourceType")
    }
    for name in of_class:
        stem = next((e for e in elements if e.endswith("[x]") and name.startswith(e[:-3])), name)
        assert stem in elements, f"{base}.{name} is not an element of R4"
    for name in elements:
        assert name in of_class or any(n.startswith(name[:-3]) for n in of_class if name.endswith("[x]")), (
            name
        )


@pytest.mark.parametrize("kind", CLASSES, ids=lambda c: c.__name__)
def test_examples_of_the_package_are_read_and_given_back_byte_for_byte(kind: type[Profiled]) -> None:
    examples = [
        e for e in definitions.examples() if kind.profile_url() in e.get("meta", {}).get("profile", ())
    ]
    assert examples
    for example in examples:
        raw = json.dumps(example, indent=2, ensure_ascii=False).encode()
        assert kind.read(raw).write() == raw


GOAL = b"""{ "resourceType": "Goal", "id": "g1", "lifecycleStatus": "active",
  "description": {"text": "G\\u00e5 till brevl\\u00e5dan",
    "_text": {"extension": [{"url": "http://x.example", "valueCode": "sv"}]}},
  "subject": {"reference": "Patient/1"}, "expressedBy": {"reference": "Patient/1"}, "startDate": "2026-01",
  "target": [{"detailQuantity": {"value": 19.00, "unit": "min"}, "dueDate": "2026-02-01"}] }"""


def test_reading_and_writing_back_changes_not_one_byte() -> None:
    assert CoproductionGoal.read(GOAL).write() == GOAL


def test_a_change_keeps_decimals_primitive_extensions_and_partial_dates() -> None:
    goal = CoproductionGoal.read(GOAL)
    goal.lifecycleStatus = "completed"
    written = goal.write()
    assert b'"lifecycleStatus": "completed"' in written
    assert b'"value": 19.00' in written
    assert b'"startDate": "2026-01"' in written
    assert b'"_text": {"extension"' in written
    assert b"G\\u00e5" in written
    assert json.loads(written) == {**json.loads(GOAL), "lifecycleStatus": "completed"}


def test_a_new_decimal_is_written_as_it_was_given() -> None:
    goal = CoproductionGoal.read(GOAL)
    assert goal.target
    assert goal.target[0].detailQuantity
    goal.target[0].detailQuantity.value = Decimal("20.50")
    assert b'"value": 20.50' in goal.write()


def test_accessors_read_what_they_wrote() -> None:
    plan = CoproductionCarePlan.build(patient="Patient/1")
    assert (plan.phase, plan.agreements, plan.status_reason) == (None, [], None)
    plan.phase = "co-assess"
    plan.agreements = [
        PlanAgreement("Patient/1", "considering", "2026-03-01"),
        PlanAgreement("Patient/1", "agreed", "2026-03-05"),
    ]
    plan.status_reason = "The patient wants to think"
    again = CoproductionCarePlan.read(plan.write())
    assert again.phase == "co-assess"
    latest = again.agreement_of("Patient/1")
    assert latest
    assert latest.status == "agreed"
    assert again.agreement_of("Patient/2") is None
    assert again.status_reason
    assert again.status_reason.text == "The patient wants to think"
    again.phase = None
    assert again.phase is None
    assert len(again.agreements) == 2


def test_parts_of_an_extension_survive_the_way_there_and_back() -> None:
    needs = Accommodation(
        "Interpreter", why="I forget my Swedish when I am afraid", extra_time=30.0, agreed_by=("Patient/1",)
    )
    referral = CoproductionServiceRequest.ask("MRI", patient="Patient/1", authored_on="2026-03-02")
    referral.accommodations = [needs]
    [again] = CoproductionServiceRequest.read(referral.write()).accommodations
    assert again.why == needs.why
    assert again.extra_time == 30.0
    assert again.agreed_by == ("Patient/1",)


def test_extra_time_in_hours_is_told_in_minutes() -> None:
    referral = json.loads(BUILT[3].write())
    for part in referral["extension"][-1]["extension"]:
        if part["url"] == "extraTime":
            part["valueDuration"] = {
                "value": 1.5,
                "unit": "h",
                "system": "http://unitsofmeasure.org",
                "code": "h",
            }
    again = CoproductionServiceRequest.read(json.dumps(referral))
    assert again.accommodations[0].extra_time == 90.0


def test_a_profile_rule_is_found_by_check_not_by_read() -> None:
    raw = GOAL.replace(b', "expressedBy": {"reference": "Patient/1"}', b"")
    outcome = CoproductionGoal.read(raw).check()
    assert not outcome
    assert any("expressedBy" in issue.expression + issue.message for issue in outcome.errors)


@pytest.mark.parametrize(
    "raw", [b'{"resourceType":"Goal","lifecycleStatus":3}', b'{"resourceType":"Goal","nope":1}']
)
def test_what_is_no_goal_at_all_is_refused_with_places(raw: bytes) -> None:
    with pytest.raises(InvalidResource) as error:
        CoproductionGoal.read(raw)
    assert error.value.outcome.errors
    assert all(issue.expression.startswith("Goal") for issue in error.value.outcome.errors)


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(NotJson):
        CoproductionGoal.read(b"<Goal/>")


def test_building_by_hand_claims_the_profile_once() -> None:
    made: dict[str, Any] = {
        "status": "draft",
        "intent": "plan",
        "subject": {"reference": "Patient/1"},
        "meta": {"profile": ["https://other.example/p", CoproductionCarePlan.profile_url()]},
    }
    plan = json.loads(CoproductionCarePlan.model_validate(made).write())
    assert plan["meta"]["profile"] == made["meta"]["profile"]


def test_every_public_name_is_exported() -> None:
    assert {kind.__name__ for kind in CLASSES} <= set(profiles.__all__)


def test_importing_the_classes_is_quick_enough_for_a_script() -> None:
    # Processor time: what else the machine does is not the import's.
    code = "import time; t = time.process_time(); import fhir_coprod.profiles; print(time.process_time() - t)"
    took = min(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(2)
    )
    assert took < 3, "a guard against loading the whole of R4; the figure itself is for `make bench`"


def test_validate_agrees_with_check() -> None:
    assert validate(BUILT[0].write()) == BUILT[0].check()
