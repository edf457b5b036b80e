"""One broken resource per rule of R4 on references, extensions and whole resources: what is said, where."""

from __future__ import annotations

import pytest

from fhir_coprod import validate
from tests.validation.small import (
    HL7,
    NARRATIVE,
    Json,
    observation,
    patient,
    plan,
)

BROKEN: list[tuple[str, Json, str, str]] = [
    # name, resource, code, expression
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
    ("a member with _ for an object", patient(_name=[{"id": "x"}]), "structure", "Patient.name"),
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
        "Bundle.entry[0]",
    ),
    (
        "a fullUrl that names another id",
        {
            "resourceType": "Bundle",
            "type": "collection",
            "entry": [{"fullUrl": "http://x.org/Patient/1", "resource": patient(id="2")}],
        },
        "invariant",
        "Bundle.entry[0]",
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
