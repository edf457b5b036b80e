"""What the server says about itself is what it does."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fhir_coprod import definitions, validate
from fhir_coprod.api.endpoint import PREFIX
from fhir_coprod.api.openapi import _TEXTS
from fhir_coprod.api.table import TABLE
from tests.api.conftest import Api
from tests.api.test_claims import value_of


@pytest.fixture
def statement(api: Api) -> Any:
    return api.get("metadata").json()


def test_statement_is_valid(statement: Any) -> None:
    assert validate(statement)


def test_every_type_of_r4_is_there(statement: Any) -> None:
    types = [resource["type"] for resource in statement["rest"][0]["resource"]]
    assert types == list(definitions.resource_types())


def test_every_route_is_told_and_nothing_else(statement: Any) -> None:
    rest = statement["rest"][0]
    told = {each["code"] for each in rest["interaction"]}
    told |= {each["code"] for each in rest["resource"][0]["interaction"]}
    told |= {"$" + each["name"] for each in rest["operation"]}
    told |= {"$" + each["name"] for resource in rest["resource"] for each in resource.get("operation", ())}
    untold = {"capabilities", "async-status", "async-cancel"}
    untold |= {f"{job}-{what}" for job in ("export", "import") for what in ("status", "cancel", "file")}
    assert told - {"batch"} == {row.name for row in TABLE} - untold


def test_every_search_parameter_it_names_is_taken(api: Api, statement: Any) -> None:
    for resource in statement["rest"][0]["resource"]:
        if resource["type"] not in ("Patient", "Observation", "Task", "ServiceRequest", "CarePlan"):
            continue
        for parameter in resource["searchParam"]:
            name = parameter["name"]
            value = "valid" if name == "quality" else value_of(resource["type"], name)
            url = f"{resource['type']}?{parameter['name']}={value}&_count=0"
            answer = api.get(url, Prefer="handling=strict")
            assert answer.status_code == 200, f"{url}: {answer.text}"


def test_our_profiles_are_named(statement: Any) -> None:
    by_type = {resource["type"]: resource for resource in statement["rest"][0]["resource"]}
    assert definitions.PROFILE + "referral-task" in by_type["Task"]["supportedProfile"]


def test_address_is_the_one_that_was_called(statement: Any) -> None:
    assert statement["implementation"]["url"] == "http://localhost/fhir"


def test_openapi_describes_every_route(api: Api) -> None:
    document = api.request("GET", "http://localhost/openapi.json").json()
    for row in TABLE:
        assert row.name in _TEXTS
    described = {
        (method.upper(), re.sub(r"\{\w+\}", "{}", path))
        for path, operations in document["paths"].items()
        for method in operations
    }
    for row in TABLE:
        path = re.sub(r"\{\w+(:\w+)?\}", "{}", PREFIX + row.path.replace("{type:fhir_patient}", "Patient"))
        path = path.replace("/{}/{}/$export", "/Group/{}/$export")
        path = path.replace("/{}/{}/$standing", "/ServiceRequest/{}/$standing")
        assert all((method, path) in described for method in row.methods), row
    assert ("GET", "/health") in described
    assert ("GET", "/metrics") in described


def test_health_and_metrics(api: Api) -> None:
    health = api.request("GET", "http://localhost/health").json()
    assert health["status"] == "ok"
    assert health["watch"] == "nobody"
    api.get("Patient/absent")
    text = api.request("GET", "http://localhost/metrics").text
    assert re.search(r'coprod_requests_total\{interaction="read",status="404"\} \d', text)
    assert "coprod_request_seconds_bucket" in text
    assert "absent" not in text
