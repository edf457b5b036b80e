"""Keycloak: an authorization server that nobody here wrote, which gives tokens to those who sign in.

One process serves the run. A test has a realm of its own there, with the clients that it names, and can
change them while it goes on.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.peers.registry import Peer, register
from tests.peers.shared import PeerFailed, Run, answers, free_port

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

Json = dict[str, Any]

_FOLDER = Path(__file__).parent / "keycloak"
_ADMINISTRATOR = "tests"


def _version() -> str:
    match = re.search(r"<keycloak.version>(.+?)</keycloak.version>", (_FOLDER / "pom.xml").read_text())
    return match[1] if match else ""


def home() -> Path:
    return _FOLDER / "target" / f"keycloak-{_version()}"


def _found() -> str | None:
    return _version() if (home() / "bin" / "kc.sh").exists() and shutil.which("java") else None


PEER = register(Peer("Keycloak", _found, "run: python scripts/install_peers.py"))


def command(port: int) -> list[str]:
    """How it is started, with its data in memory."""
    kc = str(home() / "bin" / "kc.sh")
    return [kc, "start-dev", "--http-host=127.0.0.1", f"--http-port={port}", "--db=dev-mem"]


ENVIRONMENT = {
    "KC_BOOTSTRAP_ADMIN_USERNAME": _ADMINISTRATOR,
    "KC_BOOTSTRAP_ADMIN_PASSWORD": _ADMINISTRATOR,
    "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1",
}


def is_ready(url: str) -> bool:
    return answers(f"{url}/realms/master/.well-known/openid-configuration")


def start(run: Run) -> dict[str, str]:
    """Start Keycloak; returns its `url`."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    guard = run.spawn("keycloak", command(port), env=ENVIRONMENT)
    run.wait_until("keycloak", guard, lambda: is_ready(url), 240)
    return {"url": url}


@dataclass
class Realm:
    """One realm of a Keycloak.

    lives: seconds for which its tokens are good
    """

    keycloak: str
    scopes: Sequence[str]
    lives: int = 300
    name: str = field(default_factory=lambda: f"r{random.randrange(2**63):x}")

    def create(self, *clients: Json) -> Realm:
        named = [{"name": scope, "protocol": "openid-connect"} for scope in self.scopes]
        shown = {"attributes": {"include.in.token.scope": "true"}}
        realm = {
            "realm": self.name,
            "enabled": True,
            "accessTokenLifespan": self.lives,
            # Without the key, Keycloak makes those of its own: profile, basic, acr and others.
            **({"clientScopes": [{**scope, **shown} for scope in named]} if named else {}),
            "clients": list(clients),
        }
        self._administer("POST", "/admin/realms", realm)
        return self

    def add_person(self, user: str, password: str, first: str, last: str, **more: Any) -> str:
        """Somebody who can sign in; returns their subject. more: realmRoles, attributes."""
        person = {
            "username": user,
            "enabled": True,
            "emailVerified": True,
            "email": f"{user}@hospital.example",
            "firstName": first,
            "lastName": last,
            "credentials": [{"type": "password", "value": password, "temporary": False}],
        }
        users = f"/admin/realms/{self.name}/users"
        self._administer("POST", users, person)
        (held,) = self._administer("GET", f"{users}?exact=true&username={user}")
        for role in more.get("roles", ()):
            roles = f"/admin/realms/{self.name}/roles"
            if role not in {one["name"] for one in self._administer("GET", roles)}:
                self._administer("POST", roles, {"name": role})
            named = self._administer("GET", f"{roles}/{role}")
            self._administer("POST", f"{users}/{held['id']}/role-mappings/realm", [named])
        return str(held["id"])

    @property
    def issuer(self) -> str:
        return f"{self.keycloak}/realms/{self.name}"

    @property
    def token_url(self) -> str:
        return f"{self.keycloak}/realms/{self.name}/protocol/openid-connect/token"

    def key_set(self) -> KeySet:
        """The public keys by which its tokens are checked."""
        from joserfc.jwk import KeySet  # here, so that scripts/install_peers.py can read the peers without it

        with urllib.request.urlopen(self.token_url.removesuffix("token") + "certs", timeout=60) as response:
            return KeySet.import_key_set(json.load(response))

    def change(self, client_id: str, **attributes: str) -> None:
        """Change attributes of a client, as an administrator does."""
        path = f"/admin/realms/{self.name}/clients"
        (client,) = self._administer("GET", f"{path}?clientId={urllib.parse.quote(client_id)}")
        client["attributes"] |= attributes
        self._administer("PUT", f"{path}/{client['id']}", client)

    def _administer(self, method: str, path: str, body: object = None) -> Any:
        form = {
            "grant_type": "password",
            "client_id": "admin-cli",
            "username": _ADMINISTRATOR,
            "password": _ADMINISTRATOR,
        }
        login = f"{self.keycloak}/realms/master/protocol/openid-connect/token"
        token = _asked("POST", login, urllib.parse.urlencode(form).encode())["access_token"]
        content = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return _asked(method, self.keycloak + path, content, headers)


def signing(client_id: str, algorithm: str, jwks: Json, scopes: Sequence[str]) -> Json:
    """A client that signs its assertions with one of these keys."""
    attributes = {
        "use.jwks.string": "true",
        "jwks.string": json.dumps(jwks),
        "token.endpoint.auth.signing.alg": algorithm,
    }
    return {**_client(client_id, scopes), "clientAuthenticatorType": "client-jwt", "attributes": attributes}


def with_secret(client_id: str, secret: str, scopes: Sequence[str]) -> Json:
    """A client that has a secret."""
    return {**_client(client_id, scopes), "clientAuthenticatorType": "client-secret", "secret": secret}


def for_people(client_id: str, secret: str, home: str) -> Json:
    """A client at which people sign in with a code, and whose id token names their roles."""
    return {
        **_client(client_id, ()),
        "clientAuthenticatorType": "client-secret",
        "secret": secret,
        "standardFlowEnabled": True,
        "serviceAccountsEnabled": False,
        "redirectUris": [f"{home}/sign-in/answer"],
        "defaultClientScopes": ["basic", "profile", "acr"],
        "attributes": {
            "pkce.code.challenge.method": "S256",
            "post.logout.redirect.uris": f"{home}/signed-out",
        },
        "protocolMappers": [
            {
                "name": "roles",
                "protocol": "openid-connect",
                "protocolMapper": "oidc-usermodel-realm-role-mapper",
                "config": {
                    "claim.name": "roles",
                    "multivalued": "true",
                    "jsonType.label": "String",
                    "id.token.claim": "true",
                },
            }
        ],
    }


def _client(client_id: str, scopes: Sequence[str]) -> Json:
    return {
        "clientId": client_id,
        "enabled": True,
        "protocol": "openid-connect",
        "publicClient": False,
        "standardFlowEnabled": False,
        "serviceAccountsEnabled": True,
        "defaultClientScopes": [],
        "optionalClientScopes": list(scopes),
    }


def _asked(method: str, url: str, body: bytes | None, headers: Mapping[str, str] | None = None) -> Any:
    request = urllib.request.Request(url, data=body, headers=dict(headers or {}), method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            raise PeerFailed(
                f"{method} {url}: {error.code} {error.read().decode(errors='replace')}"
            ) from None
