"""Settings of one EHR that say who we are there, and how the connection is secured: `auth` and `tls`.

Secrets are never settings: a setting names the file or the environment variable that holds a secret.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Section(BaseModel):
    """One table of `coprod.toml`; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WithSecret(Section):
    """An account that is proven by a secret, which is read from a file or an environment variable."""

    proof: ClassVar[str]
    """What the secret is called in the settings, before _file and _env."""

    @model_validator(mode="before")
    @classmethod
    def _no_secret(cls, value: Any) -> Any:
        if isinstance(value, dict) and cls.proof in value:
            raise ValueError(
                f"a secret is never a setting: {cls.proof}_env names the variable that holds it, "
                f"{cls.proof}_file the file"
            )
        return value


class NoAuth(Section):
    type: Literal["none"] = "none"


class BasicAuth(WithSecret):
    proof = "password"
    type: Literal["basic"]
    user: str
    password_file: Path | None = None
    password_env: str = ""


class BearerAuth(WithSecret):
    proof = "token"
    type: Literal["bearer"]
    token_file: Path | None = None
    token_env: str = ""


class _TokenAuth(WithSecret):
    """A token of an authorization server."""

    client_id: str = Field(min_length=1)
    """Under which the EHR knows this program."""
    token_url: str = ""
    """Its token endpoint; empty: the one that the EHR names."""
    scope: str | None = None
    """What to ask for, such as "system/Patient.read system/Task.read"; None: to read each type; empty:
    whatever is registered."""

    @field_validator("token_url")
    @classmethod
    def _address(cls, value: str) -> str:
        if value and not is_token_url(value):
            raise ValueError("write an address such as https://ehr.example/oauth2/token")
        return value


class SmartBackendAuth(_TokenAuth):
    """SMART Backend Services: a token for an assertion that is signed with our private key."""

    proof = "key"
    type: Literal["smart-backend"]
    key_file: Path | None = None
    """Private keys in PEM or as a JWK Set; without it and key_env, where `ehr keys` puts them."""
    key_env: str = ""
    jwks_url: str = ""
    """Where our JWK Set is published, if the EHR wants to be told with each request (jku)."""

    @field_validator("jwks_url")
    @classmethod
    def _by_https(cls, value: str) -> str:
        if value and not (value.startswith("https:") and is_token_url(value)):
            raise ValueError("write the https address at which the EHR finds our JWK Set")
        return value


class ClientCredentialsAuth(_TokenAuth):
    """OAuth 2.0 client credentials: a token for a secret."""

    proof = "secret"
    type: Literal["client-credentials"]
    secret_file: Path | None = None
    secret_env: str = ""
    secret_in: Literal["", "header", "body"] = ""
    """How the secret is sent; empty: as the server says, else in the header."""


class TlsSettings(Section):
    """Certificates, in PEM."""

    ca_file: Path | None = None
    """Authorities that are trusted besides the usual ones."""
    certificate_file: Path | None = None
    """The certificate by which the EHR knows this program (mutual TLS)."""
    key_file: Path | None = None
    """Its private key, if it is not in the same file."""

    @model_validator(mode="after")
    def _key_of_a_certificate(self) -> TlsSettings:
        if self.key_file and not self.certificate_file:
            raise ValueError("key_file needs certificate_file")
        return self


def is_base(url: str) -> bool:
    """Whether this is the base address of a server, without user, password, query or fragment."""
    return re.fullmatch(r"https?://[^@?#\\\x00-\x20]+", url) is not None and _has_host(url)


def is_token_url(url: str) -> bool:
    """Whether a token can be asked for at this address; unlike a base address it may have a query."""
    return re.fullmatch(r"https?://[^@#\\\x00-\x20\x7f]+", url) is not None and _has_host(url)


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.hostname) and ".." not in parts.path.split("/")


AUTHS: dict[str, type[BaseModel]] = {
    "none": NoAuth,
    "basic": BasicAuth,
    "bearer": BearerAuth,
    "smart-backend": SmartBackendAuth,
    "client-credentials": ClientCredentialsAuth,
}
Auth = Annotated[
    NoAuth | BasicAuth | BearerAuth | SmartBackendAuth | ClientCredentialsAuth, Field(discriminator="type")
]
