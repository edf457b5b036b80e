"""How we show an EHR who we are: the Authorization header of each request, and the TLS of the connection."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import httpx

from fhir_coprod.accounts import BasicAuth, BearerAuth, ClientCredentialsAuth, SmartBackendAuth, TlsSettings
from fhir_coprod.errors import ConfigError
from fhir_coprod.settings import EhrSettings
from fhir_coprod.sync.ehr import keys
from fhir_coprod.sync.ehr.sending import Politeness, Sender, shown
from fhir_coprod.sync.ehr.tokens import Tokens
from fhir_coprod.watched import PULLED

Headers = dict[str, str]


class Authorization(Protocol):
    """What a request needs so that the EHR knows us."""

    async def headers(self) -> Headers:
        """The headers for the next request. Raises EhrError if there are none to be had."""
        ...

    async def instead_of(self, refused: Headers) -> Headers:
        """Other headers, after these were refused with 401; the same if there are no better ones."""
        ...

    async def access(self) -> Access:
        """What we may do there, as far as it is known before we ask. Raises EhrError."""
        ...


@dataclass(frozen=True, slots=True)
class Access:
    """What signing in has brought.

    words:   how we sign in, in words; "" if there is nothing to tell
    lacking: the types that we may not read
    """

    words: str = ""
    lacking: tuple[str, ...] = ()


class FixedAuthorization:
    """A user's password, a token that somebody else renews, or nothing at all.

    The secret is read once, and again when it is refused: it may have been renewed meanwhile.
    """

    def __init__(self, read: Callable[[], Headers]) -> None:
        self._read = read
        self._headers = read()

    async def headers(self) -> Headers:
        return self._headers

    async def instead_of(self, refused: Headers) -> Headers:
        if self._headers == refused:
            with suppress(ConfigError):  # the secret is gone; then the refusal says enough
                self._headers = self._read()
        return self._headers

    async def access(self) -> Access:
        return Access()


class TokenAuthorization:
    """A token that we get ourselves."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def headers(self) -> Headers:
        return _bearer((await self._tokens.current()).value)

    async def instead_of(self, refused: Headers) -> Headers:
        token = await self._tokens.current()
        if _bearer(token.value) == refused:
            token = await self._tokens.instead_of(token)
        return _bearer(token.value)

    async def access(self) -> Access:
        token = await self._tokens.current()
        server = await self._tokens.server()
        words = f"a token of {shown(server.token_url)} for {token.lives:.0f} seconds"
        if self._tokens.key_id:
            words += f", with the key {self._tokens.key_id}"
        if abs(self._tokens.behind) > 0:
            side = "behind" if self._tokens.behind > 0 else "ahead of"
            words += f"; our clock is {abs(self._tokens.behind):.0f} seconds {side} the server's"
        return Access(words, tuple(self._tokens.not_granted(token)))


def authorization(
    ehr: EhrSettings, sender: Sender, http: httpx.AsyncClient, politeness: Politeness
) -> Authorization:
    """The way to sign in that the settings name.

    sender: sends to the EHR's authorization server

    Raises ConfigError if the secret or key that they name cannot be used.
    """
    auth = ehr.auth
    if not isinstance(auth, SmartBackendAuth | ClientCredentialsAuth):
        return FixedAuthorization(lambda: _fixed(ehr))
    proof = (
        private_keys(ehr.name, auth) if isinstance(auth, SmartBackendAuth) else _client_secret(ehr.name, auth)
    )
    base = ehr.url.rstrip("/")
    types = ehr.types or PULLED
    return TokenAuthorization(Tokens(ehr.name, base, auth, types, proof, sender, http, politeness))


def _fixed(ehr: EhrSettings) -> Headers:
    auth = ehr.auth
    if isinstance(auth, BasicAuth):
        secret = _secret(ehr.name, auth.password_file, auth.password_env, "password")
        return {"Authorization": f"Basic {base64.b64encode(f'{auth.user}:{secret}'.encode()).decode()}"}
    if isinstance(auth, BearerAuth):
        return _bearer(_secret(ehr.name, auth.token_file, auth.token_env, "token"))
    return {}


def _bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


def _client_secret(ehr: str, auth: ClientCredentialsAuth) -> str:
    return _secret(ehr, auth.secret_file, auth.secret_env, "secret")


def private_keys(ehr: str, auth: SmartBackendAuth) -> list[keys.Key]:
    """The keys that the settings name. Raises ConfigError."""
    file = auth.key_file or (None if auth.key_env else keys.default_file(ehr))
    try:
        text, where = _named(ehr, file, auth.key_env, "key")
    except ConfigError as error:
        raise ConfigError(f"{error.message} Make a key pair: fhir-coprod ehr keys {ehr}") from None
    return keys.read(text, f"ehr {ehr}: {where}")


def _secret(ehr: str, file: Path | None, variable: str, what: str) -> str:
    secret, where = _named(ehr, file, variable, what)
    if not secret or not (secret.isascii() and secret.isprintable()):
        # Anything else would appear in the error of the library that puts it into a header.
        raise ConfigError(f"ehr {ehr}: {where} must hold the {what} as one line of printable ASCII.")
    return secret


def _named(ehr: str, file: Path | None, variable: str, what: str) -> tuple[str, str]:
    """What a file or variable holds, and its name in words."""
    if file is not None:
        try:
            return file.read_text().strip(), f"the {what} file {file}"
        except (OSError, UnicodeDecodeError):
            raise ConfigError(f"ehr {ehr}: the {what} file {file} cannot be read.") from None
    if not variable:
        raise ConfigError(f"ehr {ehr}: auth needs {what}_file or {what}_env.")
    if variable not in os.environ:
        raise ConfigError(f"ehr {ehr}: the environment variable {variable} that holds the {what} is not set.")
    return os.environ[variable].strip(), f"the environment variable {variable}"


# --- TLS ------------------------------------------------------------------------------------------


@cache
def _trusted() -> ssl.SSLContext:
    """The certificates that we trust, for all EHRs of a run: they take longer to load than a page."""
    return httpx.create_ssl_context()


def tls(ehr: EhrSettings) -> ssl.SSLContext | bool:
    """Whom we trust to be this EHR, and by which certificate it knows us; False: it is not asked by https.

    Raises ConfigError if a file of the settings cannot be used.
    """
    # A server that gives tokens may be asked by https even if the EHR is not.
    with_token = isinstance(ehr.auth, SmartBackendAuth | ClientCredentialsAuth)
    if not ehr.url.startswith("https:") and not with_token:
        return False  # loading certificates takes time
    if ehr.tls == TlsSettings():
        return _trusted()
    context, place = httpx.create_ssl_context(), f"ehr {ehr.name}: tls."
    if ehr.tls.ca_file:
        try:
            context.load_verify_locations(cafile=ehr.tls.ca_file)
        except OSError:  # of which SSLError is one
            raise ConfigError(
                f"{place}ca_file: {ehr.tls.ca_file} is no file of certificates in PEM."
            ) from None
    if ehr.tls.certificate_file:
        try:
            context.load_cert_chain(ehr.tls.certificate_file, ehr.tls.key_file, password=lambda: b"")
        except OSError:
            raise ConfigError(
                f"{place}certificate_file: {ehr.tls.certificate_file} and its key cannot be used; they must "
                "be PEM, belong together, and have no password."
            ) from None
    return context
