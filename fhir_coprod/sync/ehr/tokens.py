"""Access tokens from an EHR's authorization server: found out about, asked for, and renewed before they end.

Two kinds of client are known there: one that signs an assertion with its private key (SMART Backend Services,
https://hl7.org/fhir/smart-app-launch/backend-services.html) and one that has a secret (OAuth 2.0, RFC 6749,
4.4). Where the token endpoint is, and what it takes, stands in the EHR's .well-known/smart-configuration, or
else in its CapabilityStatement.
"""

from __future__ import annotations

import asyncio
import base64
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from joserfc import jwt

from fhir_coprod import jsontext
from fhir_coprod.errors import EhrAnswer, EhrUnreachable, NotJson, plain
from fhir_coprod.settings import ClientCredentialsAuth, SmartBackendAuth
from fhir_coprod.sync.ehr import keys
from fhir_coprod.sync.ehr.keys import Key
from fhir_coprod.sync.ehr.sending import Answer, Politeness, Sender, shown

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LIVES = 240
"""Seconds that an assertion is good for; SMART allows five minutes, and clocks differ."""
_BACK = 10
"""Seconds by which an assertion is dated back: some servers refuse what was issued a second from now."""
_CLOCK_IS_OFF = 30.0
"""Seconds by which our clock may differ from the server's before it is named."""
_UNSAID = 300.0
"""Seconds that a token is taken to live if the server does not say."""
_EARLY = 60.0
"""Seconds before its end at which a token is renewed; of a short one, a fifth of its life."""
_OAUTH = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_JWT = re.compile(r"\beyJ[\w-]+(?:\.[\w-]*)*")


@dataclass(frozen=True)
class Server:
    """What is known of the authorization server; what it does not say is empty.

    token_url:  its token endpoint
    scopes:     scopes_supported
    methods:    token_endpoint_auth_methods_supported
    algorithms: token_endpoint_auth_signing_alg_values_supported
    permissions: "permission-v1" and "permission-v2" of its capabilities
    """

    token_url: str
    scopes: frozenset[str] = frozenset()
    methods: frozenset[str] = frozenset()
    algorithms: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()


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


