"""Generated requests: whatever comes, no 5xx, no hang, and every refusal an OperationOutcome."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from fhir_coprod import definitions
from tests.api.conftest import Api
from tests.api.server import Served, serving

pytestmark = pytest.mark.long

METHODS = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
TYPES = st.sampled_from(
    [
        "Patient",
        "Observation",
        "ServiceRequest",
        "Task",
        "Bundle",
        "Binary",
        "Parameters",
        "Nonsense",
        "patient",
    ]
)
IDS = st.sampled_from(["a", "b", "c", "A-b.c", "x" * 64, "x" * 65, "ä", "%00", "..", "_history", "$validate"])
OPERATIONS = st.sampled_from(
    ["_history", "_history/1", "_history/0", "_search", "$validate", "$everything", "$standing"]
)
PARAMETERS = [
    *sorted(definitions.search_parameters("Patient")),
    "_count",
    "_sort",
    "_include",
    "_revinclude",
    "_summary",
    "_elements",
    "_total",
    "_type",
    "_cursor",
    "_since",
    "_format",
    "_pretty",
    "_has:Observation:subject:code",
    "general-practitioner.name",
    "name:exact",
    "name:missing",
    "identifier:not",
    "subject:Patient.name",
    "now",
    "policy",
    "mode",
    "profile",
]
VALUES = st.one_of(
    st.sampled_from(
        [
            "1912",
            "ge1912-12-12",
            "eq",
            "|",
            "a|b",
            "a\\,b",
            ",",
            "true",
            "Patient/a",
            "Patient:organization",
            "*",
            "-birthdate,_id",
            "0",
            "-1",
            "99999999999",
            "json",
            "xml",
            "2026-03-02T09:00:00Z",
            "9999-12-31",
            "sa0001",
        ]
    ),
    st.text(max_size=12),
)
HEADERS = st.dictionaries(
    st.sampled_from(["accept", "if-match", "if-none-match", "if-none-exist", "if-modified-since", "prefer"]),
    st.sampled_from(
        [
            'W/"1"',
            "*",
            '"x"',
            "application/fhir+json",
            "text/html",
            "return=minimal",
            "handling=strict",
            "identifier=a",
            "Mon, 01 Jan 2001 00:00:00 GMT",
            "",
            "=;,",
            "\u00e9",
        ]
    ),
    max_size=2,
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["final", "1912-12-12", "Patient/a", "urn:uuid:1", "http://a.example/b"]),
)
KEYS = st.sampled_from(
    [
        "id",
        "meta",
        "text",
        "identifier",
        "name",
        "status",
        "code",
        "subject",
        "extension",
        "contained",
        "reference",
        "value",
        "system",
        "birthDate",
        "_birthDate",
        "tag",
        "profile",
        "versionId",
        "url",
        "valueQuantity",
        "resource",
        "request",
        "method",
        "fullUrl",
        "type",
        "entry",
        "parameter",
        "data",
        "contentType",
    ]
)
VALUE = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
RESOURCES = st.builds(
    lambda type, members: {"resourceType": type, **members}, TYPES, st.dictionaries(KEYS, VALUE, max_size=6)
)
ENTRIES = st.builds(
    lambda method, type, id, resource: {
        "fullUrl": "urn:uuid:1",
        "resource": resource,
        "request": {"method": method, "url": f"{type}/{id}" if id else type},
    },
    METHODS,
    TYPES,
    st.sampled_from(["", "a", "b"]),
    RESOURCES,
)
BUNDLES = st.builds(
    lambda type, entries: {"resourceType": "Bundle", "type": type, "entry": entries},
    st.sampled_from(["batch", "transaction", "collection"]),
    st.lists(ENTRIES, max_size=4),
)
BODIES = st.one_of(
    RESOURCES.map(lambda value: json.dumps(value).encode()),
    BUNDLES.map(lambda value: json.dumps(value).encode()),
    VALUE.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=40),
)
TYPES_OF_BODY = st.sampled_from(
    [
        "application/fhir+json",
        "application/json",
        "application/json-patch+json",
        "application/x-www-form-urlencoded",
        "text/plain",
        "application/json; charset=utf-16",
        "",
    ]
)
PATHS = st.one_of(
    TYPES,
    st.builds(lambda type, id: f"{type}/{id}", TYPES, IDS),
    st.builds(lambda type, id, op: f"{type}/{id}/{op}", TYPES, IDS, OPERATIONS),
    st.builds(lambda type, op: f"{type}/{op}", TYPES, OPERATIONS),
    st.sampled_from(["", "metadata", "_history", "_search", "$validate"]),
    st.text(max_size=10).map(lambda text: text.replace("\\", "").replace(":", "")),
)
QUERIES = st.lists(st.tuples(st.sampled_from(PARAMETERS), VALUES), max_size=3)

REQUESTS = st.tuples(METHODS, PATHS, QUERIES, HEADERS, TYPES_OF_BODY, BODIES)


Send = Callable[..., httpx.Response]
"""Sends a method to a URL: of the endpoint in this process, or of a server."""

LONGEST = 20.0
"""Seconds until an answer counts as a hang."""
GROWTH = 40_000
"""kB that a server may grow after two fifths of the requests, when its caches are full."""


def send(to: Send, base: str, request: Any) -> None:
    """Send it, and check what holds for every answer."""
    method, path, query, headers, body_type, body = request
    url = quote(path, safe="/$%") + (f"?{urlencode(query, errors='replace')}" if query else "")
    sent = {name: value.encode() for name, value in headers.items()}
    if body_type and method in ("POST", "PUT", "PATCH"):
        sent["content-type"] = body_type.encode()
    content = body if method in ("POST", "PUT", "PATCH") else b""
    answer = to(method, f"{base}/{url}", headers=sent, content=content)
    assert answer.status_code < 500, (request, answer.text)
    if answer.status_code >= 400 and method != "HEAD":
        said = answer.json()
        assert said["resourceType"] == "OperationOutcome"
        assert all(issue["diagnostics"] and issue["code"] for issue in said["issue"])
    elif answer.content:
        assert answer.json()["resourceType"]


@given(REQUESTS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_request_makes_it_fail(api: Api, request: Any) -> None:
    send(api.request, "http://localhost/fhir", request)


# ------------------------------------------------------------------------------------- a server under siege


def generated(number: int, start: int, strategy: st.SearchStrategy[Any], one: Callable[[Any], None]) -> None:
    """So many examples, the same ones for the same `start`."""

    @seed(start)
    @given(strategy)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def run(request: Any) -> None:
        one(request)

    run()


def described(served: Served, number: int) -> None:
    """So many requests that schemathesis makes of our OpenAPI document, shared out over its operations."""
    schema = schemathesis.openapi.from_url(served.url.removesuffix("/fhir") + "/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    checks = [not_a_server_error, status_code_conformance, content_type_conformance]

    def one(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=checks, timeout=LONGEST)

    for start, operation in enumerate(operations):
        generated(number // len(operations) + 1, start, operation.as_strategy(), one)


def memory(process: int) -> int:
    """kB that a process holds for itself, without files that it has mapped."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0])


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory of a process as Linux tells it")
def test_fifty_thousand_requests_neither_fail_nor_hang_nor_grow(
    store_url: str, record_property: Callable[[str, object], None]
) -> None:
    """A fifth of them by schemathesis, the rest by the strategies above; half of all on each database."""
    size = 1_000 if os.environ.get("PROOF_SIZE") == "ci" else 25_000
    fifth = size // 5
    begin = time.monotonic()
    with serving(store_url) as served, httpx.Client(timeout=LONGEST) as client:
        process = served.process.pid

        def one(request: Any) -> None:
            send(client.request, served.url, request)

        described(served, fifth)
        held = [memory(process)]
        for part in range(1, 5):
            generated(fifth, part, REQUESTS, one)
            held.append(memory(process))
    told = ", ".join(f"{kilobytes / 1000:.0f}" for kilobytes in held)
    took = time.monotonic() - begin
    record_property("told", f"{5 * fifth} requests in {took:.0f} s; MB after each fifth: {told}")
    assert held[-1] - held[1] < GROWTH
