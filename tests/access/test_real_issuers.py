"""Authorization servers that nobody here wrote give tokens, and the endpoint takes them."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod.access_settings import AccessSettings, IssuerSettings
from fhir_coprod.settings import Settings, StoreSettings
from fhir_coprod.store import Store
from tests.api.conftest import Api
from tests.peers import provider, registry
from tests.peers.authority import Realm, with_secret
from tests.peers.fixtures import NewStore

BASE = "http://localhost/fhir"


def endpoint(store: Store, folder: Path, **issuer: Any) -> Api:
    access = AccessSettings(issuer=(IssuerSettings(**issuer),), key_file=folder / "key")
    return Api(store, Settings(store=StoreSettings(url="sqlite://"), access=access))


def test_a_token_of_oidc_provider_is_taken(new_store: NewStore, tmp_path: Path) -> None:
    registry.require(provider.PEER)
    client = {
        "client_id": "dashboard",
        "client_secret": "not-so-secret",
        "grant_types": ["client_credentials"],
        "redirect_uris": [],
        "response_types": [],
    }
    scope = "system/Patient.rs system/Task.rs"
    resources = {
        BASE: {"scope": scope, "audience": BASE},
        "https://other.example": {"scope": scope, "audience": "https://other.example"},
    }
    with (
        provider.providing([client], resources=resources) as issuer,
        new_store("sqlite") as url,
        Store.open(url) as store,
    ):
        api = endpoint(store, tmp_path, issuer=issuer, audience=BASE)
        token = provider.access_token(issuer, "dashboard", "not-so-secret", "system/Patient.rs", BASE)
        assert api.get("Patient", authorization=f"Bearer {token}").status_code == 200
        (holder,) = api.gate._known.values()
        assert holder.rights.name == f"{issuer}|dashboard"
        assert [*map(str, holder.rights.scopes)] == ["system/Patient.rs"]
        other = provider.access_token(
            issuer, "dashboard", "not-so-secret", "system/Patient.rs", "https://other.example"
        )
        assert api.get("Patient", authorization=f"Bearer {other}").status_code == 401
        assert api.get("Patient").status_code == 401
        api.close()


@pytest.mark.proof
@pytest.mark.timeout(400)
def test_a_token_of_keycloak_is_taken(keycloak_url: str, new_store: NewStore, tmp_path: Path) -> None:
    realm = Realm(keycloak_url, ["system/Patient.rs"])
    client = with_secret("dashboard", "not-so-secret", ["system/Patient.rs"])
    audience = {
        "name": "audience",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": {"included.custom.audience": "coprod", "access.token.claim": "true"},
    }
    realm.create({**client, "protocolMappers": [audience]})
    form = {
        "grant_type": "client_credentials",
        "client_id": "dashboard",
        "client_secret": "not-so-secret",
        "scope": "system/Patient.rs",
    }
    request = urllib.request.Request(realm.token_url, data=urllib.parse.urlencode(form).encode())
    with urllib.request.urlopen(request, timeout=60) as answer:
        token = json.loads(answer.read())["access_token"]
    issuer = f"{keycloak_url}/realms/{realm.name}"
    with new_store("sqlite") as url, Store.open(url) as store:
        api = endpoint(store, tmp_path, issuer=issuer, audience="coprod")
        assert api.get("Patient", authorization=f"Bearer {token}").status_code == 200
        (holder,) = api.gate._known.values()
        assert holder.rights.name == f"{issuer}|dashboard"
        other = endpoint(store, tmp_path, issuer=issuer, audience="another")
        assert other.get("Patient", authorization=f"Bearer {token}").status_code == 401
        api.close()
        other.close()
