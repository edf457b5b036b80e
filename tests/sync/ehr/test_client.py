"""Requests to one EHR: retries, rate limits, and secrets that go to no other server."""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial

import httpx
import pytest
import respx

from fhir_coprod.accounts import BearerAuth
from fhir_coprod.errors import EhrAnswer, EhrError, EhrUnreachable
from fhir_coprod.settings import EhrSettings
from fhir_coprod.sync.ehr.client import EhrClient
from fhir_coprod.sync.ehr.sending import Answer, TokenBucket
from tests.sync.ehr.asking import BASE, Clock, ehr, get, one


@respx.mock
def test_what_may_succeed_is_asked_again_after_growing_pauses() -> None:
    route = respx.get(f"{BASE}/Patient").mock(
        side_effect=[httpx.ConnectError("refused"), httpx.Response(503), httpx.Response(200, json={})]
    )
    clock = Clock()
    assert one(clock).status == 200
    assert route.call_count == 3
    assert 0.25 <= clock.slept[0] <= 0.5
    assert 0.5 <= clock.slept[1] <= 1.0


@respx.mock
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 501])
def test_what_cannot_succeed_is_asked_once(status: int) -> None:
    route = respx.get(f"{BASE}/Patient").respond(status)
    assert one(Clock()).status == status
    assert route.call_count == 1


@respx.mock
def test_retry_after_in_seconds_is_obeyed() -> None:
    respx.get(f"{BASE}/Patient").mock(
        side_effect=[httpx.Response(429, headers={"Retry-After": "17"}), httpx.Response(200)]
    )
    clock = Clock()
    one(clock)
    assert clock.slept == [17.0]


@respx.mock
def test_retry_after_as_a_date_is_obeyed() -> None:
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    respx.get(f"{BASE}/Patient").mock(
        side_effect=[httpx.Response(503, headers={"Retry-After": then}), httpx.Response(200)]
    )
    clock = Clock()
    one(clock)
    assert 35 <= clock.slept[0] <= 41


@respx.mock
def test_a_server_that_wants_to_be_left_alone_for_long_is() -> None:
    route = respx.get(f"{BASE}/Patient").respond(429, headers={"Retry-After": "86400"})
    with pytest.raises(EhrError, match="86400"):
        one(Clock())
    assert route.call_count == 1


@respx.mock
def test_no_answer_is_unreachable_and_says_what_to_check() -> None:
    respx.get(f"{BASE}/Patient").mock(side_effect=httpx.ConnectTimeout("late"))
    with pytest.raises(EhrUnreachable, match=r"surgery: no answer .* took too long"):
        one(Clock())


@respx.mock
def test_after_several_failures_the_circuit_opens_and_later_tries_again() -> None:
    route = respx.get(f"{BASE}/Patient").mock(side_effect=httpx.ConnectError("refused"))
    clock = Clock()
    failures = get(clock, times=5)
    assert all(isinstance(failure, EhrUnreachable) for failure in failures)
    assert route.call_count == 3 * 4  # the fourth and fifth were not sent
    assert "left alone" in str(failures[-1])


@respx.mock
def test_the_circuit_closes_when_the_ehr_is_back() -> None:
    async def story() -> int:
        clock = Clock()
        async with EhrClient(ehr(), politeness=clock.politeness()) as client:
            respx.get(f"{BASE}/Patient").mock(side_effect=httpx.ConnectError("refused"))
            for _ in range(3):
                with pytest.raises(EhrUnreachable):
                    await client.get("Patient")
            respx.get(f"{BASE}/Patient").respond(200)
            with pytest.raises(EhrUnreachable):
                await client.get("Patient")
            clock.now += 31
            return (await client.get("Patient")).status

    assert asyncio.run(story()) == 200


@respx.mock
def test_failures_open_the_circuit_only_in_a_row() -> None:
    refused = [httpx.ConnectError("refused")] * 4
    good = [httpx.Response(200)]
    respx.get(f"{BASE}/Patient").mock(side_effect=[*refused, *refused, *good, *refused, *refused, *good])
    answers = get(Clock(), times=6)
    assert [isinstance(answer, Answer) for answer in answers] == [False, False, True, False, False, True]


@respx.mock
def test_one_request_in_a_while_tries_an_open_circuit() -> None:
    route = respx.get(f"{BASE}/Patient").mock(side_effect=httpx.ConnectError("refused"))

    async def story() -> int:
        clock = Clock()
        async with EhrClient(ehr(), politeness=clock.politeness()) as client:
            for number in range(5):
                if number == 3:
                    clock.now += 31
                with pytest.raises(EhrUnreachable):
                    await client.get("Patient")
        return route.call_count

    assert asyncio.run(story()) == 4 * 4, "the fifth is not sent: the fourth failed"


