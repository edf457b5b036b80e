"""The rules of https://hl7.org/fhir/R4/http.html on status codes, a row each, in words close to its own.

Where the page leaves a choice, the row says what is chosen here.
"""

from __future__ import annotations

import gzip
import time

import pytest

from fhir_coprod.jsontext import encode
from tests.api.conftest import Api, outcome, patient
from tests.api.http_rule import (
    Rule,
)
from tests.api.http_rules_of_many import OF_MANY
from tests.api.http_rules_of_one import OF_ONE

RULES = [*OF_ONE, *OF_MANY]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rule_of_http(api: Api, rule: Rule) -> None:
    stored = api.create(patient())
    answer = rule.act(api, stored)
    assert answer.status_code == rule.status, (rule.words, answer.text)
    # RFC 9111, 5.2.2.5: nothing that was opened from the board stays in the browser of a ward's computer.
    assert answer.headers["cache-control"] == "no-store"
    for header in rule.headers:
        assert answer.headers.get(header), f"{rule.words}: no {header}"
    if rule.status >= 400:
        assert outcome(answer)["severity"] == "error"
    elif answer.content:
        assert answer.headers["content-type"].startswith("application/fhir+json; charset=utf-8")


def test_every_status_that_the_description_promises_has_a_rule(api: Api) -> None:
    """Those of the FHIR routes in OpenAPI. 503 needs a slow server and is tested beside its limit; 401 and
    429 need one that asks who calls (tests/access)."""
    described = api.get("http://localhost/openapi.json").json()
    promised = {
        int(status)
        for path, methods in described["paths"].items()
        if path.startswith("/fhir")
        for operation in methods.values()
        for status in operation["responses"]
    }
    assert promised - {401, 429, 503} == {rule.status for rule in RULES}


def test_an_if_match_that_names_nothing_is_no_licence_to_overwrite(api: Api) -> None:
    stored = api.create(patient())
    place = f"Patient/{stored['id']}"
    assert api.put(place, {**stored, "gender": "male"}, if_match="").status_code == 400
    entry = {"resource": stored, "request": {"method": "PUT", "url": place, "ifMatch": ""}}
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    assert api.post("", bundle).status_code == 400
    assert api.get(place).json() == stored


def test_a_patch_with_a_key_twice_is_refused_as_a_resource_is(api: Api) -> None:
    stored = api.create(patient(gender="male"))
    place = f"Patient/{stored['id']}"
    answer = api.patch(place, b'[{"op":"test","op":"remove","path":"/gender","value":1}]')
    assert answer.status_code == 400
    assert api.get(place).json() == stored


def test_if_none_exist_of_another_type_is_400(api: Api) -> None:
    for header in ("Observation?identifier=a|b", "http://elsewhere/fhir/Patient?identifier=a|b"):
        assert api.post("Patient", patient(), If_None_Exist=header).status_code == 400
    stored = api.create(patient())
    value = stored["identifier"][0]
    criteria = f"identifier={value['system']}|{value['value']}"
    asked = api.post("Patient", patient(), If_None_Exist="identifier=http://x/sid?v=1|7")
    assert asked.status_code == 201
    for header in (
        criteria,
        f"?{criteria}",
        f"Patient?{criteria}",
        f"http://localhost/fhir/Patient?{criteria}",
    ):
        answer = api.post("Patient", patient(), If_None_Exist=header)
        assert (answer.status_code, answer.json()["id"]) == (200, stored["id"])


def test_a_gzip_body_may_have_several_members_and_all_of_them_count(api: Api) -> None:
    raw = encode(patient())
    packed = gzip.compress(raw[:40]) + gzip.compress(raw[40:])
    assert api.post("Patient", packed, content_encoding="gzip").status_code == 201
    more = gzip.compress(raw) + gzip.compress(b"and more")
    assert api.post("Patient", more, content_encoding="gzip").status_code == 400
    assert api.post("Patient", gzip.compress(raw) + b"junk", content_encoding="gzip").status_code == 400
    assert api.post("Patient", gzip.compress(raw)[:-9], content_encoding="gzip").status_code == 400
    pieces = b"".join(gzip.compress(raw[at : at + 1]) for at in range(len(raw)))
    assert api.post("Patient", pieces, content_encoding="gzip").status_code == 201
    began = time.perf_counter()
    assert api.post("Patient", gzip.compress(b"") * 45_000, content_encoding="gzip").status_code == 400
    assert time.perf_counter() - began < 3


@pytest.mark.parametrize(
    "reference", ["Patient?identifier=a|b", "Patient?", "http://localhost/fhir/Patient?x=y"]
)
def test_a_reference_by_criteria_has_its_place_in_a_transaction(api: Api, reference: str) -> None:
    basic = {"resourceType": "Basic", "code": {"text": "x"}, "subject": {"reference": reference}}
    alone = api.post("Basic", basic)
    assert alone.status_code == 400
    assert "works in a transaction and in files only" in alone.text
    entry = {"resource": basic, "request": {"method": "POST", "url": "Basic"}}
    bundle = {"resourceType": "Bundle", "entry": [entry]}
    batch = api.post("", {**bundle, "type": "batch"}).json()
    assert batch["entry"][0]["response"]["status"].startswith("400")
    assert api.post("", {**bundle, "type": "transaction"}).status_code in (400, 412)


def test_the_url_of_an_entry_that_only_begins_like_ours_is_another_servers(api: Api) -> None:
    stored = patient(id="glue")
    entry = {"resource": stored, "request": {"method": "PUT", "url": "http://localhost/fhirPatient/glue"}}
    answer = api.post("", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert answer.status_code == 400
    assert api.get("Patient/glue").status_code == 404


def test_escapes_in_an_absolute_reference_change_nothing(api: Api) -> None:
    """As some languages write JSON."""
    subject = api.create(patient())["id"]
    escaped = f"http://localhost/fhir/Patient/{subject}".replace("/", "\\/")
    raw = f'{{"resourceType":"Basic","code":{{"text":"x"}},"subject":{{"reference":"{escaped}"}}}}'
    made = api.post("Basic", raw.encode()).json()
    assert made["subject"]["reference"] == f"Patient/{subject}"
    assert api.get(f"Basic?subject=Patient/{subject}").json()["total"] == 1


def test_a_bundle_that_is_stored_keeps_what_its_entries_name(api: Api) -> None:
    """What an entry names is looked for among the entries first; a signature may stand for every byte."""
    subject = {"reference": "http://localhost/fhir/Patient/1"}
    basic = {"resourceType": "Basic", "code": {"text": "x"}, "subject": subject}
    entry = {"fullUrl": "http://other/fhir/Basic/1", "resource": basic}
    kept = {**basic, "subject": {"reference": "Patient?identifier=a|b"}}
    entries = [entry, {"fullUrl": "http://other/fhir/Basic/2", "resource": kept}]
    stored = api.create({"resourceType": "Bundle", "type": "collection", "entry": entries})
    assert stored["entry"] == entries
