"""What is said when an authorization server gives no token: what is wrong, and what helps."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
import respx

from fhir_coprod.errors import EhrUnreachable
from tests.sync.ehr.accounts import ES384, RS384, TOKEN_URL, Accounts, ask, refusal, signed
from tests.sync.ehr.asking import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@respx.mock
@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, {"error": "invalid_client"}, "that the public key"),
        (401, {"error": "invalid_client", "error_description": "key not\nfound"}, "(key not found)"),
        (
            400,
            {"error": "invalid_scope"},
            "set auth.scope to what is registered there; asked for was 'system/",
        ),
        (400, {"error": "unauthorized_client"}, "have it approved"),
        (400, {"error": "unsupported_grant_type"}, "backend system"),
        (400, {"error": "temporarily_unavailable"}, "documentation"),
        (404, None, "is it the token endpoint (auth.token_url)?"),
        (302, None, "is it the token endpoint (auth.token_url)?"),
        (200, {}, "without an access_token"),
        (200, {"access_token": "a\nb"}, "without an access_token"),
        (200, {"access_token": 7}, "without an access_token"),
        (200, {"access_token": "a", "token_type": "DPoP"}, "only Bearer is understood"),
    ],
)
def test_a_refusal_says_what_helps(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, status: int, body: Any, said: str
) -> None:
    accounts = Accounts(clock, ES384)
    accounts.stand()
    content = b"<html>no</html>" if body is None else json.dumps(body).encode()
    accounts.trouble = [httpx.Response(status, content=content)]
    assert said in refusal(clock, signed(monkeypatch, ES384))


@respx.mock
def test_a_key_of_another_kind_than_the_server_takes_is_named(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = Accounts(clock, RS384)
    accounts.stand(
        {"token_endpoint": TOKEN_URL, "token_endpoint_auth_signing_alg_values_supported": ["RS384"]}
    )
    said = refusal(clock, signed(monkeypatch, ES384))
    assert "it takes RS384 and our key is for ES384: fhir-coprod ehr keys surgery --rotate" in said


@respx.mock
def test_what_we_sent_is_never_repeated(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = Accounts(clock, ES384)
    accounts.stand()

    def echo(request: httpx.Request) -> httpx.Response:
        sent = dict(pair.split("=") for pair in request.content.decode().split("&"))["client_assertion"]
        return httpx.Response(400, json={"error": "invalid_client", "error_description": f"bad {sent}!"})

    respx.post(TOKEN_URL).mock(side_effect=echo)
    said = refusal(clock, signed(monkeypatch, ES384))
    assert "(bad …!)" in said
    assert "eyJ" not in said


@respx.mock
def test_an_authorization_server_that_is_down_is_no_refusal(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = Accounts(clock, ES384)
    accounts.stand()
    respx.post(TOKEN_URL).mock(side_effect=httpx.ConnectError("no"))
    (found,) = ask(clock, signed(monkeypatch, ES384))
    assert isinstance(found, EhrUnreachable)
    assert "https://login.example/oauth2/token" in found.message
