"""Checks what an OpenID provider says of a person: its id token. Pure: no network, no clock.

Sources: OpenID Connect Core 1.0, 3.1.3.7 (the checks) and 3.1.3.8 (at_hash); RFC 8725 (which algorithm a key
may be used with).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey

from fhir_coprod import jsontext
from fhir_coprod.errors import NotJson, NotSignedIn

LEEWAY: Final = 60
"""Seconds by which the provider's clock may differ from ours."""
LONGEST: Final = 50_000
"""Characters of a token."""
_SMALLEST_RSA: Final = 2048
_CURVES: Final = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
_RSA: Final = frozenset(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"))
_HASHES: Final = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}

Claims = Mapping[str, Any]


def keys_of(document: object) -> dict[str, list[Key]]:
    """The public keys of a JWK Set that can check a signature, by key id ("" for those without one).

    What is no such key is left out: a provider may publish others beside them.
    """
    entries = document.get("keys") if isinstance(document, dict) else None
    found: dict[str, list[Key]] = {}
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        public = {name: value for name, value in entry.items() if name not in _PRIVATE}
        try:
            key = KeySet.import_key_set({"keys": [public]}).keys[0]
        except (JoseError, ValueError, TypeError, KeyError, AttributeError):
            continue
        if _algorithms(key):
            found.setdefault(str(entry.get("kid", "")), []).append(key)
    return found


_PRIVATE: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")


def _algorithms(key: Key) -> frozenset[str]:
    """What a signature by this key may be made with: what it says itself, as far as that fits what it is."""
    match key:
        case RSAKey() if key.raw_value.key_size >= _SMALLEST_RSA:
            fits = _RSA
        case ECKey():
            fits = frozenset((_CURVES.get(key.curve_name, ""),)) - {""}
        case OKPKey() if key.curve_name == "Ed25519":
            fits = frozenset(("EdDSA", "Ed25519"))
        case _:
            return frozenset()
    said = key.get("alg")
    return fits & {str(said)} if said else fits


def signed_by(token: str, keys: Mapping[str, Sequence[Key]]) -> Claims:
    """What a token says, once one of the keys has shown that it was signed. Raises NotSignedIn."""
    header = _header(token)
    algorithm, id = header.get("alg"), header.get("kid")
    named = keys.get(str(id), ()) if id is not None else [key for each in keys.values() for key in each]
    for key in named:
        if algorithm not in _algorithms(key):
            continue
        try:
            checked = jws.deserialize_compact(token, key, algorithms=[str(algorithm)])
            claims = jsontext.decode(checked.payload)
        except (JoseError, ValueError, TypeError, NotJson):
            continue
        if isinstance(claims, dict):
            return claims
    raise NotSignedIn("The provider's word cannot be checked by any of its keys.")


def key_id(token: str) -> str | None:
    """The key that a token names; None for none. Raises NotSignedIn if it is no token."""
    id = _header(token).get("kid")
    return id if isinstance(id, str) else None


def _header(token: str) -> dict[str, Any]:
    try:
        if len(token) > LONGEST or token.count(".") != 2:
            raise ValueError
        first = token.partition(".")[0]
        header = jsontext.decode(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    except (ValueError, NotJson):
        raise NotSignedIn("The provider's word is no signed token.") from None
    if not isinstance(header, dict) or "crit" in header or "b64" in header:
        raise NotSignedIn("The provider's word is no signed token that is understood here.")
    return header


def check(
    claims: Claims,
    *,
    issuer: str,
    client: str,
    nonce: str,
    now: float,
    max_age: float | None = None,
    acr: str = "",
) -> None:
    """Raise NotSignedIn unless the claims are this issuer's, for this client and this sign-in, and in time.

    now:     seconds since 1970
    max_age: how many seconds ago the person may have proven who they are; None: does not matter
    acr:     how they have to have done so; "": does not matter
    """
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    party = claims.get("azp")
    subject = claims.get("sub")
    proven = number(claims.get("auth_time"))
    for holds, wrong in (
        (claims.get("iss") == issuer, "is of another provider"),
        (client in audiences, "is meant for another program"),
        (party == client or (party is None and len(audiences) == 1), "was given to another program"),
        (number(claims.get("exp")) > now - LEEWAY, "has expired"),
        (0 < number(claims.get("iat")) < now + LEEWAY, "is of the future"),
        (number(claims.get("nbf", 0)) < now + LEEWAY, "is of the future"),
        (_same(claims.get("nonce"), nonce), "belongs to another sign-in"),
        (isinstance(subject, str) and 0 < len(subject) <= 255 and subject.isprintable(), "names nobody"),
        (max_age is None or now - proven <= max_age + LEEWAY, "is not of a sign-in just now"),
        (proven < now + LEEWAY, "is of the future"),
        (not acr or claims.get("acr") == acr, "is not of a sign-in in the way that this needs"),
    ):
        if not holds:
            raise NotSignedIn(f"The provider's word {wrong}; sign in again.")


def check_access_token(claims: Claims, algorithm: str, access_token: str) -> None:
    """Raise NotSignedIn if the id token came with another access token than it says (at_hash)."""
    said = claims.get("at_hash")
    make = _HASHES.get(algorithm[-3:], hashlib.sha512 if algorithm.startswith("Ed") else None)
    if said is None or make is None:
        return
    digest = make(access_token.encode()).digest()
    own = base64.urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=").decode()
    if not _same(said, own):
        raise NotSignedIn("The provider's word came with a token that it is not about; sign in again.")


def algorithm(token: str) -> str:
    """The algorithm that a token says it is signed with. Raises NotSignedIn if it is no token."""
    return str(_header(token).get("alg"))


def number(value: object) -> float:
    """A time in a claim; 0 for anything that is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _same(said: object, own: str) -> bool:
    return isinstance(said, str) and hmac.compare_digest(said.encode(), own.encode())
