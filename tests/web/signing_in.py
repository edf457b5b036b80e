"""A provider that tests make say what they like, and a browser that signs in there."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import anyio
import httpx
import respx
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.applications import Starlette

from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.web import routes
from fhir_coprod.web.door import Entrance, nobody_minds
from tests.watch.hospital import DAY, Hospital

HOME = "https://coprod.example"
ISSUER = "https://login.example/realm"
CLIENT = "coprod"
SIGN_IN: dict[str, Any] = {
    "issuer": ISSUER,
    "client_id": CLIENT,
    "roles_claim": "roles",
    "departments_claim": "groups",
    "departments": {"ortho": "Organization/ortho", "gyn": "Organization/gyn", "all": "*"},
    "patient_claim": "patient",
}
ROLES: dict[str, Any] = {
    "coordinator": {
        "scopes": ["user/*.rs", "user/Task.u", "user/Patient.u", "user/Communication.c"],
        "cleared": [],
    },
    "reader": {"scopes": ["user/*.rs"]},
}


def settings(roles: dict[str, Any] | None = None, **sign_in: Any) -> Settings:
    return Settings(
        site={"timezone": "Europe/Stockholm", "base_url": f"{HOME}/fhir"},
        access={"sign_in": SIGN_IN | sign_in, "roles": ROLES if roles is None else roles},
    )


def fill(store: Store) -> None:
    """One referral to orthopaedics and one to gynaecology, both late, and the alerts about them."""
    hospital = Hospital(store)
    long_ago = datetime.now(UTC) - 40 * DAY
    hospital.put(
        {"resourceType": "Organization", "id": "ortho", "name": "Orthopaedics"},
        {"resourceType": "Organization", "id": "gyn", "name": "Gynaecology"},
        {"resourceType": "Patient", "id": "of-late", "name": [{"text": "Anna Berg"}]},
        {"resourceType": "Patient", "id": "of-other", "name": [{"text": "Bo Kvist"}]},
    )
    hospital.refer("late", authored=long_ago, code={"text": "Knee"})
    hospital.refer("other", authored=long_ago, code={"text": "Womb"})
    hospital.task("other", "requested", long_ago, owner={"reference": "Organization/gyn"})
    hospital.sweep(datetime.now(UTC))


@dataclass
class Issuer:
    """The provider: honest, unless a test tells it otherwise.

    claims: what it says beside what every id token says
    header: of its id tokens
    about:  what its discovery document says otherwise
    """

    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "k1"}))
    use: str = "sig"
    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=lambda: {"alg": "ES256", "kid": "k1"})
    about: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    nonces: dict[str, str] = field(default_factory=dict)
    challenges: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    asked: list[dict[str, str]] = field(default_factory=list)

    def token(self, nonce: str) -> str:
        now = int(time.time())
        said = {
            "iss": ISSUER,
            "sub": "s-1",
            "aud": CLIENT,
            "nonce": nonce,
            "iat": now,
            "exp": now + 60,
            "auth_time": now,
            "name": "Karin Sand",
            **self.claims,
        }
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(self.header, said, self.key, algorithms=[self.header["alg"]])

    @contextmanager
    def there(self) -> Iterator[respx.MockRouter]:
        """The provider answers until the block ends."""
        with respx.mock(assert_all_called=False) as router:
            router.get(f"{ISSUER}/.well-known/openid-configuration").mock(side_effect=self._about)
            router.get(f"{ISSUER}/keys").mock(side_effect=self._keys)
            router.post(f"{ISSUER}/token").mock(side_effect=self._token)
            yield router

    def _about(self, _: httpx.Request) -> httpx.Response:
        about = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/auth",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
            "end_session_endpoint": f"{ISSUER}/logout",
            "code_challenge_methods_supported": ["plain", "S256"],
            **self.about,
        }
        return httpx.Response(200, json=about)

    def _keys(self, _: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"keys": [{**self.key.as_dict(private=False), "use": self.use}]})

    def _token(self, request: httpx.Request) -> httpx.Response:
        asked = dict(parse_qsl(request.content.decode()))
        self.asked.append(asked)
        code = asked["code"]
        proven = base64.urlsafe_b64encode(hashlib.sha256(asked["code_verifier"].encode()).digest())
        is_fit = proven.rstrip(b"=").decode() == self.challenges.get(code)
        if code in self.used or not is_fit or asked["redirect_uri"] != f"{HOME}/sign-in/answer":
            return httpx.Response(400, json={"error": "invalid_grant"})
        self.used.add(code)
        said = {"access_token": "at", "id_token": self.token(self.nonces[code]), **self.answer}
        return httpx.Response(200, json=said)

    def code(self, way_in: str) -> tuple[str, str]:
        """The code for somebody who was sent to this address, and the state that goes back with it."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(way_in).query).items()}
        code = f"code{len(self.nonces)}"
        self.nonces[code], self.challenges[code] = asked["nonce"], asked["code_challenge"]
        return code, asked["state"]


@dataclass
class Visit:
    """One browser, with its cookies."""

    store: Store
    settings: Settings
    issuer: Issuer = field(default_factory=Issuer)
    cookies: dict[str, str] = field(default_factory=dict)
    host: str = HOME
    address: str = "192.0.2.7"
    entrance: Entrance = nobody_minds
    real: bool = False
    """Whether the provider is a real one."""

    def ask(self, path: str, form: dict[str, str] | None = None, **headers: str) -> httpx.Response:
        async def go() -> httpx.Response:
            application = Starlette(routes=routes(self.store, self.settings, entrance=self.entrance))
            transport = httpx.ASGITransport(application, client=(self.address, 50_000))
            cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            sent = ({"cookie": cookie} if cookie else {}) | headers
            async with httpx.AsyncClient(transport=transport, base_url=self.host) as client:
                if form is None:
                    return await client.get(path, headers=sent)
                return await client.post(path, data=form, headers=sent)

        with nullcontext() if self.real else self.issuer.there():
            answer = anyio.run(go)
        for line in answer.headers.get_list("set-cookie"):
            name, _, rest = line.partition("=")
            value = rest.partition(";")[0]
            self.cookies.pop(name, None)
            if value:
                self.cookies[name] = value
        return answer

    def begin(self, to: str = "/", more: str = "") -> tuple[str, str]:
        """Go to the provider; returns the code that it gives, and the state."""
        return self.issuer.code(self.ask(f"/sign-in?to={to}{more}").headers["location"])

    def sign_in(self, to: str = "/", more: str = "") -> httpx.Response:
        code, state = self.begin(to, more)
        return self.ask(f"/sign-in/answer?code={code}&state={state}")

    def token(self, path: str) -> str:
        """What a form on a page brings."""
        found = re.search(r'name="token" value="(\w+)"', self.ask(path).text)
        assert found
        return found[1]

    def send(self, path: str, form: dict[str, str], **headers: str) -> httpx.Response:
        """Send a form of ours, with the token that it has."""
        return self.ask(path, {**form, "token": self.token("/")}, **headers)

    @property
    def session(self) -> str:
        return self.cookies.get("__Host-coprod", "")
