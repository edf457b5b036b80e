"""Conditional create, update, patch and delete, and JSON Patch: none, one and several matches."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fhir_coprod.jsontext import Json
from tests.api.conftest import FHIR, Api, identifier_of, outcome, patient


def twice(api: Api) -> str:
    """Criteria that two stored patients meet."""
    one = patient()
    api.create(one)
    api.create(one)
    return f"identifier={identifier_of(one)}"


class TestCreate:
    def test_none_creates_and_one_is_given_back(self, api: Api) -> None:
        wanted = patient()
        criteria = f"identifier={identifier_of(wanted)}"
        first = api.post("Patient", wanted, If_None_Exist=criteria)
        second = api.post("Patient", {**wanted, "birthDate": "1950"}, If_None_Exist=criteria)
        assert (first.status_code, second.status_code) == (201, 200)
        assert second.json() == first.json()
        assert second.headers["location"] == first.headers["location"]

    def test_criteria_may_stand_in_the_url_too(self, api: Api) -> None:
        stored = api.create(patient())
        criteria = f"identifier={identifier_of(stored)}"
        assert api.post(f"Patient?{criteria}", patient()).json() == stored
        assert api.post("Patient", patient(), If_None_Exist=f"Patient?{criteria}").json() == stored
        assert api.post("Patient?_format=json", patient()).status_code == 201

    def test_several_are_412(self, api: Api) -> None:
        answer = api.post("Patient", patient(), If_None_Exist=twice(api))
        assert answer.status_code == 412
        assert "more than one" in outcome(answer)["diagnostics"]

    @pytest.mark.parametrize(("criteria", "status"), [("", 412), ("colour=blue", 400), ("birthdate=x", 400)])
    def test_criteria_must_mean_something(self, api: Api, criteria: str, status: int) -> None:
        assert api.post("Patient", patient(), If_None_Exist=criteria).status_code == status

    def test_parallel_identical_creates_store_one(self, api: Api) -> None:
        wanted = patient()
        headers = {**FHIR, "if-none-exist": f"identifier={identifier_of(wanted)}"}
        answers = api.together(*[("POST", "Patient", {"json": wanted, "headers": headers})] * 64)
        assert sorted(answer.status_code for answer in answers) == [200] * 63 + [201]
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert api.get(f"Patient?identifier={identifier_of(wanted)}").json()["total"] == 1


class TestUpdate:
    def test_none_without_id_creates(self, api: Api) -> None:
        wanted = patient()
        answer = api.put(f"Patient?identifier={identifier_of(wanted)}", wanted)
        assert answer.status_code == 201
        assert answer.json()["id"]

    def test_none_with_id_creates_under_it(self, api: Api) -> None:
        wanted = patient(id="cu-" + patient()["identifier"][0]["value"])
        answer = api.put(f"Patient?identifier={identifier_of(wanted)}", wanted)
        assert (answer.status_code, answer.json()["id"]) == (201, wanted["id"])

    def test_none_with_the_id_of_another_is_409(self, api: Api) -> None:
        other = api.create(patient())
        answer = api.put("Patient?identifier=urn:test|nobody", {**patient(), "id": other["id"]})
        assert answer.status_code == 409
        assert api.get(f"Patient/{other['id']}").json() == other

    def test_one_is_updated_with_or_without_its_id(self, api: Api) -> None:
        stored = api.create(patient())
        criteria = f"Patient?identifier={identifier_of(stored)}"
        bare = {name: value for name, value in stored.items() if name not in ("id", "meta")}
        assert api.put(criteria, {**bare, "birthDate": "1920"}).json()["id"] == stored["id"]
        answer = api.put(criteria, {**stored, "birthDate": "1921"})
        assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"3"')

    def test_one_of_another_id_is_400(self, api: Api) -> None:
        stored = api.create(patient())
        answer = api.put(f"Patient?identifier={identifier_of(stored)}", {**stored, "id": "another"})
        assert answer.status_code == 400

    def test_several_are_412(self, api: Api) -> None:
        assert api.put(f"Patient?{twice(api)}", patient()).status_code == 412


class TestDelete:
    def test_none_and_one_are_204_and_several_412(self, api: Api) -> None:
        stored = api.create(patient())
        criteria = f"Patient?identifier={identifier_of(stored)}"
        assert api.delete(criteria).status_code == 204
        assert api.get(f"Patient/{stored['id']}").status_code == 410
        assert api.delete(criteria).status_code == 204
        assert api.delete(f"Patient?{twice(api)}").status_code == 412


class TestPatch:
    def test_changes_what_it_names_and_nothing_else(self, api: Api) -> None:
        raw = (
            b'{"resourceType":"Observation","status":"preliminary","code":{"text":"a"},'
            b'"valueQuantity":{"value":1.50}}'
        )
        stored = api.post("Observation", raw).json()
        answer = api.patch(
            f"Observation/{stored['id']}",
            [
                {"op": "test", "path": "/status", "value": "preliminary"},
                {"op": "replace", "path": "/status", "value": "final"},
                {"op": "add", "path": "/note", "value": [{"text": "seen"}]},
            ],
        )
        assert (answer.status_code, answer.headers["etag"]) == (200, 'W/"2"')
        assert answer.json()["status"] == "final"
        assert b'"value":1.50' in answer.content

    def test_that_changes_nothing_makes_no_version(self, api: Api) -> None:
        stored = api.create(patient())
        same = [{"op": "replace", "path": "/birthDate", "value": stored["birthDate"]}]
        assert api.patch(f"Patient/{stored['id']}", same).headers["etag"] == 'W/"1"'

    @pytest.mark.parametrize(
        "operation",
        [
            {"op": "test", "path": "/birthDate", "value": "1800"},
            {"op": "remove", "path": "/nowhere"},
            {"op": "replace", "path": "/identifier/9", "value": {}},
            {"op": "replace", "path": "/id", "value": "another"},
            {"op": "replace", "path": "/resourceType", "value": "Basic"},
            {"op": "replace", "path": "", "value": []},
            {"op": "add", "path": "/birthDate/x", "value": 1},
            {"op": "replace", "path": "/birthDate", "value": "not a date"},
            {"op": "add", "path": "/colour", "value": "blue"},
        ],
        ids=str,
    )
    def test_that_does_not_fit_is_422_and_changes_nothing(self, api: Api, operation: Json) -> None:
        stored = api.create(patient())
        answer = api.patch(f"Patient/{stored['id']}", [operation])
        assert answer.status_code == 422
        assert stored["birthDate"] not in outcome(answer)["diagnostics"]
        assert api.get(f"Patient/{stored['id']}").json() == stored

    def test_of_a_deleted_resource_is_410(self, api: Api) -> None:
        stored = api.create(patient())
        api.delete(f"Patient/{stored['id']}")
        assert api.patch(f"Patient/{stored['id']}", []).status_code == 410

    def test_conditional_patches_the_one_match(self, api: Api) -> None:
        stored = api.create(patient())
        operations: list[Json] = [{"op": "replace", "path": "/birthDate", "value": "1930"}]
        answer = api.patch(f"Patient?identifier={identifier_of(stored)}", operations)
        assert (answer.status_code, answer.json()["id"]) == (200, stored["id"])
        assert api.patch("Patient?identifier=urn:test|nobody", operations).status_code == 404
        assert api.patch(f"Patient?{twice(api)}", operations).status_code == 412


@pytest.mark.parametrize(
    "query", ["_sort=family", "_count=1", "_total=none", "_summary=true", "_include=Patient:link"]
)
def test_parameters_of_the_answer_alone_are_no_criteria(sqlite_api: Callable[..., Api], query: str) -> None:
    """With one patient in the store they would all mean that one."""
    api = sqlite_api()
    stored = api.create(patient())
    for answer in (
        api.delete(f"Patient?{query}"),
        api.put(f"Patient?{query}", patient()),
        api.patch(f"Patient?{query}", [{"op": "add", "path": "/gender", "value": "male"}]),
        api.post("Patient", patient(), If_None_Exist=query),
    ):
        assert answer.status_code == 412, answer.text
    basic = {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": f"Patient?{query}"}}
    entry = {"resource": basic, "request": {"method": "POST", "url": "Basic"}}
    refused = api.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert refused.status_code == 412
    assert api.get(f"Patient/{stored['id']}").json() == stored
    assert api.get("Patient?_summary=count").json()["total"] == 1


def test_parameters_of_the_answer_do_not_hinder_a_conditional_create(api: Api) -> None:
    stored = api.create(patient())
    criteria = f"identifier={identifier_of(stored)}&_summary=count&_count=0&_sort=family"
    answer = api.post("Patient", patient(), If_None_Exist=criteria)
    assert (answer.status_code, answer.json()["id"]) == (200, stored["id"])
