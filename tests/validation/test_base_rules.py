"""One broken resource per rule of R4 on elements, values and codes: what is said, and where."""

from __future__ import annotations

import pytest

from fhir_coprod import validate
from tests.validation.small import (
    HL7_CODES,
    SYSTEM,
    Json,
    extended,
    observation,
    patient,
    placed,
    plan,
)

BROKEN: list[tuple[str, Json, str, str]] = [
    # name, resource, code, expression
    (
        "a required element is null",
        observation(code=None),
        "structure",
        "Observation.code",
    ),
    (
        "a required element is absent",
        {k: v for k, v in observation().items() if k != "code"},
        "required",
        "Observation",
    ),
    (
        "a required element is absent deep down",
        plan(activity=[{"detail": {"kind": "Task"}}]),
        "required",
        "CarePlan.activity[0].detail",
    ),
    ("an element is unknown", patient(surname="x"), "structure", "Patient"),
    (
        "an element is unknown deep down",
        patient(name=[{"family": "x", "middle": "y"}]),
        "structure",
        "Patient.name[0]",
    ),
    (
        "resourceType stands in a data type",
        patient(name=[{"resourceType": "HumanName", "family": "x"}]),
        "structure",
        "Patient.name[0]",
    ),
    ("one value where a list is needed", patient(name={"family": "x"}), "structure", "Patient.name"),
    ("a list where one value is needed", patient(gender=["male"]), "structure", "Patient.gender"),
    ("an empty list", patient(name=[]), "structure", "Patient.name"),
    ("an empty object", patient(name=[{}]), "invariant", "Patient.name[0]"),
    ("an object with an id only", patient(name=[{"id": "x"}]), "invariant", "Patient.name[0]"),
    ("an empty text", patient(name=[{"family": ""}]), "value", "Patient.name[0].family"),
    ("null for an element", patient(gender=None), "structure", "Patient.gender"),
    ("null in a list", patient(name=[None]), "structure", "Patient.name[0]"),
    ("text where an object is needed", patient(name=["Ada"]), "structure", "Patient.name[0]"),
    ("an object where text is needed", patient(gender={"code": "male"}), "value", "Patient.gender"),
    ("a day that no calendar has", patient(birthDate="2023-02-29"), "value", "Patient.birthDate"),
    ("a date with slashes", patient(birthDate="2023/02/20"), "value", "Patient.birthDate"),
    ("a year of two digits", patient(birthDate="23"), "value", "Patient.birthDate"),
    (
        "a time without a zone",
        observation(effectiveDateTime="2023-02-20T10:11:12"),
        "value",
        "Observation.effective",
    ),
    (
        "a time without seconds",
        observation(effectiveDateTime="2023-02-20T10:11Z"),
        "value",
        "Observation.effective",
    ),
    ("hour 24", observation(effectiveDateTime="2023-02-20T24:11:00Z"), "value", "Observation.effective"),
    ("an instant without time", observation(issued="2023-02-20"), "value", "Observation.issued"),
    ("text for a boolean", patient(active="true"), "value", "Patient.active"),
    ("a number for a boolean", patient(active=1), "value", "Patient.active"),
    ("text for a decimal", observation(valueQuantity={"value": "1.5"}), "value", "Observation.value.value"),
    ("a boolean for an integer", patient(multipleBirthInteger=True), "value", "Patient.multipleBirth"),
    ("a fraction for an integer", patient(multipleBirthInteger=1.0), "value", "Patient.multipleBirth"),
    ("an integer of 33 bits", patient(multipleBirthInteger=2**31), "value", "Patient.multipleBirth"),
    ("nought for a positive number", extended(valuePositiveInt=0), "value", "Basic.extension[0].value"),
    ("a bad id", patient(id="a_b"), "value", "Patient.id"),
    ("an id of 65 characters", patient(id="a" * 65), "value", "Patient.id"),
    ("two spaces in a code", extended(valueCode="a  b"), "value", "Basic.extension[0].value"),
    (
        "a space in a URI",
        patient(identifier=[{"system": "http://x y", "value": "1"}]),
        "value",
        "Patient.identifier[0].system",
    ),
    ("an OID without arcs", extended(valueOid="urn:oid:x"), "value", "Basic.extension[0].value"),
    (
        "a UUID in capitals",
        extended(valueUuid="urn:uuid:C757873D-EC9A-4326-A141-556F43239520"),
        "value",
        "Basic.extension[0].value",
    ),
    ("a relative canonical", extended(valueCanonical="ValueSet/1"), "value", "Basic.extension[0].value"),
    ("base64 that is cut off", extended(valueBase64Binary="aGVsbG8"), "value", "Basic.extension[0].value"),
    ("a text of more than 1 MB", extended(valueString="x" * 1_048_577), "value", "Basic.extension[0].value"),
    ("a choice in two types", observation(valueString="x", valueInteger=1), "structure", "Observation.value"),
    ("a choice in a type that is not allowed", observation(valueUri="http://x"), "structure", "Observation"),
    ("a code outside its required value set", patient(gender="m"), "code-invalid", "Patient.gender"),
    (
        "a concept outside its required value set",
        {
            "resourceType": "Condition",
            "subject": {"reference": "Patient/1"},
            "clinicalStatus": {"coding": [{"system": "http://x", "code": "active"}]},
        },
        "code-invalid",
        "Condition.clinicalStatus",
    ),
    (
        "a concept in words where a code is required",
        {
            "resourceType": "Condition",
            "subject": {"reference": "Patient/1"},
            "clinicalStatus": {"text": "active"},
        },
        "code-invalid",
        "Condition.clinicalStatus",
    ),
    (
        "a code that its code system lacks in the version that the coding names",
        patient(maritalStatus={"coding": [{"system": SYSTEM, "code": "m", "version": "4.0.1"}]}),
        "code-invalid",
        "Patient.maritalStatus.coding[0]",
    ),
    (
        "a code younger than the version that the coding names",
        placed(version="4.0.1"),
        "code-invalid",
        "Location.physicalType.coding[0]",
    ),
    (
        "a code that not even the newest version has, of a list that is closed",
        {
            "resourceType": "Condition",
            "subject": {"reference": "Patient/1"},
            "clinicalStatus": {"coding": [{"system": f"{HL7_CODES}condition-clinical", "code": "awake"}]},
        },
        "code-invalid",
        "Condition.clinicalStatus",
    ),
    (
        "a unit that does not exist, in a list of units that is closed",
        observation(effectiveTiming={"repeat": {"duration": 1, "durationUnit": "metres"}}),
        "code-invalid",
        "Observation.effective.repeat.durationUnit",
    ),
    (
        "a language outside the largest value set, as a whole country sends it",
        patient(communication=[{"language": {"coding": [{"system": "u:languages", "code": "en"}]}}]),
        "code-invalid",
        "Patient.communication[0].language",
    ),
    ("a language that does not exist", patient(language="xx"), "code-invalid", "Patient.language"),
]


@pytest.mark.parametrize(
    ("resource", "code", "expression"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN]
)
def test_what_is_wrong_is_told_with_its_place(resource: Json, code: str, expression: str) -> None:
    outcome = validate(resource)
    assert not outcome
    assert (code, expression) in {(issue.code, issue.expression) for issue in outcome.errors}, str(outcome)


def test_everything_is_told_in_one_pass() -> None:
    outcome = validate(patient(gender="x", birthDate="x", name=[{"family": 1}], surname="x", link=[{}]))
    assert [issue.expression for issue in outcome.errors] == [
        "Patient",
        "Patient.name[0].family",
        "Patient.gender",
        "Patient.birthDate",
        "Patient.link[0]",
    ]


def test_a_message_never_holds_what_the_record_says() -> None:
    outcome = validate(patient(name=[{"family": 4711}], birthDate="19121212-1212"))
    assert "4711" not in str(outcome)
    assert "1212" not in str(outcome)
