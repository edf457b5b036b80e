"""An EHR with an authorization server, which respx stands in for; it checks what it is sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import respx
from joserfc import jwt
from joserfc.jwk import KeySet

from fhir_coprod.accounts import SmartBackendAuth
from fhir_coprod.errors import EhrAnswer
from fhir_coprod.jsontext import Json
from fhir_coprod.sync.ehr import keys
from fhir_coprod.sync.ehr.client import EhrClient
from fhir_coprod.sync.ehr.sending import Answer
from tests.sync.ehr.asking import BASE, NOON, Clock, ehr

TOKEN_URL = "https://login.example/oauth2/token"
CLIENT = "coprod-1"
ES384 = keys.new("ES384")
OTHER = keys.new("ES384")
RS384 = keys.new("RS384")


class Accounts:
    """Gives tokens to who signs with a registered key, for as long as it says.

    ahead: seconds by which its clock is ahead of ours
    asked: the forms that came, with the claims and header of the assertion in place of it
    """

    def __init__(self, clock: Clock, *registered: keys.Key, lives: Any = 300, ahead: float = 0.0) -> None:
        self.clock = clock
        self.lives = lives
        self.ahead = ahead
        self.registered = registered
        self.tells_the_time = True
        self.asked: list[Json] = []
        self.tokens: set[str] = set()
        self.refused: Callable[[str], bool] = lambda token: token not in self.tokens
        self.trouble: list[httpx.Response] = []
        """Answers to the next requests for a token, in place of one."""
        self.served: list[str] = []
        """The tokens with which records were asked for."""

    def stand(self, config: Json | None = None) -> None:
        known = {"token_endpoint": TOKEN_URL} if config is None else config
        respx.get(f"{BASE}/.well-known/smart-configuration").respond(
            200 if known else 404, json=known, headers=self.date()
        )
        respx.post(TOKEN_URL).mock(side_effect=self.token)
        respx.get(f"{BASE}/Patient").mock(side_effect=self.records)

    def date(self) -> dict[str, str]:
        now = datetime.fromtimestamp(NOON + self.clock.now + self.ahead, UTC)
        return {"Date": format_datetime(now, usegmt=True)}

    def records(self, request: httpx.Request) -> httpx.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.served.append(token)
        return httpx.Response(401 if self.refused(token) else 200, json={"resourceType": "Bundle"})

    def token(self, request: httpx.Request) -> httpx.Response:
        form: Json = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        self.asked.append(form)
        if self.trouble:
            return self.trouble.pop(0)
        now = NOON + self.clock.now + self.ahead
        date = self.date() if self.tells_the_time else {}
        if self.registered and not self._is_signed(form, now):
            return httpx.Response(400, json={"error": "invalid_client"}, headers=date)
        given = f"token-{len(self.asked)}"
        self.tokens.add(given)
        answer = {
            "access_token": given,
            "token_type": "bearer",
            "expires_in": self.lives,
            "scope": form.get("scope", ""),
        }
        return httpx.Response(200, json=answer, headers=date)

    def _is_signed(self, form: Json, now: float) -> bool:
        public = KeySet.import_key_set(keys.jwk_set(self.registered))  # type: ignore[arg-type]
        try:
            token = jwt.decode(form.pop("client_assertion"), public, algorithms=["ES384", "RS384"])
        except Exception:  # noqa: BLE001 - whatever is wrong with it, it is refused
            return False
        form |= {"claims": token.claims, "header": token.header}
        claims = token.claims
        return (
            claims["iss"] == claims["sub"] == CLIENT
            and claims["aud"] == TOKEN_URL
            and claims["iat"] <= now
            and now < claims["exp"] <= now + 300
            and all(claims["jti"] != one["claims"]["jti"] for one in self.asked[:-1] if "claims" in one)
        )


def jwks_text(*held: keys.Key) -> str:
    return json.dumps({"keys": [key.as_dict(private=True) for key in held]})


KEYS = "EHR_KEYS"


def signed(monkeypatch: pytest.MonkeyPatch, *held: keys.Key, **more: Any) -> SmartBackendAuth:
    monkeypatch.setenv(KEYS, jwks_text(*held))
    return SmartBackendAuth(type="smart-backend", client_id=CLIENT, key_env=KEYS, **more)


def ask(
    clock: Clock, auth: Any, *, after: Sequence[float] = (0.0,), at_once: int = 1, **more: Any
) -> list[Answer | BaseException]:
    """The answers to requests that follow each other after so many seconds, some of them at once."""

    async def run() -> list[Answer | BaseException]:
        found: list[Answer | BaseException] = []
        async with EhrClient(ehr(auth=auth, **more), politeness=clock.politeness()) as client:
            for seconds in after:
                clock.now += seconds
                found += await asyncio.gather(
                    *(client.get("Patient") for _ in range(at_once)), return_exceptions=True
                )
        return found

    return asyncio.run(run())


def statuses(found: Sequence[Answer | BaseException]) -> list[int | str]:
    return [one.status if isinstance(one, Answer) else type(one).__name__ for one in found]


def refusal(clock: Clock, auth: Any, **more: Any) -> str:
    (found,) = ask(clock, auth, **more)
    assert isinstance(found, EhrAnswer), found
    return found.message
