"""Tokens from an authorization server: how they are asked for and renewed, and what refusals say."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import pytest
import respx

from fhir_coprod.accounts import ClientCredentialsAuth
from fhir_coprod.errors import EhrAnswer, EhrError
from fhir_coprod.settings import EhrSettings
from fhir_coprod.sync.ehr import keys
from fhir_coprod.sync.ehr.client import EhrClient
from fhir_coprod.sync.ehr.sending import Answer
from tests.sync.ehr.accounts import ES384, OTHER, RS384, TOKEN_URL, Accounts, ask, refusal, signed, statuses
from tests.sync.ehr.asking import BASE, Clock, ehr


@pytest.fixture
def clock() -> Clock:
    return Clock()


@respx.mock
@pytest.mark.parametrize("key", [ES384, RS384], ids=["ES384", "RS384"])
def test_a_signed_assertion_gets_a_token_which_requests_show(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, key: keys.Key
) -> None:
    accounts = Accounts(clock, key)
    accounts.stand()
    auth = signed(monkeypatch, key, jwks_url="https://our.example/jwks.json")
    assert statuses(ask(clock, auth, types=("Patient", "Task"))) == [200]
    (form,) = accounts.asked
    assert form["grant_type"] == "client_credentials"
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert form["scope"] == "system/Patient.read system/Task.read"
    assert form["header"] == {
        "alg": keys.algorithm(key),
        "typ": "JWT",
        "kid": key.thumbprint(),
        "jku": "https://our.example/jwks.json",
    }
    assert accounts.served == ["token-1"]


@respx.mock
def test_one_token_serves_all_requests_until_shortly_before_its_end(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = Accounts(clock, ES384, lives=300)
    accounts.stand()
    found = ask(clock, signed(monkeypatch, ES384), after=(0, 200, 39, 2), at_once=5)
    assert set(statuses(found)) == {200}
    assert accounts.served == ["token-1"] * 15 + ["token-2"] * 5


@respx.mock
@pytest.mark.parametrize(
    ("lives", "good_at", "renewed_at"),
    [(30, 23, 25), ("3600", 3500, 3550), (None, 230, 250), ("soon", 230, 250), (0, 230, 250), (-5, 230, 250)],
)
def test_how_long_a_token_lives_is_read_in_every_form(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, lives: Any, good_at: float, renewed_at: float
) -> None:
    accounts = Accounts(clock, ES384, lives=lives)
    accounts.stand()
    ask(clock, signed(monkeypatch, ES384), after=(0, good_at, renewed_at - good_at))
    assert accounts.served == ["token-1", "token-1", "token-2"]


@respx.mock
@pytest.mark.parametrize(
    ("trouble", "then"),
    [
        (httpx.Response(503), "EhrUnreachable"),
        (httpx.Response(503, headers={"Retry-After": "9999"}), "EhrError"),
        (httpx.Response(400, json={"error": "temporarily_unavailable"}), "EhrAnswer"),
    ],
)
def test_a_token_is_used_to_its_end_if_no_other_can_be_got_and_that_is_tried_now_and_then(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, trouble: httpx.Response, then: str
) -> None:
    accounts = Accounts(clock, ES384, lives=300)
    accounts.stand()
    auth = signed(monkeypatch, ES384)

    async def run() -> list[int | str]:
        found: list[Answer | BaseException] = []
        polite = clock.politeness(attempts=1, failures_to_open=100)
        async with EhrClient(ehr(auth=auth), politeness=polite) as client:
            for seconds in (0, 250, *[1] * 20, 60):
                clock.now += seconds
                try:
                    found.append(await client.get("Patient"))
                except EhrError as error:
                    found.append(error)
                accounts.trouble = [trouble] * 50
        return statuses(found)

    assert asyncio.run(run()) == [200] * 22 + [then]
    assert len(accounts.asked) == 1 + 3 + 1


@respx.mock
def test_a_token_that_is_refused_before_its_end_is_renewed_by_one_of_many(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = Accounts(clock, ES384)
    accounts.stand()
    accounts.refused = lambda token: token == "token-1"
    assert set(statuses(ask(clock, signed(monkeypatch, ES384), at_once=8))) == {200}
    assert len(accounts.asked) == 2


@respx.mock
def test_who_is_refused_with_a_fresh_token_too_asks_no_further(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = Accounts(clock, ES384)
    accounts.stand()
    accounts.refused = lambda token: True
    assert statuses(ask(clock, signed(monkeypatch, ES384))) == [401]
    assert accounts.served == ["token-1", "token-2"]


@respx.mock
def test_an_ehr_that_refuses_each_token_costs_one_more_every_ten_seconds_and_not_one_a_request(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = Accounts(clock, ES384)
    accounts.stand()
    accounts.refused = lambda token: True
    found = ask(clock, signed(monkeypatch, ES384), after=(0, 1, 1, 1, 9, 1), at_once=20)
    assert set(statuses(found)) == {401}
    assert len(accounts.asked) == 3


@respx.mock
def test_each_attempt_has_an_assertion_of_its_own(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = Accounts(clock, ES384)
    accounts.stand()
    accounts.trouble = [httpx.Response(503, headers={"Retry-After": "7"}), httpx.Response(429)]
    assert statuses(ask(clock, signed(monkeypatch, ES384))) == [200]
    assert len({form.get("client_assertion", "last") for form in accounts.asked}) == 3
    assert 7 <= clock.now < 60


@respx.mock
def test_while_a_key_is_replaced_whichever_is_registered_is_taken(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = Accounts(clock, OTHER, lives=100)
    accounts.stand()
    auth = signed(monkeypatch, ES384, OTHER)
    assert set(statuses(ask(clock, auth, after=(0, 90, 90)))) == {200}
    assert len(accounts.asked) == 4, "the one that was taken is tried first from then on"
    accounts.registered = (ES384,)
    accounts.asked.clear()
    assert statuses(ask(clock, auth)) == [200]
    assert len(accounts.asked) == 1


@respx.mock
@pytest.mark.parametrize("tells_the_time", [True, False], ids=["its own", "the EHR's"])
@pytest.mark.parametrize("ahead", [-4000.0, -290.0, 290.0, 4000.0])
def test_the_servers_clock_is_taken_where_ours_is_wrong(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, ahead: float, tells_the_time: bool
) -> None:
    accounts = Accounts(clock, ES384, ahead=ahead, lives=100)
    accounts.tells_the_time = tells_the_time
    accounts.stand()
    assert set(statuses(ask(clock, signed(monkeypatch, ES384), after=(0, 90)))) == {200}
    assert len(accounts.asked) == 3, "the second token needs one request"


@respx.mock
@pytest.mark.parametrize(("ahead", "side"), [(-4000.0, "ahead of"), (4000.0, "behind")])
def test_a_clock_that_is_wrong_is_named_if_nothing_helps(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, ahead: float, side: str
) -> None:
    accounts = Accounts(clock, OTHER, ahead=ahead)
    accounts.stand()
    said = refusal(clock, signed(monkeypatch, ES384))
    assert f"our clock is 4000 seconds {side} the server's: set it right" in said


# --- where to ask ---------------------------------------------------------------------------------


def statement(url: str) -> dict[str, Any]:
    uris = {
        "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
        "extension": [
            {"url": "authorize", "valueUri": "https://x.example"},
            {"url": "token", "valueUri": url},
        ],
    }
    return {"resourceType": "CapabilityStatement", "rest": [{"security": {"extension": [uris]}}]}


@respx.mock
def test_an_older_ehr_names_its_token_endpoint_in_its_statement(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    Accounts(clock, ES384).stand(config={})
    respx.get(f"{BASE}/metadata").respond(200, json=statement(TOKEN_URL))
    assert statuses(ask(clock, signed(monkeypatch, ES384))) == [200]


@respx.mock
@pytest.mark.parametrize("body", ["<html/>", "[]", '{"rest":[{"security":[]}]}', '{"rest":[1,{}]}'])
def test_without_a_token_endpoint_it_is_said_what_to_set(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    Accounts(clock, ES384).stand(config={})
    respx.get(f"{BASE}/metadata").respond(200, text=body)
    assert "set auth.token_url" in refusal(clock, signed(monkeypatch, ES384))


@respx.mock
def test_the_settings_name_the_token_endpoint_before_the_ehr(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    Accounts(clock, ES384).stand(config={"token_endpoint": "https://wrong.example/token"})
    assert statuses(ask(clock, signed(monkeypatch, ES384, token_url=TOKEN_URL))) == [200]


@respx.mock
def test_nothing_is_signed_for_a_token_endpoint_without_tls(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = Accounts(clock, ES384)
    accounts.stand(config={"token_endpoint": "http://login.example/oauth2/token"})
    assert "is not https; nothing is sent there" in refusal(clock, signed(monkeypatch, ES384))
    assert not accounts.asked


@respx.mock
@pytest.mark.parametrize(
    "url",
    [
        "/oauth2/token",
        "login.example/token",
        "https://[",
        "https://u:p@login.example/t",
        "https://x:port/",
        "https://a b",
        "ftp://login.example/token",
        "https://login.example/#token",
        "https://",
        "https://login.example/\x1b[31m",
    ],
)
@pytest.mark.parametrize("where", ["configuration", "statement"])
def test_a_token_endpoint_that_is_no_address_is_not_asked(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, url: str, where: str
) -> None:
    Accounts(clock, ES384).stand(config={"token_endpoint": url} if where == "configuration" else {})
    respx.get(f"{BASE}/metadata").respond(200, json=statement(url))
    said = refusal(clock, signed(monkeypatch, ES384))
    assert "is no address of a token endpoint; nothing is sent there" in said
    assert "u:p" not in said
    assert said.isprintable()


@respx.mock
@pytest.mark.parametrize("where", ["the EHR", "its token endpoint", "the settings"])
def test_an_address_that_looks_like_one_and_is_none_is_told(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    odd = "https://-\u00fc-.example/fhir"
    Accounts(clock, ES384).stand(config={"token_endpoint": odd})
    auth = signed(monkeypatch, ES384, token_url=odd if where == "the settings" else "")
    settings = EhrSettings(name="surgery", url=odd if where == "the EHR" else BASE, auth=auth)

    async def run() -> None:
        async with EhrClient(settings, politeness=clock.politeness()) as client:
            await client.get("Patient")

    with pytest.raises(EhrAnswer):
        asyncio.run(run())


@respx.mock
def test_with_a_token_endpoint_in_the_settings_the_ehr_need_not_describe_its_own(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    Accounts(clock, ES384).stand()
    respx.get(f"{BASE}/.well-known/smart-configuration").respond(503)
    assert statuses(ask(clock, signed(monkeypatch, ES384, token_url=TOKEN_URL))) == [200]
    assert statuses(ask(clock, signed(monkeypatch, ES384))) == ["EhrUnreachable"]


@respx.mock
def test_a_token_endpoint_that_redirects_gets_nothing_sent_to_the_other_place(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = Accounts(clock, ES384)
    accounts.stand()
    other = respx.route(host="other.example").respond(200, json={"access_token": "a"})
    for status in (301, 302, 307, 308):
        accounts.trouble = [httpx.Response(status, headers={"Location": "https://other.example/token"})]
        assert f"answered {status} and no error of OAuth" in refusal(clock, signed(monkeypatch, ES384))
    assert not other.called


@respx.mock
@pytest.mark.parametrize(
    ("config", "scope", "asked"),
    [
        ({}, None, "system/Patient.read system/Task.read"),
        ({"capabilities": ["permission-v2"]}, None, "system/Patient.rs system/Task.rs"),
        ({"capabilities": ["permission-v1", "permission-v2"]}, None, "system/Patient.read system/Task.read"),
        ({"scopes_supported": ["system/*.rs"]}, None, "system/Patient.read system/Task.read"),
        ({"scopes_supported": ["openid", "system/Task.cruds?x=y"]}, None, "system/Task.read"),
        ({"scopes_supported": ["system/Task.write", "system/Patient.read"]}, None, "system/Patient.read"),
        ({"scopes_supported": ["openid", 3]}, None, "system/Patient.read system/Task.read"),
        ({}, "system/Task.rs?code=a", "system/Task.rs?code=a"),
        ({}, "", None),
    ],
)
def test_the_scope_asked_for_is_what_the_settings_say_or_to_read_each_type_there_is(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, config: Any, scope: str | None, asked: str | None
) -> None:
    accounts = Accounts(clock, ES384)
    accounts.stand(config={"token_endpoint": TOKEN_URL, **config})
    ask(clock, signed(monkeypatch, ES384, scope=scope), types=("Patient", "Task"))
    assert accounts.asked[0].get("scope") == asked


# --- with a secret --------------------------------------------------------------------------------

SECRET = "a:b/c d%é"[:-1]


@respx.mock
@pytest.mark.parametrize(
    ("methods", "place", "in_body"),
    [
        ([], "", False),
        (["client_secret_post"], "", True),
        (["client_secret_post", "client_secret_basic"], "", False),
        (["client_secret_post"], "header", False),
        ([], "body", True),
    ],
)
def test_a_secret_is_sent_as_the_server_says_or_the_settings(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, methods: list[str], place: Any, in_body: bool
) -> None:
    monkeypatch.setenv("EHR_SECRET", SECRET)
    accounts = Accounts(clock)
    accounts.stand(config={"token_endpoint": TOKEN_URL, "token_endpoint_auth_methods_supported": methods})
    auth = ClientCredentialsAuth(
        type="client-credentials",
        client_id="a b",
        secret_env="EHR_SECRET",
        secret_in=place,
        token_url=TOKEN_URL,
    )
    assert statuses(ask(clock, auth)) == [200]
    (form,) = accounts.asked
    request = next(call.request for call in respx.calls if call.request.method == "POST")
    if in_body:
        assert (form["client_id"], form["client_secret"]) == ("a b", SECRET)
        assert "Authorization" not in request.headers
    else:
        pair = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        assert pair == "a%20b:a%3Ab%2Fc%20d%25", "each half is encoded as in a form (RFC 6749, 2.3.1)"
        assert "client_secret" not in form


def with_secret(monkeypatch: pytest.MonkeyPatch, **more: Any) -> ClientCredentialsAuth:
    monkeypatch.setenv("EHR_SECRET", SECRET)
    return ClientCredentialsAuth(
        type="client-credentials", client_id="a b", secret_env="EHR_SECRET", secret_in="body", **more
    )


@respx.mock
@pytest.mark.parametrize(
    ("url", "is_sent"),
    [("https://ehr.example:8443/token", True), ("https://ehr.example.evil.example/token", False)],
)
def test_a_secret_goes_to_the_host_of_the_ehr_or_to_one_that_a_person_has_named(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, url: str, is_sent: bool
) -> None:
    Accounts(clock).stand(config={"token_endpoint": url})
    endpoint = respx.post(url).respond(200, json={"access_token": "a"})
    (found,) = ask(clock, with_secret(monkeypatch))
    assert endpoint.called is is_sent
    if not is_sent:
        assert isinstance(found, EhrAnswer)
        assert "is on another host than the EHR; nothing is sent there. Set auth.token_url" in found.message
        ask(clock, with_secret(monkeypatch, token_url=url))
        assert endpoint.called


@respx.mock
@pytest.mark.parametrize("place", ["error", "error_description"])
def test_a_secret_that_the_server_repeats_is_not_told(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    accounts = Accounts(clock)
    accounts.stand()
    pair = base64.b64encode(b"a%20b:a%3Ab%2Fc%20d%25").decode()
    said = f"not {SECRET} nor a%3Ab%2Fc%20d%25 nor {pair}"
    accounts.trouble = [httpx.Response(400, json={"error": "invalid_client", place: said})]
    told = refusal(clock, with_secret(monkeypatch, token_url=TOKEN_URL))
    assert "not … nor … nor …" in told
