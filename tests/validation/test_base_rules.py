"""One broken resource per rule of R4: what is said, and where."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod import validate

Json = dict[str, Any]
NARRATIVE = '<div xmlns="http://www.w3.org/1999/xhtml">Ada</div>'


def patient(**members: Any) -> Json:
    return {"resourceType": "Patient", "text": {"status": "generated", "div": NARRATIVE}, **members}


def observation(**members: Any) -> Json:
    return {
        "resourceType": "Observation",
        "text": {"status": "generated", "div": NARRATIVE},
        "status": "final",
        "code": {"text": "Walking distance"},
        **members,
    }


def basic(**members: Any) -> Json:
    return {
        "resourceType": "Basic",
        "text": {"status": "generated", "div": NARRATIVE},
        "code": {"text": "x"},
        **members,
    }


def extended(**value: Any) -> Json:
    return basic(extension=[{"url": "http://example.org/any", **value}])


def plan(**members: Any) -> Json:
    return {
        "resourceType": "CarePlan",
        "text": {"status": "generated", "div": NARRATIVE},
        "status": "active",
        "intent": "plan",
        "subject": {"reference": "Patient/1"},
        **members,
    }


def placed(**coding: str) -> Json:
    """A virtual location; R4 has no code for that, and the code system has had one since."""
    coded = {"system": f"{HL7_CODES}location-physical-type", "code": "vi", **coding}
    return {
        "resourceType": "Location",
        "text": {"status": "generated", "div": NARRATIVE},
        "physicalType": {"coding": [coded]},
    }


HL7_CODES = "http://terminology.hl7.org/CodeSystem/"
SYSTEM = "http://hl7.org/fhir/administrative-gender"
HL7 = "http://hl7.org/fhir/StructureDefinition/"

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
    (
        "a reference to a type that is not allowed",
        observation(subject={"reference": "Practitioner/1"}),
        "value",
        "Observation.subject",
    ),
    (
        "the same, as a whole URL",
        observation(subject={"reference": "https://x.org/fhir/Practitioner/1"}),
        "value",
        "Observation.subject",
    ),
    (
        "the same, by its declared type",
        observation(subject={"type": "Practitioner", "display": "x"}),
        "value",
        "Observation.subject",
    ),
    (
        "the same, contained",
        observation(subject={"reference": "#p"}, contained=[{"resourceType": "Practitioner", "id": "p"}]),
        "value",
        "Observation.subject",
    ),
    (
        "a local reference to nothing",
        observation(subject={"reference": "#p"}),
        "invariant",
        "Observation.subject",
    ),
    (
        "a reference with a space",
        observation(subject={"reference": "Patient/a b"}),
        "invariant",
        "Observation.subject",
    ),
    (
        "a contained resource that nothing refers to",
        patient(contained=[{"resourceType": "Patient", "id": "x"}]),
        "invariant",
        "Patient",
    ),
    (
        "a contained resource that only a broken narrative refers to",
        patient(
            contained=[{"resourceType": "Binary", "id": "im", "contentType": "image/png"}],
            text={"status": "generated", "div": NARRATIVE.replace("Ada", '<img src="#im"/><script/>')},
        ),
        "invariant",
        "Patient",
    ),
    (
        "a contained resource that is wrong",
        observation(
            subject={"reference": "#p"}, contained=[{"resourceType": "Patient", "id": "p", "gender": "x"}]
        ),
        "code-invalid",
        "Observation.contained[0].gender",
    ),
    (
        "an extension without url",
        patient(extension=[{"valueString": "x"}]),
        "required",
        "Patient.extension[0]",
    ),
    (
        "an extension with a relative url",
        patient(extension=[{"url": "x", "valueString": "x"}]),
        "extension",
        "Patient.extension[0]",
    ),
    (
        "an extension without value",
        patient(extension=[{"url": "http://x.org/y"}]),
        "invariant",
        "Patient.extension[0]",
    ),
    (
        "an extension with value and parts",
        patient(
            extension=[
                {
                    "url": "http://x.org/y",
                    "valueString": "x",
                    "extension": [{"url": "http://x.org/z", "valueString": "x"}],
                }
            ]
        ),
        "invariant",
        "Patient.extension[0]",
    ),
    (
        "an unknown modifier extension",
        patient(modifierExtension=[{"url": "http://x.org/y", "valueString": "x"}]),
        "extension",
        "Patient.modifierExtension[0]",
    ),
    (
        "a known extension as a modifier",
        patient(modifierExtension=[{"url": HL7 + "patient-mothersMaidenName", "valueString": "x"}]),
        "extension",
        "Patient.modifierExtension[0]",
    ),
    (
        "a known extension of another type",
        patient(extension=[{"url": HL7 + "patient-mothersMaidenName", "valueInteger": 1}]),
        "structure",
        "Patient.extension[0].value",
    ),
    (
        "a known extension at a wrong place",
        observation(extension=[{"url": HL7 + "patient-mothersMaidenName", "valueString": "x"}]),
        "extension",
        "Observation.extension[0]",
    ),
    (
        "a modifier extension deep in a data type",
        patient(name=[{"family": "x", "modifierExtension": []}]),
        "structure",
        "Patient.name[0]",
    ),
    (
        "an empty object beside a value",
        patient(birthDate="2023", _birthDate={}),
        "structure",
        "Patient.birthDate",
    ),
    (
        "an extension of a value that is wrong",
        patient(birthDate="2023", _birthDate={"extension": [{"url": "http://x.org/y"}]}),
        "invariant",
        "Patient.birthDate.extension[0]",
    ),
    ("a member with _ for an object", patient(_name=[{"id": "x"}]), "structure", "Patient"),
    (
        "null that no extension accounts for",
        patient(name=[{"given": ["a", None]}]),
        "structure",
        "Patient.name[0].given[1]",
    ),
    (
        "a period that ends before it starts",
        plan(period={"start": "2023", "end": "2022"}),
        "invariant",
        "CarePlan.period",
    ),
    (
        "a unit code without a system",
        observation(valueQuantity={"value": 1, "code": "mg"}),
        "invariant",
        "Observation.value",
    ),
    (
        "a simple quantity with comparator",
        observation(referenceRange=[{"low": {"value": 1, "comparator": "<"}}]),
        "invariant",
        "Observation.referenceRange[0].low",
    ),
    (
        "the same behind a content reference",
        observation(component=[{"code": {"text": "x"}, "referenceRange": [{"appliesTo": [{"text": "x"}]}]}]),
        "invariant",
        "Observation.component[0].referenceRange[0]",
    ),
    (
        "an identifier with a relative system",
        patient(identifier=[{"system": "local", "value": "1"}]),
        "invariant",
        "Patient.identifier[0]",
    ),
    (
        "a condition on a question that does not exist",
        {
            "resourceType": "Questionnaire",
            "text": {"status": "generated", "div": NARRATIVE},
            "status": "draft",
            "item": [
                {
                    "linkId": "1",
                    "type": "string",
                    "enableWhen": [{"question": "2", "operator": "exists", "answerBoolean": True}],
                }
            ],
        },
        "invariant",
        "Questionnaire",
    ),
    (
        "a definition with a relative url",
        {
            "resourceType": "Library",
            "text": {"status": "generated", "div": NARRATIVE},
            "status": "draft",
            "type": {"text": "x"},
            "url": "mine",
        },
        "invariant",
        "Library",
    ),
    (
        "an attachment of another size",
        patient(photo=[{"contentType": "text/plain", "data": "aGVsbG8=", "size": 7}]),
        "invariant",
        "Patient.photo[0]",
    ),
    (
        "a narrative with a script",
        patient(text={"status": "generated", "div": NARRATIVE.replace("Ada", "<script>x</script>")}),
        "invariant",
        "Patient.text.div",
    ),
    (
        "a narrative without namespace",
        patient(text={"status": "generated", "div": "<div>x</div>"}),
        "invariant",
        "Patient.text.div",
    ),
    (
        "a narrative without words",
        patient(text={"status": "generated", "div": NARRATIVE.replace("Ada", " ")}),
        "invariant",
        "Patient.text.div",
    ),
    (
        "a narrative that is no XML",
        patient(text={"status": "generated", "div": NARRATIVE.replace("Ada", "<p>")}),
        "invariant",
        "Patient.text.div",
    ),
    ("an unknown resource type", {"resourceType": "Pation"}, "structure", ""),
    ("no resource type", {"id": "x"}, "structure", ""),
    ("a resource type that is no text", {"resourceType": 1}, "structure", ""),
    ("an abstract resource type", {"resourceType": "DomainResource"}, "structure", ""),
    (
        "a wrong resource in a Bundle",
        {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [
                {"fullUrl": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520", "resource": patient(gender="x")}
            ],
        },
        "code-invalid",
        "Bundle.entry[0].resource.gender",
    ),
    (
        "a resource in a Bundle without fullUrl",
        {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": patient()}]},
        "invariant",
        "Bundle",
    ),
    (
        "a fullUrl that names another id",
        {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"fullUrl": "http://x.org/Patient/1", "resource": patient(id="2")}],
        },
        "invariant",
        "Bundle",
    ),
    (
        "a reference within a Bundle to a wrong type",
        {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [
                {
                    "fullUrl": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
                    "resource": {"resourceType": "Practitioner"},
                },
                {
                    "fullUrl": "urn:uuid:c757873d-ec9a-4326-a141-556f43239521",
                    "resource": observation(
                        subject={"reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"}
                    ),
                },
            ],
        },
        "value",
        "Bundle.entry[1].resource.subject",
    ),
    (
        "a wrong resource in Parameters",
        {
            "resourceType": "Parameters",
            "parameter": [{"name": "x", "resource": {"resourceType": "Patient", "gender": "x"}}],
        },
        "code-invalid",
        "Parameters.parameter[0].resource.gender",
    ),
]


@pytest.mark.parametrize(
    ("resource", "code", "expression"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN]
)
def test_what_is_wrong_is_told_with_its_place(resource: Json, code: str, expression: str) -> None:
    outcome = validate(resource)
    assert not outcome
    assert (code, expression) in {(issue.code, issue.expression) for issue in outcome.errors}, str(outcome)


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
