"""Each kind of rule once from both sides: what is accepted, and what is refused, and where.

The first column is the table "What is checked" of docs/developers.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fhir_coprod.validation.validator import Validator
from tests.validation.fast.test_tiers import agree
from tests.validation.slicing_package import CASES, PROFILES, claiming
from tests.validation.small import basic, patient, plan

Json = dict[str, Any]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "developers.md"
HL7 = "http://hl7.org/fhir/StructureDefinition/"
CLINICAL = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"
VERIFIED = "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification"


def sliced(profile: str, *, valid: bool) -> Json:
    """The first such case of the package with every way to slice."""
    return claiming(profile, next(c[2] for c in CASES if c[1] == profile and c[3] is valid))


def questionnaire(*items: Json) -> Json:
    group = {"linkId": "1", "type": "group", "item": list(items)}
    return {"resourceType": "Questionnaire", "status": "draft", "item": [group]}


def containing(**inner: Any) -> Json:
    managed = {"reference": "#inside"}
    inside = {"resourceType": "Organization", "id": "inside", **inner}
    return patient(contained=[inside], managingOrganization=managed)


def bundle(**inner: Any) -> Json:
    entry = {"fullUrl": "http://example.org/fhir/Patient/1", "resource": patient(id="1", **inner)}
    return {"resourceType": "Bundle", "type": "collection", "entry": [entry]}


def named(**value: Any) -> Json:
    return patient(extension=[{"url": f"{HL7}patient-mothersMaidenName", **value}])


def allergy(system: str, code: str) -> Json:
    return {
        "resourceType": "AllergyIntolerance",
        "patient": {"reference": "Patient/1"},
        "clinicalStatus": {"coding": [{"system": system, "code": code}]},
        "verificationStatus": {"coding": [{"system": VERIFIED, "code": "confirmed"}]},
    }


ACTS = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def encounter(**of_class: str) -> Json:
    return {"resourceType": "Encounter", "status": "planned", "class": of_class}


KINDS: list[tuple[str, Json, Json, str]] = [
    # kind of rule, accepted, refused, where that is told
    *(
        (name, sliced(profile, valid=True), sliced(profile, valid=False), where)
        for name, profile, where in (
            ("slices told apart by value", "by-value", "Patient"),
            ("by pattern", "by-pattern", "Observation"),
            ("by type", "by-type", "Observation.value"),
            ("by profile", "by-profile", "Bundle"),
            ("by existence", "by-existence", "Patient"),
            ("by a required binding", "by-required-binding", "Patient"),
            ("by the type of a reference's target", "by-target", "Observation"),
            ("slices in order", "in-order", "Observation.category"),
            ("slices of slices", "sliced-again", "Patient"),
        )
    ),
    (
        "contentReference",
        questionnaire({"linkId": "1.1", "type": "string"}),
        questionnaire({"type": "string"}),
        "Questionnaire.item[0].item[0]",
    ),
    (
        "contained resources",
        containing(name="Ward"),
        containing(name="Ward", active="yes"),
        "Patient.contained[0].active",
    ),
    ("resources in a Bundle", bundle(), bundle(gender="x"), "Bundle.entry[0].resource.gender"),
    (
        "extensions, by their definitions",
        named(valueString="Berg"),
        named(valueBoolean=True),
        "Patient.extension[0].value",
    ),
    (
        "modifier extensions that are not known",
        basic(extension=[{"url": "http://example.org/any", "valueString": "x"}]),
        basic(modifierExtension=[{"url": "http://example.org/any", "valueString": "x"}]),
        "Basic.modifierExtension[0]",
    ),
    (
        "required bindings, the code",
        allergy(CLINICAL, "active"),
        allergy(CLINICAL, "awake"),
        "AllergyIntolerance.clinicalStatus",
    ),
    (
        "required bindings, the system",
        allergy(CLINICAL, "active"),
        allergy("http://example.org/codes", "active"),
        "AllergyIntolerance.clinicalStatus",
    ),
    (
        "versions of code systems, where a coding names one (else a warning)",
        encounter(system=ACTS, code="no-such-code"),
        encounter(system=ACTS, code="no-such-code", version="2018-08-12"),
        "Encounter.class",
    ),
    (
        "targets of references",
        plan(subject={"reference": "Patient/1"}),
        plan(subject={"reference": "Goal/1"}),
        "CarePlan.subject",
    ),
    (
        "rules in FHIRPath",
        patient(contact=[{"name": {"text": "x"}}]),
        patient(contact=[{"gender": "female"}]),
        "Patient.contact[0]",
    ),
]


@pytest.fixture(scope="module")
def validator() -> Validator:
    return Validator(PROFILES)


@pytest.mark.parametrize(("accepted", "refused", "where"), [k[1:] for k in KINDS], ids=[k[0] for k in KINDS])
def test_each_kind_of_rule_accepts_and_refuses(
    validator: Validator, accepted: Json, refused: Json, where: str
) -> None:
    assert validator.check(accepted), str(validator.check(accepted))
    told = [issue.expression for issue in validator.check(refused).errors]
    assert any(expression.startswith(where) for expression in told), told
    agree(validator, accepted)
    assert agree(validator, refused) == "no"


@pytest.mark.parametrize(
    ("system", "code"), [("http://example.org/codes", "walk-in"), (ACTS, "no-such-code"), (ACTS, "PROCEED")]
)
def test_a_code_beside_an_extensible_value_set_is_a_warning(
    validator: Validator, system: str, code: str
) -> None:
    outcome = validator.check(encounter(system=system, code=code))
    assert outcome
    told = {(issue.severity, issue.expression) for issue in outcome}
    assert ("warning", "Encounter.class") in told


def test_the_page_lists_every_kind() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name, *_ in KINDS if f"| {name} |" not in page] == []
