"""The key pairs by which we sign in at EHRs (SMART Backend Services, `private_key_jwt`).

A file may hold several private keys, the newest first: while a key is being replaced, the EHR may know the
new one, the old one or both. Their public halves are the JWK Set that the EHR registers. The key id is the
thumbprint of RFC 7638 unless the key brings one.
Source: https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, RSAKey

from fhir_coprod.errors import ConfigError
from fhir_coprod.files.placing import place
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import data_folder

Key = RSAKey | ECKey
Algorithm = Literal["RS384", "ES384"]
"""Those that every EHR with SMART Backend Services has one of."""

_CURVES = {"P-256": "ES256", "P-384": "ES384"}
_SIGNING = frozenset(("RS256", "RS384", "RS512", "ES256", "ES384"))
_SMALLEST_RSA = 2048
_NEW_RSA = 3072
_PEM = re.compile(r"-----BEGIN ([A-Z ]*)-----.*?-----END \1-----", re.DOTALL)


def default_file(ehr: str) -> Path:
    """Where the private keys for an EHR are, unless its settings name another file."""
    return data_folder() / "keys" / f"{ehr}.pem"


def read(text: str, where: str) -> list[Key]:
    """The private keys in PEM, or in a JWK or JWK Set, in their order.

    where: whose keys they are and where they stand, for messages: "ehr ward: the key file a.pem"

    Raises ConfigError, which never repeats what it has read.
    """
    found = _of_jwks(text, where) if text.lstrip().startswith("{") else _of_pem(text, where)
    if not found:
        raise ConfigError(f"{where} holds no private key, in PEM or as a JWK; make one: fhir-coprod ehr keys")
    for key in found:
        if not key.is_private:
            raise ConfigError(f"{where} holds a public key; the private one is needed to sign in.")
        if isinstance(key, RSAKey) and key.raw_value.key_size < _SMALLEST_RSA:
            raise ConfigError(
                f"{where} holds an RSA key of less than {_SMALLEST_RSA} bits, which no EHR accepts."
            )
        if algorithm(key) not in _SIGNING or not _can_sign(key):
            raise ConfigError(
                f"{where} holds a key for another use; RSA, or EC on P-384 or P-256, can sign in."
            )
    return found


def _can_sign(key: Key) -> bool:
    """Whether it signs as its `alg`, `use` and `key_ops` say: one of them may contradict the key."""
    try:
        jws.serialize_compact({"alg": algorithm(key)}, b"", key, algorithms=[algorithm(key)])
    except (JoseError, ValueError, TypeError):
        return False
    return True


def _of_pem(text: str, where: str) -> list[Key]:
    found = []
    for match in _PEM.finditer(text):
        kind = match[1]
        if "ENCRYPTED" in kind or "Proc-Type: 4,ENCRYPTED" in match[0]:
            raise ConfigError(
                f"{where} is protected by a password; keep it without one, readable only for this user."
            )
        if kind.endswith(("PRIVATE KEY", "PUBLIC KEY")):
            found.append(_key(match[0], "EC" if kind.startswith("EC ") else "", where))
    return found


def _of_jwks(text: str, where: str) -> list[Key]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ConfigError(f"{where} is neither PEM nor JSON.") from None
    keys = value.get("keys", [value])
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise ConfigError(f"{where} is neither a JWK nor a JWK Set.")
    return [_key(key, str(key.get("kty", "")), where) for key in keys]


def _key(value: str | Json, kind: str, where: str) -> Key:
    for each in (RSAKey, ECKey):
        if kind not in ("", each.key_type):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)  # `read` refuses what is too short
                return each.import_key(value)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
    raise ConfigError(f"{where} holds a key that cannot be read; RSA and EC keys in PEM or JWK can.")


def new(chosen: Algorithm) -> Key:
    """A fresh key pair."""
    return RSAKey.generate_key(_NEW_RSA) if chosen == "RS384" else ECKey.generate_key("P-384")


def algorithm(key: Key) -> str:
    """The algorithm of JWS by which the key signs: what it says itself, else what SMART asks for."""
    said = key.get("alg")
    if isinstance(said, str):
        return said
    return "RS384" if isinstance(key, RSAKey) else _CURVES.get(key.curve_name, key.curve_name)


def key_id(key: Key) -> str:
    said = key.get("kid")
    return said if isinstance(said, str) and said else key.thumbprint()


def jwk_set(keys: Sequence[Key]) -> Json:
    """The public halves, as the EHR registers them."""
    return {
        "keys": [
            {**key.as_dict(private=False), "kid": key_id(key), "alg": algorithm(key), "use": "sig"}
            for key in keys
        ]
    }


def write(file: Path, keys: Sequence[Key], *, as_jwks: bool = False) -> None:
    """Write the private keys, for their owner only, in PEM or as a JWK Set, which keeps their own key ids.

    If the machine stops in between, the old ones are still there. Raises OSError.
    """
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    place(file, _jwks(keys) if as_jwks else b"".join(key.as_pem(private=True) for key in keys))


def _jwks(keys: Sequence[Key]) -> bytes:
    return json.dumps({"keys": [{**key.as_dict(private=True), "kid": key_id(key)} for key in keys]}).encode()


def publish(file: Path, keys: Sequence[Key]) -> Path:
    """Write the JWK Set of the public halves beside the file of private keys. Raises OSError."""
    public = file.with_suffix(".jwks.json")
    public.write_text(json.dumps(jwk_set(keys), indent=2) + "\n")
    return public
