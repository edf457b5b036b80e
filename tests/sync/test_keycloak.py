"""Signing in with Keycloak: algorithms, secrets, tokens that end in mid-run, new keys, refusals, clocks."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.errors import JoseError

from fhir_coprod.accounts import ClientCredentialsAuth, SmartBackendAuth
from fhir_coprod.errors import EhrError
from fhir_coprod.settings import EhrSettings, Settings
from fhir_coprod.store import Store
from fhir_coprod.sync.ehr import keys
from fhir_coprod.sync.ehr.client import EhrClient
from fhir_coprod.sync.ehr.sending import Politeness
from fhir_coprod.sync.engine import run
from tests.peers.authority import Realm, signing, with_secret
from tests.sync.conftest import settings_for
from tests.sync.ehr.accounts import ES384, OTHER, RS384
from tests.sync.guarded import GuardedEhr
from tests.sync.records import organization, patient
from tests.sync.server import serving

# Keycloak takes half a minute to start.
pytestmark = [pytest.mark.proof, pytest.mark.timeout(400)]

TYPES = ("Organization", "Patient", "ServiceRequest", "Task", "Communication")
SCOPES = [f"system/{type}.read" for type in TYPES]
SECRET = "a:b/c d%+&="


def a_realm(keycloak: str, *registered: keys.Key, lives: int = 300) -> Realm:
    jwks = keys.jwk_set(registered or [ES384])
    return Realm(keycloak, SCOPES, lives=lives).create(
        signing("es", "ES384", jwks, SCOPES),
        signing("rs", "RS384", keys.jwk_set([RS384]), SCOPES),
        signing("narrow", "ES384", jwks, SCOPES[:1]),
        with_secret("secret", SECRET, SCOPES),
    )


@pytest.fixture(scope="module")
def realm(keycloak_url: str) -> Realm:
    return a_realm(keycloak_url)


def guarded(realm: Realm, **more: Any) -> GuardedEhr:
    """An EHR that checks each token by Keycloak's public keys, as to who gave it and whether it is over."""
    public = realm.key_set()
    issuer = realm.token_url.partition("/protocol/")[0]

    def accepts(token: str) -> bool:
        try:
            claims = jwt.decode(token, public, algorithms=["RS256"]).claims
        except (JoseError, ValueError):
            return False
        return bool(claims["iss"] == issuer and time.time() < claims["exp"])

    ehr = GuardedEhr(token_url=realm.token_url, accepts=accepts, **more)
    ehr.load(organization("care", "GP"), patient("p", "19700102"))
    return ehr


@pytest.fixture
def held(tmp_path: Path) -> Callable[..., SmartBackendAuth]:
    """Settings of a client that holds these keys."""

    def made(client_id: str, *own: keys.Key, **more: Any) -> SmartBackendAuth:
        file = tmp_path / f"{client_id}.pem"
        keys.write(file, own)
        return SmartBackendAuth(type="smart-backend", client_id=client_id, key_file=file, **more)

    return made


Held = Callable[..., SmartBackendAuth]


def asked(ehr: GuardedEhr, auth: Any, **more: Any) -> str:
    """What we are signed in by, after a record was read; or the sentence that says why we are not."""

    async def ask() -> str:
        settings = EhrSettings(name="ward", url=ehr.url, auth=auth, types=TYPES)
        async with EhrClient(settings, politeness=Politeness(attempts=1, **more)) as client:
            try:
                answer = await client.get("Patient/p")
                access = await client.access()
            except EhrError as error:
                return error.message
            assert answer.status == 200
            assert access.lacking == ()
            return access.words

    return asyncio.run(ask())


def signed_in(store: Store, auth: Any, ehr: GuardedEhr) -> Settings:
    made = settings_for(care=ehr)
    (only,) = made.ehr
    return made.model_copy(update={"ehr": (only.model_copy(update={"auth": auth}),)})


@pytest.mark.parametrize(("client_id", "key"), [("rs", RS384), ("es", ES384)], ids=["RS384", "ES384"])
def test_an_assertion_by_each_algorithm_gets_a_token_for_the_types_that_we_read(
    realm: Realm, held: Held, client_id: str, key: keys.Key
) -> None:
    ehr = guarded(realm)
    with serving(ehr):
        assert f"with the key {key.thumbprint()}" in asked(ehr, held(client_id, key))
    (token,) = ehr.tokens
    claims = jwt.decode(token, realm.key_set(), algorithms=["RS256"]).claims
    assert set(claims["scope"].split()) == set(SCOPES)
    assert claims["azp"] == client_id


