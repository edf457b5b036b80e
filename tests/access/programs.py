"""A program that signs in, honestly or not: its keys, its assertions, and the server that it talks to."""

from __future__ import annotations

import base64
import json
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from fhir_coprod.access import clients
from fhir_coprod.store import Store
from tests.api.conftest import Api

Json = dict[str, Any]
TOKEN_URL = "http://localhost/auth/token"
BASE = "http://localhost/fhir"
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
RSA = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-384")


def jwk_set(*keys: RSAKey | ECKey, **more: Any) -> str:
    return json.dumps(
        {"keys": [{**key.as_dict(private=False), "kid": key.thumbprint(), **more} for key in keys]}
    )


def part(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def signed(header: Json | bytes, claims: Json | bytes, key: Any) -> str:
    """Signed by the algorithm of the header, or by the key's own if the header is raw."""
    alg = header["alg"] if isinstance(header, dict) else ("ES384" if isinstance(key, ECKey) else "RS384")
    head, body = part(header), part(claims)
    signature = jws.JWSRegistry(algorithms=[alg]).get_alg(alg).sign(f"{head}.{body}".encode(), key)
    return f"{head}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


@dataclass
class Program:
    """A registered client.

    api: the server, in this process
    """

    api: Api
    name: str
    key: RSAKey | ECKey = field(repr=False, default_factory=lambda: EC)

    @property
    def header(self) -> Json:
        alg = "ES384" if isinstance(self.key, ECKey) else "RS384"
        return {"alg": alg, "typ": "JWT", "kid": self.key.thumbprint()}

    @property
    def claims(self) -> Json:
        now = int(time.time())
        return {
            "iss": self.name,
            "sub": self.name,
            "aud": TOKEN_URL,
            "jti": str(uuid.uuid4()),
            "iat": now,
            "exp": now + 240,
        }

    def assertion(self, header: Json | None = None, **claims: Any) -> str:
        """An honest one but for what is given; None leaves a claim out."""
        said = {name: value for name, value in {**self.claims, **claims}.items() if value is not None}
        return signed({**self.header, **(header or {})}, said, self.key)

    def asks(self, assertion: str = "", scope: str | None = "system/*.rs", **form: str) -> httpx.Response:
        """POST /auth/token."""
        fields = {
            "grant_type": "client_credentials",
            "client_assertion_type": TYPE,
            "client_assertion": assertion or self.assertion(),
            **({} if scope is None else {"scope": scope}),
            **form,
        }
        return self.api.request("POST", TOKEN_URL, data=fields)

    def token(self, scope: str | None = "system/*.rs") -> str:
        answer = self.asks(scope=scope)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def get(self, url: str, token: str = "") -> httpx.Response:
        return self.api.get(url, authorization=f"Bearer {token or self.token()}")


def register(store: Store, *scopes: str, key: RSAKey | ECKey = EC, name: str = "", jwks_url: str = "") -> str:
    """Register a program; returns its name."""
    name = name or f"p{uuid.uuid4().hex[:12]}"
    jwks = "" if jwks_url else jwk_set(key)
    given = list(scopes or ("system/*.rs",))
    clients.add(store, name, given, jwks_url=jwks_url, jwks=jwks, per_minute=0, now=datetime.now(UTC))
    return name
