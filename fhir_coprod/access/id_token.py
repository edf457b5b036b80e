"""Checks what an OpenID provider says of a person: its id token. Pure: no network, no clock.

Sources: OpenID Connect Core 1.0, 3.1.3.7 (the checks) and 3.1.3.8 (at_hash); RFC 8725 (which algorithm a key
may be used with).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

from fhir_coprod.access import words
from fhir_coprod.access.public_keys import Keys, PublicKey, chosen, usable_keys
from fhir_coprod.access.words import Untrusted, Word
from fhir_coprod.errors import NotSignedIn

LEEWAY: Final = 60
"""Seconds by which the provider's clock may differ from ours."""
LONGEST: Final = 50_000
"""Characters of a token."""
_TAKEN: Final = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
_HASHES: Final = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}

Claims = Mapping[str, Any]


def keys_of(document: object) -> Keys:
    """The public keys of a provider's JWK Set that can check an id token."""
    return usable_keys(document, _TAKEN)


def read(token: str) -> Word:
    """An id token, which nobody has believed yet. Raises NotSignedIn if it is no token."""
    try:
        return words.read(token, LONGEST)
    except Untrusted as error:
        raise _unbelieved(error) from None


def signed_by(word: Word, keys: Keys) -> Claims:
    """What a token says, once one of the keys has shown that it was signed. Raises NotSignedIn."""
    try:
        key = chosen(keys, word) or _only(keys, word)
        if key is None:
            raise NotSignedIn("The provider's word cannot be checked by any of its keys; sign in again.")
        words.believe(word, key.key, algorithm(word))
    except Untrusted as error:
        raise _unbelieved(error) from None
    return word.claims


def _only(keys: Keys, word: Word) -> PublicKey | None:
    """The one key that a word can mean that names none (OpenID Connect Core 1.0, 10.1)."""
    fitting = [key for key in keys if algorithm(word) in key.algorithms]
    return fitting[0] if len(fitting) == 1 and not word.kid else None


def _unbelieved(error: Untrusted) -> NotSignedIn:
    return NotSignedIn(f"The provider's word is not taken: {error.reason}.")


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
    proven = time_of(claims, "auth_time")
    for holds, wrong in (
        (claims.get("iss") == issuer, "is of another provider"),
        (client in audiences, "is meant for another program"),
        (party == client or (party is None and len(audiences) == 1), "was given to another program"),
        (time_of(claims, "exp") > now - LEEWAY, "has expired"),
        (0 < time_of(claims, "iat") < now + LEEWAY, "is of the future"),
        (time_of(claims, "nbf") < now + LEEWAY, "is of the future"),
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


def algorithm(word: Word) -> str:
    """The algorithm that a token says it is signed with."""
    return str(word.header.get("alg"))


def time_of(claims: Claims, name: str) -> float:
    """A time in a claim, in seconds since 1970; 0 for anything that is none."""
    try:
        return words.time_of(claims, name) or 0.0
    except Untrusted:
        return 0.0


def _same(said: object, own: str) -> bool:
    return isinstance(said, str) and hmac.compare_digest(said.encode(), own.encode())
