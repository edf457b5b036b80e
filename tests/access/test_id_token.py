"""Which keys may check an id token, and by which algorithm: what the key is decides, never the token."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from fhir_coprod.access import id_token
from fhir_coprod.access.public_keys import Keys
from fhir_coprod.errors import NotSignedIn

EC = ECKey.generate_key("P-256", {"kid": "ec"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
OKP = OKPKey.generate_key("Ed25519", {"kid": "okp"})


def published(*keys: Any, **more: Any) -> dict[str, Any]:
    return {"keys": [{**key.as_dict(private=False), **more} for key in keys]}


def believed(token: str, keys: Keys) -> id_token.Claims:
    return id_token.signed_by(id_token.read(token), keys)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(EC, "ES256"), (RSA, "RS256"), (RSA, "PS256"), (RSA, "RS512"), (OKP, "Ed25519")],
)
def test_a_key_checks_what_it_is_for(key: Any, algorithm: str) -> None:
    keys = id_token.keys_of(published(EC, RSA, OKP))
    for header in ({"alg": algorithm, "kid": key.kid}, {"alg": algorithm}):
        token = jwt.encode(header, {"sub": "s"}, key, algorithms=[algorithm])
        assert believed(token, keys) == {"sub": "s"}
    other = {"alg": algorithm, "kid": "another"}
    with pytest.raises(NotSignedIn):
        believed(jwt.encode(other, {}, key, algorithms=[algorithm]), keys)


def test_a_key_that_says_its_algorithm_checks_no_other() -> None:
    keys = id_token.keys_of(published(RSA, alg="RS384"))
    good = jwt.encode({"alg": "RS384", "kid": "rsa"}, {}, RSA, algorithms=["RS384"])
    assert believed(good, keys) == {}
    with pytest.raises(NotSignedIn):
        believed(jwt.encode({"alg": "RS256", "kid": "rsa"}, {}, RSA, algorithms=["RS256"]), keys)
    assert id_token.keys_of(published(RSA, alg="HS256")) == ()


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_what_is_no_public_key_for_signatures_is_left_out() -> None:
    weak = RSAKey.generate_key(1024)
    shared = OctKey.generate_key(256)
    curve = OKPKey.generate_key("X25519")
    for set in (
        published(weak),
        {"keys": [shared.as_dict(private=True)]},
        published(curve),
        published(EC, use="enc"),
        published(EC, key_ops=7),
        {"keys": [EC.as_dict(private=True)]},
        {"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, {"kty": 7}, 7, None]},
        {"keys": {}},
        {},
        [],
        None,
    ):
        assert id_token.keys_of(set) == (), set


@pytest.mark.parametrize(
    "token", ["", "a.b", "a.b.c.d", "..", "e30.e30.", "W10.e30.AA", "x" * 60_000, "é.é.é", "e30.e30.e30"]
)
def test_what_is_no_token_is_refused_in_a_sentence(token: str) -> None:
    with pytest.raises(NotSignedIn, match="The provider's word"):
        believed(token, id_token.keys_of(published(EC)))


def test_a_header_that_changes_what_is_signed_is_not_understood() -> None:
    for more in ({"crit": ["b64"], "b64": False}, {"crit": ["exp"]}):
        token = jwt.encode({"alg": "ES256"}, {"sub": "s"}, EC, algorithms=["ES256"])
        head = base64.urlsafe_b64encode(json.dumps({"alg": "ES256", **more}).encode()).decode().rstrip("=")
        with pytest.raises(NotSignedIn, match="crit, which is not taken"):
            believed(".".join([head, *token.split(".")[1:]]), id_token.keys_of(published(EC)))


@pytest.mark.parametrize("claims", [b'{"sub":"s","sub":"t"}', b'{"exp":NaN}', b"[1]"])
def test_claims_that_another_could_read_otherwise_are_refused(claims: bytes) -> None:
    token = jws.serialize_compact({"alg": "ES256", "kid": "ec"}, claims, EC, algorithms=["ES256"])
    with pytest.raises(NotSignedIn, match="a part of it is"):
        id_token.read(token)


def test_a_token_that_names_no_key_is_refused_where_it_could_mean_two() -> None:
    keys = id_token.keys_of(published(EC, ECKey.generate_key("P-256", {"kid": "next"})))
    with pytest.raises(NotSignedIn, match="any of its keys"):
        believed(jwt.encode({"alg": "ES256"}, {}, EC, algorithms=["ES256"]), keys)


def test_a_time_that_never_comes_is_none() -> None:
    assert id_token.time_of({"exp": float("inf")}, "exp") == 0
    assert id_token.time_of({"exp": "4000000000"}, "exp") == 0
    assert id_token.time_of({"exp": True}, "exp") == 0
