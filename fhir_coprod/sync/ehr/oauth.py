"""What an authorization server says, and what we make of it: where its token endpoint is, tokens, refusals.

Sources: SMART App Launch, https://hl7.org/fhir/smart-app-launch/backend-services.html and conformance.html;
OAuth 2.0, RFC 6749, 4.4 and 5; for older servers the extension oauth-uris of the CapabilityStatement.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from fhir_coprod import jsontext
from fhir_coprod.accounts import is_token_url
from fhir_coprod.errors import EhrAnswer, NotJson, plain
from fhir_coprod.sync.ehr import keys
from fhir_coprod.sync.ehr.keys import Key
from fhir_coprod.sync.ehr.sending import Answer, shown

CLOCK_IS_OFF = 30.0
"""Seconds by which our clock may differ from the server's before it is named."""
_UNSAID = 300.0
"""Seconds that a token is taken to live if the server does not say."""
_EARLY = 60.0
"""Seconds before its end at which a token is renewed; of a short one, a fifth of its life."""
_READ_OF_WORDS = 10_000
"""Characters of a refusal that are looked at."""
_OAUTH = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_JWT = re.compile(r"\beyJ[\w-]+(?:\.[\w-]*)*")
_DOUBTS = frozenset(
    ("invalid_client", "invalid_grant", "invalid_request", "invalid_token", "unauthorized_client")
)
"""Errors that servers give if they do not believe who we are, or when. Keycloak says unauthorized_client to a
wrong secret, although RFC 6749, 5.2, means a client that may not ask in this way."""


@dataclass(frozen=True)
class Server:
    """What is known of the authorization server; what it does not say is empty.

    token_url:   its token endpoint
    scopes:      scopes_supported
    methods:     token_endpoint_auth_methods_supported
    algorithms:  token_endpoint_auth_signing_alg_values_supported
    permissions: "permission-v1" and "permission-v2" of its capabilities
    """

    token_url: str
    scopes: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()
    algorithms: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()

    @property
    def wants_secret_in_body(self) -> bool:
        return "client_secret_post" in self.methods and "client_secret_basic" not in self.methods


@dataclass(frozen=True)
class Token:
    """An access token; times by the clock of `Politeness`.

    lives:  seconds from when it was given to its end
    scopes: those that were granted, None if the server does not say
    """

    value: str = field(repr=False)
    lives: float
    renew: float
    until: float
    scopes: frozenset[str] | None


# --- where to ask ---------------------------------------------------------------------------------


def server(token_url: str, config: Mapping[str, Any]) -> Server:
    """The server of this token endpoint, by its .well-known/smart-configuration."""
    return Server(
        token_url,
        _words(config.get("scopes_supported")),
        _words(config.get("token_endpoint_auth_methods_supported")),
        _words(config.get("token_endpoint_auth_signing_alg_values_supported")),
        frozenset(word for word in _words(config.get("capabilities")) if word.startswith("permission-v")),
    )


def of_configuration(config: Mapping[str, Any]) -> str:
    """The token endpoint that .well-known/smart-configuration names; "" for none."""
    return _text(config.get("token_endpoint"))


def of_statement(statement: Mapping[str, Any]) -> str:
    """The token endpoint that a CapabilityStatement names in the extension oauth-uris; "" for none."""
    for rest in _list(statement.get("rest")):
        security = rest.get("security")
        for uris in _list(security.get("extension")) if isinstance(security, dict) else ():
            if uris.get("url") != _OAUTH:
                continue
            for each in _list(uris.get("extension")):
                if each.get("url") == "token":
                    return _text(each.get("valueUri"))
    return ""


def distrust(base: str, url: str, *, has_secret: bool) -> str:
    """Why nothing is sent to the token endpoint that an EHR names; "" if it can be used.

    base:       address of the EHR that names it
    has_secret: whether we would send a secret. An assertion is of use only to whom it is made out for; a
                secret is of use to anybody, so another host than the EHR's has to be named by a person.
    """
    if not is_token_url(url):
        return "is no address of a token endpoint"
    if urlsplit(base).scheme == "https" and urlsplit(url).scheme != "https":
        return "is not https"
    if has_secret and urlsplit(base).hostname != urlsplit(url).hostname:
        return "is on another host than the EHR"
    return ""


# --- what to ask for ------------------------------------------------------------------------------


def scope(server: Server, types: Sequence[str]) -> str:
    """To read each of the types, as far as the server names any; all if it names none of them."""
    end = "rs" if server.permissions == {"permission-v2"} else "read"
    wanted = [f"system/{type}.{end}" for type in types]
    if server.scopes and not any(scope.startswith("system/*") for scope in server.scopes):
        wanted = [scope for scope in wanted if _offers(server.scopes, scope)] or wanted
    return " ".join(wanted)


def not_granted(token: Token, types: Sequence[str]) -> list[str]:
    """Those of the types that the scopes of a token leave out, as far as it names any."""
    scopes = frozenset(scope for scope in token.scopes or () if scope.startswith("system/"))
    if not scopes or any(scope.startswith("system/*") for scope in scopes):
        return []
    return [type for type in types if not _offers(scopes, f"system/{type}.read")]


