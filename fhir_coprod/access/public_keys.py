"""Public keys of others, from a JWK Set (RFC 7517): each with the one algorithm that is taken of it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from fhir_coprod.access.words import AnyKey, Untrusted, Word, strict_json
from fhir_coprod.errors import BadRequest

SMART: Final = ("RS384", "ES384")
"""What SMART Backend Services signs with."""
MOST_KEYS: Final = 50
LONGEST_SET: Final = 200_000
"""Bytes."""
_SMALLEST_RSA, _LARGEST_RSA = 2048, 8192
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "Ed25519": "Ed25519", "EdDSA": "Ed25519"}
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """kid: "" for none; algorithms: those that may be used with it, of those that are taken."""

    kid: str
    key: AnyKey
    algorithms: frozenset[str]


Keys = tuple[PublicKey, ...]


def read_keys(text: bytes | str, where: str, taken: Collection[str] = SMART) -> Keys:
    """The keys of a JWK Set that can sign by one of the algorithms taken.

    where: for messages: "the file a.json"

    Raises BadRequest for a set that holds a key that nobody may show, or one too weak, or no key of use.
    """
    if len(text) > LONGEST_SET:
        raise BadRequest(f"{where} is too long for a JWK Set.")
    try:
        found = strict_json(text if isinstance(text, bytes) else text.encode())
    except ValueError:
        raise BadRequest(f"{where} is no JWK Set: it is not one JSON object.") from None
    members = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(members, list) or not all(isinstance(one, dict) for one in members):
        raise BadRequest(f'{where} is no JWK Set, such as {{"keys": [{{"kty": "EC", …}}]}}.')
    if len(members) > MOST_KEYS:
        raise BadRequest(f"{where} holds more than {MOST_KEYS} keys.")
    keys = tuple(key for one in members if (key := _key(one, where, taken)) is not None)
    if not keys:
        raise BadRequest(
            f"{where} holds no key that can be used here: RSA of {_SMALLEST_RSA} bits or more, or EC on "
            f"P-384, for signing by {' or '.join(taken)}."
        )
    return keys


def usable_keys(found: object, taken: Collection[str]) -> Keys:
    """Those keys of a JWK Set that can sign by one of the algorithms taken; all else is passed over.

    found: the set, decoded: that of a provider who may publish other keys for others
    """
    members = found.get("keys") if isinstance(found, dict) else None
    keys = []
    for one in members[:MOST_KEYS] if isinstance(members, list) else ():
        with suppress(BadRequest):  # a private or weak key is not used, whoever published it
            if isinstance(one, dict) and (key := _key(one, "It", taken)) is not None:
                keys.append(key)
    return tuple(keys)


def _key(member: Mapping[str, Any], where: str, taken: Collection[str]) -> PublicKey | None:
    kind = member.get("kty")
    if kind == "oct":
        raise BadRequest(f"{where} holds a secret that both sides would share (oct); use a key pair.")
    if any(name in member for name in _PRIVATE):
        raise BadRequest(
            f"{where} holds a private key, which nobody else may see: make a new pair, and give only its "
            "public half."
        )
    uses = member.get("key_ops", ["verify"])
    if member.get("use", "sig") != "sig" or not isinstance(uses, list) or "verify" not in uses:
        return None
    importer = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}.get(kind if isinstance(kind, str) else "")
    if importer is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # what is too short is refused below
            key: AnyKey = importer.import_key(dict(member))  # type: ignore[attr-defined]
            _ = key.public_key
    except (JoseError, ValueError, TypeError, KeyError):
        raise BadRequest(f"{where} holds a key that cannot be read.") from None
    if isinstance(key, RSAKey):
        size = key.public_key.key_size
        if not _SMALLEST_RSA <= size <= _LARGEST_RSA:
            raise BadRequest(
                f"{where} holds an RSA key of {size} bits; use one of {_SMALLEST_RSA} to {_LARGEST_RSA}."
            )
        fits = {name for name in taken if name[:2] in ("RS", "PS")}
    else:
        fits = {name for name in taken if _CURVES.get(name) == key.curve_name}
    said = member.get("alg")
    fits = fits if said is None else fits & {said} if isinstance(said, str) else set()
    kid = member.get("kid", "")
    return PublicKey(kid if isinstance(kid, str) else "", key, frozenset(fits)) if fits else None


def chosen(keys: Keys, word: Word) -> PublicKey | None:
    """The key that a word names, for the algorithm that it names; None if there is no such key.

    A key without a name is taken for a word without one, if it is the only key of its kind.
    """
    algorithm = word.header.get("alg")
    if not isinstance(algorithm, str):
        raise Untrusted("its header names no algorithm")
    fitting = [key for key in keys if key.kid == word.kid and algorithm in key.algorithms]
    return fitting[0] if len(fitting) == 1 else None


def is_named(keys: Keys, kid: str) -> bool:
    """Whether there is a key of this name, for whatever algorithm."""
    return any(key.kid == kid for key in keys)


def as_text(text: bytes) -> str:
    """A JWK Set as it is kept: on one line."""
    return json.dumps(strict_json(text), separators=(",", ":"))
