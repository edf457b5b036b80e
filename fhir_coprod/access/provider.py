"""Talks to the OpenID provider of the site: what it can do, its keys, and its word on who somebody is.

Sources: OpenID Connect Core 1.0, Discovery 1.0 and RP-Initiated Logout 1.0; PKCE (RFC 7636); the issuer in
the answer (RFC 9207). This is our own client over httpx and joserfc, as in the sync: authlib's client keeps
state and nonce in a session of its own, follows redirects, and reads answers of any size.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import httpx

from fhir_coprod import jsontext
from fhir_coprod.access import id_token
from fhir_coprod.access.id_token import Claims
from fhir_coprod.access.public_keys import Keys, is_named
from fhir_coprod.access_settings import SignInSettings
from fhir_coprod.addresses import is_loopback, is_safe
from fhir_coprod.errors import ConfigError, IssuerError, NotJson, NotSignedIn, Overloaded

SECONDS: Final = 10.0
"""How long one answer of the provider may take."""
LONGEST: Final = 500_000
"""Bytes of one answer."""
FRESH: Final = 3600.0
"""Seconds for which what the provider says of itself is taken as it was."""
KEYS_AGAIN: Final = 60.0
"""Seconds before its keys are asked for again because one is not known."""
AT_ONCE: Final = 8
"""Codes that are changed at once; whoever comes then is told to try again."""


@dataclass(frozen=True)
class Metadata:
    """What the provider says of itself.

    names_itself: its answers say whose they are (RFC 9207)
    """

    authorization: str
    token: str
    jwks: str
    logout: str
    names_itself: bool
    methods: frozenset[str]


@dataclass(frozen=True)
class Attempt:
    """One sign-in that has begun: what the browser that began it keeps until the provider's answer.

    state, nonce, verifier: unguessable, each of its own
    to:    the page to return to: a path of ours
    again: the person has to prove anew who they are
    """

    state: str
    nonce: str
    verifier: str = field(repr=False)
    to: str = "/"
    again: bool = False


class Provider:
    """The provider of the settings.

    redirect_uri: where it sends people back to: exactly this address is registered there
    """

    def __init__(self, settings: SignInSettings, redirect_uri: str) -> None:
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._metadata: tuple[float, Metadata] | None = None
        self._keys: tuple[float, Keys] | None = None
        self._busy = 0
        self._tls: ssl.SSLContext | None = None

    async def way_in(self, attempt: Attempt) -> str:
        """The address at the provider where a person signs in. Raises IssuerError."""
        metadata = await self._about()
        challenge = hashlib.sha256(attempt.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": self._settings.scope,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        if attempt.again:
            asked |= {"prompt": "login", "max_age": f"{self._settings.recent_minutes * 60:.0f}"}
            if self._settings.recent_acr:
                asked["acr_values"] = self._settings.recent_acr
        return _with(metadata.authorization, asked)

    async def way_out(self, back: str) -> str:
        """The address at the provider that ends a sign-in there; "" if it has none.

        No token goes along, since addresses are kept in many places; the provider may ask the person.
        """
        metadata = await self._about()
        asked = {"client_id": self._settings.client_id, "post_logout_redirect_uri": back}
        return _with(metadata.logout, asked) if metadata.logout else ""

    async def who(self, attempt: Attempt, answer: Mapping[str, str]) -> Claims:
        """What the provider says of the person whom it has sent back with this answer.

        attempt: what the browser has kept; the caller has taken it from there, so that it is used once

        Raises NotSignedIn if it is no answer to the attempt, or says that nobody has signed in; IssuerError
        if the provider cannot be asked.
        """
        metadata = await self._about()
        if not hmac.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
            raise NotSignedIn("This is the answer to another sign-in; begin again.")
        issuer = answer.get("iss")
        if (issuer is None and metadata.names_itself) or issuer not in (None, self._settings.issuer):
            raise NotSignedIn("This is the answer of another provider than the one that was asked.")
        if "error" in answer:
            raise NotSignedIn(_refusal(answer["error"]))
        code = answer.get("code", "")
        if not 0 < len(code) <= 4000:
            raise NotSignedIn("The provider's answer brings no code; begin again.")
        if self._busy >= AT_ONCE:
            raise Overloaded("Many people sign in at once; try again in a few seconds.")
        self._busy += 1
        try:
            return await self._changed(metadata, attempt, code)
        finally:
            self._busy -= 1

    async def _changed(self, metadata: Metadata, attempt: Attempt, code: str) -> Claims:
        """The claims for a code. The tokens that come with them are let go at once."""
        given = await self._token(metadata, attempt, code)
        token = given.get("id_token")
        if not isinstance(token, str):
            raise NotSignedIn("The provider gives no id token; scope has to hold openid.")
        word = id_token.read(token)
        claims = id_token.signed_by(word, await self._keys_for(metadata, word.kid))
        again = self._settings.recent_minutes * 60 if attempt.again else None
        id_token.check(
            claims,
            issuer=self._settings.issuer,
            client=self._settings.client_id,
            nonce=attempt.nonce,
            now=time.time(),
            max_age=again,
            acr=self._settings.recent_acr if attempt.again else "",
        )
        access = given.get("access_token")
        if isinstance(access, str):
            id_token.check_access_token(claims, id_token.algorithm(word), access)
        return claims

    async def _token(self, metadata: Metadata, attempt: Attempt, code: str) -> Mapping[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "code_verifier": attempt.verifier,
        }
        headers = {}
        secret, client = self._secret(), self._settings.client_id
        if secret and (not metadata.methods or "client_secret_basic" in metadata.methods):
            pair = f"{quote_plus(client)}:{quote_plus(secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": client} | ({"client_secret": secret} if secret else {})
        status, said = await self._ask("POST", metadata.token, form, headers)
        if status >= 500:
            raise IssuerError("The provider failed when it was asked who signed in; try again later.")
        if status != 200:
            if said.get("error") == "invalid_client":
                raise IssuerError("The provider does not know us by access.sign_in: check client and secret.")
            raise NotSignedIn("The provider does not take its own code any more; sign in again.")
        return said

    def _secret(self) -> str:
        """Raises ConfigError. It is read each time: a secret that is replaced works without a restart."""
        named = self._settings
        if named.secret_file is not None:
            try:
                return named.secret_file.read_text().strip()
            except (OSError, UnicodeDecodeError):
                raise ConfigError(
                    f"access.sign_in: the secret file {named.secret_file} cannot be read."
                ) from None
        if named.secret_env and not os.environ.get(named.secret_env):
            raise ConfigError(
                f"access.sign_in: the environment variable {named.secret_env} with the secret is not set."
            )
        return os.environ[named.secret_env].strip() if named.secret_env else ""

    async def _about(self) -> Metadata:
        """What the provider says of itself; the word of before, if it cannot be asked again just now."""
        now = time.monotonic()
        if self._metadata is not None and now - self._metadata[0] < FRESH:
            return self._metadata[1]
        issuer = self._settings.issuer
        try:
            url = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
            status, said = await self._ask("GET", url)
            if status != 200 or said.get("issuer") != issuer:
                raise IssuerError(
                    "access.sign_in.issuer: there is no discovery document that names itself so."
                )
            found = _metadata(said)
        except IssuerError:
            if self._metadata is None:
                raise
            return self._metadata[1]
        self._metadata = (now, found)
        return found

    async def _keys_for(self, metadata: Metadata, kid: str) -> Keys:
        """The provider's keys; asked for anew when they are old, or lack this one ("": any will do)."""
        now = time.monotonic()
        age = now - self._keys[0] if self._keys else FRESH
        if self._keys and age < FRESH and (not kid or is_named(self._keys[1], kid) or age < KEYS_AGAIN):
            return self._keys[1]
        status, said = await self._ask("GET", metadata.jwks)
        found = id_token.keys_of(said)
        if status != 200 or not found:
            raise IssuerError("The provider shows no keys by which its word can be checked.")
        self._keys = (now, found)
        return found

    async def _ask(
        self, method: str, url: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] = {}
    ) -> tuple[int, Mapping[str, Any]]:
        """Status, and what is said as a JSON object; empty if it is none."""
        is_near = is_loopback(url)
        if url.startswith("https:") and self._tls is None:  # to load certificates takes time
            self._tls = await asyncio.to_thread(_trusted, self._settings)
        verify = self._tls if self._tls and url.startswith("https:") else False
        body = bytearray()
        try:
            async with (
                asyncio.timeout(SECONDS),
                httpx.AsyncClient(verify=verify, follow_redirects=False, trust_env=not is_near) as client,
                client.stream(
                    method,
                    url,
                    data=dict(form) if form else None,
                    headers={"Accept": "application/json", **headers},
                ) as response,
            ):
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > LONGEST:
                        raise IssuerError("The provider's answer is longer than any that could be meant.")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise IssuerError(
                f"The provider that signs people in does not answer ({type(error).__name__}); try later."
            ) from None
        try:
            said = jsontext.decode(bytes(body))
        except NotJson:
            said = None
        return response.status_code, said if isinstance(said, dict) else {}


