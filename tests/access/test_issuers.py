"""Keys by address, and tokens of authorization servers of others."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from fhir_coprod.access.fetched import AGAIN, FRESH, STALE, FetchedKeys, require
from fhir_coprod.access.issuers import Issuers
from fhir_coprod.access.tokens import Holder
from fhir_coprod.access.words import Untrusted, read
from fhir_coprod.access_settings import AccessSettings, IssuerSettings
from fhir_coprod.errors import BadRequest, ConfigError, IssuerError
from fhir_coprod.settings import Settings, StoreSettings
from fhir_coprod.store import Store
from tests.access.keyserver import KeyServer, key_server
from tests.access.programs import EC, RSA, Json, Program, jwk_set, register, signed
from tests.api.conftest import Api
from tests.peers.fixtures import NewStore

ISSUER = "https://login.example/realms/care"


@pytest.fixture
def keys_at() -> Iterator[KeyServer]:
    with key_server() as server:
        yield server


# ------------------------------------------------------------------------------------ keys by address


def test_a_programs_keys_rotate_at_their_address(sqlite_guarded: Api, keys_at: KeyServer) -> None:
    new = ECKey.generate_key("P-384")
    keys_at.body = jwk_set(EC).encode()
    name = register(sqlite_guarded.store, jwks_url=keys_at.url)
    old_program, new_program = Program(sqlite_guarded, name), Program(sqlite_guarded, name, new)
    assert old_program.asks().status_code == 200
    assert new_program.asks().status_code == 400
    keys_at.body = jwk_set(EC, new).encode()
    assert new_program.asks().status_code == 400, "not asked again within a minute"
    assert len(keys_at.asked) == 1
    later(sqlite_guarded, AGAIN + 1)
    assert new_program.asks().status_code == 200, "an unknown key is looked for"
    assert old_program.asks().status_code == 200, "both, while it rotates"
    keys_at.body = jwk_set(new).encode()
    later(sqlite_guarded, AGAIN + FRESH + 2)
    assert new_program.asks().status_code == 200
    assert old_program.asks().status_code == 400, "the old one has gone"


def later(api: Api, seconds: float) -> None:
    api.gate.fetched._clock = lambda: time.monotonic() + seconds


@pytest.fixture
def sqlite_guarded(new_store: NewStore, tmp_path: Path) -> Iterator[Api]:
    with new_store("sqlite") as url, Store.open(url) as store:
        access = AccessSettings(key_file=tmp_path / "key.json")
        api = Api(store, Settings(store=StoreSettings(url="sqlite://"), access=access))
        yield api
        api.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://keys.example/jwks.json", "https"),
        ("ftp://keys.example/jwks.json", "https"),
        ("file:///etc/passwd", "https"),
        ("https://user:secret@keys.example/jwks.json", "https"),
        ("http://127.0.0.1.keys.example/jwks.json", "https"),
    ],
)
def test_keys_come_by_https_only(url: str, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        require(url, "--jwks")


def test_an_answer_that_is_no_set_of_keys_is_refused(keys_at: KeyServer) -> None:
    for body, status, headers in (
        (b"a" * 300_000, 200, {}),
        (b"<html>", 200, {}),
        (b"", 404, {}),
        (b"", 302, {"Location": keys_at.url + "?again"}),
        (json.dumps({"keys": [EC.as_dict(private=True)]}).encode(), 200, {}),
    ):
        keys_at.body, keys_at.status, keys_at.headers = body, status, headers
        with pytest.raises((IssuerError, BadRequest)):
            require(keys_at.url, "--jwks")
    assert all("again" not in path for path in keys_at.asked), "no redirect is followed"


def test_keys_outlive_a_server_that_is_down_for_a_day_and_no_longer(keys_at: KeyServer) -> None:
    passed = [0.0]
    fetched = FetchedKeys(lambda: passed[0])
    keys_at.body = jwk_set(EC).encode()
    kid = EC.thumbprint()
    assert fetched.keys(keys_at.url, kid, "it")
    keys_at.status = 500
    passed[0] = FRESH + 1
    assert fetched.keys(keys_at.url, kid, "it")
    passed[0] = STALE + 1
    with pytest.raises(IssuerError):
        fetched.keys(keys_at.url, kid, "it")


# --------------------------------------------------------------------------------- tokens of others


def trusted(keys_at: KeyServer, **more: Any) -> Issuers:
    keys_at.body = jwk_set(EC, RSA).encode()
    said = {"issuer": ISSUER, "audience": "coprod", "jwks_url": keys_at.url, **more}
    return Issuers([IssuerSettings.model_validate(said)])


def said(**claims: Any) -> Json:
    now = int(time.time())
    whole = {
        "iss": ISSUER,
        "aud": ["account", "coprod"],
        "sub": "u1",
        "azp": "dashboard",
        "iat": now,
        "exp": now + 300,
        "scope": "openid system/Patient.rs",
        **claims,
    }
    return {name: value for name, value in whole.items() if value is not None}


def token(key: RSAKey | ECKey = EC, header: Json | None = None, **claims: Any) -> str:
    alg = "ES384" if isinstance(key, ECKey) else "RS384"
    return signed({"alg": alg, "typ": "JWT", "kid": key.thumbprint(), **(header or {})}, said(**claims), key)


def held(issuers: Issuers, text: str) -> Holder:
    return issuers.holder(read(text), time.time())


def test_a_token_of_an_issuer_says_which_program_calls(keys_at: KeyServer) -> None:
    rights = held(trusted(keys_at), token()).rights
    assert (rights.kind, rights.name, [*map(str, rights.scopes)]) == (
        "program",
        f"{ISSUER}|dashboard",
        ["system/Patient.rs"],
    )


def test_a_token_of_an_issuer_says_which_person_and_which_departments(keys_at: KeyServer) -> None:
    issuers = trusted(
        keys_at,
        departments_claim="groups",
        departments={"/ortho": "Organization/orthopaedics"},
        roles_claim="realm_access.roles",
        roles={"coordinator": ["user/Task.cu"]},
    )
    rights = held(
        issuers,
        token(
            scope="openid user/*.rs",
            groups=["/ortho", "/admins"],
            realm_access={"roles": ["coordinator", "offline_access"]},
        ),
    ).rights
    assert (rights.kind, rights.name) == ("person", f"{ISSUER}|u1")
    assert rights.departments == ("Organization/orthopaedics",)
    assert [*map(str, rights.scopes)] == ["user/*.rs", "user/Task.cu"]
    assert held(issuers, token(scope="user/*.rs")).rights.departments == ()


def test_a_token_of_an_issuer_says_which_patient(keys_at: KeyServer) -> None:
    issuers = trusted(keys_at)
    rights = held(issuers, token(scope="launch/patient patient/*.rs", patient="p-1")).rights
    assert (rights.kind, rights.patient) == ("patient", "p-1")


UNFIT: dict[str, Callable[[], str]] = {
    "another issuer": lambda: token(iss="https://login.example/realms/other"),
    "another audience": lambda: token(aud="account"),
    "no audience": lambda: token(aud=None),
    "expired": lambda: token(exp=int(time.time()) - 60),
    "no end": lambda: token(exp=None),
    "a month long": lambda: token(exp=int(time.time()) + 30 * 86_400),
    "not yet": lambda: token(nbf=int(time.time()) + 300),
    "by a stranger": lambda: token(ECKey.generate_key("P-384"), {"kid": EC.thumbprint()}),
    "kid of the other key": lambda: token(RSA, {"kid": EC.thumbprint()}),
    "no kid": lambda: token(header={"kid": ""}),
    "id token": lambda: token(nonce="n"),
    "id token of Keycloak": lambda: token(typ="ID"),
    "refresh token of Keycloak": lambda: token(typ="Refresh"),
    "logout token": lambda: token(header={"typ": "logout+jwt"}),
    "mixed scopes": lambda: token(scope="system/*.rs user/*.rs"),
    "no scope": lambda: token(scope="openid profile"),
    "scopes of nonsense": lambda: token(scope="system/Nope.rs System/*.rs"),
    "a patient unnamed": lambda: token(scope="patient/*.rs"),
    "several patients": lambda: token(scope="patient/*.rs", patient=["a", "b"]),
    "a patient by path": lambda: token(scope="patient/*.rs", patient="../Patient/a"),
    "nobody": lambda: token(sub=None),
}


@pytest.mark.parametrize("unfit", UNFIT.values(), ids=UNFIT)
def test_tokens_of_issuers_that_do_not_hold(keys_at: KeyServer, unfit: Callable[[], str]) -> None:
    issuers = trusted(keys_at)
    with pytest.raises(Untrusted):
        held(issuers, unfit())
    assert held(issuers, token()).rights.kind == "program", "the honest one"


@pytest.mark.parametrize("scopes", [["user/Taks.cu"], ["user/*.rs", "system/*.rs"], ["everything"]])
def test_a_role_whose_scopes_nobody_could_have_is_a_mistake_in_the_settings(
    keys_at: KeyServer, scopes: list[str]
) -> None:
    with pytest.raises(ConfigError, match=r"roles\.coordinator"):
        trusted(keys_at, roles_claim="roles", roles={"coordinator": scopes})


def test_an_algorithm_that_is_not_allowed_and_a_scope_that_is_required(keys_at: KeyServer) -> None:
    issuers = trusted(keys_at, algorithms=["RS384"], required_scope="coprod")
    with pytest.raises(Untrusted, match="does not hold"):
        held(issuers, token(scope="coprod system/*.rs"))
    with pytest.raises(Untrusted):
        held(issuers, token(RSA))
    assert held(issuers, token(RSA, scope="coprod system/*.rs")).rights.kind == "program"


def test_a_discovery_document_has_to_name_itself(keys_at: KeyServer) -> None:
    base = keys_at.url.removesuffix("/jwks.json")
    issuers = Issuers([IssuerSettings(issuer=base, audience="coprod")])
    keys_at.body = json.dumps({"issuer": ISSUER, "jwks_uri": keys_at.url}).encode()
    with pytest.raises(Untrusted) as refused:
        held(issuers, token(iss=base))
    assert "does not name itself" in refused.value.reason
    keys_at.body = json.dumps({"issuer": base, "jwks_uri": "http://keys.example/"}).encode()
    with pytest.raises(Untrusted) as refused:
        held(issuers, token(iss=base))
    assert "no https address" in refused.value.reason


def test_the_endpoint_takes_tokens_of_an_issuer_and_asks_everybody_then(
    new_store: NewStore, keys_at: KeyServer, tmp_path: Path
) -> None:
    keys_at.body = jwk_set(EC).encode()
    issuer = IssuerSettings(issuer=ISSUER, audience="coprod", jwks_url=keys_at.url)
    access = AccessSettings(issuer=(issuer,), key_file=tmp_path / "k")
    with new_store("sqlite") as url, Store.open(url) as store:
        api = Api(store, Settings(store=StoreSettings(url="sqlite://"), access=access))
        assert api.get("Patient").status_code == 401
        assert api.get("Patient", authorization=f"Bearer {token()}").status_code == 200
        assert api.get("Patient", authorization=f"Bearer {token(aud='x')}").status_code == 401
        config = api.get(".well-known/smart-configuration").json()
        assert "token_endpoint" not in config, "nobody could get a token from us"
        assert config["issuer"] == ISSUER
        api.close()


def test_a_token_opens_no_page_and_one_of_a_person_no_metrics(
    new_store: NewStore, keys_at: KeyServer, tmp_path: Path
) -> None:
    keys_at.body = jwk_set(EC).encode()
    issuer = IssuerSettings(issuer=ISSUER, audience="coprod", jwks_url=keys_at.url)
    access = AccessSettings(issuer=(issuer,), key_file=tmp_path / "k", metrics="token")
    person, patient, program = (
        f"Bearer {token(scope=scope, patient='p-1')}"
        for scope in ("user/*.rs", "patient/*.rs", "system/*.rs")
    )
    with new_store("sqlite") as url, Store.open(url) as store:
        api = Api(store, Settings(store=StoreSettings(url="sqlite://"), access=access))
        for path in ("/", "/operations", "/people"):
            assert api.get(f"http://localhost{path}").status_code == 401, path
            for each in (person, patient, program):
                assert api.get(f"http://localhost{path}", authorization=each).status_code == 403, path
        for path, who, status in (
            ("/metrics", person, 403),
            ("/metrics", program, 200),
            ("/openapi.json", person, 200),  # it says what there is, not who
            ("/openapi.json", program, 200),
        ):
            assert api.get(f"http://localhost{path}", authorization=who).status_code == status, path
        api.close()
