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

from tests.api.conftest import FHIR, Api

PATIENT = {"resourceType": "Patient", "id": "attacked", "name": [{"family": "A"}], "birthDate": "1912-12-12"}
STEP = 5 if os.environ.get("PROOF_SIZE") == "ci" else 1
"""Every so many of the searches are sent."""

TAGS = (
    *(
        'W/"x"',
        '""',
        'W/""',
        '"1","2"',
        'W/"1" W/"2"',
        "*",
        f'W/"{"9" * 30}"',
        'W/"-1"',
        'W/"1"; x',
        "1",
        "W/1",
    ),
    *('"1', '\x80"1"', 'W/"1",*', ","),
)
HEADERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("if-match", TAGS),
    ("if-none-match", TAGS),
    ("if-modified-since", ("x", "Mon, 99 Foo 2020 99:99:99 GMT", "0", "")),
    (
        "if-none-exist",
        ("?", "name", "name=%ff", "Patient?identifier=x", "_count=5", "_sort=name&name=x", "name=%00"),
    ),
    ("prefer", ("return=", "=", ";;;,,,", 'return="minimal"', "handling=maybe", "respond-async", "a" * 9000)),
    (
        "accept",
        (
            "*/*;q=0",
            "application/json;q=nan",
            "application/json;q=inf",
            ",,,",
            ";",
            "*/json",
            "\xff",
            "a" * 9000,
        ),
    ),
    ("accept-encoding", ("gzip;q=0", "*", "gzip;q=x", ",", "br")),
    (
        "content-type",
        ("", ";", "application/fhir+json; charset", 'application/fhir+json;charset="utf-8', "a/b; c=d"),
    ),
    ("content-encoding", ("gzip", "gzip, gzip", "identity, gzip", "deflate")),
    ("content-length", ("-1", "x", "99999999999999999999")),
    ("host", ("evil", "", "localhost:99999999", "[::1", "localhost\x00", "localhost.")),
)
PLACES = (
    *(
        "Patient/%00",
        "Patient/%2e%2e",
        "Patient//a",
        "//Patient/a",
        "Patient/a//_history",
        "Patient/%F0%28%8C%28",
    ),
    *(
        "Patient/a%2F_history",
        f"Patient/{'a' * 9000}",
        "%50atient/a",
        "Patient/a?%00=1",
        "Patient/a%3F",
        "Patient/a;x=1",
    ),
    *(
        "Patient/a/_history/%31",
        "Patient/a/_history/1e1",
        "Patient/a/_history/+1",
        "Patient/a/_history/１",
        "_history/1",
    ),
    *(
        "Patient/_search/1",
        "$nonsense",
        "metadata/x",
        "metadata?mode=",
        "Patient/a/*",
        "Observation/o/*",
        "_search",
    ),
    *("_history?_at=2020", "_history?_count=99999999999", "_history?_since=9999-12-31T23:59:59.999999999Z"),
    *(
        "_history?_since=0000",
        "_history?_since=24:00",
        "_history?_cursor=-1",
        "_history?_cursor=９",
        "?_type=%00",
    ),
)
METHODS = (
    "GET",
    "DELETE",
    "PUT",
    "POST",
    "PATCH",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "FOO",
    "PROPFIND",
    "get",
)
VALUES = (
    *(
        "1e400",
        "-1e400",
        "1e-400",
        "1e999999999",
        "NaN",
        "Infinity",
        "0x10",
        "１",
        "1,,1",
        ",",
        "\\",
        "\\,",
        "|",
        "|||",
    ),
    *(
        "a|b|c|d",
        "$",
        "9999-99-99",
        "0000-01-01",
        "0001-01-01",
        "9999-12-31T23:59:59.999999Z",
        "9999-12-31T24:00:00Z",
    ),
    *(
        "2020-02-30",
        "2020-01-01T25:00:00Z",
        "2020-01-01T00:00:00+99:99",
        "gege2020",
        "ap0001-01-01",
        "ap9999-12-31",
    ),
    *(
        "sa",
        "eq ",
        "😀",
        "\ud7ff",
        "\u202e",
        "a" * 30_000,
        "'; DROP TABLE resource;--",
        "%'",
        "[a-z]*",
        "((((((",
    ),
    *(
        "Patient/a/_history/1",
        "Patient?name=x",
        f"http://{'x' * 3000}",
        "urn:uuid:x",
        "#a",
        "//",
        "Patient/",
        "\n",
        "\0",
    ),
)
CODES = {
    "Patient": (
        *(
            "birthdate",
            "name",
            "name:exact",
            "name:contains",
            "identifier",
            "identifier:of-type",
            "identifier:not",
        ),
        *(
            "general-practitioner",
            "organization:Organization",
            "_lastUpdated",
            "_id",
            "_id:not",
            "_tag",
            "_profile",
        ),
        *(
            "_source",
            "active",
            "gender:missing",
            "_has:Observation:patient:code",
            "_has:Observation:patient:_has:x:y:z",
        ),
        *(
            "_has",
            "_has:",
            "_has:a:b:c",
            "general-practitioner.name",
            "link.link.link.link.link.link.link.link.link.name",
        ),
        *(
            "_sort",
            "_include",
            "_revinclude",
            "_include:iterate",
            "_count",
            "_total",
            "_summary",
            "_elements",
            "_cursor",
        ),
        *(
            "_type",
            "_text",
            "_content",
            "_filter",
            "_list",
            "_query",
            "name:",
            "name::",
            ":exact",
            "name:exact:exact",
        ),
        *("name.x", "_id.x", "_lastUpdated:missing", "_sort:x", "_count:x", "_format", "_pretty"),
    ),
    "Observation": (
        "value-quantity",
        "value-date",
        "date",
        "code:in",
        "code:text",
        "code-value-quantity",
        "subject.birthdate",
    ),
    "RiskAssessment": ("probability",),
    "Location": ("near",),
    "ValueSet": ("url", "url:below"),
}
SEEN = b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":%s}}'
BODIES = (
    *(
        b"",
        b"null",
        b"true",
        b"1",
        b'"x"',
        b"[]",
        b"{}",
        b"{",
        b'{"resourceType":null}',
        b'{"resourceType":["Patient"]}',
    ),
    *(SEEN % number for number in (b"1e400", b"1e-400", b"9" * 5000, b"NaN", b"-0", b"1.", b"01", b"1e308")),
    *(b'{"resourceType":"Patient","id":"a\xff"}', b'{"resourceType":"Patient","language":"\xed\xa0\x80"}'),
    *(
        b"\xff\xfe{\x00}\x00",
        b'\xef\xbb\xbf{"resourceType":"Patient"}',
        b'{"resourceType":"Patient","meta":5}',
    ),
    *(
        b'{"resourceType":"Patient","name":[[]]}',
        b'{"resourceType":"Patient","meta":{"tag":5,"profile":5,"security":{}}}',
    ),
    *(
        b'{"resourceType":"Patient","text":{"status":"generated","div":"<div>"}}',
        b'{"resourceType":"Patient","contained":{}}',
    ),
    b'{"resourceType":"Patient","contained":[{"resourceType":"Patient","contained":[{}]}]}',
    b'{"resourceType":"Patient","identifier":[{"value":"' + b"x" * 300_000 + b'"}]}',
    b'{"resourceType":"Patient","generalPractitioner":[{"reference":"Practitioner/' + b"x" * 5000 + b'"}]}',
    *(
        b'{"resourceType":"Patient","birthDate":"9999-12-31"}',
        b'{"resourceType":"Patient","birthDate":"0001-01-01"}',
    ),
    *(
        b'{"resourceType":"Location","position":{"latitude":1e308,"longitude":-1e308}}',
        b'{"resourceType":"Patient","_birthDate":[]}',
    ),
    b'{"resourceType":"RiskAssessment","status":"final","subject":{"display":"x"},"prediction":[{"probabilityRange":'
    b'{"low":{"value":-1e308},"high":{"value":1e308}}}]}',
    b'{"resourceType":"Parameters","parameter":[{"name":"resource","resource":null}]}',
    b'{"resourceType":"Bundle","type":"batch","entry":[null]}',
    b'{"resourceType":"Bundle","type":"batch","entry":[{"request":null}]}',
    b'{"resourceType":"Bundle","type":["batch"]}',
)
OPERATIONS: tuple[Any, ...] = (
    [{"op": "add", "path": f"/name/{'9' * 20}", "value": 1}],
    [{"op": "add", "path": "/name/-1", "value": 1}],
    [{"op": "add", "path": "name", "value": 1}],
    [{"op": "add", "path": "", "value": 5}],
    [{"op": "remove", "path": ""}],
    [{"op": "move", "from": "", "path": "/x"}],
    [{"op": "copy", "from": "", "path": "/x"}] * 40,
    [{"op": "move", "from": "/name", "path": "/name/0/x"}],
    [{"op": "add", "path": "/~2", "value": 1}],
    [{"op": "add", "path": "/" + "a/" * 20_000, "value": 1}],
    [{"op": ["add"], "path": "/x", "value": 1}],
    [{"op": "add", "path": "/id", "value": "b"}],
    [{"op": "add", "path": "/meta", "value": 5}],
    [{"op": "add", "path": "/birthDate/x", "value": 1}],
    [{"op": "copy", "from": "/birthDate/0", "path": "/x"}],
    [{"op": "add", "path": "/name", "value": 10**400}],
)
ENTRY_URLS = (
    *(
        "",
        "/",
        "Patient/attacked",
        "http://localhost/fhir/Patient/attacked",
        "http://evil/fhir/Patient/a",
        "//evil/Patient/a",
    ),
    *(
        "Patient?name=%ff",
        "Patient/%00",
        "Patient/a#b",
        "_history",
        "metadata",
        "$validate",
        "Patient/a/$everything",
    ),
    *(
        "_search",
        "urn:uuid:1",
        "javascript:alert(1)",
        "../metadata",
        "Patient/a\n",
        f"Patient?{'name=a&' * 600}",
        "Nonsense/1",
    ),
)
FULL_URLS = (
    "",
    "x",
    "urn:uuid:1",
    "http://x/fhir/Patient/1",
    5,
    None,
    f"urn:uuid:{'x' * 5000}",
    "#",
    "Patient/a",
)


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


@pytest.mark.parametrize("name", ["accept", "prefer", "accept-encoding", "x-anything"])
def test_headers_that_are_far_too_long_are_400_and_are_not_kept(api: Api, name: str) -> None:
    answer = api.get("metadata", **{name: "a" * 70_000})
    assert answer.status_code == 400
    assert "headers are longer" in answer.text


def test_one_header_again_and_again_is_refused_at_once(api: Api) -> None:
    began = time.perf_counter()
    answer = api.request("GET", "metadata", headers=[("a", "b" * 50)] * 100_000)
    assert answer.status_code == 400
    assert time.perf_counter() - began < 3
