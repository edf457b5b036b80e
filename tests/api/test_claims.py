"""Every claim of the CapabilityStatement is tried; what it does not claim is refused.

tests/api/interactions/test_capability.py holds the statement's own shape, this the server to it.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from fhir_coprod import definitions
from fhir_coprod.errors import Unsupported
from fhir_coprod.store import Query
from tests.api.conftest import Api, identifier_of, outcome, patient

VALUES = {
    "token": "true",
    "date": "2020",
    "number": "1",
    "quantity": "1",
    "special": "59.3|18.0|1|km",
    "reference": "Patient/a",
}
STRICT = {"Prefer": "handling=strict"}


@pytest.fixture(scope="module")
def rest(api: Api) -> Any:
    return api.get("metadata").json()["rest"][0]


@pytest.fixture(scope="module")
def types(rest: Any) -> dict[str, Any]:
    return {resource["type"]: resource for resource in rest["resource"]}


def minimal(type: str) -> dict[str, Any]:
    """A valid resource of the type."""
    made: dict[str, dict[str, Any]] = {
        "Patient": patient(),
        "Basic": {"code": {"text": "x"}, "identifier": [{"value": patient()["identifier"][0]["value"]}]},
        "Binary": {"contentType": "text/plain", "data": "eA=="},
        "Bundle": {"type": "collection"},
        "Parameters": {"parameter": [{"name": "x", "valueString": "y"}]},
    }
    return {"resourceType": type, **made[type]}


@pytest.mark.parametrize("type", ["Patient", "Basic", "Binary", "Bundle", "Parameters"])
def test_every_interaction_claimed_of_a_type_is_there(api: Api, types: dict[str, Any], type: str) -> None:
    claimed = {each["code"] for each in types[type]["interaction"]}
    tried = set()

    def holds(name: str, answer: Any, status: int = 200) -> Any:
        assert answer.status_code == status, f"{name}: {answer.text}"
        tried.add(name)
        return answer

    stored = holds("create", api.post(type, minimal(type)), 201).json()
    path = f"{type}/{stored['id']}"
    holds("read", api.get(path))
    holds("vread", api.get(f"{path}/_history/1"))
    holds("update", api.put(path, {**stored, "language": "sv"}))
    operation = {"op": "replace", "path": "/language", "value": "da"}
    holds("patch", api.patch(path, [operation]))
    assert len(holds("history-instance", api.get(f"{path}/_history")).json()["entry"]) == 3
    holds("history-type", api.get(f"{type}/_history"))
    assert holds("search-type", api.get(f"{type}?_id={stored['id']}")).json()["total"] == 1
    holds("delete", api.delete(path), 204)
    assert tried == claimed


def test_every_type_claimed_is_served_and_no_other(api: Api, types: dict[str, Any]) -> None:
    for type in types:
        assert api.get(f"{type}?_count=0").status_code == 200
        assert api.get(f"{type}/absent").status_code == 404
        refused = api.post(type, {"resourceType": type, "nonsense": 1})
        assert refused.status_code == 422
    for type in ("DomainResource", "Resource", "Element", "Hospital", "NutritionIntake"):
        assert outcome(api.get(type))["code"] == "not-supported"


def test_every_interaction_claimed_of_the_whole_server_is_there(api: Api, rest: Any) -> None:
    entry = {"request": {"method": "GET", "url": "metadata"}}
    reading = {"request": {"method": "GET", "url": "Patient?_count=0"}}
    tries = {
        "transaction": api.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [reading]}),
        "batch": api.post("", {"resourceType": "Bundle", "type": "batch", "entry": [entry]}),
        "history-system": api.get("_history?_count=1"),
        "search-system": api.get("?_type=Patient&_count=0"),
    }
    assert {each["code"] for each in rest["interaction"]} == set(tries)
    assert {answer.status_code for answer in tries.values()} == {200}


def test_every_search_parameter_claimed_is_read_and_no_other(types: dict[str, Any]) -> None:
    for type, resource in types.items():
        claimed = {each["name"]: each for each in resource["searchParam"]}
        for code, parameter in definitions.search_parameters(type).items():
            pairs = [(code, "valid" if code == "quality" else value_of(type, code))]
            if code in claimed:
                assert claimed[code]["type"] == parameter.type
                Query.parse(type, pairs, strict=True)
            else:
                with pytest.raises(Unsupported, match="not supported"):
                    Query.parse(type, pairs, strict=True)
        assert set(claimed) <= set(definitions.search_parameters(type))


def value_of(type: str, code: str) -> str:
    """A value that the parameter can read; of a composite, one for each part."""
    known = definitions.search_parameters(type)
    if known[code].type != "composite":
        return VALUES.get(known[code].type, "a")
    by_url = {each.url: each.type for each in known.values()}
    return "$".join(VALUES.get(by_url[each.definition], "a") for each in known[code].components)


def test_every_include_claimed_is_read_and_no_other(types: dict[str, Any]) -> None:
    for type, resource in types.items():
        for name, claims in (("_include", "searchInclude"), ("_revinclude", "searchRevInclude")):
            for claim in resource.get(claims, ()):
                Query.parse(type, [(name, claim)], strict=True)
        references = {
            f"{type}:{p.code}" for p in definitions.search_parameters(type).values() if p.type == "reference"
        }
        assert set(resource.get("searchInclude", ())) == references


def test_formats_claimed_are_answered_in_and_no_other(api: Api) -> None:
    statement = api.get("metadata").json()
    for name in statement["format"]:
        assert api.get(f"Patient?_count=0&_format={quote(name)}").status_code == 200
        assert name == "json" or api.get("Patient?_count=0", Accept=name).status_code == 200
    for name in ("xml", "application/fhir+xml", "ttl", "text/turtle", "html", "application/fhir+ndjson"):
        told = outcome(api.get(f"Patient?_count=0&_format={quote(name)}"))
        assert "JSON" in told["diagnostics"]
        assert api.get("metadata", Accept=name).status_code == 406


def test_patch_formats_claimed_are_taken_and_no_other(api: Api) -> None:
    stored = api.create(patient())
    path = f"Patient/{stored['id']}"
    parts = [
        {"name": "type", "valueCode": "replace"},
        {"name": "path", "valueString": "Patient.active"},
        {"name": "value", "valueBoolean": False},
    ]
    patches = {
        "application/json-patch+json": [{"op": "add", "path": "/active", "value": True}],
        "application/fhir+json": {
            "resourceType": "Parameters",
            "parameter": [{"name": "operation", "part": parts}],
        },
    }
    assert api.get("metadata").json()["patchFormat"] == list(patches)
    for (name, patch), active in zip(patches.items(), (True, False), strict=True):
        answer = api.patch(path, json.dumps(patch).encode(), content_type=name)
        assert (answer.status_code, answer.json()["active"]) == (200, active)
    for name in ("application/merge-patch+json", "application/xml-patch+xml"):
        assert api.patch(path, b"{}", content_type=name).status_code == 415


def test_conditions_claimed_hold(api: Api, types: dict[str, Any]) -> None:
    claims = types["Patient"]
    one = patient(active=True)
    search = f"identifier={identifier_of(one)}"
    first = api.post("Patient", one, If_None_Exist=search)
    again = api.post("Patient", one, If_None_Exist=search)
    assert (first.status_code, again.status_code) == (201, 200)
    assert claims["conditionalCreate"]
    stored = first.json()
    path = f"Patient/{stored['id']}"

    tag, modified = first.headers["etag"], first.headers["last-modified"]
    assert api.get(path, If_None_Match=tag).status_code == 304
    assert api.get(path, If_Modified_Since=modified).status_code == 304
    assert claims["conditionalRead"] == "full-support"

    assert api.put(f"Patient?{search}", {**one, "active": False}).status_code == 200
    assert claims["conditionalUpdate"]
    assert api.put("Patient/claimed-new", {**patient(), "id": "claimed-new"}).status_code == 201
    assert claims["updateCreate"]
    assert api.get(f"{path}/_history/1").json() == stored
    assert claims["readHistory"]
    assert claims["versioning"] == "versioned"

    api.create(one)
    assert api.delete(f"Patient?{search}").status_code == 412
    assert claims["conditionalDelete"] == "single"
    api.delete(path)
    assert api.delete(f"Patient?{search}").status_code == 204


def test_operations_claimed_answer_and_no_other(api: Api, rest: Any, types: dict[str, Any]) -> None:
    subject = api.create(patient())
    request = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "subject": {"reference": f"Patient/{subject['id']}"},
    }
    referral = api.create(request)
    tries = {
        ("Resource", "validate"): api.post("Patient/$validate", patient()),
        ("Patient", "everything"): api.get(f"Patient/{subject['id']}/$everything"),
        ("ServiceRequest", "standing"): api.get(f"ServiceRequest/{referral['id']}/$standing"),
        **{(type, "validate"): api.post(f"{type}/$validate", {"resourceType": type}) for type in types},
    }
    members = [{"entity": {"reference": f"Patient/{subject['id']}"}}]
    group = api.create({"resourceType": "Group", "type": "person", "actual": True, "member": members})
    later = {
        ("Resource", "export"): api.get("$export"),
        ("Patient", "export"): api.get("Patient/$export"),
        ("Group", "export"): api.get(f"Group/{group['id']}/$export"),
        ("Resource", "import"): api.post("$import", b"", content_type="application/fhir+ndjson"),
    }
    claimed = {("Resource", each["name"]) for each in rest["operation"]}
    claimed |= {(type, each["name"]) for type, own in types.items() for each in own.get("operation", ())}
    assert claimed == set(tries) | set(later)
    assert {answer.status_code for answer in later.values()} == {202}
    assert {answer.status_code for answer in tries.values()} == {200}
    for path in (
        "$meta",
        "Encounter/$export",
        "Patient/$everything",
        "Encounter/a/$everything",
        "ValueSet/$expand",
        f"Patient/{subject['id']}/$standing",
        "ConceptMap/$translate",
        "Patient/$match",
    ):
        assert api.get(path).status_code == 404


def test_our_operation_is_defined_where_the_statement_says(api: Api, types: dict[str, Any]) -> None:
    operations = {each["name"]: each["definition"] for each in types["ServiceRequest"]["operation"]}
    definition = operations["standing"]
    found = api.get(f"OperationDefinition?url={definition}").json()["entry"][0]["resource"]
    assert (found["code"], found["instance"], found["resource"]) == ("standing", True, ["ServiceRequest"])


@pytest.mark.parametrize(
    "type",
    [
        "StructureDefinition",
        "ValueSet",
        "CodeSystem",
        "SearchParameter",
        "OperationDefinition",
        "Measure",
        "Questionnaire",
    ],
)
def test_our_definitions_are_read_and_found(api: Api, type: str) -> None:
    ours = definitions.own_resources(type)
    assert ours
    for definition in ours:
        read = api.get(f"{type}/{definition['id']}")
        assert {k: v for k, v in read.json().items() if k != "meta"} == {
            k: v for k, v in definition.items() if k != "meta"
        }
        criteria = {
            name: definition[name] for name in ("url", "name", "version", "status") if name in definition
        }
        asked = "&".join(f"{name}={quote(value)}" for name, value in criteria.items())
        found = api.get(f"{type}?{asked}", **STRICT).json()["entry"]
        assert [entry["resource"]["id"] for entry in found] == [definition["id"]]
    titles = api.get(f"{type}?_elements=url,name&_count=100").json()["entry"]
    assert len(titles) >= len(ours)
