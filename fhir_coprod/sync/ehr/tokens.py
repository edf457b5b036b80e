"""Access tokens from an EHR's authorization server: asked for, and renewed before they end.

Two kinds of client are known there: one that signs an assertion with its private key (SMART Backend Services,
https://hl7.org/fhir/smart-app-launch/backend-services.html) and one that has a secret (OAuth 2.0, RFC 6749,
4.4). Where the token endpoint is, and what it takes, stands in the EHR's .well-known/smart-configuration, or
else in its CapabilityStatement.
"""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import httpx
from joserfc import jwt

from fhir_coprod.accounts import ClientCredentialsAuth, SmartBackendAuth
from fhir_coprod.errors import EhrAnswer, EhrError
from fhir_coprod.sync.ehr import keys, oauth
from fhir_coprod.sync.ehr.keys import Key
from fhir_coprod.sync.ehr.oauth import Server, Token
from fhir_coprod.sync.ehr.sending import Answer, Politeness, Sender, shown

_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LIVES = 240
"""Seconds that an assertion is good for; SMART allows five minutes, and clocks differ."""
_BACK = 10
"""Seconds by which an assertion is dated back: some servers refuse what was issued a second from now."""
_PATIENCE = 10.0
"""Seconds until another token is asked for after one could not be had, or was refused as the last one was."""


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
        self._replaced = float("-inf")
        """When a refused token was last replaced."""
        self._behind_ehr = 0.0
        """Seconds by which our clock is behind the EHR's, for authorization servers that tell no time."""
        self.behind = 0.0
        """Seconds by which our clock is behind the authorization server's, if that has mattered."""

    async def current(self) -> Token:
        """A token that is still good. If another cannot be had, it is used to its end.

        Raises EhrAnswer, which says what is wrong, if none is given; EhrUnreachable without an answer.
        """
        async with self._one_at_a_time:
            token, now = self._token, self._politeness.clock()
            if token is None or now >= token.renew:
                try:
                    token = await self._asked()
                except EhrError:
                    if token is None or now >= token.until:
                        raise
                    token = replace(token, renew=min(token.until, now + _PATIENCE))
                self._token = token
            return token

    async def instead_of(self, refused: Token) -> Token:
        """Another token after the EHR has refused this one; many may notice at once, one asks.

        The same if another would not help either: each of a thousand requests would ask for one.
        """
        async with self._one_at_a_time:
            now = self._politeness.clock()
            if self._token is refused and now >= self._replaced + min(_PATIENCE, refused.lives):
                self._token = await self._asked()
                self._replaced = now
            assert self._token is not None
            return self._token

    async def server(self) -> Server:
        """The authorization server, found out about at the first call. Raises EhrAnswer, EhrUnreachable."""
        if self._server is None:
            self._server = await self._discovered()
        return self._server

    @property
    def key_id(self) -> str:
        """Which of our keys was taken last; "" if we have a secret."""
        key = self._keys()[0]
        return keys.key_id(key) if key else ""

    def not_granted(self, token: Token) -> list[str]:
        """The types that we read and that the scopes of a token leave out, as far as it names any."""
        return oauth.not_granted(token, self._types)

    # --- where to ask ---------------------------------------------------------------------------------

    async def _discovered(self) -> Server:
        try:
            config = await self._public(".well-known/smart-configuration")
        except EhrError:
            if not self._auth.token_url:
                raise
            config = {}
        if self._auth.token_url:
            return oauth.server(self._auth.token_url, config)
        url = oauth.of_configuration(config) or oauth.of_statement(await self._public("metadata"))
        if not url:
            raise EhrAnswer(
                f"{self._ehr}: neither .well-known/smart-configuration nor metadata below {self._base} names "
                "a token endpoint; set auth.token_url to the one that the EHR's documentation names."
            )
        if why := oauth.distrust(self._base, url, has_secret=isinstance(self._proof, str)):
            raise EhrAnswer(
                f"{self._ehr}: the token endpoint that it names, {shown(url)}, {why}; nothing is sent there. "
                "Set auth.token_url to the one that the EHR's documentation names."
            )
        return oauth.server(url, config)

    async def _public(self, path: str) -> Mapping[str, Any]:
        """What the EHR says to anybody; empty if it does not."""
        url = f"{self._base}/{path}"
        accepted = {"Accept": "application/json, application/fhir+json"}
        answer = await self._sender.answer(lambda: self._http.build_request("GET", url, headers=accepted))
        self._behind_ehr = self._behind(answer)
        return oauth.read(answer) if answer.status == httpx.codes.OK else {}

    # --- asking ---------------------------------------------------------------------------------------

    async def _asked(self) -> Token:
        """A new token. If it is refused, we try the other keys, and the server's clock in place of ours."""
        server = await self.server()
        for key in self._keys():
            before = self._politeness.clock()  # it may be given at once, and reach us late
            answer = await self._post(server, key)
            seen = self._behind(answer)
            if key and oauth.is_doubt(answer) and abs(seen - self.behind) > oauth.CLOCK_IS_OFF:
                self.behind = seen
                before = self._politeness.clock()
                answer = await self._post(server, key)
            if answer.status == httpx.codes.OK:
                return oauth.token(self._ehr, server, answer, before)
            if not oauth.is_doubt(answer):
                break
            self._fits += 1
        raise EhrAnswer(oauth.refusal(self._ehr, server, answer, self._what_was_asked(server, answer)))

    def _keys(self) -> list[Key | None]:
        """The keys in the order in which to try them, the one that was taken last first."""
        if isinstance(self._proof, str):
            return [None]
        first = self._fits % len(self._proof)
        return [*self._proof[first:], *self._proof[:first]]

    async def _post(self, server: Server, key: Key | None) -> Answer:
        form = {"grant_type": "client_credentials"}
        if scope := self._scope(server):
            form["scope"] = scope
        headers = {"Accept": "application/json"}
        if isinstance(self._auth, ClientCredentialsAuth):
            assert isinstance(self._proof, str)
            if self._is_in_body(self._auth, server):
                form |= {"client_id": self._auth.client_id, "client_secret": self._proof}
            else:
                headers["Authorization"] = f"Basic {_pair(self._auth.client_id, self._proof)}"

        def request() -> httpx.Request:
            signed = {} if key is None else self._signed(server, key)
            return self._http.build_request(
                "POST", server.token_url, data={**form, **signed}, headers=headers
            )

        return await self._sender.answer(request)

    @staticmethod
    def _is_in_body(auth: ClientCredentialsAuth, server: Server) -> bool:
        return {"": server.wants_secret_in_body, "header": False, "body": True}[auth.secret_in]

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

    def _scope(self, server: Server) -> str:
        """What we ask for: the scope of the settings, else to read each type that the server knows."""
        return oauth.scope(server, self._types) if self._auth.scope is None else self._auth.scope

    def _behind(self, answer: Answer) -> float:
        return answer.time.timestamp() - self._politeness.wall_clock() if answer.time else self._behind_ehr

    def _what_was_asked(self, server: Server, answer: Answer) -> oauth.Asked:
        scope, behind = self._scope(server), self._behind(answer)
        if not isinstance(self._proof, str):
            return oauth.Asked(scope, self._proof, behind=behind)
        hidden = (self._proof, quote(self._proof, safe=""), _pair(self._auth.client_id, self._proof))
        return oauth.Asked(scope, hidden=hidden, behind=behind)


def _pair(client_id: str, secret: str) -> str:
    """Client and secret for the header, each encoded as in a form first (RFC 6749, 2.3.1)."""
    pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    return base64.b64encode(pair.encode()).decode()