def _metadata(said: Mapping[str, Any]) -> Metadata:
    """Raises IssuerError if a person or a code could not be sent safely where it says."""
    methods = said.get("token_endpoint_auth_methods_supported")
    challenges = said.get("code_challenge_methods_supported")
    if isinstance(challenges, list) and "S256" not in challenges:
        raise IssuerError("The provider does not do PKCE with S256, which sign-in here needs.")
    return Metadata(
        _address(said, "authorization_endpoint"),
        _address(said, "token_endpoint"),
        _address(said, "jwks_uri"),
        _address(said, "end_session_endpoint") if said.get("end_session_endpoint") else "",
        said.get("authorization_response_iss_parameter_supported") is True,
        frozenset(map(str, methods)) if isinstance(methods, list) else frozenset(),
    )


def _address(said: Mapping[str, Any], name: str) -> str:
    url = said.get(name)
    if isinstance(url, str) and len(url) < 2000 and is_safe(url):
        return url
    raise IssuerError(f"The provider's discovery document names no https address as {name}.")


def _with(url: str, asked: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(asked)}"


def _refusal(code: str) -> str:
    if code in ("access_denied", "login_required", "interaction_required", "consent_required"):
        return "Nobody signed in at the provider; begin again."
    if code in ("temporarily_unavailable", "server_error"):
        return "The provider cannot sign anybody in just now; try again later."
    named = f" ({code})" if re.fullmatch(r"[a-z_]{1,40}", code) else ""
    return f"The provider refused what was asked{named}; compare what it has registered with access.sign_in."


def _trusted(settings: SignInSettings) -> ssl.SSLContext:
    """Raises ConfigError if the file of an authority cannot be used."""
    context = httpx.create_ssl_context()
    if settings.ca_file is not None:
        try:
            context.load_verify_locations(cafile=settings.ca_file)
        except OSError:
            raise ConfigError(
                f"access.sign_in.ca_file: {settings.ca_file} holds no certificates in PEM."
            ) from None
    return context
