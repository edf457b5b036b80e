"""Our own access tokens: JWTs of five minutes (RFC 9068), each for one client and this server only."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from joserfc import jws
from joserfc.jwk import ECKey

from fhir_coprod import jsontext
from fhir_coprod.access import words
from fhir_coprod.access.clients import Client
from fhir_coprod.access.rights import Rights
from fhir_coprod.access.scopes import Scope, read_scopes
from fhir_coprod.access.signing import ALGORITHM, SigningKey
from fhir_coprod.access.words import Untrusted, Word
from fhir_coprod.errors import BadRequest
from fhir_coprod.instants import to_milliseconds

LIVES: Final = 300
"""Seconds."""
_TYPE: Final = "at+jwt"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has shown a token.

    until:      seconds since 1970, when it ends
    per_minute: requests that this caller may send; 0: as the settings say
    """

    rights: Rights
    until: float
    per_minute: int = 0


def issue(client: Client, scopes: tuple[Scope, ...], base: str, key: SigningKey, now: float) -> str:
    """A token for a client.

    base: our own address, which is its issuer and its audience
    """
    header = {"alg": ALGORITHM, "typ": _TYPE, "kid": key.kid}
    claims = {
        "iss": base,
        "aud": base,
        "sub": client.name,
        "client_id": client.name,
        "scope": " ".join(map(str, scopes)),
        "jti": secrets.token_urlsafe(16),
        "iat": int(now),
        "exp": int(now) + LIVES,
        # A client that was removed and registered again is another.
        "registered": to_milliseconds(client.since),
    }
    return jws.serialize_compact(header, jsontext.encode(claims), key.key, algorithms=[ALGORITHM])


def holder(
    word: Word, base: str, keys: Mapping[str, ECKey], clients: Mapping[str, Client], now: float
) -> Holder:
    """Who has got this token from us. Raises Untrusted."""
    if word.header.get("typ") != _TYPE:
        raise Untrusted("it is no access token")
    key = keys.get(word.kid)
    if key is None:
        raise Untrusted("none of our machines has the key that it names")
    words.believe(word, key, ALGORITHM)
    until = words.check_times(word, now, LIVES)
    if word.claims.get("iss") != base or words.audiences(word) != (base,):
        raise Untrusted("it is for another address of this server")
    client = clients.get(word.claim("client_id"))
    if client is None or word.claims.get("registered") != to_milliseconds(client.since):
        raise Untrusted("its client was removed")
    try:
        scopes = read_scopes(word.claim("scope").split())
    except BadRequest:
        raise Untrusted("its scopes cannot be read") from None
    rights = Rights("program", client.name, scopes, session=word.claim("jti"))
    return Holder(rights, until, client.per_minute)
