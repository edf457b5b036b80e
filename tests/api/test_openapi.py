"""The OpenAPI document against the server: schemathesis sends what it describes and what it does not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from fhir_coprod import validate
from fhir_coprod.api import openapi_examples as shown
from tests.api.server import Served, serving

pytestmark = pytest.mark.long

PATIENT = {
    "resourceType": "Patient",
    "id": "tolvan",
    "meta": {"versionId": "1", "lastUpdated": "2026-03-02T09:00:00.000Z"},
    "identifier": [{"system": "urn:oid:1.2.752.129.2.1.3.1", "value": "19121212-1212"}],
    "name": [{"family": "Tolvansson", "given": ["Tolvan"]}],
    "birthDate": "1912-12-12",
}


@schemathesis.serializer("application/fhir+ndjson")
def as_it_is(ctx: Any, value: Any) -> bytes:
    """NDJSON is sent as text."""
    return str(value).encode()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(f"sqlite:///{tmp_path_factory.mktemp('openapi') / 'store.db'}") as running:
        yield running


@pytest.fixture(scope="module")
def document(served: Served) -> Any:
    return httpx.get(served.url.removesuffix("/fhir") + "/openapi.json", timeout=60).json()


def test_document_is_valid_openapi(document: Any) -> None:
    schemathesis.openapi.from_dict(document).validate()


def body_conformance(ctx: Any, response: Any, case: schemathesis.Case) -> bool | None:
    """The body has a described type; with `Prefer: return=minimal` there is none."""
    return content_type_conformance(ctx, response, case) if response.content else None


def test_every_operation_answers_as_described(served: Served) -> None:
    schema = schemathesis.openapi.from_url(served.url.removesuffix("/fhir") + "/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 30
    for operation in operations:

        @given(operation.as_strategy())
        @settings(max_examples=3, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        def sent(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=[not_a_server_error, status_code_conformance, body_conformance])

        sent()


def resources(value: Any) -> Iterator[Any]:
    """Every example of the document that is a resource."""
    if isinstance(value, list):
        for item in value:
            yield from resources(item)
    elif isinstance(value, dict):
        example = value.get("example")
        if isinstance(example, dict) and "resourceType" in example:
            yield example
        for inner in value.values():
            yield from resources(inner)


def test_every_example_is_valid_fhir(document: Any) -> None:
    found = {json.dumps(each): each for each in resources(document)}
    assert len(found) > 10
    for each in found.values():
        assert validate(each), f"{each['resourceType']}: {validate(each)}"


def test_every_operation_has_an_example_of_each_body_and_answer(document: Any) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if "FHIR" not in operation["tags"]:
                continue
            bodies = [operation.get("requestBody", {}).get("content", {})]
            bodies += [answer.get("content", {}) for answer in operation["responses"].values()]
            for content in bodies:
                assert all("example" in kind for kind in content.values()), (method, path)


def test_the_examples_do_what_they_show(served: Served, document: Any) -> None:
    """In the order of a day: the patient, the referral, then everything else that the document describes."""
    with httpx.Client(base_url=served.url.removesuffix("/fhir"), timeout=60) as client:
        fhir = {"content-type": "application/fhir+json"}
        made = client.put("/fhir/Patient/tolvan", json=PATIENT, headers=fhir)
        assert made.status_code in (200, 201), made.text
        made = client.put("/fhir/ServiceRequest/mri-1", json=shown.STORED_REFERRAL, headers=fhir)
        assert made.status_code in (200, 201), made.text
        last = {"delete": 1}
        steps = [
            (method, path, operation)
            for path, operations in document["paths"].items()
            for method, operation in operations.items()
            if "FHIR" in operation["tags"]
        ]
        done = 0
        for method, path, operation in sorted(steps, key=lambda step: last.get(step[0], 0)):
            if "_export" in path or "_import" in path or "$export" in path or "$import" in path:
                continue  # tests/bulk does
            if not re.search(r"\{id\}|_search|metadata|/\$validate|^/fhir(/\{type\})?$|_history", path):
                raise AssertionError(f"{path} is new here")
            if method in ("put", "patch", "delete") and path == "/fhir/{type}":
                continue  # conditional: no criteria are shown that name one resource
            if "_async" in path:
                continue  # there is no such request
            type = "Patient" if "everything" in path else "ServiceRequest"
            id = "tolvan" if type == "Patient" or "{owner}" in path else "mri-1"
            path = path.replace("{owner}", "Patient").replace("{member}", "ServiceRequest")
            url = path.replace("{type}", type).replace("{id}", id).replace("{version}", "1")
            content = operation.get("requestBody", {}).get("content", {})
            sent: dict[str, Any] = {}
            for kind, body in content.items():
                example = body["example"]
                form = kind.endswith("urlencoded")
                sent = {"data": example} if form else {"content": json.dumps(example).encode()}
                sent["headers"] = {"content-type": kind}
            answer = client.request(method, url, **sent)
            assert answer.status_code in (200, 201, 204), f"{method} {url}: {answer.text}"
            assert str(answer.status_code) in operation["responses"]
            done += 1
        assert done > 20