def test_who_waits_for_the_rate_is_not_overtaken() -> None:
    clock = Clock()
    starts: list[float] = []

    async def story() -> None:
        bucket = TokenBucket(1, replace(clock.politeness(), sleep=partial(_noted, starts)))
        await asyncio.gather(*(bucket.take() for _ in range(4)))

    asyncio.run(story())
    assert starts == [1, 2, 3]


async def _noted(starts: list[float], seconds: float) -> None:
    starts.append(seconds)


@respx.mock
def test_no_pause_is_longer_than_the_longest() -> None:
    respx.get(f"{BASE}/Patient").respond(503)
    clock = Clock()

    async def story() -> None:
        patient = clock.politeness(attempts=9, longest_pause=4.0)
        async with EhrClient(ehr(), politeness=patient) as client:
            with pytest.raises(EhrUnreachable):
                await client.get("Patient")

    asyncio.run(story())
    assert max(clock.slept) <= 4


@respx.mock
def test_an_answer_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fhir_coprod.sync.ehr.sending.MAX_ANSWER", 1000)
    respx.get(f"{BASE}/Patient").respond(200, content=b"x" * 1001)
    with pytest.raises(EhrAnswer, match="does not page"):
        one(Clock())


@respx.mock
def test_requests_keep_to_the_rate_of_the_settings() -> None:
    respx.get(f"{BASE}/Patient").respond(200)
    clock = Clock()
    get(clock, times=15, requests_per_second=5)
    assert 1.9 <= clock.now <= 2.1  # five at once, then ten more at five a second


@respx.mock
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (httpx.ConnectError("Bearer secret"), "ConnectError"),
        (httpx.LocalProtocolError("Illegal header value b'Bearer secret'"), "cannot be sent"),
        (httpx.DecodingError("secret"), "cannot be unpacked"),
    ],
)
def test_an_error_is_told_by_its_class_and_not_by_its_text(error: httpx.RequestError, said: str) -> None:
    respx.get(f"{BASE}/Patient").mock(side_effect=error)
    with pytest.raises(EhrUnreachable, match=said) as caught:
        one(Clock())
    assert "secret" not in str(caught.value)


def test_a_refused_connection_is_called_so() -> None:
    async def ask() -> None:
        away = EhrSettings(name="away", url="http://127.0.0.1:9/fhir")
        async with EhrClient(away, politeness=Clock().politeness()) as client:
            await client.get("metadata")

    with pytest.raises(EhrUnreachable, match="the connection is refused"):
        asyncio.run(ask())


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://evil.example/fhir/Patient",
        "http://ehr.example/fhir/Patient",
        "https://ehr.example:8443/fhir/Patient",
        "https://ehr.example.evil.example/fhir/Patient",
        "https://ehr.example/fhirx/Patient",
        "https://user@evil.example/fhir/Patient",
    ],
)
def test_nothing_is_ever_asked_of_another_host(elsewhere: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EHR_TOKEN", "abc")
    auth = BearerAuth(type="bearer", token_env="EHR_TOKEN")
    with respx.mock(assert_all_called=False) as router:
        router.get(f"{BASE}/Patient").respond(302, headers={"Location": elsewhere})
        other = router.route().respond(200)
        with pytest.raises(EhrAnswer, match="nothing is asked there"):
            one(Clock(), auth=auth)
        with pytest.raises(EhrAnswer, match="nothing is asked there"):
            one(Clock(), elsewhere, auth=auth)
        assert not other.called


@respx.mock
def test_a_redirect_on_the_same_server_is_followed() -> None:
    respx.get(f"{BASE}/Patient").respond(308, headers={"Location": "/fhir/Patient/"})
    respx.get(f"{BASE}/Patient/").respond(200)
    assert one(Clock()).status == 200


@respx.mock
def test_redirects_in_circles_end() -> None:
    respx.get(f"{BASE}/Patient").respond(302, headers={"Location": "/fhir/Patient"})
    with pytest.raises(EhrAnswer, match="circles"):
        one(Clock())


def require(response: httpx.Response) -> None:
    async def ask() -> None:
        async with EhrClient(ehr(), politeness=Clock().politeness()) as client:
            await client.json("metadata")

    with respx.mock:
        respx.get(f"{BASE}/metadata").mock(return_value=response)
        asyncio.run(ask())


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (httpx.Response(200, html="<html>Log in</html>"), "HTML instead of FHIR"),
        (httpx.Response(404, html="<html>no</html>"), "HTML instead of FHIR"),
        (httpx.Response(200, text="<?xml version='1.0'?><CapabilityStatement/>"), "answered XML"),
        (httpx.Response(200, text=' <Bundle xmlns="http://hl7.org/fhir"/>'), "answered XML"),
        (httpx.Response(200, text="<Bundle/>", headers={"Content-Type": "text/xml"}), "answered XML"),
        (httpx.Response(200, text="{"), "not valid JSON"),
        (httpx.Response(200, json=[]), "no FHIR resource"),
        (httpx.Response(200, json={"hello": 1}), "no FHIR resource"),
        (httpx.Response(401), "check `auth`"),
        (httpx.Response(403), "check `auth`"),
        (
            httpx.Response(
                400,
                json={
                    "resourceType": "OperationOutcome",
                    "issue": [
                        {
                            "code": "invalid",
                            "details": {"coding": [{"code": "59100"}]},
                            "diagnostics": "Eva Öst is unknown",
                        }
                    ],
                },
            ),
            "59100, invalid",
        ),
    ],
)
def test_an_answer_that_is_not_fhir_says_what_to_do(response: httpx.Response, said: str) -> None:
    with pytest.raises(EhrAnswer, match=said) as caught:
        require(response)
    assert "Eva" not in str(caught.value)


