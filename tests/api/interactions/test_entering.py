"""What is written is checked as it is stored: no reference that leads nowhere is stored in silence."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from fhir_coprod.jsontext import Json
from tests.api.conftest import Api, identifier_of, outcome, patient
from tests.api.interactions.test_transaction import bundle, entry, location, observation, performed, urn


def practitioner(value: str, **members: Any) -> Json:
    return {
        "resourceType": "Practitioner",
        "identifier": [{"system": "http://a.example/id", "value": value}],
        **members,
    }


def binary_patch(reference: str) -> Json:
    operations = [{"op": "add", "path": "/generalPractitioner", "value": [{"reference": reference}]}]
    data = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": data}


def fhirpath_patch(reference: str) -> Json:
    parts = [
        {"name": "type", "valueCode": "add"},
        {"name": "path", "valueString": "Patient"},
        {"name": "name", "valueString": "generalPractitioner"},
        {"name": "value", "valueReference": {"reference": reference}},
    ]
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}


def refused(api: Api, sent: Json) -> Json:
    answer = api.post("", sent)
    assert answer.status_code == 400, answer.text
    return outcome(answer)


class TestPatchesInTransactions:
    def test_a_temporary_address_becomes_the_reference(self, api: Api) -> None:
        id, doctor = api.create(patient())["id"], urn()
        found = performed(
            api,
            bundle(
                entry("PATCH", f"Patient/{id}", binary_patch(doctor)),
                entry("POST", "Practitioner", practitioner("x"), doctor),
            ),
        )
        stored = api.get(f"Patient/{id}").json()
        assert stored["generalPractitioner"] == [{"reference": location(found[1])}]

    def test_of_a_conditional_create_too_and_of_criteria(self, api: Api) -> None:
        id, doctor, value = api.create(patient())["id"], urn(), uuid.uuid4().hex
        here = api.create(practitioner(value))["id"]
        criteria = f"identifier=http://a.example/id|{value}"
        for reference in (doctor, f"Practitioner?{criteria}"):
            performed(
                api,
                bundle(
                    entry("PATCH", f"Patient/{id}", binary_patch(reference)),
                    entry("POST", "Practitioner", practitioner(value), doctor, ifNoneExist=criteria),
                ),
            )
            stored = api.get(f"Patient/{id}").json()
            assert stored["generalPractitioner"] == [{"reference": f"Practitioner/{here}"}]

    def test_an_address_of_nothing_is_refused(self, api: Api) -> None:
        id = api.create(patient())["id"]
        refused(api, bundle(entry("PATCH", f"Patient/{id}", binary_patch(urn()))))
        assert api.get(f"Patient/{id}").headers["etag"] == 'W/"1"'

    @pytest.mark.parametrize("form", ["JSON", "FHIRPath"])
    def test_criteria_in_a_patch_see_what_waits_for_criteria_itself(self, api: Api, form: str) -> None:
        id, value = api.create(patient())["id"], uuid.uuid4().hex
        api.create({**practitioner(value), "resourceType": "Organization"})
        named = f"identifier=http://a.example/id|{value}"
        issuer = {"reference": f"Organization?{named}"}
        doctor = practitioner(value, qualification=[{"code": {"text": "x"}, "issuer": issuer}])
        make = binary_patch if form == "JSON" else fhirpath_patch
        performed(
            api,
            bundle(
                entry("PATCH", f"Patient/{id}", make(f"Practitioner?{named}")),
                entry("POST", "Practitioner", doctor),
            ),
        )
        assert "Practitioner/" in api.get(f"Patient/{id}").json()["generalPractitioner"][0]["reference"]


LOST = ["/Patient/x", "/Patient?_id=x", "urn:uuid:00000000-0000-4000-8000-000000000009", "Patient?_id=x"]


class TestReferencesThatLeadNowhere:
    @pytest.mark.parametrize("reference", LOST)
    def test_are_refused_in_every_way_in(self, api: Api, reference: str) -> None:
        sent = observation(reference)
        answer = api.post("Observation", sent)
        assert (answer.status_code, outcome(answer)["expression"]) == (400, ["Observation.subject.reference"])
        assert api.put("Observation/lost", {**sent, "id": "lost"}).status_code == 400
        id = api.create(patient())["id"]
        change = [{"op": "add", "path": "/managingOrganization", "value": {"reference": reference}}]
        assert api.patch(f"Patient/{id}", change).status_code == 400
        alone = performed(api, bundle(entry("POST", "Observation", sent), type="batch"))
        assert alone[0]["response"]["status"].startswith("400")

    @pytest.mark.parametrize("reference", LOST[:3])
    def test_are_refused_in_transactions_with_their_place(self, api: Api, reference: str) -> None:
        found = refused(api, bundle(entry("POST", "Observation", observation(reference))))
        assert found["expression"] == ["Bundle.entry[0].resource.subject.reference"]

    @pytest.mark.parametrize("criteria", ["/Patient?_id=x", "/Observation?_id=x", "Patient?_id=x"])
    def test_are_refused_as_criteria_too(self, api: Api, criteria: str) -> None:
        sent = observation("Patient/x")
        refused(api, bundle(entry("POST", "Observation", sent, ifNoneExist=criteria)))
        assert api.post("Observation", sent, if_none_exist=criteria).status_code == 400

    def test_are_refused_by_the_address_of_this_server_too(self, api: Api) -> None:
        answer = api.post("Observation", observation("http://localhost/fhir/Patient?_id=x"))
        assert answer.status_code == 400

    def test_a_version_of_an_entry_is_refused_and_its_address_has_no_case(self, api: Api) -> None:
        target = urn()
        refused(
            api,
            bundle(
                entry("POST", "Observation", observation(f"{target}/_history/1")),
                entry("POST", "Patient", patient(), target),
            ),
        )
        found = performed(
            api,
            bundle(
                entry("POST", "Observation", observation(target.upper())),
                entry("POST", "Patient", patient(), target),
            ),
        )
        assert api.get(location(found[0])).json()["subject"]["reference"] == location(found[1])

    def test_a_uri_that_only_looks_like_one_is_none(self, api: Api) -> None:
        issue = {"resourceType": "DetectedIssue", "status": "final", "reference": urn()}
        assert api.create(issue)["reference"] == issue["reference"]

    def test_what_is_not_here_yet_may_be_named(self, api: Api) -> None:
        api.create(observation("Patient/comes-later"))


def test_what_a_reference_becomes_is_judged_too(api: Api) -> None:
    """The entry that the address means is no Patient, nor what else a subject may be."""
    target = urn()
    as_sent = api.post("Observation", observation("Practitioner/x"))
    answer = api.post(
        "",
        bundle(
            entry("POST", "Observation", observation(target)),
            entry("POST", "Practitioner", practitioner("x"), target),
        ),
    )
    assert (answer.status_code == 200) == (as_sent.status_code == 201)


def test_what_is_inside_a_bundle_stays_as_it_came(api: Api) -> None:
    target = urn()
    inner = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [
            {"fullUrl": target, "resource": patient()},
            {"fullUrl": urn(), "resource": observation(target)},
        ],
    }
    wrapped = {"resourceType": "Parameters", "parameter": [{"name": "b", "resource": inner}]}
    found = performed(
        api,
        bundle(
            entry("POST", "Bundle", inner),
            entry("POST", "Parameters", wrapped),
            entry("POST", "Patient", patient(), target),
        ),
    )
    assert api.get(location(found[0])).json()["entry"] == inner["entry"]
    assert api.get(location(found[1])).json()["parameter"] == wrapped["parameter"]


class TestCriteriaThatNameEntries:
    def test_the_same_transaction_again_finds_what_it_stored(self, api: Api) -> None:
        one, sent = urn(), patient()
        transaction = bundle(
            entry("POST", "Observation", observation(one), ifNoneExist=f"subject={one}"),
            entry(
                "PUT",
                f"Basic?subject={one}",
                {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": one}},
            ),
            entry("POST", "Patient", sent, one, ifNoneExist=f"identifier={identifier_of(sent)}"),
        )
        first = performed(api, transaction)
        assert [each["response"]["status"] for each in first] == ["201 Created"] * 3
        for again in (performed(api, transaction), performed(api, transaction)):
            assert [each["response"]["status"] for each in again] == ["200 OK"] * 3
        assert api.get(f"Observation?subject={location(first[2])}").json()["total"] == 1

    def test_an_address_of_nothing_is_refused(self, api: Api) -> None:
        refused(
            api,
            bundle(entry("POST", "Observation", observation("Patient/x"), ifNoneExist=f"subject={urn()}")),
        )
        answer = api.post("Observation", observation("Patient/x"), if_none_exist=f"subject={urn()}")
        assert answer.status_code == 400

    def test_criteria_that_name_each_other_are_refused(self, api: Api) -> None:
        one, two = urn(), urn()
        refused(
            api,
            bundle(
                entry("POST", "Observation", observation("Patient/x"), one, ifNoneExist=f"has-member={two}"),
                entry("POST", "Observation", observation("Patient/x"), two, ifNoneExist=f"has-member={one}"),
            ),
        )

    def test_they_may_name_each_other_in_a_long_chain(self, sqlite_api: Callable[..., Api]) -> None:
        api, urls = sqlite_api(), [urn() for _ in range(700)]
        chain = [
            entry("POST", "Observation", observation("Patient/x"), url, ifNoneExist=f"has-member={following}")
            for url, following in pairwise(urls)
        ]
        found = performed(
            api, bundle(*chain, entry("POST", "Observation", observation("Patient/x"), urls[-1]))
        )
        assert {each["response"]["status"] for each in found} == {"201 Created"}

    def test_an_identifier_that_is_the_same_urn_is_a_name(self, api: Api) -> None:
        one = urn()
        sent = {"resourceType": "Patient", "identifier": [{"system": "urn:ietf:rfc:3986", "value": one}]}
        transaction = bundle(entry("POST", "Patient", sent, one, ifNoneExist=f"identifier={one}"))
        assert performed(api, transaction)[0]["response"]["status"] == "201 Created"
        assert performed(api, transaction)[0]["response"]["status"] == "200 OK"

    def test_a_search_in_the_same_transaction_may_name_one_too(self, api: Api) -> None:
        one = urn()
        found = performed(
            api,
            bundle(
                entry("GET", f"Observation?subject={one}"),
                entry("POST", "Observation", observation(one)),
                entry("POST", "Patient", patient(), one),
            ),
        )
        assert found[0]["resource"]["total"] == 1


def test_criteria_see_what_the_transaction_writes(api: Api) -> None:
    old, new = uuid.uuid4().hex, uuid.uuid4().hex
    id = api.create(practitioner(old))["id"]

    def sent(value: str) -> Json:
        performer = [{"reference": f"Practitioner?identifier=http://a.example/id|{value}"}]
        return bundle(
            entry("POST", "Observation", observation("Patient/x", performer=performer)),
            entry("PUT", f"Practitioner/{id}", practitioner(new, id=id)),
        )

    assert api.post("", sent(old)).status_code == 412
    found = performed(api, sent(new))
    assert api.get(location(found[0])).json()["performer"] == [{"reference": f"Practitioner/{id}"}]


def test_subscriptions_are_refused_with_what_to_do_instead(api: Api) -> None:
    asked = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "alerts",
        "criteria": "DetectedIssue?status=preliminary",
        "channel": {
            "type": "rest-hook",
            "endpoint": "https://a.example/x",
            "payload": "application/fhir+json",
        },
    }
    answer = api.post("Subscription", asked)
    assert answer.status_code == 422
    assert "_lastUpdated" in outcome(answer)["diagnostics"]
    assert api.post("", bundle(entry("POST", "Subscription", asked))).status_code == 422
    stored = api.create({**asked, "status": "off"})
    turned_on = [{"op": "replace", "path": "/status", "value": "requested"}]
    assert api.patch(f"Subscription/{stored['id']}", turned_on).status_code == 422


def test_a_number_out_of_range_is_called_so(api: Api) -> None:
    body = (
        b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1E400}}'
    )
    answer = api.post("Observation", body)
    assert answer.status_code == 400
    assert "out of range" in outcome(answer)["diagnostics"]


class TestHistory:
    def test_says_201_for_what_was_created(self, api: Api) -> None:
        id = uuid.uuid4().hex
        body = {"resourceType": "Practitioner", "id": id}
        api.put(f"Practitioner/{id}", body)
        api.delete(f"Practitioner/{id}")
        api.put(f"Practitioner/{id}", body)
        api.put(f"Practitioner/{id}", {**body, "active": True})
        found = api.get(f"Practitioner/{id}/_history").json()["entry"]
        assert [each["response"]["status"][:3] for each in found] == ["200", "201", "204", "201"]

    @pytest.mark.parametrize("of", ["Practitioner/{id}/_history", "Practitioner/_history", "_history"])
    def test_says_so_of_a_conditional_put_too_in_every_history(self, api: Api, of: str) -> None:
        value = uuid.uuid4().hex
        for active in (True, False):
            sent = practitioner(value, active=active)
            made = api.put(f"Practitioner?identifier=http://a.example/id|{value}", sent).json()
        found = api.get(f"{of.format(id=made['id'])}?_count=2").json()["entry"]
        assert [each["response"]["status"] for each in found] == ["200 OK", "201 Created"]

    def test_count_0_gives_none(self, api: Api) -> None:
        id = api.create(patient())["id"]
        assert "entry" not in api.get(f"Patient/{id}/_history?_count=0").json()

    def test_at_gives_what_was_current_then(self, api: Api) -> None:
        id = uuid.uuid4().hex
        body = {"resourceType": "Practitioner", "id": id}
        api.put(f"Practitioner/{id}", body)
        changed = api.put(f"Practitioner/{id}", {**body, "active": True}).json()["meta"]["lastUpdated"]
        api.delete(f"Practitioner/{id}")

        def versions(at: str) -> list[str]:
            found = api.get(f"Practitioner/{id}/_history?_at={at.replace('+', '%2B')}").json()
            return [each["response"]["etag"] for each in found.get("entry", [])]

        assert versions("2020-05") == []
        assert versions(changed[:4]) == ['W/"3"', 'W/"2"', 'W/"1"']
        assert versions(changed) == ['W/"2"']
        assert versions("2999") == []
        assert api.get(f"Practitioner/{id}/_history?_at=soon").status_code == 400
