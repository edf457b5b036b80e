"""$validate and Patient/$everything."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod import definitions
from fhir_coprod.jsontext import Json
from tests.api.conftest import Api, outcome, patient

TASK = "https://fhir-coprod.org/ig/StructureDefinition/referral-task"


def parameters(**given: Any) -> Json:
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": name, "resource": value}
            if isinstance(value, dict)
            else {"name": name, "valueString": value}
            for name, value in given.items()
        ],
    }


def errors(answer: Any) -> list[Json]:
    assert answer.status_code == 200, answer.text
    return refusal(answer)


def refusal(answer: Any) -> list[Json]:
    """The errors in an OperationOutcome, whatever the status."""
    return [issue for issue in answer.json()["issue"] if issue["severity"] in ("error", "fatal")]


class TestValidate:
    @pytest.mark.parametrize("url", ["$validate", "Patient/$validate", "Patient/x/$validate"])
    def test_says_what_is_wrong_and_stores_nothing(self, api: Api, url: str) -> None:
        before = api.store.head()
        assert errors(api.post(url, patient())) == []
        found = errors(api.post(url, patient(gender="f")))
        assert found[0]["expression"] == ["Patient.gender"]
        assert api.store.head() == before

    def test_takes_parameters_too(self, api: Api) -> None:
        sent = parameters(mode="create", resource=patient(gender="f"))
        assert errors(api.post("Patient/$validate", sent))[0]["expression"] == ["Patient.gender"]

    def test_checks_a_profile_by_parameter_and_by_query(self, api: Api) -> None:
        task = {"resourceType": "Task", "status": "requested", "intent": "order"}
        assert errors(api.post("Task/$validate", task)) == []
        by_query = errors(api.post(f"Task/$validate?profile={TASK}", task))
        assert by_query
        assert errors(api.post("Task/$validate", parameters(resource=task, profile=TASK))) == by_query

    def test_an_unknown_profile_is_told(self, api: Api) -> None:
        answer = api.post("Patient/$validate?profile=http://nobody.example/Profile", patient())
        assert "nobody.example" in answer.text

    def test_of_an_instance_means_what_is_stored(self, api: Api) -> None:
        stored = api.create(patient())
        assert errors(api.get(f"Patient/{stored['id']}/$validate")) == []
        assert api.get("Patient/absent/$validate").status_code == 404
        assert errors(api.post(f"Patient/{stored['id']}/$validate", parameters(mode="delete"))) == []

    def test_a_mode_says_what_the_write_would_say(self, api: Api) -> None:
        order = api.create(
            {
                "resourceType": "ServiceRequest",
                "status": "active",
                "intent": "order",
                "subject": {"reference": "Patient/x"},
                "performer": [{"reference": "Organization/o"}],
            }
        )
        task = api.create(
            {
                "resourceType": "Task",
                "status": "requested",
                "intent": "order",
                "code": {
                    "coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}]
                },
                "focus": {"reference": f"ServiceRequest/{order['id']}"},
                "owner": {"reference": "Organization/o"},
            }
        )
        url, before = f"Task/{task['id']}", api.store.head()
        ahead = {**task, "status": "completed"}
        answer = api.put(url, ahead)
        refused = refusal(answer)
        assert answer.status_code == 422
        assert refused
        assert errors(api.post(f"{url}/$validate?mode=update", ahead)) == refused
        assert errors(api.post("$validate?mode=update", ahead)) == refused
        assert errors(api.post(f"{url}/$validate?mode=update", {**task, "id": "other"}))
        assert errors(api.post(f"{url}/$validate?mode=update", task, if_match='W/"7"'))
        assert errors(api.post(f"{url}/$validate?mode=update", {**task, "status": "accepted"})) == []
        lost = {**task, "focus": {"reference": "urn:uuid:1"}}
        answer = api.post("Task", lost)
        assert answer.status_code == 400
        assert errors(api.post("Task/$validate?mode=create", lost)) == refusal(answer)
        assert errors(api.post("Task/$validate?mode=create", task)) == []
        assert errors(api.get(f"{url}/$validate?mode=delete", if_match='W/"7"'))
        assert api.store.head() == before

    @pytest.mark.parametrize("url", ["$validate", "Parameters/$validate"])
    def test_a_parameters_is_the_envelope_or_what_is_judged(self, api: Api, url: str) -> None:
        inner = parameters(a="b")
        assert errors(api.post(url, parameters(resource=inner))) == []
        assert errors(api.post(url, inner)) == []
        wrong = {"resourceType": "Parameters", "parameter": [{"valueString": "b"}]}
        for sent in (wrong, parameters(resource=wrong)):
            assert errors(api.post(url, sent))[0]["expression"] == ["Parameters.parameter[0]"]
        unknown = parameters(resource=inner, profile="http://nobody.example/Profile")
        assert "nobody.example" in api.post(url, unknown).text

    def test_without_a_resource_is_400(self, api: Api) -> None:
        assert api.request("POST", "Patient/$validate").status_code == 400


class TestEverything:
    @pytest.fixture
    def case(self, api: Api) -> Json:
        """A patient with records of several types, some naming a practitioner; and another patient's."""
        practitioner = api.create({"resourceType": "Practitioner", "name": [{"text": "Dr"}]})
        stored, other = api.create(patient()), api.create(patient())
        for subject in (stored, other):
            for n in range(3):
                api.create(
                    {
                        "resourceType": "Observation",
                        "status": "final",
                        "code": {"text": f"o{n}"},
                        "subject": {"reference": f"Patient/{subject['id']}"},
                        "performer": [{"reference": f"Practitioner/{practitioner['id']}"}],
                        "focus": [{"reference": f"Patient/{other['id']}"}],
                    }
                )
        api.create(
            {
                "resourceType": "Appointment",
                "status": "proposed",
                "participant": [{"status": "accepted", "actor": {"reference": f"Patient/{stored['id']}"}}],
            }
        )
        return stored

    def test_gives_the_compartment_and_what_it_refers_to(self, api: Api, case: Json) -> None:
        answer = api.get(f"Patient/{case['id']}/$everything")
        types = sorted(entry["resource"]["resourceType"] for entry in answer.json()["entry"])
        assert types == [
            "Appointment",
            "Observation",
            "Observation",
            "Observation",
            "Patient",
            "Practitioner",
        ]
        assert answer.json()["total"] == 6

    def test_leaves_out_what_is_not_for_the_patient(self, api: Api, case: Json) -> None:
        label = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}
        hidden = api.create(
            {
                "resourceType": "Basic",
                "meta": {"security": [label]},
                "code": {"text": "x"},
                "subject": {"reference": f"Patient/{case['id']}"},
            }
        )
        place = f"Patient/{case['id']}/$everything"
        assert hidden["id"] not in api.get(place).text
        api.put(f"Basic/{hidden['id']}", {name: value for name, value in hidden.items() if name != "meta"})
        assert hidden["id"] in api.get(place).text

    def test_leaves_out_what_is_only_referred_to_and_not_for_the_patient(self, api: Api, case: Json) -> None:
        label = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "NOPAT"}
        hidden = api.create(
            {"resourceType": "Substance", "meta": {"security": [label]}, "code": {"text": "of staff"}}
        )
        api.create(
            {
                "resourceType": "Basic",
                "code": {"text": "x"},
                "subject": {"reference": f"Patient/{case['id']}"},
                "extension": [
                    {
                        "url": "https://example.org/about",
                        "valueReference": {"reference": f"Substance/{hidden['id']}"},
                    }
                ],
            }
        )
        found = api.get(f"Patient/{case['id']}/$everything").json()["entry"]
        types = {entry["resource"]["resourceType"] for entry in found}
        assert "Basic" in types
        assert "Substance" not in types

    def test_pages_by_its_links(self, api: Api, case: Json) -> None:
        seen: list[str] = []
        url: str | None = f"Patient/{case['id']}/$everything?_count=2"
        while url:
            page = api.get(url).json()
            assert len(page["entry"]) == 2
            seen += [entry["fullUrl"] for entry in page["entry"]]
            url = next((link["url"] for link in page["link"] if link["relation"] == "next"), None)
        assert len(set(seen)) == len(seen) == 6

    def test_narrows_by_type_and_time(self, api: Api, case: Json) -> None:
        only = api.get(f"Patient/{case['id']}/$everything?_type=Observation,Patient").json()
        assert {entry["resource"]["resourceType"] for entry in only["entry"]} == {"Observation", "Patient"}
        later = api.get(f"Patient/{case['id']}/$everything?_since=2100-01-01T00:00:00Z").json()
        assert later["total"] == 0

    @pytest.mark.parametrize(
        "query", ["_count=0", "_count=x", "_count=٣", "_type=Nonsense", "_since=yesterday"]
    )
    def test_refuses_what_it_cannot_understand(self, api: Api, case: Json, query: str) -> None:
        answer = api.get(f"Patient/{case['id']}/$everything?{query}")
        assert answer.status_code == 400
        assert outcome(answer)