def _offers(known: frozenset[str], scope: str) -> bool:
    """Whether a scope is among those that a server names, in either form: .read, .rs, .*, .cruds."""
    type = scope.rpartition(".")[0]
    return any(
        each.partition("?")[0].rpartition(".")[0] == type and not each.endswith(".write") for each in known
    )


# --- what it answers ------------------------------------------------------------------------------


def token(ehr: str, server: Server, answer: Answer, asked: float) -> Token:
    """The token in an answer 200 to what was asked at that time. Raises EhrAnswer if there is none to use."""
    said = read(answer)
    value = _text(said.get("access_token"))
    if not value or not (value.isascii() and value.isprintable()):
        raise EhrAnswer(
            f"{ehr}: {shown(server.token_url)} answered 200 without an access_token; is it the token "
            "endpoint?"
        )
    kind = _text(said.get("token_type")) or "bearer"
    if kind.lower() != "bearer":
        kind = kind if re.fullmatch(r"[\w-]{1,20}", kind, re.ASCII) else "something else"
        raise EhrAnswer(f"{ehr}: the token is of the type {kind}; only Bearer is understood.")
    lives = _seconds(said.get("expires_in"))
    scopes = frozenset(said["scope"].split()) if isinstance(said.get("scope"), str) else None
    return Token(value, lives, asked + lives - min(_EARLY, lives / 5), asked + lives, scopes)


def is_doubt(answer: Answer) -> bool:
    """Whether the server does not believe who we are, or when; with another key or time it may."""
    return _text(read(answer).get("error")) in _DOUBTS


@dataclass(frozen=True)
class Asked:
    """What a request for a token was made of, as far as its refusal may tell.

    scope:  what was asked for
    keys:   the private keys that were tried; empty if a secret was
    hidden: what no message may hold although the server might repeat it
    behind: seconds by which our clock is behind the server's
    """

    scope: str
    keys: Sequence[Key] = ()
    hidden: Collection[str] = field(default=(), repr=False)
    behind: float = 0.0


def refusal(ehr: str, server: Server, answer: Answer, asked: Asked) -> str:
    """What is wrong, and what helps, in one sentence."""
    where, said = shown(server.token_url), read(answer)
    code = _text(said.get("error"))
    if not code:
        return (
            f"{ehr}: {where} answered {answer.status} and no error of OAuth; is it the token endpoint "
            "(auth.token_url)?"
        )
    words = _harmless(_text(said.get("error_description")), asked.hidden)[:200].strip(" .")
    head = f"{ehr}: no token from {where}: {_harmless(code, asked.hidden)[:60]}"
    head += f" ({words})" if words else ""
    advice = _advice(ehr, server, code, asked)
    if asked.keys and abs(asked.behind) > CLOCK_IS_OFF and code in _DOUBTS:
        # It was tried with the server's time, too; so this need not be all.
        side = "behind" if asked.behind > 0 else "ahead of"
        advice = (
            f"our clock is {abs(asked.behind):.0f} seconds {side} the server's: set it right, and {advice}"
        )
    return f"{head}; {advice}"


def _advice(ehr: str, server: Server, code: str, asked: Asked) -> str:
    if code == "invalid_scope":
        return f"set auth.scope to what is registered there; asked for was {asked.scope or 'none'!r}."
    if code == "unsupported_grant_type":
        return f"{_REGISTERED}."
    if code not in _DOUBTS:
        return "see the EHR's documentation of its token endpoint."
    used = [keys.algorithm(key) for key in asked.keys]
    if used and server.algorithms and server.algorithms.isdisjoint(used):
        taken = plain(" or ".join(sorted(server.algorithms)))[:100]
        return f"it takes {taken} and our key is for {used[0]}: fhir-coprod ehr keys {ehr} --rotate."
    check = "check client_id, the secret, and how it is sent (auth.secret_in)"
    if asked.keys:
        named = " or ".join(keys.key_id(key) for key in asked.keys)
        check = f"check client_id, and that the public key {named} is registered there (ehr keys {ehr})"
    return f"{check}; {_REGISTERED}." if code == "unauthorized_client" else f"{check}."


_REGISTERED = "register us there as a backend system that may use client_credentials, and have it approved"


def _harmless(text: str, hidden: Collection[str]) -> str:
    """Words of a server, on one line, without what we have sent or it has given us."""
    text = text[:_READ_OF_WORDS]
    for secret in hidden:
        text = text.replace(secret, "…")
    return plain(_JWT.sub("…", " ".join(text.split())))


def read(answer: Answer) -> Mapping[str, Any]:
    """The JSON object in an answer; empty if it is something else."""
    try:
        found = jsontext.decode(answer.body)
    except NotJson:
        return {}
    return found if isinstance(found, dict) else {}


def _list(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _words(value: object) -> frozenset[str]:
    return (
        frozenset(each for each in value if isinstance(each, str)) if isinstance(value, list) else frozenset()
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _seconds(value: object) -> float:
    """expires_in as a number; servers write it as text, leave it out, or give something else."""
    try:
        seconds = float(str(value))
    except ValueError:
        return _UNSAID
    return seconds if 0 < seconds < float("inf") else _UNSAID