class Tokens:
    """The access token of one EHR; every request that needs one gets the same.

    types: the resource types that will be read, of which scopes are made
    proof: what proves who we are: private keys, the newest first, or a secret
    """

    def __init__(
        self,
        ehr: str,
        base: str,
        auth: SmartBackendAuth | ClientCredentialsAuth,
        types: Sequence[str],
        proof: Sequence[Key] | str,
        sender: Sender,
        http: httpx.AsyncClient,
        politeness: Politeness,
    ) -> None:
        self._ehr = ehr
        self._base = base
        self._auth = auth
        self._types = types
        self._proof = proof
        self._sender = sender
        self._http = http
        self._politeness = politeness
        self._one_at_a_time = asyncio.Lock()
        self._server: Server | None = None
        self._token: Token | None = None
        self._fits = 0
        """Which of several keys was taken last."""
        self.behind = 0.0
        """Seconds by which our clock is behind the server's, if that has mattered."""

    async def current(self) -> Token:
        """A token that is still good.

        Raises EhrAnswer, which says what is wrong, if none is given; EhrUnreachable without an answer.
        """
        async with self._one_at_a_time:
            token, now = self._token, self._politeness.clock()
            if token is None or now >= token.renew:
                try:
                    self._token = token = await self._asked()
                except EhrUnreachable:
                    if token is None or now >= token.until:
                        raise
            return token

    async def instead_of(self, refused: Token) -> Token:
        """Another token after the EHR has refused this one; many may notice at once, one asks."""
        async with self._one_at_a_time:
            if self._token is refused:
                self._token = await self._asked()
            assert self._token is not None
            return self._token

    async def server(self) -> Server:
        """The authorization server, found out about at the first call. Raises EhrAnswer, EhrUnreachable."""
        if self._server is None:
            self._server = await self._discovered()
        return self._server

    def not_granted(self, token: Token) -> list[str]:
        """The types that we read and that the scopes of a token leave out, as far as it names any."""
        scopes = [scope for scope in token.scopes or () if scope.startswith("system/")]
        if not scopes or any(scope.startswith("system/*") for scope in scopes):
            return []
        return [type for type in self._types if not _offers(frozenset(scopes), f"system/{type}.read")]

    # --- where to ask ---------------------------------------------------------------------------------

    async def _discovered(self) -> Server:
        config = await self._public(".well-known/smart-configuration")
        url = self._auth.token_url or _text(config.get("token_endpoint"))
        if not url:
            url = _of_statement(await self._public("metadata"))
        if not url:
            raise EhrAnswer(
                f"{self._ehr}: neither .well-known/smart-configuration nor metadata below {self._base} names "
                "a token endpoint; set auth.token_url to the one that the EHR's documentation names."
            )
        if urlsplit(self._base).scheme == "https" and urlsplit(url).scheme != "https":
            raise EhrAnswer(
                f"{self._ehr}: the token endpoint {shown(url)} is not https; nothing is sent there."
            )
        return Server(
            url,
            _words(config.get("scopes_supported")),
            _words(config.get("token_endpoint_auth_methods_supported")),
            _words(config.get("token_endpoint_auth_signing_alg_values_supported")),
            frozenset(word for word in _words(config.get("capabilities")) if word.startswith("permission-v")),
        )

    async def _public(self, path: str) -> Mapping[str, Any]:
        """What the EHR says to anybody; empty if it does not."""
        url = f"{self._base}/{path}"
        accepted = {"Accept": "application/json, application/fhir+json"}
        answer = await self._sender.answer(lambda: self._http.build_request("GET", url, headers=accepted))
        return _object(answer) if answer.status == httpx.codes.OK else {}

    # --- asking ---------------------------------------------------------------------------------------

    async def _asked(self) -> Token:
        """A new token. If it is refused, we try the other keys, and the server's clock in place of ours."""
        server = await self.server()
        for key in self._keys():
            answer = await self._post(server, key)
            seen = self._behind(answer)
            if key and _is_doubt(answer) and abs(seen - self.behind) > _CLOCK_IS_OFF:
                self.behind = seen
                answer = await self._post(server, key)
            if answer.status == httpx.codes.OK:
                return self._read(server, answer)
            if not _is_doubt(answer):
                break
            self._fits += 1
        raise EhrAnswer(self._refusal(server, answer))

    def _keys(self) -> list[Key | None]:
        """The keys in the order in which to try them, the one that was taken last first."""
        if isinstance(self._proof, str):
            return [None]
        first = self._fits % len(self._proof)
        return [*self._proof[first:], *self._proof[:first]]

    async def _post(self, server: Server, key: Key | None) -> Answer:
        form = {"grant_type": "client_credentials"}
        if scope := self.scope(server):
            form["scope"] = scope
        headers = {"Accept": "application/json"}
        if isinstance(self._auth, ClientCredentialsAuth):
            assert isinstance(self._proof, str)
            headers |= _with_secret(self._auth, self._proof, server, form)

        def request() -> httpx.Request:
            signed = {} if key is None else self._signed(server, key)
            return self._http.build_request(
                "POST", server.token_url, data={**form, **signed}, headers=headers
            )

        return await self._sender.answer(request)

    def _signed(self, server: Server, key: Key) -> dict[str, str]:
        """An assertion of its own for each attempt: a server takes its jti once."""
        assert isinstance(self._auth, SmartBackendAuth)
        now = int(self._politeness.wall_clock() + self.behind)
        chosen = keys.algorithm(key)
        header = {"alg": chosen, "typ": "JWT", "kid": keys.key_id(key)}
        if self._auth.jwks_url:
            header["jku"] = self._auth.jwks_url
        claims = {
            "iss": self._auth.client_id,
            "sub": self._auth.client_id,
            "aud": server.token_url,
            "jti": str(uuid.uuid4()),
            "iat": now - _BACK,
            "exp": now + _LIVES,
        }
        assertion = jwt.encode(header, claims, key, algorithms=[chosen])
        return {"client_assertion_type": _ASSERTION, "client_assertion": assertion}

    def scope(self, server: Server) -> str:
        """What we ask for: the scope of the settings, else to read each type that the server knows."""
        if self._auth.scope is not None:
            return self._auth.scope
        end = "rs" if server.permissions == {"permission-v2"} else "read"
        wanted = [f"system/{type}.{end}" for type in self._types]
        if server.scopes and not any(scope.startswith("system/*") for scope in server.scopes):
            wanted = [scope for scope in wanted if _offers(server.scopes, scope)] or wanted
        return " ".join(wanted)

    # --- the answer -----------------------------------------------------------------------------------

    def _read(self, server: Server, answer: Answer) -> Token:
        said = _object(answer)
        value = _text(said.get("access_token"))
        if not value or not (value.isascii() and value.isprintable()):
            raise EhrAnswer(
                f"{self._ehr}: {shown(server.token_url)} answered 200 without an access_token; is it the "
                "token endpoint?"
            )
        kind = _text(said.get("token_type")) or "bearer"
        if kind.lower() != "bearer":
            raise EhrAnswer(
                f"{self._ehr}: the token is of the type {plain(kind)[:40]!r}; only Bearer is understood."
            )
        lives = _seconds(said.get("expires_in"))
        now = self._politeness.clock()
        scopes = frozenset(said["scope"].split()) if isinstance(said.get("scope"), str) else None
        return Token(value, lives, now + lives - min(_EARLY, lives / 5), now + lives, scopes)

    def _behind(self, answer: Answer) -> float:
        return answer.time.timestamp() - self._politeness.wall_clock() if answer.time else 0.0

    def _refusal(self, server: Server, answer: Answer) -> str:
        """What is wrong, and what helps, in one sentence."""
        where, said = shown(server.token_url), _object(answer)
        code = _text(said.get("error"))
        if not code:
            return (
                f"{self._ehr}: {where} answered {answer.status} and no error of OAuth; is it the token "
                "endpoint (auth.token_url)?"
            )
        words = " ".join(_text(said.get("error_description")).split())
        words = plain(_JWT.sub("…", words))[:200].strip(" .")
        head = f"{self._ehr}: no token from {where}: {plain(code)[:60]}" + (f" ({words})" if words else "")
        off = self._behind(answer)
        if abs(off) > _CLOCK_IS_OFF and code in _DOUBTS:
            side = "behind" if off > 0 else "ahead of"
            return f"{head}; our clock is {abs(off):.0f} seconds {side} the server's: set it right."
        return f"{head}; {self._advice(server, code)}"

    def _advice(self, server: Server, code: str) -> str:
        if code == "invalid_scope":
            return (
                f"set auth.scope to what is registered there; asked for was {self.scope(server) or 'none'!r}."
            )
        if code in ("unsupported_grant_type", "unauthorized_client"):
            return (
                "register us there as a backend system that may use client_credentials, and have it approved."
            )
        if code not in _DOUBTS:
            return "see the EHR's documentation of its token endpoint."
        if isinstance(self._proof, str):
            return "check client_id, the secret, and how it is sent (auth.secret_in)."
        used = [keys.algorithm(key) for key in self._proof]
        if server.algorithms and server.algorithms.isdisjoint(used):
            taken = " or ".join(sorted(server.algorithms))
            return (
                f"it takes {taken} and our key is for {used[0]}: fhir-coprod ehr keys {self._ehr} --rotate."
            )
        named = " or ".join(keys.key_id(key) for key in self._proof)
        return f"check client_id, and that the public key {named} is registered there (ehr keys {self._ehr})."


