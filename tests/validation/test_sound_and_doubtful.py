"""What R4 allows passes without a word; what it allows and hardly anybody means is told, and passes."""

from __future__ import annotations

import pytest

from fhir_coprod import validate
from tests.validation.small import (
    HL7,
    HL7_CODES,
    NARRATIVE,
    SYSTEM,
    Json,
    basic,
    observation,
    patient,
    placed,
)

SOUND: list[tuple[str, Json]] = [
    ("the least", patient()),
    ("a year only", patient(birthDate="1970")),
    ("a leap day", patient(birthDate="2024-02-29")),
    ("a leap second", observation(effectiveDateTime="2016-12-31T23:59:60Z")),
    ("milliseconds and a zone", observation(issued="2023-02-20T10:11:12.123+05:30")),
    (
        "a value by extension only",
        patient(_birthDate={"extension": [{"url": HL7 + "data-absent-reason", "valueCode": "unknown"}]}),
    ),
    (
        "a required value by extension only",
        {k: v for k, v in observation().items() if k != "status"}
        | {"_status": {"extension": [{"url": HL7 + "data-absent-reason", "valueCode": "unknown"}]}},
    ),
    (
        "lists side by side",
        patient(
            name=[
                {
                    "given": ["a", None],
                    "_given": [
                        None,
                        {"extension": [{"url": HL7 + "data-absent-reason", "valueCode": "masked"}]},
                    ],
                }
            ]
        ),
    ),
    (
        "a known extension",
        patient(extension=[{"url": HL7 + "patient-mothersMaidenName", "valueString": "x"}]),
    ),
    (
        "a contained subject",
        observation(subject={"reference": "#p"}, contained=[{"resourceType": "Patient", "id": "p"}]),
    ),
    (
        "a contained resource that refers to its container",
        patient(contained=[basic(id="b", subject={"reference": "#"})]),
    ),
    (
        "a reference by identifier",
        observation(subject={"identifier": {"system": "http://x.org", "value": "1"}}),
    ),
    ("a choice", observation(valueRatio={"numerator": {"value": 1}, "denominator": {"value": 2}})),
    (
        "a unit",
        observation(
            valueQuantity={"value": 1, "unit": "m/s", "system": "http://unitsofmeasure.org", "code": "m/s"}
        ),
    ),
    ("a language with country", patient(language="sv-FI")),
    (
        "a code of SNOMED CT",
        observation(bodySite={"coding": [{"system": "http://snomed.info/sct", "code": "51282000"}]}),
    ),
    ("a code that is younger than R4", placed()),
    (
        "the same, of a list that is closed",
        {
            "resourceType": "Condition",
            "text": {"status": "generated", "div": NARRATIVE},
            "subject": {"reference": "Patient/1"},
            "clinicalStatus": {"coding": [{"system": f"{HL7_CODES}condition-clinical", "code": "unknown"}]},
        },
    ),
    (
        "a code that was dropped after R4",
        patient(meta={"tag": [{"system": f"{HL7_CODES}study-type", "code": "mixed"}]}),
    ),
    (
        "a picture in the narrative as the only use of what is contained",
        patient(
            contained=[{"resourceType": "Binary", "id": "im", "contentType": "image/png"}],
            text={"status": "generated", "div": NARRATIVE.replace("Ada", '<img src="#im" alt="x"/>')},
        ),
    ),
    (
        "a fullUrl that names no type of R4",
        {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"fullUrl": "http://x.org/Pateint/1", "resource": patient(id="2")}],
        },
    ),
    ("empty Parameters", {"resourceType": "Parameters"}),
    ("a tab and a line break in text", patient(name=[{"text": "a\tb\nc"}])),
]


@pytest.mark.parametrize("resource", [s[1] for s in SOUND], ids=[s[0] for s in SOUND])
def test_what_is_right_passes_without_a_word(resource: Json) -> None:
    assert validate(resource).issues == ()


REMARKED: list[tuple[str, Json, str, str]] = [
    ("no narrative", {"resourceType": "Patient"}, "warning", "Patient"),
    (
        "an unknown extension",
        patient(extension=[{"url": "http://x.org/y", "valueString": "x"}]),
        "information",
        "Patient.extension[0]",
    ),
    (
        "a profile that nobody knows",
        patient(meta={"profile": ["http://x.org/y"]}),
        "warning",
        "Patient.meta.profile[0]",
    ),
    (
        "a code outside an extensible value set",
        patient(maritalStatus={"text": "it is complicated"}),
        "warning",
        "Patient.maritalStatus",
    ),
    (
        "a code that its code system lacks, as far as we hold it",
        patient(maritalStatus={"coding": [{"system": SYSTEM, "code": "m"}]}),
        "warning",
        "Patient.maritalStatus.coding[0]",
    ),
    (
        "the same, of a version that we do not hold",
        patient(maritalStatus={"coding": [{"system": SYSTEM, "code": "m", "version": "99"}]}),
        "warning",
        "Patient.maritalStatus.coding[0]",
    ),
    (
        "a code that a system of FHIR itself lacks, where any code may stand",
        patient(meta={"tag": [{"system": "http://hl7.org/fhir/task-status", "code": "paused"}]}),
        "warning",
        "Patient.meta.tag[0]",
    ),
    (
        "a coding without a code of a system that is held",
        patient(maritalStatus={"coding": [{"system": SYSTEM, "display": "x"}]}),
        "warning",
        "Patient.maritalStatus.coding[0]",
    ),
    (
        "a unit that we do not know",
        observation(valueQuantity={"value": 1, "system": "http://unitsofmeasure.org", "code": "metres"}),
        "warning",
        "Observation.value",
    ),
    (
        "a language of expressions that came after R4",
        {
            "resourceType": "PlanDefinition",
            "status": "draft",
            "action": [
                {
                    "condition": [
                        {
                            "kind": "start",
                            "expression": {"language": "text/cql-identifier", "expression": "Due"},
                        }
                    ]
                }
            ],
        },
        "warning",
        "PlanDefinition.action[0].condition[0].expression.language",
    ),
    ("only spaces", patient(name=[{"text": " "}]), "warning", "Patient.name[0].text"),
    ("a control character", patient(name=[{"text": "a\u000bb"}]), "warning", "Patient.name[0].text"),
    (
        "lists of unequal length",
        patient(
            name=[
                {
                    "given": ["a", "b"],
                    "_given": [{"extension": [{"url": HL7 + "data-absent-reason", "valueCode": "masked"}]}],
                }
            ]
        ),
        "warning",
        "Patient.name[0].given",
    ),
]


@pytest.mark.parametrize(
    ("resource", "severity", "expression"), [r[1:] for r in REMARKED], ids=[r[0] for r in REMARKED]
)
def test_what_is_doubtful_is_told_and_passes(resource: Json, severity: str, expression: str) -> None:
    outcome = validate(resource)
    assert outcome
    assert (severity, expression) in {(issue.severity, issue.expression) for issue in outcome}, str(outcome)
