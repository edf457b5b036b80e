"""Access tokens of authorization servers that the settings trust, such as the site's Keycloak.

What a token says is mapped to `Rights`: its scopes of SMART, of one context, decide whether a program, a
person or a patient calls. Sources: RFC 9068; RFC 8725;
https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from fhir_coprod.access import words
from fhir_coprod.access.fetched import FetchedKeys, get
from fhir_coprod.access.public_keys import chosen
from fhir_coprod.access.rights import Kind, Rights
from fhir_coprod.access.scopes import Scope, read_scopes
from fhir_coprod.access.tokens import Holder
from fhir_coprod.access.words import Untrusted, Word, inside, strict_json
from fhir_coprod.access_settings import IssuerSettings
from fhir_coprod.addresses import is_safe
from fhir_coprod.errors import BadRequest, ConfigError, IssuerError

LONGEST_LIFE: Final = 86_400.0
"""Seconds by which the end of a token may be ahead: a longer one could not be taken back for days."""
_KINDS: Final[Mapping[str, Kind]] = {"system": "program", "user": "person", "patient": "patient"}
_OTHER_PURPOSES: Final = ("ID", "Refresh", "Offline", "Logout")
"""What Keycloak calls tokens that are no access tokens (typ among the claims)."""
_ID: Final = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_SMART: Final = re.compile(r"(system|user|patient)/")


class Issuers:
    """The issuers of the settings. Its methods may wait for the network, so they are called in a thread.

    Raises ConfigError if a role of theirs has a scope that cannot be read: it would give nothing, unnoticed.
    """

    def __init__(self, settings: Iterable[IssuerSettings]) -> None:
        self._by_name = {one.issuer: one for one in settings}
        for one in self._by_name.values():
            _check_roles(one)
        self._fetched = FetchedKeys()
        self._places: dict[str, str] = {}

    def __contains__(self, issuer: str) -> bool:
        return issuer in self._by_name

    @property
    def names(self) -> tuple[str, ...]:
        """The issuers, in the order of the settings."""
        return tuple(self._by_name)

    def holder(self, word: Word, now: float) -> Holder:
        """Who has got this token. Raises Untrusted."""
        issuer = self._by_name.get(word.claim("iss"))
        if issuer is None:
            raise Untrusted("nobody trusts its issuer here")
        if word.header.get("typ", "JWT") not in ("JWT", "jwt", "at+jwt", "application/at+jwt"):
            raise Untrusted("it is a JWT for another purpose (typ)")
        if word.header.get("alg") not in issuer.algorithms:
            raise Untrusted("it is signed by an algorithm that is not in access.issuer.algorithms")
        what = f"the JWK Set of {issuer.issuer}"
        try:
            keys = self._fetched.keys(self._place(issuer), word.kid, what, issuer.algorithms)
        except (IssuerError, BadRequest) as error:
            raise Untrusted(error.message) from None
        key = chosen(keys, word)
        if key is None:
            raise Untrusted("its issuer has no key of this name for this algorithm")
        words.believe(word, key.key, str(word.header["alg"]))
        until = words.check_times(word, now, LONGEST_LIFE)
        if issuer.audience not in words.audiences(word):
            raise Untrusted(f"it is not for {issuer.audience} (aud)")
        if word.claims.get("typ") in _OTHER_PURPOSES or "nonce" in word.claims or "at_hash" in word.claims:
            raise Untrusted("it is no access token, but one that says who signed in")
        return Holder(_rights(word, issuer), until)

    def _place(self, issuer: IssuerSettings) -> str:
        """Where its keys are. Raises IssuerError."""
        if issuer.jwks_url:
            return issuer.jwks_url
        if issuer.issuer not in self._places:
            url = f"{issuer.issuer.rstrip('/')}/.well-known/openid-configuration"
            what = f"the discovery document of {issuer.issuer}"
            try:
                said = strict_json(get(url, what))
            except ValueError:
                said = None
            place = said.get("jwks_uri") if isinstance(said, dict) else None
            if not isinstance(said, dict) or said.get("issuer") != issuer.issuer:
                raise IssuerError(f"{what} does not name itself so; check access.issuer.issuer.")
            if not isinstance(place, str) or not is_safe(place):
                raise IssuerError(f"{what} names no https address of keys.")
            self._places[issuer.issuer] = place
        return self._places[issuer.issuer]


def _check_roles(issuer: IssuerSettings) -> None:
    for role, scopes in issuer.roles.items():
        try:
            read_scopes(scopes)
        except BadRequest as error:
            raise ConfigError(f"access.issuer {issuer.issuer}: roles.{role}: {error.message}") from None


def _rights(word: Word, issuer: IssuerSettings) -> Rights:
    said = _texts(inside(word.claims, issuer.scope_claim))
    if issuer.required_scope and issuer.required_scope not in said:
        raise Untrusted(f"it lacks the scope {issuer.required_scope}")
    for role in _texts(inside(word.claims, issuer.roles_claim)) if issuer.roles_claim else ():
        said += issuer.roles.get(role, ())
    scopes = tuple(dict.fromkeys(scope for one in said if (scope := _scope(one)) is not None))
    contexts = {scope.context for scope in scopes}
    if not scopes:
        raise Untrusted("it has no scope of SMART")
    if len(contexts) > 1:
        raise Untrusted("it mixes scopes of system/, user/ and patient/")
    kind = _KINDS[scopes[0].context]
    session = word.claim("sid") or word.claim("jti")
    subject = word.claim("sub")
    if not subject:
        raise Untrusted("it does not say whose it is (sub)")
    if kind == "program":
        named = inside(word.claims, issuer.client_claim) or word.claim("azp") or subject
        if not isinstance(named, str):
            raise Untrusted("it does not name its client as text")
        return Rights("program", f"{issuer.issuer}|{named}", scopes, session=session)
    name = f"{issuer.issuer}|{subject}"
    if kind == "person":
        claimed = _texts(inside(word.claims, issuer.departments_claim)) if issuer.departments_claim else ()
        reached = dict.fromkeys(issuer.departments[one] for one in claimed if one in issuer.departments)
        return Rights("person", name, scopes, departments=tuple(reached), session=session)
    patient = inside(word.claims, issuer.patient_claim)
    patient = patient.removeprefix("Patient/") if isinstance(patient, str) else ""
    if not _ID.fullmatch(patient):
        raise Untrusted(f"it has scopes of patient/ and names no Patient ({issuer.patient_claim})")
    return Rights("patient", name, scopes, patient=patient, session=session)


def _scope(text: str) -> Scope | None:
    """What a word of the scope allows here; None for words such as openid, and for what cannot be read."""
    if not _SMART.match(text):
        return None
    try:
        return Scope.read(text)
    except BadRequest:
        return None


def _texts(value: Any) -> tuple[str, ...]:
    """Words of a claim that is one text with blanks between, or a list."""
    if isinstance(value, str):
        return tuple(value.split())
    if isinstance(value, list):
        return tuple(one for one in value if isinstance(one, str))
    return ()