class TestStanding:
    @pytest.fixture
    def referral(self, api: Api) -> Json:
        """A referral that was written and sent to nobody."""
        return api.create(
            {
                "resourceType": "ServiceRequest",
                "status": "active",
                "intent": "order",
                "category": [{"coding": [{"system": "http://snomed.info/sct", "code": "3457005"}]}],
                "subject": {"reference": f"Patient/{api.create(patient())['id']}"},
                "authoredOn": "2026-03-02T09:00:00Z",
            }
        )

    def test_says_what_is_missing_and_since_when(self, api: Api, referral: Json) -> None:
        answer = api.get(f"ServiceRequest/{referral['id']}/$standing?now=2026-06-01T12:00:00Z")
        given = {each["name"]: each for each in answer.json()["parameter"]}
        assert given["referral"]["valueReference"]["reference"] == f"ServiceRequest/{referral['id']}"
        assert given["stage"]["valueCode"] == "written"
        assert given["since"]["valueInstant"] == "2026-03-02T09:00:00Z"
        assert given["patientInformed"]["valueBoolean"] is False
        stalls = [each["part"] for each in answer.json()["parameter"] if each["name"] == "stall"]
        rules = {part["valueCode"] for parts in stalls for part in parts if part["name"] == "rule"}
        assert "not-sent" in rules
        assert given["explanation"]["valueString"]
        assert errors(api.post("Parameters/$validate", answer.json())) == []

    def test_gives_what_its_definition_promises(self, api: Api, referral: Json) -> None:
        known = definitions.own_resources("OperationDefinition")
        definition = next(each for each in known if each["code"] == "standing")
        promised = {each["name"]: each for each in definition["parameter"] if each["use"] == "out"}
        answer = api.get(f"ServiceRequest/{referral['id']}/$standing?now=2026-06-01T12:00:00Z").json()
        assert {each["name"] for each in answer["parameter"]} <= set(promised)
        for each in answer["parameter"]:
            wanted = promised[each["name"]].get("type")
            assert wanted is None or f"value{wanted[0].upper()}{wanted[1:]}" in each

    def test_takes_parameters_too(self, api: Api, referral: Json) -> None:
        place = f"ServiceRequest/{referral['id']}/$standing"
        early = api.post(place, parameters(now="2026-03-02T10:00:00Z"))
        assert early.json() == api.get(f"{place}?now=2026-03-02T10:00:00Z").json()

    def test_what_if_by_time_and_policy(self, api: Api, referral: Json) -> None:
        place = f"ServiceRequest/{referral['id']}/$standing"
        early = api.get(f"{place}?now=2026-03-02T10:00:00Z").json()
        assert "stall" not in {each["name"] for each in early["parameter"]}
        other = api.get(f"{place}?policy=se-vardgaranti").json()
        policy = next(each["valueString"] for each in other["parameter"] if each["name"] == "policy")
        assert "se-vardgaranti" in policy

    def test_refuses_what_it_cannot_understand(self, api: Api, referral: Json) -> None:
        place = f"ServiceRequest/{referral['id']}/$standing"
        assert api.get(f"{place}?now=soon").status_code == 400
        assert api.get(f"{place}?policy=nobodys").status_code == 400
        assert api.get("ServiceRequest/absent/$standing").status_code == 404


