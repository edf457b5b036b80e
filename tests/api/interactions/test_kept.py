"""A client's write is judged strictly, but may correct a record that is kept although it is not valid."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from fhir_coprod import jsontext
from fhir_coprod.store.quality import marks
from fhir_coprod.validation import validate_document
from tests.api.conftest import Api

KEPT = {
    "resourceType": "Patient",
    "gender": "man",
    "birthDate": "1970-13-41",
    "name": [{"family": "A"}, {"family": 5}],
}


@pytest.fixture
def kept(api: Api) -> dict[str, Any]:
    """A record of an EHR with three faults."""
    resource = {**KEPT, "id": f"kept-{uuid.uuid4()}"}
    document = jsontext.from_data(resource)
    wrong = marks(validate_document(document), "ehr:care")
    assert len(wrong) == 3
    api.store.write(lambda t: t.put(document, resource["id"], source="ehr:care", marks=wrong))
    return resource


def elements(api: Api, id: str) -> list[tuple[str, str]]:
    own = api.store.write(lambda t: t.marks("Patient", id))
    return [(mark.element, mark.source) for mark in own]


def put(api: Api, resource: dict[str, Any], **headers: str) -> int:
    return api.put(f"Patient/{resource['id']}", resource, **headers).status_code


def test_one_fault_can_be_corrected_while_others_stay(api: Api, kept: dict[str, Any]) -> None:
    assert put(api, {**kept, "gender": "male"}) == 200
    assert elements(api, kept["id"]) == [
        ("Patient.birthDate", "ehr:care"),
        ("Patient.name.family", "ehr:care"),
    ]
    sound = {**kept, "gender": "male", "birthDate": "1970-12-31", "name": [{"family": "A"}]}
    assert put(api, sound) == 200
    assert elements(api, kept["id"]) == []
    assert put(api, {**sound, "gender": "man"}) == 422


@pytest.mark.parametrize(
    "worse",
    [
        {"maritalStatus": 5},
        {"name": [{"family": "A"}, {"family": 5}, {"family": 6}]},
        {"gender": "woman"},
        {"contact": [{"gender": "man"}]},
    ],
)
def test_a_fault_that_it_does_not_have_is_refused_and_named_alone(
    api: Api, kept: dict[str, Any], worse: dict[str, Any]
) -> None:
    answer = api.put(f"Patient/{kept['id']}", {**kept, **worse})
    assert answer.status_code == 422
    errors = [issue for issue in answer.json()["issue"] if issue["severity"] == "error"]
    assert {issue["expression"][0].partition("[")[0].split(".")[1] for issue in errors} == set(worse)
    assert api.get(f"Patient/{kept['id']}").headers["etag"] == 'W/"1"'


def test_a_patch_may_correct_it_too(api: Api, kept: dict[str, Any]) -> None:
    patch = [{"op": "replace", "path": "/gender", "value": "male"}]
    headers = {"content-type": "application/json-patch+json"}
    answer = api.request("PATCH", f"Patient/{kept['id']}", content=jsontext.encode(patch), headers=headers)
    assert answer.status_code == 200
    assert ("Patient.gender", "ehr:care") not in elements(api, kept["id"])
    bad = [{"op": "replace", "path": "/birthDate", "value": "yesterday"}]
    assert put(api, {**kept, "gender": "male", "birthDate": "1970-12-31"}) == 200
    refused = api.request("PATCH", f"Patient/{kept['id']}", content=jsontext.encode(bad), headers=headers)
    assert refused.status_code == 422


def test_a_transaction_may_correct_it_too(api: Api, kept: dict[str, Any]) -> None:
    def bundle(resource: dict[str, Any]) -> dict[str, Any]:
        request = {"method": "PUT", "url": f"Patient/{kept['id']}"}
        return {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [{"resource": resource, "request": request}],
        }

    assert api.post("", bundle({**kept, "maritalStatus": 5})).status_code == 422
    assert api.post("", bundle({**kept, "gender": "male"})).status_code == 200
    assert len(elements(api, kept["id"])) == 2


def test_nobody_may_create_what_is_not_valid(api: Api, kept: dict[str, Any]) -> None:
    other = {**kept, "id": f"new-{uuid.uuid4()}"}
    assert put(api, other) == 422
    assert api.post("Patient", kept).status_code == 422
    assert api.delete(f"Patient/{kept['id']}").status_code in (200, 204)
    assert put(api, kept) == 422


def test_it_is_found_by_its_quality_and_read_as_it_came(api: Api, kept: dict[str, Any]) -> None:
    found = api.get(f"Patient?quality=not-valid&_id={kept['id']}").json()
    assert found["total"] == 1 if "total" in found else len(found["entry"]) == 1
    read = api.get(f"Patient/{kept['id']}").json()
    assert {key: read[key] for key in KEPT} == KEPT
    assert "not-valid" not in jsontext.encode(read).decode()
    assert not api.get(f"Patient?quality=valid&_id={kept['id']}").json().get("entry")


def test_metrics_and_page_tell_what_is_wrong(api: Api, kept: dict[str, Any]) -> None:
    figures = api.request("GET", "http://localhost/metrics").text
    assert 'coprod_quality_marks{ehr="care",rule="code-invalid",type="Patient"}' in figures
    page = api.request("GET", "http://localhost/quality").text
    assert "Patient.birthDate" in page
    assert "care" in page
    assert "1970-13-41" not in page
