"""How a program proves who it is: an assertion that it has signed (`private_key_jwt`).

Sources: RFC 7523, 3; https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html. The audience
is our token endpoint alone, as text or as a list of that one: an assertion that was made for others too could
be sent here by any of them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Final

from fhir_coprod.access import words
from fhir_coprod.access.clients import Client
from fhir_coprod.access.fetched import FetchedKeys
from fhir_coprod.access.public_keys import chosen
from fhir_coprod.access.words import Untrusted, Word
from fhir_coprod.errors import BadRequest, IssuerError
from fhir_coprod.store import Transaction

TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST_LIFE: Final = 300.0
"""Seconds by which its end may be ahead."""
_LONGEST_JTI: Final = 255


def client_of(
    text: str, token_url: str, clients: Mapping[str, Client], fetched: FetchedKeys
) -> tuple[Client, Word]:
    """The client that has signed an assertion for this token endpoint. Raises Untrusted.

    It is not taken yet: `take` sees that nobody sends it twice.
    """
    word = words.read(text)
    name = word.claim("iss")
    client = clients.get(name)
    if client is None or word.claims.get("sub") != name:
        raise Untrusted("it is of nobody who is registered", "invalid_client")
    if word.header.get("typ", "JWT") not in ("JWT", "jwt", "client-authentication+jwt"):
        raise Untrusted("it is a JWT for another purpose (typ)", "invalid_client")
    jku = word.header.get("jku")
    if jku is not None and jku != client.jwks_url:
        raise Untrusted("it names another place for its keys (jku) than is registered", "invalid_client")
    if not word.kid:
        raise Untrusted("it does not name its key (kid)", "invalid_client")
    try:
        keys = (
            fetched.keys(client.jwks_url, word.kid, f"the JWK Set of the client {name}")
            if client.jwks_url
            else client.keys()
        )
    except (IssuerError, BadRequest) as error:
        raise Untrusted(error.message, "invalid_client") from None
    key = chosen(keys, word)
    if key is None:
        raise Untrusted("no key of the client has this name and is for this algorithm", "invalid_client")
    words.believe(word, key.key, str(word.header["alg"]))
    if words.audiences(word) != (token_url,):
        raise Untrusted(f"it is not for {token_url} alone (aud)", "invalid_client")
    words.check_times(word, time.time(), LONGEST_LIFE)
    if not 0 < len(word.claim("jti")) <= _LONGEST_JTI:
        raise Untrusted("it has no jti, or a very long one", "invalid_client")
    return client, word


def take(transaction: Transaction, client: Client, word: Word) -> bool:
    """Take an assertion; False if it was taken before, by whichever process of this store."""
    name = hashlib.sha256(f"{client.name}\0{word.claim('jti')}".encode()).hexdigest()
    now = time.time()
    until = round((float(word.claims["exp"]) + words.LEEWAY + 60) * 1000)
    session = transaction.session
    session.run("DELETE FROM used_assertion WHERE until < ?", (round(now * 1000),))
    return bool(
        session.run(
            "INSERT INTO used_assertion (hash, until) VALUES (?, ?) ON CONFLICT (hash) DO NOTHING",
            (name, until),
        )
    )
