"""Bad input: each with the status and the issue code it gets; never a 500, never without a sentence."""

from __future__ import annotations

import json
import logging
import tracemalloc
from collections.abc import Callable
from typing import Any

import jsonpatch
import pytest

from fhir_coprod.api.interactions import patching, reading
from fhir_coprod.api.security import HostCheck, Misdirected
from fhir_coprod.settings import LimitSettings, SiteSettings
from tests.api.conftest import FHIR, Api, outcome, patient

DEEP = b'{"resourceType":"Patient","extension":' + b"[{" * 40 + b"}]" * 40 + b"}"
DEEP_SOUND = b'{"a":' * 500 + b"1" + b"}" * 500
VALID = json.dumps({"resourceType": "Patient", "birthDate": "1912-12-12"}).encode()
XML = {"content_type": "application/fhir+xml"}

# method, URL, body, headers, status, issue code
BAD: list[tuple[str, str, bytes, dict[str, str], int, str]] = [
    ("POST", "Patient", b"{", {}, 400, "structure"),
    ("POST", "Patient", b"", {}, 400, "invalid"),
    ("POST", "Patient", b"[]", {}, 400, "structure"),
    ("POST", "Patient", b'"text"', {}, 400, "structure"),
    ("POST", "Patient", b"\xff\xfe", {}, 400, "structure"),
    ("POST", "Patient", b'{"resourceType":"Patient","id":"a","id":"b"}', {}, 400, "structure"),
    ("POST", "Patient", b'{"resourceType":"Patient","language":"a\\u0000"}', {}, 400, "structure"),
    ("POST", "Patient", b'{"resourceType":"Patient","language":"\\ud800"}', {}, 400, "structure"),
    ("POST", "Patient", DEEP_SOUND, {}, 400, "structure"),
    ("POST", "Patient", b'{"birthDate":"1912-12-12"}', {}, 400, "invalid"),
    ("POST", "Patient", b'{"resourceType":3}', {}, 400, "invalid"),
    ("POST", "Patient", b'{"resourceType":"Observation"}', {}, 400, "invalid"),
    ("POST", "Patient", VALID, XML, 415, "not-supported"),
    ("POST", "Patient", VALID, {"content_type": "text/plain"}, 415, "not-supported"),
    (
        "POST",
        "Patient",
        VALID,
        {"content_type": "application/fhir+json; fhirVersion=5.0"},
        415,
        "not-supported",
    ),
    ("POST", "Patient", VALID, {"content_type": "application/json; charset=latin-1"}, 415, "not-supported"),
    ("POST", "Patient", VALID, {"content_encoding": "br"}, 415, "not-supported"),
    ("POST", "Patient", VALID, {"content_encoding": "gzip"}, 400, "invalid"),
    ("POST", "Patient", b" " * 1_000_001, {}, 413, "too-long"),
    ("POST", "Nonsense", VALID, {}, 404, "not-supported"),
    ("POST", "patient", VALID, {}, 404, "not-supported"),
    ("PUT", "Patient/a", VALID, {}, 400, "invalid"),
    ("PUT", "Patient/a", b'{"resourceType":"Patient","id":"b"}', {}, 400, "invalid"),
    ("PUT", "Patient/a", b'{"resourceType":"Patient","id":7}', {}, 400, "invalid"),
    ("PUT", "Patient/a_b", b'{"resourceType":"Patient","id":"a_b"}', {}, 404, "not-found"),
    ("PUT", f"Patient/{'a' * 65}", VALID, {}, 404, "not-found"),
    ("PUT", "Patient", VALID, {}, 412, "conflict"),
    ("DELETE", "Patient", b"", {}, 412, "conflict"),
    ("PATCH", "Patient/a", b"[]", {"content_type": "application/xml-patch+xml"}, 415, "not-supported"),
    ("PATCH", "Patient/a", b"[]", {"content_type": "application/fhir+json"}, 400, "structure"),
    ("PATCH", "Patient/a", VALID, {"content_type": "application/fhir+json"}, 400, "invalid"),
    ("PATCH", "Patient/a", b"[", {"content_type": "application/json-patch+json"}, 400, "structure"),
    ("PATCH", "Patient/a", b"{}", {"content_type": "application/json-patch+json"}, 400, "invalid"),
    (
        "PATCH",
        "Patient/a",
        b'[{"op":"fly"}]',
        {"content_type": "application/json-patch+json"},
        400,
        "invalid",
    ),
    *(
        ("PATCH", "Patient/a", operation, {"content_type": "application/json-patch+json"}, 400, "invalid")
        for operation in (
            b'[{"op":"add","path":"/x"}]',
            b'[{"op":"copy","path":"/x"}]',
            b'[{"op":"move","path":"/x","from":5}]',
            b'[{"op":"remove"}]',
            b'[{"op":"add","path":5,"value":1}]',
            b"[5]",
        )
    ),
    ("PATCH", "Patient/absent", b"[]", {"content_type": "application/json-patch+json"}, 404, "not-found"),
    ("GET", "Patient/absent", b"", {}, 404, "not-found"),
    ("GET", "Patient/absent/_history", b"", {}, 404, "not-found"),
    ("GET", "Patient/absent/_history/1", b"", {}, 404, "not-found"),
    ("GET", "Patient/absent/_history/x", b"", {}, 404, "not-found"),
    ("GET", "Patient/absent/_history/99999999999999999999", b"", {}, 404, "not-found"),
    ("GET", "Nonsense", b"", {}, 404, "not-supported"),
    ("GET", "Nonsense/1", b"", {}, 404, "not-supported"),
    ("GET", "a/b/c/d", b"", {}, 404, "not-found"),
    ("GET", "Patient/1%0A", b"", {}, 404, "not-found"),
    ("GET", "Patient%0A/1/x", b"", {}, 404, "not-found"),
    ("GET", "Patient/1/$nonsense", b"", {}, 404, "not-found"),
    ("GET", "Observation/1/$everything", b"", {}, 404, "not-found"),
    ("GET", "Patient/absent/$everything", b"", {}, 404, "not-found"),
    ("GET", "Patient", b"", {"accept": "application/fhir+xml"}, 406, "not-supported"),
    ("GET", "Patient", b"", {"accept": "text/html"}, 406, "not-supported"),
    ("GET", "Patient", b"", {"accept": "application/fhir+json; fhirVersion=3.0"}, 406, "not-supported"),
    ("GET", "Patient?_format=xml", b"", {}, 406, "not-supported"),
    ("GET", "Patient?birthdate=%ff", b"", {}, 400, "invalid"),
    ("GET", "Patient?birthdate=99", b"", {}, 400, "invalid"),
    ("GET", "Patient?_count=many", b"", {}, 400, "invalid"),
    ("GET", "Patient?_count=-1", b"", {}, 400, "invalid"),
    ("GET", "Patient?_cursor=nonsense", b"", {}, 400, "invalid"),
    ("GET", "Patient?_summary=some", b"", {}, 400, "invalid"),
    ("GET", "Patient?name=a%00b", b"", {}, 400, "invalid"),
    ("GET", "Patient?" + "&".join(["name=a"] * 501), b"", {}, 400, "invalid"),
    ("GET", "_history?_since=yesterday", b"", {}, 400, "invalid"),
    ("GET", "_history?_since=0001-01-01T00:00:00%2B14:00", b"", {}, 400, "invalid"),
    ("GET", "_history?_cursor=x", b"", {}, 400, "invalid"),
    (
        "POST",
        "Patient/_search",
        b"birthdate=1912",
        {"content_type": "application/json"},
        415,
        "not-supported",
    ),
    ("PATCH", "", b"", {}, 405, "not-supported"),
    ("DELETE", "metadata", b"", {}, 405, "not-supported"),
    ("POST", "Patient/a", VALID, {}, 405, "not-supported"),
    ("OPTIONS", "Patient/a", b"", {}, 405, "not-supported"),
    ("POST", "", VALID, {}, 400, "invalid"),
    ("POST", "", b'{"resourceType":"Bundle"}', {}, 400, "invalid"),
    ("POST", "", b'{"resourceType":"Bundle","type":"searchset"}', {}, 400, "invalid"),
    ("POST", "", b'{"resourceType":"Bundle","type":"batch","entry":[{}]}', {}, 400, "invalid"),
    ("POST", "", b'{"resourceType":"Bundle","type":"batch","entry":3}', {}, 400, "invalid"),
    ("POST", "Patient/$validate", b'{"resourceType":"Observation"}', {}, 400, "invalid"),
    ("POST", "$validate?mode=maybe", VALID, {}, 400, "invalid"),
    ("POST", "$validate", b'{"resourceType":"Parameters","parameter":5}', {}, 400, "invalid"),
    ("POST", "$validate", b'{"resourceType":"Parameters","parameter":[{"name":[]}]}', {}, 400, "invalid"),
    ("POST", "$validate", b'{"resourceType":"Parameters","parameter":[5]}', {}, 400, "invalid"),
    ("GET", "metadata?mode=maybe", b"", {}, 400, "invalid"),
]