_DOUBTS = frozenset(("invalid_client", "invalid_grant", "invalid_request", "invalid_token"))
"""Errors that servers give if they do not believe who we are, or when."""


def _is_doubt(answer: Answer) -> bool:
    return _text(_object(answer).get("error")) in _DOUBTS


def _with_secret(
    auth: ClientCredentialsAuth, secret: str, server: Server, form: dict[str, str]
) -> dict[str, str]:
    """The header that holds the client's secret, or nothing if the form holds it (RFC 6749, 2.3.1)."""
    in_body = auth.secret_in == "body" or (  # noqa: S105 - not a secret but its place
        not auth.secret_in
        and "client_secret_post" in server.methods
        and "client_secret_basic" not in server.methods
    )
    if in_body:
        form |= {"client_id": auth.client_id, "client_secret": secret}
        return {}
    pair = f"{quote(auth.client_id, safe='')}:{quote(secret, safe='')}"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _offers(known: frozenset[str], scope: str) -> bool:
    """Whether a scope is among those that a server names, in either form: .read, .rs, .*, .cruds."""
    type = scope.rpartition(".")[0]
    return any(
        each.partition("?")[0].rpartition(".")[0] == type and not each.endswith(".write") for each in known
    )


def _of_statement(statement: Mapping[str, Any]) -> str:
    """The token endpoint that a CapabilityStatement names in the extension oauth-uris."""
    for rest in _list(statement.get("rest")):
        security = rest.get("security")
        for uris in _list(security.get("extension")) if isinstance(security, dict) else ():
            if uris.get("url") != _OAUTH:
                continue
            for each in _list(uris.get("extension")):
                if each.get("url") == "token":
                    return _text(each.get("valueUri"))
    return ""


def _object(answer: Answer) -> Mapping[str, Any]:
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