@pytest.mark.parametrize("place", ["", "header", "body"])
def test_a_secret_with_odd_characters_gets_a_token_in_header_and_in_body(
    realm: Realm, monkeypatch: pytest.MonkeyPatch, place: Any
) -> None:
    monkeypatch.setenv("WARD_SECRET", SECRET)
    auth = ClientCredentialsAuth(
        type="client-credentials", client_id="secret", secret_env="WARD_SECRET", secret_in=place
    )
    ehr = guarded(realm)
    with serving(ehr):
        assert asked(ehr, auth).startswith("a token of")


# --- refusals -------------------------------------------------------------------------------------


def test_a_refusal_says_what_to_look_at(realm: Realm, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARD_SECRET", "wrong")
    wrong = ClientCredentialsAuth(type="client-credentials", client_id="secret", secret_env="WARD_SECRET")
    ehr = guarded(realm)
    with serving(ehr):
        unknown = asked(ehr, held("nobody", ES384))
        other_key = asked(ehr, held("es", OTHER))
        other_kind = asked(ehr, held("es", RS384))
        scope = asked(ehr, held("narrow", ES384))
        secret = asked(ehr, wrong)
    for said, key in ((unknown, ES384), (other_key, OTHER), (other_kind, RS384)):
        assert f"ward: no token from {realm.token_url}: invalid_client (" in said
        assert f"check client_id, and that the public key {key.thumbprint()} is registered there" in said
    assert "invalid_scope" in scope
    assert "set auth.scope to what is registered there; asked for was 'system/Organization.read " in scope
    assert "check client_id, the secret, and how it is sent (auth.secret_in)" in secret
    assert ehr.tokens == []


@pytest.mark.parametrize("wrong", [-3600.0, 3600.0], ids=["behind", "ahead"])
def test_an_hour_between_the_clocks_does_not_keep_us_out(realm: Realm, held: Held, wrong: float) -> None:
    ehr = guarded(realm)
    with serving(ehr):
        said = asked(ehr, held("es", ES384), wall_clock=lambda: time.time() + wrong)
        refused = asked(ehr, held("es", OTHER), wall_clock=lambda: time.time() + wrong)
    assert said.startswith("a token of")
    side = "ahead of" if wrong > 0 else "behind"
    assert re.search(rf"our clock is (3599|3600|3601) seconds {side} the server's: set it right", refused)
    assert f"check client_id, and that the public key {OTHER.thumbprint()}" in refused


# --- while a sync goes on -------------------------------------------------------------------------

MANY = 24


def long_lasting(realm: Realm) -> GuardedEhr:
    """One whose sync takes longer than its tokens are good for."""
    ehr = guarded(realm, page_size=1, delay=0.25)
    for number in range(MANY):
        ehr.put(patient(f"p{number}", f"1970{number % 12 + 1:02}02"))
    return ehr


def test_a_sync_goes_on_when_its_tokens_end(keycloak_url: str, store: Store, held: Held) -> None:
    realm = a_realm(keycloak_url, lives=3)
    ehr = long_lasting(realm)
    with serving(ehr):
        (report,) = run(store, signed_in(store, held("es", ES384), ehr))
    assert report.ok, report.faults
    assert report.counts["Patient"].created == MANY + 1
    assert len(ehr.tokens) >= 3
    assert ehr.refused <= 1, "they are renewed before they end"


def test_a_key_is_replaced_at_the_ehr_while_a_sync_goes_on(
    keycloak_url: str, store: Store, held: Held
) -> None:
    """Ours are the new one and the old one; the EHR knows the old one, then the new one only."""
    realm = a_realm(keycloak_url, OTHER, lives=3)
    ehr = long_lasting(realm)
    auth = held("es", ES384, OTHER)
    registered = threading.Event()

    def register() -> None:
        while not ehr.tokens:
            time.sleep(0.05)
        realm.change("es", **{"jwks.string": json.dumps(keys.jwk_set([ES384]))})
        registered.set()

    with serving(ehr):
        person = threading.Thread(target=register)
        person.start()
        (report,) = run(store, signed_in(store, auth, ehr))
        person.join()
    assert registered.is_set()
    assert report.ok, report.faults
    assert report.counts["Patient"].created == MANY + 1
    assert len(ehr.tokens) >= 3
    with serving(ehr):
        assert f"with the key {ES384.thumbprint()}" in asked(ehr, held("es", ES384))
        assert "no token from" in asked(ehr, held("es", OTHER))
