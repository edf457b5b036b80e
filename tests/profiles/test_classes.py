"""The profile classes: what they build is valid, what they read they give back.

That user code type-checks is shown by typed_use.py beside this file, which `make check` reads."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.patient import Patient

from fhir_coprod import definitions, validate
from fhir_coprod.errors import InvalidResource, NotJson, UnknownDefinition
from fhir_coprod.profiles import (
    Accommodation,
    Agency,
    CoproductionAppointment,
    CoproductionCarePlan,
    CoproductionGoal,
    CoproductionPatient,
    CoproductionServiceRequest,
    EverydayLife,
    PatientConcern,
    PatientProblemList,
    PlanAgreement,
    PlanTask,
    PrivateMoment,
    PrivateMomentTask,
    Profiled,
    RespectAndTrustResponse,
    TeachBack,
    WrittenInformation,
    extensions,
    network,
    observations,
    person,
)
from tests import site_package
from tests.profiles.built import BUILT, CLASSES, WITHOUT_CLASS, WRITTEN_BY_THE_WATCH

ROOT = Path(__file__).parent.parent.parent


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


GOAL_WITH_NOPE = b'{"resourceType":"Goal","nope":1}'
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
    assert str(goal.target[0].detailQuantity.value) == "19.00"
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


@pytest.mark.parametrize("kind", CLASSES, ids=lambda c: c.__name__)
def test_no_property_of_ours_hides_an_element(kind: type[Profiled]) -> None:
    ours = {name for made in kind.__mro__ if made.__module__.startswith("fhir_coprod") for name in vars(made)}
    assert not ours & kind.model_fields.keys()


def test_each_profile_that_people_build_has_a_class_and_each_constructor_is_tried() -> None:
    with_class = {kind.profile_id for kind in CLASSES}
    ours = {s["id"] for s in definitions.own_resources("StructureDefinition") if s["type"] != "Extension"}
    assert ours - with_class == WITHOUT_CLASS
    assert with_class - {built.profile_id for built in BUILT} == WRITTEN_BY_THE_WATCH


def test_the_page_names_the_class_of_each_profile_and_why_one_has_none() -> None:
    page = (ROOT / "docs" / "profiles.md").read_text()
    for kind in CLASSES:
        assert f"`{kind.profile_id}`, a {kind.get_resource_type()}; in Python `{kind.__name__}`." in page
    for id in WITHOUT_CLASS:
        assert re.search(rf"`{id}`, a \w+; no class in Python: ", page)


CODES = [
    (network.NetworkRole, "network-role"),
    (observations.BarrierKind, "barrier-kind"),
    (observations.TeachBackResult, "teach-back-result"),
    (person.Rating, "rating"),
    (extensions.Phase, "coproduction-phase"),
    (extensions.AgencyLevel, "agency"),
    (extensions.Agreement, "plan-agreement-status"),
]


@pytest.mark.parametrize(("literal", "system"), CODES, ids=lambda one: one if isinstance(one, str) else "")
def test_codes_in_type_hints_are_those_of_the_code_system(literal: Any, system: str) -> None:
    assert set(get_args(literal)) == definitions.code_system(f"{definitions.CANONICAL}/CodeSystem/{system}")


@pytest.mark.parametrize(
    ("literal", "value_set"),
    [(observations.Everyday, "everyday-life-code"), (observations.ReadinessKind, "readiness-code")],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_codes_in_type_hints_are_those_of_the_value_set(literal: Any, value_set: str) -> None:
    held = definitions.value_set(f"{definitions.CANONICAL}/ValueSet/{value_set}")
    assert held is not None
    assert [set(get_args(literal))] == [set(codes) for codes in held.values()]


def test_questions_in_type_hints_are_those_of_the_questionnaire() -> None:
    [asked] = definitions.own_resources("Questionnaire")
    wanted = [item["linkId"] for item in asked["item"] if item["type"] == "choice"]
    assert list(get_args(person.Question)) == wanted


def test_properties_read_what_the_constructors_wrote() -> None:
    def again(kind: type[Profiled]) -> Any:
        return kind.read(next(built for built in BUILT if type(built) is kind).write())

    assert again(WrittenInformation).words == "Röret knackar. Du kan avbryta när du vill."
    assert again(TeachBack).result == "understood-in-part"
    assert again(EverydayLife).kind == "work"
    assert again(PatientConcern).words == "I am afraid of lying in that tube."
    assert again(PatientProblemList).concerns == ["Condition/1", "Condition/2"]
    assert again(RespectAndTrustResponse).ratings == {"heard": "completely", "kept": "half"}
    assert again(CoproductionPatient).interpreter_required is True
    assert again(PrivateMomentTask).moment == PrivateMoment(
        True, asked="2026-01-22", without=("Practitioner/4",)
    )
    assert [each.kind.text for each in again(CoproductionAppointment).accommodations] == [
        "A bell in the hand"
    ]
    assert again(PlanTask).agency == Agency("shared", "PractitionerRole/2")


def test_a_document_that_is_elsewhere_has_no_words_here() -> None:
    made = WrittenInformation.build("Film", "x", language="sv", description="A film")
    made.content[0].attachment.data = None
    made.content[0].attachment.url = "https://example.org/film.mp4"
    assert made.check()
    assert made.words is None


def test_words_in_another_encoding_are_not_guessed() -> None:
    made = WrittenInformation.build("Råd", "x", language="sv", description="Advice")
    made.content[0].attachment.contentType = "text/plain; charset=iso-8859-1"
    made.content[0].attachment.data = "Uvhyc/Y="
    assert made.words is None


def test_a_cancelled_appointment_says_why() -> None:
    visit = next(built for built in BUILT if isinstance(built, CoproductionAppointment)).model_copy(deep=True)
    visit.cancel("The tube is broken")
    outcome = visit.check()
    assert outcome
    assert "coprod-appointment-2" not in str(outcome)


@pytest.mark.parametrize(
    "wrong", ["a", "patient/1", "Patient", "Patient/", "Patient/a b", "Patience/1", "Patient/1/2", "", "#a b"]
)
def test_text_that_names_nothing_is_no_reference(wrong: str) -> None:
    with pytest.raises(InvalidResource, match="Patient/1") as error:
        CoproductionGoal.in_own_words("Walk", patient=wrong)
    assert "a b" not in str(error.value)
    with pytest.raises(InvalidResource):
        CoproductionCarePlan.build(
            patient="Patient/1", agreements=[PlanAgreement(wrong, "agreed", "2026-03-02")]
        )


@pytest.mark.parametrize(
    "right",
    [
        "Patient/1",
        "Patient/1/_history/2",
        "https://example.org/fhir/Patient/1",
        "urn:uuid:a0d5ae8a-6b63-4a6a-9e0a-6c4b1f6c1d11",
        "#p",
        "Patient?identifier=https://example.org/person|1",
    ],
)
def test_what_r4_calls_a_reference_is_taken(right: str) -> None:
    goal = CoproductionGoal.in_own_words("Walk", patient=right)
    assert goal.subject.reference == right
    assert (
        CoproductionGoal.in_own_words("Walk", patient=right, expressed_by=right).expressedBy.reference
        == right
    )


def test_repr_tells_what_is_set() -> None:
    goal = CoproductionGoal.in_own_words("Walk", patient="Patient/1")
    assert repr(goal) == str(goal)
    assert repr(goal) == (
        "CoproductionGoal(lifecycleStatus='proposed', description={'text': 'Walk'}, "
        "subject={'reference': 'Patient/1'}, expressedBy={'reference': 'Patient/1'})"
    )
    assert len(repr(CoproductionGoal.in_own_words("Walk " * 1000, patient="Patient/1"))) < 250


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (GOAL_WITH_NOPE, r"This is not a Goal: at Goal: .*`nope`.*"),
        (b'{"resourceType":"Goal","lifecycleStatus":3}', r"at Goal\.lifecycleStatus: .* There are 2 more"),
        (b'{"resourceType":"Patient"}', "This is a resource of type Patient, not a Goal"),
        (b'{"lifecycleStatus":"active"}', "This is JSON without `resourceType`, not a Goal"),
    ],
)
def test_what_is_no_goal_is_told_with_place_and_reason(raw: bytes, said: str) -> None:
    with pytest.raises(InvalidResource, match=said):
        CoproductionGoal.read(raw)


@pytest.mark.parametrize("built", BUILT[:3], ids=lambda b: type(b).__name__)
def test_validate_takes_our_classes(built: Profiled) -> None:
    assert validate(built) == built.check()


def test_validate_takes_models_of_fhir_resources_with_their_decimals() -> None:
    seen: dict[str, Any] = {"status": "final", "code": {"text": "x"}}
    assert validate(Observation(**seen, valueQuantity={"value": Decimal("19.00")}))
    outcome = validate(Observation(**seen, effectiveDateTime="2026-01-01", subject={"reference": "Goal/1"}))
    assert [issue.expression for issue in outcome.errors] == ["Observation.subject"]


def test_validate_takes_what_programs_have_for_dates_decimals_and_elements() -> None:
    """A model's dict has them: `model_dump` gives dates as Python's."""
    seen: dict[str, Any] = {"status": "final", "code": {"text": "x"}, "issued": "2026-01-01T00:00:00Z"}
    made = Observation(**seen, effectiveDateTime="2026-01-01", valueQuantity={"value": Decimal("19.00")})
    assert validate(made.model_dump()) == validate(made)
    coded = {**seen, "resourceType": "Observation", "code": made.code}
    assert validate(coded)
    assert [issue.expression for issue in validate({**coded, "issued": date(2026, 1, 1)}).errors] == [
        "Observation.issued"
    ]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_of_json_is_refused(number: float) -> None:
    seen = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    [error] = validate({**seen, "valueQuantity": {"value": number}}).errors
    assert (error.expression, error.code) == ("Observation.value.value", "value")
    assert not validate({**seen, "valueQuantity": {"value": number}, "effectiveDateTime": date(2026, 1, 1)})


def test_a_dict_that_holds_itself_is_refused() -> None:
    extension: dict[str, Any] = {"url": "urn:x"}
    extension["extension"] = [extension]
    endless = {"resourceType": "Patient", "extension": [extension]}
    [error] = validate(endless).errors
    assert "nests deeper than 64 levels" in error.message
    with pytest.raises(NotJson, match="nests deeper than 64 levels"):
        CoproductionPatient.read(endless)


@pytest.mark.parametrize("named", [CoproductionGoal, ["coproduction-goal"], 7])
def test_validate_says_how_a_profile_is_named(named: Any) -> None:
    with pytest.raises(TypeError, match="named by its canonical, or of ours by its id"):
        validate(BUILT[0], named)


@pytest.mark.parametrize("odd", [CoproductionGoal, 7, None, ["x"], bytearray(b"{}")])
def test_validate_says_what_it_takes(odd: Any) -> None:
    with pytest.raises(TypeError, match=r"bytes or text, a dict, or a model of fhir\.resources"):
        validate(odd)


def test_validate_knows_our_profiles_by_their_ids() -> None:
    goal = BUILT[0].write()
    assert validate(goal, "coproduction-goal") == validate(goal, CoproductionGoal.profile_url())
    with pytest.raises(UnknownDefinition):
        validate(goal, "no-such-profile")


class SiteGoal(CoproductionGoal):
    """A goal as one hospital wants it."""

    profile_id = site_package.GOAL


class SitePatient(Profiled, Patient):
    profile_id = "https://hospital.example/fhir/StructureDefinition/site-patient"


class Unnamed(Profiled, Patient):
    pass


def test_a_site_s_own_profile_is_checked_by_its_package(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from fhir_coprod import definitions\n"
        "from fhir_coprod.errors import UnknownDefinition\n"
        "from fhir_coprod.profiles import CoproductionGoal\n"
        "class SiteGoal(CoproductionGoal):\n"
        f"    profile_id = {SiteGoal.profile_id!r}\n"
        "goal = SiteGoal.in_own_words('Walk', patient='Patient/1')\n"
        "try:\n    goal.check()\nexcept UnknownDefinition:\n    pass\nelse:\n    sys.exit('not refused')\n"
        "definitions.load_package(sys.argv[1])\n"
        "assert [e.expression for e in goal.check().errors] == ['Goal'], goal.check()\n"
        "goal.startDate = '2026-03-02'\n"
        "assert goal.check(), goal.check()\n"
        "assert CoproductionGoal.in_own_words('Walk', patient='Patient/1').check()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(site_package.written(tmp_path))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_class_claims_the_canonical_that_it_names() -> None:
    assert json.loads(SiteGoal.in_own_words("Walk", patient="Patient/1").write())["meta"]["profile"] == [
        SiteGoal.profile_id
    ]
    assert json.loads(SitePatient(active=True).write())["meta"]["profile"] == [SitePatient.profile_id]
    with pytest.raises(TypeError, match="profile_id"):
        Unnamed()


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
