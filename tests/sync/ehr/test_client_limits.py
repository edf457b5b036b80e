"""Where patience with an EHR begins and ends, what an answer says, and what is its own address."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from fhir_coprod.accounts import BasicAuth, BearerAuth
from fhir_coprod.errors import ConfigError, EhrAnswer, EhrError, EhrUnreachable
from fhir_coprod.settings import EhrSettings
from fhir_coprod.sync.ehr.client import EhrClient
from fhir_coprod.sync.ehr.remarks import Remark, read
from fhir_coprod.sync.ehr.sending import (
    Answer,
    CircuitBreaker,
    TokenBucket,
    retry_after,
    shown,
    why,
)
from fhir_coprod.sync.ehr.vendor import Vendor
from tests.sync.ehr.asking import BASE, Clock, ehr, get, one


def outcome(*issues: Any) -> bytes:
    return json.dumps({"resourceType": "OperationOutcome", "issue": list(issues)}).encode()


def issue(severity: str, code: str, *codings: str) -> dict[str, Any]:
    found: dict[str, Any] = {"severity": severity, "code": code}
    return {**found, "details": {"coding": [{"code": c} for c in codings]}} if codings else found


def answer(body: bytes = b"", **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(f"{BASE}/Patient", 200, httpx.Headers(names), body)


def is_own(base: str, url: str) -> bool:
    async def ask() -> bool:
        async with EhrClient(EhrSettings(name="x", url=base)) as client:
            return client.is_own(url)

    return asyncio.run(ask())


# --- what an answer says --------------------------------------------------------------------------


def test_the_issues_of_an_outcome_are_read_with_all_their_codes() -> None:
    raw = outcome(issue("error", "invalid", "4119", "59100"), "odd", {}, issue("warning", ""))
    assert read(raw) == (
        Remark("error", frozenset({"invalid", "4119", "59100"})),
        Remark("", frozenset()),
        Remark("warning", frozenset()),
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'"OperationOutcome"',
        b'{"resourceType":"OperationOutcome"',
        b'{"resourceType":"Task","contained":[{"resourceType":"OperationOutcome"}]}',
    ],
)
def test_what_is_no_outcome_remarks_nothing(raw: bytes) -> None:
    assert read(raw) is None
    assert answer(raw).codes() == frozenset()
    assert not answer(raw).only_says(["x"])


@pytest.mark.parametrize("odd", [{"issue": None}, {"issue": {}}, {"issue": [{"details": []}]}, {}])
def test_an_odd_outcome_is_one_all_the_same(odd: dict[str, Any]) -> None:
    found = read(json.dumps({"resourceType": "OperationOutcome", **odd}).encode())
    assert found is not None
    assert all(remark.codes == frozenset() for remark in found)


@pytest.mark.parametrize(
    ("severity", "codes", "grave"),
    [
        ("error", {"timeout"}, True),
        ("fatal", {"timeout"}, True),
        ("warning", {"timeout"}, False),
        ("", set(), False),
        ("error", {"timeout", "4122"}, False),
        ("error", set(), True),
    ],
)
def test_an_error_of_which_no_code_is_ignored_is_grave(severity: str, codes: set[str], grave: bool) -> None:
    assert Remark(severity, frozenset(codes)).is_grave(["4122"]) is grave


def test_an_answer_says_only_what_is_ignored_when_each_issue_does() -> None:
    assert answer(outcome(issue("warning", "a"), issue("error", "x", "b"))).only_says(["a", "b"])
    assert not answer(outcome(issue("warning", "a"), issue("error", "x"))).only_says(["a", "b"])
    assert not answer(outcome()).only_says(["a"])
    assert answer(outcome(issue("warning", "a"), issue("error", "x", "b"))).codes() == {"a", "x", "b"}


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("Mon, 02 Mar 2026 08:00:00 GMT", datetime(2026, 3, 2, 8, tzinfo=UTC)),
        ("Mon, 02 Mar 2026 10:00:00 +0200", datetime(2026, 3, 2, 8, tzinfo=UTC)),
        ("yesterday", None),
        ("Fri, 31 Dec 9999 23:59:59 -1400", None),
        ("", None),
    ],
)
def test_the_clock_of_the_server_is_read_from_its_answer(stamp: str, expected: datetime | None) -> None:
    assert answer(Date=stamp).time == expected
    assert answer().time is None


@pytest.mark.parametrize(
    ("body", "kind", "markup"),
    [
        (b"{}", "application/fhir+json", ""),
        (b"{}", "Text/HTML; charset=utf-8", "HTML"),
        (b"{}", "application/xhtml+xml", "HTML"),
        (b" \n<html>", "application/json", "HTML"),
        (b"<?xml", "text/html", "HTML"),
        (b"<a/>", "Application/FHIR+XML", "XML"),
        (b"{<", "", ""),
        (b"", "", ""),
    ],
)
def test_a_page_for_people_is_told_by_its_kind_or_its_first_sign(body: bytes, kind: str, markup: str) -> None:
    assert answer(body, Content_Type=kind).markup == markup


# --- addresses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "url", "own"),
    [
        ("https://ehr.example/fhir", "https://ehr.example:443/fhir/Patient", True),
        ("https://ehr.example:443/fhir", "https://EHR.example/fhir", True),
        ("http://ehr.example/fhir", "http://ehr.example:80/fhir/Patient", True),
        ("http://ehr.example:80/fhir", "http://ehr.example/fhir", True),
        ("http://ehr.example/fhir", "http://ehr.example:443/fhir", False),
        ("https://ehr.example/fhir", "https://ehr.example:80/fhir", False),
        ("https://ehr.example:8443/fhir", "https://ehr.example/fhir", False),
        ("https://ehr.example/fhir", "https://ehr.example/fhir?_getpages=1", True),
        ("https://ehr.example/fhir", "https://ehr.example/", False),
        ("https://ehr.example/fhir", "https://ehr.example/fhir/..", False),
        ("https://ehr.example/fhir", "https://ehr.example/fhir/%2E%2e/x", False),
        ("https://ehr.example", "https://ehr.example/Patient", True),
        ("https://ehr.example", "https://ehr.example:port/Patient", False),
    ],
)
def test_an_address_is_the_ehrs_own_below_its_base_on_its_host_and_port(
    base: str, url: str, own: bool
) -> None:
    assert is_own(base, url) is own


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://eva:secret@ehr.example/fhir/Patient?name=Eva#x", "https://ehr.example/fhir/Patient"),
        ("http://ehr.example:8080/fhir", "http://ehr.example:8080/fhir"),
        ("http://ehr.example:99999/fhir", "an address that cannot be read"),
        ("http://[::1/x", "an address that cannot be read"),
        ("file:///x", "file:///x"),
    ],
)
def test_a_message_shows_an_address_without_query_and_credentials(url: str, expected: str) -> None:
    assert shown(url) == expected


@respx.mock
@pytest.mark.parametrize("url", ["Patient", "/Patient", f"{BASE}/Patient"])
def test_an_address_is_asked_below_the_base_whether_or_not_it_begins_with_a_slash(url: str) -> None:
    respx.get(f"{BASE}/Patient").respond(200, json={"resourceType": "Bundle"})
    assert one(Clock(), url).url == f"{BASE}/Patient"


@respx.mock
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(("hops", "arrives"), [(3, True), (4, False)])
def test_three_redirects_are_followed_and_no_fourth(status: int, hops: int, arrives: bool) -> None:
    for n in range(hops):
        respx.get(f"{BASE}/{n}").respond(status, headers={"Location": f"/fhir/{n + 1}"})
    last = respx.get(f"{BASE}/{hops}").respond(200)
    (found,) = get(Clock(), "0")
    assert isinstance(found, Answer) is arrives
    assert last.called is arrives


@respx.mock
@pytest.mark.parametrize("status", [300, 304])
def test_no_other_status_is_a_redirect(status: int) -> None:
    respx.get(f"{BASE}/Patient").respond(status, headers={"Location": "/fhir/other"})
    assert one(Clock()).status == status


# --- patience -------------------------------------------------------------------------------------


@respx.mock
@pytest.mark.parametrize("status", [408, 425, 429, 502, 503, 504])
def test_what_may_pass_is_asked_four_times(status: int) -> None:
    route = respx.get(f"{BASE}/Patient").respond(status)
    clock = Clock()
    (found,) = get(clock)
    assert isinstance(found, EhrUnreachable)
    assert f"after 4 attempts: it answers {status}" in found.message
    assert route.call_count == 4
    assert len(clock.slept) == 3, "nobody waits after the last attempt"
    assert all(0.25 * 2**n <= pause <= 0.5 * 2**n for n, pause in enumerate(clock.slept))


@respx.mock
def test_a_fault_of_the_server_is_an_answer_in_the_end_and_opens_the_circuit_like_any_failure() -> None:
    route = respx.get(f"{BASE}/Patient").respond(500)
    found = get(Clock(), times=4)
    assert [isinstance(each, Answer) and each.status for each in found] == [500, 500, 500, False]
    assert route.call_count == 3 * 4


@respx.mock
@pytest.mark.parametrize(("asked", "waits"), [("120", True), ("121", False)])
def test_two_minutes_are_waited_and_not_a_second_more(asked: str, waits: bool) -> None:
    respx.get(f"{BASE}/Patient").mock(
        side_effect=[httpx.Response(503, headers={"Retry-After": asked}), httpx.Response(200)]
    )
    clock = Clock()
    (found,) = get(clock)
    assert isinstance(found, Answer) is waits
    assert clock.slept == ([120.0] if waits else [])
    if isinstance(found, EhrError):
        assert found.message == "surgery: the server asks to come back in 121 seconds."


@respx.mock
@pytest.mark.parametrize(
    ("asked", "said"), [("31535999", "in 31535999 seconds."), ("31536000", "in more than a year.")]
)
def test_who_asks_for_more_than_a_year_is_not_quoted(asked: str, said: str) -> None:
    route = respx.get(f"{BASE}/Patient").respond(503, headers={"Retry-After": asked})
    found = get(Clock(), times=4)
    assert [said in str(each) for each in found] == [True, True, True, False]
    assert route.call_count == 3, "then the circuit is open"


def test_retry_after_is_seconds_or_a_date_or_nothing() -> None:
    assert [retry_after(text) for text in (None, "", "soon", "-1", "\u00b2")] == [None] * 5
    assert [retry_after(text) for text in ("0", " 7 ")] == [0.0, 7.0]
    assert retry_after(format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)) == 0.0
    naive = (datetime.now(UTC) + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S -0000")
    waits = retry_after(naive)
    assert waits is not None
    assert 85 < waits <= 90


@respx.mock
@pytest.mark.parametrize(
    ("status", "headers", "waits"),
    [
        (429, {"RateLimit": '"requests";r=0;t=42, "others";r=17;t=60'}, 42.0),
        (429, {"RateLimit": '"requests";r=0;t=42, "others";r=0;t=60'}, 60.0),
        (429, {"RateLimit": '"requests";r=0;t=42', "Retry-After": "3"}, 3.0),
        (429, {"RateLimit": '"requests";r=5;t=42'}, None),
        (429, {"RateLimit": '"requests";t=42;r=0'}, 42.0),
        (429, {"RateLimit": '"by day, r=0; t=60";r=0;t=42'}, 42.0),
        (429, {"RateLimit": '"r=0;t=60";r=5;t=42'}, None),
        (429, {"RateLimit": '"requests";pr=0;r=5;t=42'}, None),
        (429, {"RateLimit": '"requests";r=0;t=-1, "others";r=0;t=1e3, "more";r=0;t="9"'}, None),
        (429, {"RateLimit": "r=0"}, None),
        (503, {"RateLimit": '"requests";r=0;t=42'}, None),
    ],
)
def test_a_limit_that_is_used_up_is_waited_for(
    status: int, headers: dict[str, str], waits: float | None
) -> None:
    respx.get(f"{BASE}/Patient").mock(
        side_effect=[httpx.Response(status, headers=headers), httpx.Response(200)]
    )
    clock = Clock()
    (found,) = get(clock)
    assert isinstance(found, Answer)
    (slept,) = clock.slept
    assert slept == waits or (waits is None and slept <= 0.5)


@respx.mock
@pytest.mark.parametrize("part", ['"', '"\\', '"a', ",", ";r=0", '";t=9', "\\"])
def test_a_limit_that_makes_no_sense_is_read_in_no_time(part: str) -> None:
    headers = {"RateLimit": part * 20_000}
    respx.get(f"{BASE}/Patient").mock(side_effect=[httpx.Response(429, headers=headers), httpx.Response(200)])
    began = time.process_time()
    get(Clock())
    assert time.process_time() - began < 1


def test_the_circuit_opens_with_the_third_failure_for_thirty_seconds() -> None:
    clock = Clock()
    breaker = CircuitBreaker(clock.politeness())
    for expected in (False, False, True):
        breaker.failed()
        assert breaker.is_open is expected
    clock.now = 29.9
    assert breaker.is_open
    clock.now = 30.0
    assert not breaker.is_open
    breaker.failed()
    assert breaker.is_open, "it was tried once, and failed again"
    breaker.succeeded()
    assert not breaker.is_open


@pytest.mark.parametrize(("rate", "at_once"), [(0.5, 1), (1, 1), (3, 3)])
def test_after_a_long_rest_no_more_than_a_seconds_worth_goes_at_once(rate: float, at_once: int) -> None:
    clock = Clock()

    async def story() -> None:
        bucket = TokenBucket(rate, clock.politeness())
        for _ in range(2):
            clock.now += 1000
            clock.slept.clear()
            for _ in range(at_once):
                await bucket.take()
            assert clock.slept == []
            await bucket.take()
            assert clock.slept == pytest.approx([1 / rate])

    asyncio.run(story())


def caused(error: httpx.RequestError, cause: BaseException) -> httpx.RequestError:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (caused(httpx.ConnectError(""), ssl.SSLCertVerificationError()), "its certificate is not trusted"),
        (caused(httpx.ConnectError(""), ssl.SSLError()), "TLS fails"),
        (caused(httpx.ConnectError(""), socket.gaierror()), "the name of its host is not known"),
        (caused(httpx.ConnectError(""), ConnectionRefusedError()), "the connection is refused"),
        (
            caused(httpx.ConnectError(""), ExceptionGroup("", [OSError(), ConnectionRefusedError()])),
            "the connection is refused",
        ),
        (httpx.ReadTimeout(""), "it took too long"),
        (httpx.RemoteProtocolError(""), "it breaks off, or does not speak HTTP"),
        (httpx.ConnectError(""), "ConnectError"),
    ],
)
def test_why_there_is_no_answer_is_told_by_its_cause(error: httpx.RequestError, said: str) -> None:
    assert why(error) == said


def test_a_cause_that_only_went_before_counts_too_and_circles_end() -> None:
    first, second = httpx.ConnectError(""), ConnectionRefusedError()
    first.__context__, second.__context__ = second, first
    assert why(first) == "the connection is refused"


# --- what is sent and taken -----------------------------------------------------------------------


@respx.mock
@pytest.mark.parametrize(
    ("coding", "taken"),
    [("identity", True), (" IDENTITY ", True), ("", True), ("br", False)],
)
def test_an_answer_is_taken_only_in_a_packing_that_was_asked_for(coding: str, taken: bool) -> None:
    respx.get(f"{BASE}/Patient").respond(200, headers={"Content-Encoding": coding}, content=b"{}")
    (found,) = get(Clock())
    assert isinstance(found, Answer if taken else EhrAnswer)


@respx.mock
def test_an_answer_may_be_as_long_as_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir_coprod.sync.ehr.sending.MAX_ANSWER", 1000)
    respx.get(f"{BASE}/Patient").respond(200, content=b"x" * 1000)
    assert len(one(Clock()).body) == 1000


@respx.mock
def test_every_request_says_what_it_wants_and_the_secret_stands_over_all_other_headers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EHR_TOKEN", "abc")
    route = respx.get(f"{BASE}/Patient").respond(200)

    async def ask() -> None:
        auth = BearerAuth(type="bearer", token_env="EHR_TOKEN")
        async with EhrClient(ehr(auth=auth), politeness=Clock().politeness()) as client:
            await client.get("Patient")
            client.heed(Vendor(headers={"X-Own": "vendor", "X-More": "vendor"}))
            await client.get("Patient", {"X-Own": "asked", "Authorization": "none"})

    asyncio.run(ask())
    first, second = (call.request.headers for call in route.calls)
    assert first["Accept"] == "application/fhir+json"
    assert first["Cache-Control"] == "no-cache"
    assert first["User-Agent"] == "fhir-coprod"
    assert "X-Own" not in first
    assert (second["X-Own"], second["X-More"]) == ("asked", "vendor")
    assert second["Authorization"] == "Bearer abc"


@respx.mock
def test_without_auth_no_secret_is_sent_and_a_file_stands_over_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = respx.get(f"{BASE}/Patient").respond(200)
    monkeypatch.setenv("EHR_TOKEN", "from the variable")
    file = tmp_path / "token"
    file.write_text("from-the-file")
    one(Clock())
    one(Clock(), auth=BearerAuth(type="bearer", token_file=file, token_env="EHR_TOKEN"))
    sent = [call.request.headers.get("Authorization") for call in route.calls]
    assert sent == [None, "Bearer from-the-file"]


def test_a_secret_that_cannot_be_used_is_said_by_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EHR_PASSWORD", "two\nlines")
    with pytest.raises(ConfigError) as caught:
        get(Clock(), auth=BasicAuth(type="basic", user="eva", password_env="EHR_PASSWORD"))
    assert caught.value.message == (
        "ehr surgery: the environment variable EHR_PASSWORD must hold the password as one line of "
        "printable ASCII."
    )
    with pytest.raises(ConfigError, match="auth needs password_file or password_env"):
        get(Clock(), auth=BasicAuth(type="basic", user="eva"))


def test_what_a_server_says_as_a_code_is_told_only_if_it_looks_like_one() -> None:
    """Errors end up in logs, in the store and on the page for hospital IT."""
    codes = ["exception", "MSG_PARAM_UNKNOWN", "HAPI-0389", "4122", "19121212-1212", "191212121212", "T Lvan"]
    refused = httpx.Response(400, content=outcome(*(issue("error", code) for code in codes)))
    client = EhrClient(EhrSettings(name="x", url=BASE), transport=httpx.MockTransport(lambda _: refused))
    with pytest.raises(EhrAnswer) as raised:
        asyncio.run(client.json("Patient"))
    assert "(4122, HAPI-0389, MSG_PARAM_UNKNOWN, exception)" in raised.value.message
    assert "1212" not in raised.value.message
    assert "Lvan" not in raised.value.message
