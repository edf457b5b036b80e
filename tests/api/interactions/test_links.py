"""What a transaction rewrites besides references: R4's list, and nothing that only looks like it."""

from __future__ import annotations

from typing import Any

from tests.api.conftest import Api, patient
from tests.api.interactions.test_transaction import bundle, entry, location, performed, urn

XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'


def stored_with(api: Api, target: str, resource: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The resource as stored by a transaction that also creates a Patient under the fullUrl `target`."""
    found = performed(
        api,
        bundle(
            entry("POST", resource["resourceType"], resource), entry("POST", "Patient", patient(), target)
        ),
    )
    read: dict[str, Any] = api.get(location(found[0])).json()
    return read, location(found[1])


def test_uris_and_urls_are_rewritten_wherever_they_stand(api: Api) -> None:
    target = urn()
    basic = {
        "resourceType": "Basic",
        "code": {"text": "x"},
        "extension": [
            {"url": "urn:x:uri", "valueUri": target},
            {"url": "urn:x:url", "valueUrl": target},
            {
                "url": "urn:x:inner",
                "extension": [{"url": "urn:x:reference", "valueReference": {"reference": target}}],
            },
        ],
        "contained": [
            {
                "resourceType": "Endpoint",
                "id": "e",
                "status": "active",
                "address": target,
                "connectionType": {"code": "x"},
                "payloadType": [{"text": "x"}],
            }
        ],
        "author": {
            "display": "somebody",
            "extension": [{"url": "urn:x:e", "valueReference": {"reference": "#e"}}],
        },
        "_created": {"extension": [{"url": "urn:x:why", "valueUri": target}]},
    }
    read, patient_here = stored_with(api, target, basic)
    assert [next(v for k, v in each.items() if k != "url") for each in read["extension"][:2]] == [
        patient_here
    ] * 2
    assert read["extension"][2]["extension"][0]["valueReference"]["reference"] == patient_here
    assert read["contained"][0]["address"] == patient_here
    assert read["_created"]["extension"][0]["valueUri"] == patient_here


def test_names_and_what_cannot_hold_a_reference_stay_and_the_result_is_valid(api: Api) -> None:
    for target, kind in ((urn(), "valueUuid"), ("urn:oid:1.2.3.4.5", "valueOid")):
        basic = {
            "resourceType": "Basic",
            "code": {"coding": [{"system": target, "code": "x"}]},
            "identifier": [{"system": target, "value": target}],
            "extension": [{"url": target, "valueString": "x"}, {"url": "urn:x", kind: target}],
        }
        read, _ = stored_with(api, target, basic)
        assert {name: read[name] for name in basic} == basic
        assert api.put(f"Basic/{read['id']}", read).status_code == 200


def test_the_url_of_a_definition_stays_and_so_does_the_canonical_that_leads_to_it(api: Api) -> None:
    target = urn()
    asked = {"resourceType": "Questionnaire", "status": "active", "url": target}
    told = {"resourceType": "QuestionnaireResponse", "status": "completed", "questionnaire": target}
    found = performed(
        api,
        bundle(entry("POST", "Questionnaire", asked, target), entry("POST", "QuestionnaireResponse", told)),
    )
    assert api.get(location(found[0])).json()["url"] == target
    assert api.get(location(found[1])).json()["questionnaire"] == target


def test_canonicals_and_strings_stay(api: Api) -> None:
    target = urn()
    request = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "subject": {"reference": target},
        "instantiatesCanonical": [target],
        "instantiatesUri": [target],
        "patientInstruction": target,
    }
    read, patient_here = stored_with(api, target, request)
    assert read["subject"]["reference"] == patient_here
    assert read["instantiatesUri"] == [patient_here]
    assert (read["instantiatesCanonical"], read["patientInstruction"]) == ([target], target)


def test_links_and_pictures_of_a_narrative_are_rewritten(api: Api) -> None:
    def div(link: str) -> str:
        return (
            f"""<div {XHTML}><a href="{link}">who</a> <img alt="x" src='{link}'/>"""
            f""" {target} <b title="{target}">b</b></div>"""
        )

    target = urn()
    narrative = {"status": "generated", "div": div(target)}
    basic = {"resourceType": "Basic", "text": narrative, "code": {"text": target}}
    read, here = stored_with(api, target, basic)
    assert read["text"]["div"] == div(here)
    assert read["code"]["text"] == target


def test_what_was_received_and_all_that_is_not_rewritten_stay_as_they_came(api: Api) -> None:
    target = urn()
    sent = (
        '{"resourceType":"Observation","status":"final","code":{"text":"x"},'
        ' "valueQuantity" : {"value": 19.00}'
        f',"extension":[{{"url":"urn:x","valueUri":"{target}"}}]}}'
    ).encode()
    body = (
        b'{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"POST","url":"Observation"},'
        b'"resource":'
        + sent
        + b'},{"fullUrl":"'
        + target.encode()
        + b'","request":{"method":"POST","url":"Patient"},'
        b'"resource":{"resourceType":"Patient"}}]}'
    )
    answer = api.post("", body)
    assert answer.status_code == 200, answer.text
    here, patient_here = (location(each) for each in answer.json()["entry"])
    stored = api.get(here).content
    assert b'"valueQuantity" : {"value": 19.00}' in stored
    assert f'"valueUri":"{patient_here}"'.encode() in stored
    assert api.store.received(*here.split("/"), 1) == sent
    assert api.get(f"Observation?_id={here.split('/')[1]}").json()["total"] == 1