@pytest.mark.parametrize(
    ("method", "url", "body", "headers", "status", "code"), BAD, ids=lambda value: str(value)[:50]
)
def test_bad_input_gets_its_status_and_a_sentence(
    api: Api, method: str, url: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    sent = {**(FHIR if body else {}), **{name.replace("_", "-"): value for name, value in headers.items()}}
    answer = api.request(method, url, content=body, headers=sent)
    assert answer.status_code == status, answer.text
    issue = outcome(answer)
    assert issue["severity"] in ("error", "fatal")
    assert issue["code"] == code
    assert issue["diagnostics"].endswith(".")
    assert "Traceback" not in answer.text


def test_wrong_verb_names_the_right_ones(api: Api) -> None:
    assert api.request("POST", "Patient/a").headers["allow"] == "DELETE, GET, HEAD, PATCH, PUT"
    assert api.request("PUT", "metadata").headers["allow"] == "GET, HEAD"


def test_every_problem_of_a_resource_is_named_with_its_place(api: Api) -> None:
    answer = api.post("Patient", {"resourceType": "Patient", "birthDat": "x", "gender": "f", "active": "yes"})
    assert answer.status_code == 422
    issues = answer.json()["issue"]
    places = {place for issue in issues for place in issue.get("expression", [])}
    assert {"Patient.gender", "Patient.active"} <= places
    assert any("birthDat" in json.dumps(issue) for issue in issues)
    assert all(issue["diagnostics"] for issue in issues)


def test_profile_in_meta_is_enforced(api: Api) -> None:
    profile = "https://fhir-coprod.org/ig/StructureDefinition/referral-task"
    task = {"resourceType": "Task", "status": "requested", "intent": "order", "meta": {"profile": [profile]}}
    answer = api.post("Task", task)
    assert answer.status_code == 422, answer.text


def test_an_invalid_resource_is_not_stored(api: Api) -> None:
    api.put("Patient/never-valid", {"resourceType": "Patient", "id": "never-valid", "gender": "f"})
    assert api.get("Patient/never-valid").status_code == 404


def test_body_announced_too_large_is_refused_before_it_is_read(api: Api) -> None:
    read = 0

    async def endless() -> Any:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 1000

    headers = {**FHIR, "content-length": "50000000"}
    answer = api.request("POST", "Patient", content=endless(), headers=headers)
    assert answer.status_code == 413
    assert read == 0


def test_body_without_announcement_is_refused_when_it_grows_too_large(api: Api) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 100_000
            yield b"x" * 100_000

    assert api.request("POST", "Patient", content=endless(), headers=FHIR).status_code == 413
    assert sent < 2_000_000


def test_gzip_bomb_is_refused(api: Api) -> None:
    import gzip

    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 100_000
    assert api.post("Patient", bomb, Content_Encoding="gzip").status_code == 413


@pytest.mark.parametrize("op", ["copy", "add"])
def test_a_patch_that_doubles_is_stopped_before_it_has_grown(api: Api, op: str) -> None:
    stored = api.create(patient(name=[{"text": "x" * 1000}]))
    operations: list[Any] = [{"op": "copy", "from": "/name", "path": "/name/-"}] * 60
    if op == "add":
        grown = "y" * 500_000
        operations = [{"op": "add", "path": "/name/-", "value": {"text": grown}}, *operations]
    tracemalloc.start()
    try:
        answer = api.patch(f"Patient/{stored['id']}", operations)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.status_code == 413
    assert "send the whole resource" in outcome(answer)["diagnostics"]
    assert peak < 15_000_000


def test_a_patch_may_copy_and_comes_to_the_same_whenever_it_is_applied(api: Api) -> None:
    stored = api.create(patient(name=[{"text": "Anna"}]))
    operations = [
        {"op": "add", "path": "/contact", "value": [{"name": {"family": "Ek"}}]},
        {"op": "add", "path": "/contact/0/name/given", "value": ["Bo"]},
        {"op": "copy", "from": "/contact/0", "path": "/contact/-"},
        {"op": "replace", "path": "/contact/1/name/family", "value": "Falk"},
    ]
    patched = api.patch(f"Patient/{stored['id']}", operations)
    assert patched.json()["contact"] == [
        {"name": {"family": "Ek", "given": ["Bo"]}},
        {"name": {"family": "Falk", "given": ["Bo"]}},
    ]
    version = api.store.read("Patient", stored["id"])
    patch = jsonpatch.JsonPatch([{"op": "add", "path": "/contact/-", "value": {"name": {"text": "x"}}}])
    assert patching.applied(patch, version).raw == patching.applied(patch, version).raw


def test_foreign_host_is_refused(api: Api) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:80"):
        answer = api.get("Patient", Host=host)
        assert answer.status_code == 421
        assert "site.base_url" in outcome(answer)["diagnostics"]
        assert api.request("GET", "http://localhost/health", headers={"host": host}).status_code == 421
    for host in ("localhost:8000", "127.0.0.1:8000", "[::1]:8000", "127.0.0.1"):
        assert api.get("metadata", Host=host).status_code == 200


@pytest.mark.parametrize(
    "host", ["LOCALHOST", "LocalHost:8000", "localhost.", "LOCALHOST.:8000", "localhost:"]
)
def test_a_host_name_has_no_case_and_may_end_with_the_dot_of_the_root(api: Api, host: str) -> None:
    assert api.get("metadata", Host=host).status_code == 200
    assert api.request("GET", "http://localhost/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    ("base_url", "host"),
    [
        ("https://coprod.example/fhir", "Coprod.Example"),
        ("https://COPROD.example:8443/fhir", "coprod.example.:8443"),
        ("https://coprod.example./fhir", "coprod.example"),
        ("https://[2001:DB8::1]:8443/fhir", "[2001:db8::1]:8443"),
        ("https://[2001:db8::1]/fhir", "[2001:DB8::1]"),
    ],
)
def test_the_public_name_has_no_case_either(base_url: str, host: str) -> None:
    HostCheck(base_url).check(host)


@pytest.mark.parametrize(
    "host",
    [
        ".",
        "localhost..",
        "localhost:80:80",
        "localhost:8o",
        "[::1].",
        "::1",
        "2001:db8::1",
        "coprod.example.evil",
    ],
)
def test_what_only_looks_like_our_name_is_refused(host: str) -> None:
    for base_url in ("", "https://coprod.example/fhir", "https://[2001:db8::1]/fhir"):
        with pytest.raises(Misdirected):
            HostCheck(base_url).check(host)


def test_callers_from_a_network_are_refused(module_store: Any) -> None:
    import asyncio

    import httpx

    from fhir_coprod.api import create_app
    from fhir_coprod.settings import Settings, StoreSettings

    app = create_app(module_store, Settings(store=StoreSettings(url="sqlite://")))

    async def status(address: str) -> int:
        transport = httpx.ASGITransport(app=app, client=(address, 1234))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost/fhir/") as client:
            return (await client.get("metadata")).status_code

    assert asyncio.run(status("192.0.2.1")) == 403
    assert asyncio.run(status("127.0.0.1")) == 200


def test_a_fault_of_ours_is_a_500_without_details(
    sqlite_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("Tolvan Tolvansson")

    api = sqlite_api()
    monkeypatch.setattr(reading, "_shown", fail)
    created = api.create(patient())
    with caplog.at_level(logging.ERROR):
        answer = api.get(f"Patient/{created['id']}")
    assert answer.status_code == 500
    assert outcome(answer)["code"] == "exception"
    assert "Tolvan" not in answer.text + caplog.text
    incident = outcome(answer)["diagnostics"].split("incident ")[1].rstrip(".")
    assert incident in caplog.text
    assert "KeyError" in caplog.text


def test_what_takes_too_long_is_answered_503(
    sqlite_api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    api = sqlite_api(limits=LimitSettings(seconds=0.05))
    monkeypatch.setattr(api.store, "search", lambda query, most_bytes: time.sleep(0.3))
    answer = api.get("Patient?birthdate=1912")
    assert answer.status_code == 503
    assert "ask for less" in outcome(answer)["diagnostics"]
    assert "stored" not in answer.text
    assert answer.headers["retry-after"] == "5"


def test_links_use_the_public_address_behind_a_proxy(sqlite_api: Callable[..., Api]) -> None:
    api = sqlite_api(site=SiteSettings(base_url="https://coprod.example/care/fhir/"))
    for _ in range(3):
        answer = api.post("Patient", patient(), Host="coprod.example", X_Forwarded_Host="evil.example")
    assert answer.headers["location"].startswith("https://coprod.example/care/fhir/Patient/")
    page = api.get("Patient?_count=2", Host="coprod.example", X_Forwarded_Host="evil.example").json()
    links = {link["relation"]: link["url"] for link in page["link"]}
    assert links["self"] == "https://coprod.example/care/fhir/Patient?_count=2"
    assert links["next"].startswith("https://coprod.example/care/fhir/Patient?_count=2&_cursor=")
    assert page["entry"][0]["fullUrl"].startswith("https://coprod.example/care/fhir/Patient/")
    rest = api.get("Patient?" + links["next"].partition("?")[2]).json()
    assert len(rest["entry"]) == 1


def test_no_cross_origin_access_is_granted(api: Api) -> None:
    answer = api.get("Patient", Origin="https://evil.example")
    assert not [name for name in answer.headers if name.startswith("access-control")]