def test_everything_does_not_stumble_over_an_odd_reference(api: Api) -> None:
    case = api.create(patient())
    nurse = api.create({"resourceType": "Practitioner", "active": True})
    odd = (
        "Practitioner/",
        f"Practitioner/{nurse['id']},x",
        f"Practitioner/{nurse['id']}",
    )
    seen = api.create(
        {
            "resourceType": "Observation",
            "status": "final",
            "code": {"text": "x"},
            "subject": {"reference": f"Patient/{case['id']}"},
            "performer": [{"reference": reference} for reference in odd],
        }
    )
    answer = api.get(f"Patient/{case['id']}/$everything")
    assert answer.status_code == 200, answer.text
    assert {each["resource"]["id"] for each in answer.json()["entry"]} == {
        case["id"],
        nurse["id"],
        seen["id"],
    }


def test_validate_does_not_say_that_our_own_definitions_may_be_deleted(api: Api) -> None:
    ours = api.get("StructureDefinition?_count=1").json()["entry"][0]["resource"]["id"]
    answer = api.get(f"StructureDefinition/{ours}/$validate?mode=delete")
    assert answer.status_code == 200
    assert answer.json()["issue"][0]["severity"] == "error"
    assert api.delete(f"StructureDefinition/{ours}").status_code == 403


def test_an_operation_says_which_parameters_it_does_not_have(api: Api) -> None:
    id = api.create(patient())["id"]
    for answer in (api.get(f"Patient/{id}/$everything?foo=bar"), api.post("$validate?foo=bar", patient())):
        assert "has no parameter 'foo'" in answer.text
        assert answer.status_code == 200
    strict = api.get(f"Patient/{id}/$everything?foo=bar", prefer="handling=strict")
    assert strict.status_code == 400