@respx.mock
def test_a_query_never_stands_in_a_message() -> None:
    respx.get(url__startswith=BASE).mock(side_effect=httpx.ConnectError("refused"))
    with pytest.raises(EhrUnreachable) as caught:
        one(Clock(), "Patient?name=Eva")
    assert "Eva" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"{BASE}/../other/Patient",
        f"{BASE}/x/../../other/Patient",
        f"{BASE}/%2e%2e/other/Patient",
        f"{BASE}x/Patient",
        "https://ehr.example:444/fhir/Patient",
        "http://[::1/x",
    ],
)
def test_nothing_outside_the_base_address_is_asked(url: str) -> None:
    with pytest.raises(EhrError):
        asyncio.run(_get_once(url))


async def _get_once(url: str) -> Answer:
    async with EhrClient(ehr(), politeness=Clock().politeness()) as client:
        return await client.get(url)


@respx.mock
def test_an_answer_that_trickles_is_given_up_after_the_timeout() -> None:
    async def trickle(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(30)
        return httpx.Response(200)

    respx.get(f"{BASE}/Patient").mock(side_effect=trickle)

    async def story() -> None:
        async with EhrClient(ehr(timeout=0.05), politeness=Clock().politeness()) as client:
            await client.get("Patient")

    with pytest.raises(EhrUnreachable, match=r"no whole answer within 0\.05 seconds"):
        asyncio.run(story())


def test_an_answer_packed_twice_is_refused_unread() -> None:
    """What is inside could be of any size, and would be unpacked in one piece."""
    packed = gzip.compress(gzip.compress(b" " * 100_000_000))
    answer = httpx.Response(200, headers={"Content-Encoding": "gzip, gzip"}, stream=httpx.ByteStream(packed))
    with respx.mock:
        respx.get(f"{BASE}/Patient").mock(return_value=answer)
        (error,) = get(Clock())
    assert isinstance(error, EhrAnswer)
    assert "packed otherwise than by gzip" in error.message


def test_too_many_requests_says_what_to_lower() -> None:
    with respx.mock:
        respx.get(f"{BASE}/Patient").mock(return_value=httpx.Response(429))
        (error,) = get(Clock())
    assert isinstance(error, EhrUnreachable)
    assert "lower requests_per_second" in error.message


@respx.mock
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'\xef\xbb\xbf{"a":"\xc3\xb6"}', "application/fhir+json"),
        ('{"a":"ö"}'.encode("latin-1"), "application/fhir+json; charset=iso-8859-1"),
        ('{"a":"ö"}'.encode(), "application/fhir+json;charset=ISO-8859-1"),
        (b"\xff\xfe" + '{"a":"ö"}'.encode("utf-16-le"), "application/json"),
        (b"\xfe\xff" + '{"a":"ö"}'.encode("utf-16-be"), "application/json"),
    ],
)
def test_an_answer_is_read_in_the_encoding_that_it_has(body: bytes, kind: str) -> None:
    respx.get(f"{BASE}/Patient").respond(content=body, headers={"Content-Type": kind})
    assert one(Clock()).body == '{"a":"ö"}'.encode()


@respx.mock
@pytest.mark.parametrize("kind", ["application/json; charset=no-such", "application/json; charset=utf-16"])
def test_an_encoding_that_cannot_be_is_left_alone(kind: str) -> None:
    respx.get(f"{BASE}/Patient").respond(content=b"\xff\xc3", headers={"Content-Type": kind})
    assert b"\xff" in one(Clock()).body or kind.endswith("utf-16")


@respx.mock
def test_metadata_with_a_byte_order_mark_is_read() -> None:
    respx.get(f"{BASE}/metadata").respond(content=b'\xef\xbb\xbf{"resourceType":"CapabilityStatement"}')

    async def ask() -> str:
        async with EhrClient(ehr(), politeness=Clock().politeness()) as client:
            _, found = await client.json("metadata")
            return str(found["resourceType"])

    assert asyncio.run(ask()) == "CapabilityStatement"
