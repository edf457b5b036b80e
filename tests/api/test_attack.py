"""What a clumsy or ill-willed client sends: never a 5xx, each refusal an OperationOutcome with a sentence."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from tests.api.attacks import (
    BODIES,
    CODES,
    ENTRY_URLS,
    FULL_URLS,
    HEADERS,
    METHODS,
    OPERATIONS,
    PATIENT,
    PLACES,
    VALUES,
)
from tests.api.conftest import FHIR, Api

STEP = 5 if os.environ.get("PROOF_SIZE") == "ci" else 1
"""Every so many of the searches are sent."""


class Sent(NamedTuple):
    method: str
    url: str
    body: bytes = b""
    headers: dict[str, str] = {}


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


def by_headers() -> Iterator[Sent]:
    for name, values in HEADERS:
        for value in values:
            yield Sent("GET", "Patient/attacked", b"", {name: value})
            yield Sent("POST", "Patient", text({**PATIENT, "id": "x"}), {name: value})
            yield Sent("PUT", "Patient/attacked", text(PATIENT), {name: value})
            yield Sent("DELETE", "Patient/absent", b"", {name: value})


def by_places() -> Iterator[Sent]:
    for place, method in product(PLACES, METHODS):
        yield Sent(method, place, text(PATIENT) if method in ("PUT", "POST", "PATCH") else b"")


def by_searches() -> Iterator[Sent]:
    for type, codes in CODES.items():
        for code in codes:
            yield Sent("GET", f"{type}?{code}")
            for value in VALUES:
                yield Sent("GET", f"{type}?{quote(code, safe='')}={quote(value)}")


def by_bodies() -> Iterator[Sent]:
    places = (
        "",
        "Patient",
        "Observation",
        "Location",
        "RiskAssessment",
        "Bundle",
        "Patient/$validate",
        "$validate",
        "Patient/a/$everything",
    )
    for body in BODIES:
        for place in places:
            yield Sent("POST", place, body)
        yield Sent("PUT", "Patient/attacked", body)
        yield Sent("PUT", "Patient?_id=attacked", body)
        yield Sent("PATCH", "Patient/attacked", body, {"content-type": "application/json-patch+json"})
        yield Sent("POST", "Patient/_search", body, {"content-type": "application/x-www-form-urlencoded"})


def by_patches() -> Iterator[Sent]:
    for operations, url in product(OPERATIONS, ("Patient/attacked", "Patient?_id=attacked")):
        yield Sent("PATCH", url, text(operations), {"content-type": "application/json-patch+json"})


def by_bundles() -> Iterator[Sent]:
    for url, method, type in product(
        ENTRY_URLS, ("GET", "POST", "PUT", "PATCH", "FOO", ""), ("batch", "transaction")
    ):
        for resource in (None, PATIENT, {"resourceType": "Bundle", "type": "batch"}):
            request = {"method": method, "url": url, "ifMatch": "x" if resource else "", "ifNoneExist": "a"}
            entry = {"request": request, **({"resource": resource} if resource else {})}
            yield Sent("POST", "", text({"resourceType": "Bundle", "type": type, "entry": [entry]}))
    for full in FULL_URLS:
        resource = {"resourceType": "Patient", "managingOrganization": {"reference": f"Patient?name={full}"}}
        entry = {"fullUrl": full, "resource": resource, "request": {"method": "POST", "url": "Patient"}}
        yield Sent("POST", "", text({"resourceType": "Bundle", "type": "transaction", "entry": [entry]}))


@pytest.mark.proof
@pytest.mark.parametrize(
    "ways",
    [by_headers, by_places, by_searches, by_bodies, by_patches, by_bundles],
    ids=lambda way: way.__name__,
)
def test_nothing_of_it_does_harm(api: Api, ways: Any) -> None:
    every = STEP if ways is by_searches else 1
    sent = list(ways())[::every]
    for each in sent:
        if each.method in ("PATCH", "PUT"):
            api.put("Patient/attacked", PATIENT)
        headers = {**(FHIR if each.body else {}), **each.headers}
        encoded = {name: value.encode("latin-1", "ignore") for name, value in headers.items()}
        answer = api.request(each.method, each.url, content=each.body, headers=encoded)
        asked = (each.method, each.url[:100], each.headers, each.body[:200])
        assert answer.status_code < 500, (asked, answer.text[:300])
        if not answer.content or each.method == "HEAD":
            continue
        body = answer.json()
        if answer.status_code >= 400:
            assert body["resourceType"] == "OperationOutcome", asked
            assert all(issue["diagnostics"].strip() for issue in body["issue"]), asked
        for entry in body.get("entry", ()) if body.get("type", "").endswith("-response") else ():
            assert not entry["response"]["status"].startswith("5"), (asked, entry)
    assert len(sent) > 30
    # And it is none the worse for it.
    assert api.put("Patient/attacked", PATIENT).status_code in (200, 201)
    assert api.get("Patient/attacked").json()["birthDate"] == "1912-12-12"


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("digits", [309, 400, 4_000])
def test_a_whole_number_longer_than_a_column_is_stored_and_found(api: Api, sign: str, digits: int) -> None:
    number = sign + "1" * digits
    raw = (
        '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":NUMBER}}'
    )
    answer = api.post("Observation", raw.replace("NUMBER", number).encode())
    assert answer.status_code == 201, answer.text
    assert number in answer.text
    found = api.get(f"Observation?value-quantity={'lt-1e300' if sign else 'gt1e300'}&_count=100").json()
    assert answer.json()["id"] in [entry["resource"]["id"] for entry in found["entry"]]


@pytest.mark.parametrize(
    "form",
    [b"identifier=" + b"a\\," * 100_000, b"identifier=" + b"a\\|" * 100_000, b"family=" + b"a\\," * 100_000],
)
def test_a_long_form_is_answered_in_time_that_follows_its_length(api: Api, form: bytes) -> None:
    began = time.perf_counter()
    answer = api.post("Patient/_search", form, content_type="application/x-www-form-urlencoded")
    assert answer.status_code < 500
    assert time.perf_counter() - began < 3


def test_a_form_that_is_far_too_long_is_413(api: Api) -> None:
    form = b"family=" + b"a" * 600_000
    answer = api.post("Patient/_search", form, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 413
    assert "several searches" in answer.text
