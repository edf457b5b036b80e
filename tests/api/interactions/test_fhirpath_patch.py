"""FHIRPath Patch (https://hl7.org/fhir/R4/fhirpatch.html): what each operation does, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from fhir_coprod.api.interactions import fhirpath_patch
from fhir_coprod.errors import CoprodError
from fhir_coprod.jsontext import Json
from tests.api.conftest import FHIR, Api, identifier_of, outcome, patient
from tests.api.interactions.test_conditional import twice
from tests.api.interactions.test_transaction import bundle, entry, performed

ADA: Json = {
    "resourceType": "Patient",
    "id": "ada",
    "active": True,
    "name": [
        {"use": "official", "family": "Berg", "given": ["Ada", "Maria"]},
        {"use": "nickname", "given": ["Adda"]},
    ],
    "birthDate": "1970-03",
    "_birthDate": {"extension": [{"url": "urn:time", "valueDateTime": "1970-03-30T04:15:00+01:00"}]},
    "deceasedBoolean": False,
    "contact": [{"name": {"text": "Bo"}, "gender": "male"}],
}


def change(type: str, path: str, **parts: Any) -> Json:
    """One operation. Each part is a value: `value={"valueCode": "male"}`, or a plain text or number."""
    listed: list[Json] = [{"name": "type", "valueCode": type}, {"name": "path", "valueString": path}]
    for name, value in parts.items():
        if isinstance(value, str):
            value = {"valueString": value}
        elif isinstance(value, int):
            value = {"valueInteger": value}
        elif isinstance(value, list):
            value = {"part": value}
        listed.append({"name": name, **value})
    return {"name": "operation", "part": listed}


def patch(*operations: Json) -> Json:
    return {"resourceType": "Parameters", "parameter": list(operations)}


def patched(*operations: Json, resource: Json = ADA) -> Json:
    again = json.loads(json.dumps(resource))
    return fhirpath_patch.applied(fhirpath_patch.parse(patch(*operations)), again)


def changed(**elements: Any) -> Json:
    """The patient with other elements; None: without it."""
    return {key: value for key, value in {**ADA, **elements}.items() if value is not None}


CHANGES: list[tuple[str, Json, Json]] = [
    (
        "replace a primitive with all that stands beside it",
        change("replace", "Patient.birthDate", value={"valueDate": "1971"}),
        changed(birthDate="1971", _birthDate=None),
    ),
    (
        "replace what stands beside a primitive",
        change("replace", "birthDate.extension('urn:time').value", value={"valueDateTime": "1970-03-30"}),
        changed(_birthDate={"extension": [{"url": "urn:time", "valueDateTime": "1970-03-30"}]}),
    ),
    (
        "replace a choice by another type",
        change("replace", "Patient.deceased", value={"valueDateTime": "2020"}),
        changed(deceasedBoolean=None, deceasedDateTime="2020"),
    ),
    (
        "replace an item of a list of primitives",
        change("replace", "Patient.name.where(use = 'official').given[1]", value="Mia"),
        changed(name=[{"use": "official", "family": "Berg", "given": ["Ada", "Mia"]}, ADA["name"][1]]),
    ),
    (
        "replace an item of a list by an absent one with its reason",
        change("replace", "name[1].given.first()", value={"_valueString": {"extension": [{"url": "urn:u"}]}}),
        changed(
            name=[
                ADA["name"][0],
                {"use": "nickname", "_given": [{"extension": [{"url": "urn:u"}]}]},
            ]
        ),
    ),
    (
        "add a single element",
        change("add", "Patient", name="gender", value={"valueCode": "female"}),
        changed(gender="female"),
    ),
    (
        "add a choice",
        change("add", "Patient", name="multipleBirth", value=2),
        changed(multipleBirthInteger=2),
    ),
    (
        "add to a list",
        change("add", "Patient.name.last()", name="given", value="Dada"),
        changed(name=[ADA["name"][0], {"use": "nickname", "given": ["Adda", "Dada"]}]),
    ),
    (
        "add an element without a type of its own",
        change(
            "add",
            "Patient",
            name="contact",
            value=[
                {"name": "gender", "valueCode": "female"},
                {"name": "telecom", "valueContactPoint": {"value": "1"}},
                {"name": "telecom", "valueContactPoint": {"value": "2"}},
            ],
        ),
        changed(contact=[*ADA["contact"], {"gender": "female", "telecom": [{"value": "1"}, {"value": "2"}]}]),
    ),
    (
        "add a contained resource",
        change("add", "Patient", name="contained", value={"resource": {"resourceType": "Basic", "id": "b"}}),
        changed(contained=[{"resourceType": "Basic", "id": "b"}]),
    ),
    (
        "add an extension to a primitive that has none",
        change("add", "Patient.active", name="extension", value={"valueExtension": {"url": "urn:u"}}),
        changed(_active={"extension": [{"url": "urn:u"}]}),
    ),
    (
        "add an extension to an item of a list of primitives",
        change("add", "name[0].given[1]", name="id", value="m"),
        changed(name=[{**ADA["name"][0], "_given": [None, {"id": "m"}]}, ADA["name"][1]]),
    ),
    (
        "insert into a list",
        change("insert", "Patient.name[0].given", index=1, value="Eva"),
        changed(name=[{**ADA["name"][0], "given": ["Ada", "Eva", "Maria"]}, ADA["name"][1]]),
    ),
    (
        "insert at the end of a list",
        change("insert", "Patient.name", index=2, value={"valueHumanName": {"text": "A"}}),
        changed(name=[*ADA["name"], {"text": "A"}]),
    ),
    (
        "insert into a list that is not there",
        change("insert", "Patient.telecom", index=0, value={"valueContactPoint": {"value": "1"}}),
        changed(telecom=[{"value": "1"}]),
    ),
    ("delete an element", change("delete", "Patient.active"), changed(active=None)),
    ("delete what is not there", change("delete", "Patient.telecom.where(value = '1')"), ADA),
    (
        "delete an item of a list",
        change("delete", "Patient.name.where(use = 'nickname')"),
        changed(name=[ADA["name"][0]]),
    ),
    (
        "delete the last item, and the list with it",
        change("delete", "Patient.contact[0]"),
        changed(contact=None),
    ),
    (
        "delete the last child, and the element with it",
        change("delete", "Patient.contact.name.text"),
        changed(contact=[{"gender": "male"}]),
    ),
    (
        "delete what stands beside a value, and keep the value",
        change("delete", "Patient.birthDate.extension"),
        changed(_birthDate=None),
    ),
    (
        "move to the front",
        change("move", "Patient.name", source=1, destination=0),
        changed(name=[*reversed(ADA["name"])]),
    ),
    (
        "move a primitive to the end",
        change("move", "Patient.name[0].given", source=0, destination=1),
        changed(name=[{**ADA["name"][0], "given": ["Maria", "Ada"]}, ADA["name"][1]]),
    ),
]


@pytest.mark.parametrize(("operation", "after"), [case[1:] for case in CHANGES], ids=[c[0] for c in CHANGES])
def test_operation(operation: Json, after: Json) -> None:
    assert patched(operation) == after


def test_operations_are_done_on_what_those_before_have_left() -> None:
    found = patched(
        change("add", "Patient", name="contact", value=[{"name": "gender", "valueCode": "other"}]),
        change("replace", "Patient.contact[1].gender", value={"valueCode": "female"}),
        change("move", "Patient.contact", source=1, destination=0),
    )
    assert found["contact"] == [{"gender": "female"}, *ADA["contact"]]


def test_a_patch_comes_to_the_same_whenever_it_is_applied() -> None:
    operations = fhirpath_patch.parse(
        patch(
            change("add", "Patient", name="name", value={"valueHumanName": {"given": ["A"]}}),
            change("add", "Patient.name.last()", name="given", value="B"),
        )
    )
    first, second = (fhirpath_patch.applied(operations, json.loads(json.dumps(ADA))) for _ in range(2))
    assert first == second


MISFITS: list[tuple[Json, int, str]] = [
    (change("replace", "Patient.name", value={"valueHumanName": {}}), 422, "leads to 2 elements"),
    (change("replace", "Patient.gender", value={"valueCode": "male"}), 422, "leads to no element"),
    (change("replace", "Patient", value={"valueCode": "male"}), 422, "send an update"),
    (
        change("replace", "Patient.deceased", value={"valueQuantity": {}}),
        422,
        "cannot be of the type Quantity",
    ),
    (change("replace", "Patient.active", value={"name2": 1}), 400, "value[x]"),
    (change("delete", "Patient.name"), 422, "leads to 2 elements"),
    (change("delete", "Patient"), 422, "send a DELETE"),
    (change("delete", "Patient.brithDate"), 422, "Patient has no element 'brithDate'"),
    (change("delete", "Observation.value"), 422, "Patient has no element 'Observation'"),
    (change("delete", "Patient.managingOrganization.resolve()"), 422, "is made of elements"),
    (change("delete", "Patient.name.where(given > 1)"), 422, "cannot be evaluated"),
    (change("delete", "Patient.name.where(frobnicate())"), 422, "cannot be evaluated"),
    (change("delete", "Patient.name.single()"), 422, "single()"),
    (change("delete", "Patient..name"), 400, "not FHIRPath"),
    (change("add", "Patient", name="active", value={"valueBoolean": False}), 422, "already"),
    (change("add", "Patient", name="deceased", value={"valueDateTime": "2020"}), 422, "already"),
    (change("add", "Patient", name="colour", value="blue"), 422, "no element 'colour'"),
    (change("add", "Patient.telecom", name="value", value="1"), 422, "nothing to add to"),
    (change("add", "Patient", name="contact", value=[]), 400, "empty"),
    (change("add", "Patient", name="contact", value=[{"name": "shoe", "valueCode": "x"}]), 422, "no element"),
    (change("add", "Patient", value="x"), 400, "needs the parts path, name, value"),
    (change("insert", "Patient.name", index=3, value={"valueHumanName": {}}), 422, "which has 2 elements"),
    (change("insert", "Patient.name", index=-1, value={"valueHumanName": {}}), 400, "whole number from 0"),
    (change("insert", "Patient.active", index=0, value={"valueBoolean": True}), 422, "name of a list"),
    (change("insert", "Patient.name[0]", index=0, value={"valueHumanName": {}}), 422, "name of a list"),
    (change("insert", "Patient.name.given", index=0, value="x"), 422, "lists of 2 elements"),
    (change("move", "Patient.name", source=2, destination=0), 422, "beyond the list"),
    (change("move", "Patient.name", source=0, destination=2), 422, "beyond the list"),
    (change("move", "Patient.name", source=0), 400, "source, destination"),
    (change("burn", "Patient.name"), 400, "type must be one of"),
    ({"name": "operation"}, 400, "part type"),
    ({"name": "other"}, 400, "name operation"),
    ({"name": "operation", "part": [{"name": "type"}, {"name": "type"}]}, 400, "twice"),
    ({"name": "operation", "part": [5]}, 400, "needs a name"),
]


@pytest.mark.parametrize(("operation", "status", "told"), MISFITS)
def test_what_does_not_fit_is_told_with_the_number_of_the_operation(
    operation: Json, status: int, told: str
) -> None:
    with pytest.raises(CoprodError) as refused:
        patched(change("delete", "Patient.photo"), operation)
    assert refused.value.status == status
    assert refused.value.message.startswith("Operation 2: ")
    assert told in refused.value.message
    assert "Berg" not in refused.value.message


def _send(api: Api, url: str, *operations: Json, **headers: str) -> httpx.Response:
    return api.request(
        "PATCH", url, content=json.dumps(patch(*operations)).encode(), headers={**FHIR, **headers}
    )


def test_over_http_it_changes_what_it_names_and_keeps_the_digits_of_numbers(api: Api) -> None:
    raw = (
        b'{"resourceType":"Observation","status":"preliminary","code":{"text":"a"},'
        b'"valueQuantity":{"value":1.50}}'
    )
    stored = api.post("Observation", raw).json()
    body = json.dumps(
        patch(
            change("replace", "Observation.status", value={"valueCode": "final"}),
            change("add", "Observation", name="referenceRange", value=[{"name": "low", "valueQuantity": {}}]),
        )
    ).replace('"valueQuantity": {}', '"valueQuantity": {"value": 1.00}')
    answer = api.request("PATCH", f"Observation/{stored['id']}", content=body.encode(), headers=FHIR)
    assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"2"')
    assert answer.json()["status"] == "final"
    assert b'"value":1.50' in answer.content
    assert b'"low":{"value":1.00}' in answer.content


def test_that_changes_nothing_makes_no_version(api: Api) -> None:
    stored = api.create(patient())
    assert _send(api, f"Patient/{stored['id']}").headers["etag"] == 'W/"1"'
    assert _send(api, f"Patient/{stored['id']}", change("delete", "Patient.photo")).headers["etag"] == 'W/"1"'


@pytest.mark.parametrize(
    "operation",
    [
        change("replace", "Patient.birthDate", value={"valueDate": "not a date"}),
        change("add", "Patient", name="gender", value={"valueCode": "blue"}),
        change("replace", "Patient.id", value={"valueId": "another"}),
        change("delete", "Patient.id"),
        change("delete", "Patient.nonsense"),
    ],
    ids=str,
)
def test_a_result_that_may_not_be_is_422_and_changes_nothing(api: Api, operation: Json) -> None:
    stored = api.create(patient())
    answer = _send(api, f"Patient/{stored['id']}", operation)
    assert answer.status_code == 422, answer.text
    assert stored["birthDate"] not in outcome(answer)["diagnostics"]
    assert api.get(f"Patient/{stored['id']}").json() == stored


def test_versions_are_given_by_the_server_whatever_a_patch_says(api: Api) -> None:
    stored = api.create(patient())
    answer = _send(
        api, f"Patient/{stored['id']}", change("replace", "Patient.meta.versionId", value={"valueId": "77"})
    )
    assert answer.status_code == 200
    assert answer.json()["meta"]["versionId"] in ("1", "2")


def test_preconditions_and_deleted_resources_are_minded(api: Api) -> None:
    stored = api.create(patient())
    place, operation = f"Patient/{stored['id']}", change("delete", "Patient.birthDate")
    assert _send(api, place, operation, **{"if-match": 'W/"7"'}).status_code == 412
    assert _send(api, place, operation, **{"if-match": 'W/"1"'}).status_code == 200
    api.delete(place)
    assert _send(api, place, operation).status_code == 410
    assert _send(api, "Patient/absent", operation).status_code == 404


def test_conditional_patches_the_one_match(api: Api) -> None:
    stored = api.create(patient())
    operation = change("replace", "Patient.birthDate", value={"valueDate": "1930"})
    answer = _send(api, f"Patient?identifier={identifier_of(stored)}", operation)
    assert (answer.status_code, answer.json()["id"], answer.json()["birthDate"]) == (
        200,
        stored["id"],
        "1930",
    )
    assert _send(api, "Patient?identifier=urn:test|nobody", operation).status_code == 404
    assert _send(api, f"Patient?{twice(api)}", operation).status_code == 412


def test_as_an_entry_of_a_transaction_it_may_name_what_the_transaction_makes(api: Api) -> None:
    stored = api.create(patient())
    operation = change(
        "add", "Patient", name="managingOrganization", value={"valueReference": {"reference": "urn:uuid:o"}}
    )
    made = entry("POST", "Organization", {"resourceType": "Organization", "name": "Ward"}, "urn:uuid:o")
    sent = bundle(made, entry("PATCH", f"Patient/{stored['id']}", patch(operation)))
    found = performed(api, sent)
    assert found[1]["response"]["status"] == "200 OK"
    reference = api.get(f"Patient/{stored['id']}").json()["managingOrganization"]["reference"]
    assert api.get(reference).json()["name"] == "Ward"


def test_a_transaction_with_a_patch_that_does_not_fit_is_undone(api: Api) -> None:
    stored = api.create(patient())
    other = patient()
    sent = bundle(
        entry("POST", "Patient", other),
        entry("PATCH", f"Patient/{stored['id']}", patch(change("delete", "Patient.nonsense"))),
    )
    answer = api.post("", sent)
    assert answer.status_code == 422
    assert outcome(answer)["expression"][0].startswith("Bundle.entry[1]")
    assert "Operation 1" in outcome(answer)["diagnostics"]
    assert api.get(f"Patient?identifier={identifier_of(other)}").json()["total"] == 0


def test_as_an_entry_of_a_batch_it_stands_for_itself(api: Api) -> None:
    stored = api.create(patient())
    good = patch(change("replace", "Patient.birthDate", value={"valueDate": "1930"}))
    bad = patch(change("delete", "Patient.nonsense"))
    place = f"Patient/{stored['id']}"
    sent = bundle(entry("PATCH", place, good), entry("PATCH", place, bad), type="batch")
    statuses = [each["response"]["status"][:3] for each in api.post("", sent).json()["entry"]]
    assert statuses == ["200", "422"]
    assert api.get(place).json()["birthDate"] == "1930"


def test_more_operations_than_the_limit_are_refused(api: Api) -> None:
    stored = api.create(patient())
    answer = _send(api, f"Patient/{stored['id']}", *[change("delete", "Patient.photo")] * 1001)
    assert answer.status_code == 400


def test_the_capability_statement_says_so(api: Api) -> None:
    assert "application/fhir+json" in api.get("metadata").json()["patchFormat"]
