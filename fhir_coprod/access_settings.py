"""Settings that say who may call, and how the connection is secured: programs, issuers of others, people.

Secrets are never settings: a setting names the file or the environment variable that holds a secret.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from fhir_coprod.accounts import Section, WithSecret, is_base
from fhir_coprod.addresses import is_safe

_DEPARTMENT = re.compile(r"\*|Organization/[A-Za-z0-9\-.]{1,64}")
_SCOPE = re.compile(r"user/(\*|[A-Z][A-Za-z]+)\.(c?r?u?d?s?|read|write|\*)(\?.+)?")


def is_department(reference: str) -> bool:
    """Whether this names a department, or all of them (`*`)."""
    return _DEPARTMENT.fullmatch(reference) is not None


def _known_departments(value: dict[str, str]) -> dict[str, str]:
    if not all(map(is_department, value.values())):
        raise ValueError("write departments as they are here, such as Organization/orthopaedics, or *")
    return value


def _safe(value: str) -> str:
    if not is_base(value) or not is_safe(value):
        raise ValueError("write an https address, such as https://login.example/realms/care")
    return value


Departments = Annotated[dict[str, str], AfterValidator(_known_departments)]
"""From values of a claim to departments here (Organization/ID, or * for all)."""
SafeUrl = Annotated[str, AfterValidator(_safe)]


class RoleSettings(Section):
    """What those who have a role may do, in the departments for which they have it."""

    scopes: tuple[str, ...] = Field(min_length=1)
    """SMART scopes, such as user/*.rs or user/Task.cu."""
    cleared: tuple[str, ...] = ()
    """Security labels that do not keep a record from them, such as V (very restricted)."""

    @field_validator("scopes")
    @classmethod
    def _of_people(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(_SCOPE.fullmatch, value)):
            raise ValueError('a role is of people: write scopes such as "user/*.rs"')
        return value


class SignInSettings(WithSecret):
    """How people sign in: by OpenID Connect, at a provider of the site's choice."""

    proof = "secret"

    issuer: SafeUrl
    """The provider, as its own discovery document names it."""
    client_id: str = Field(min_length=1)
    """Under which the provider knows these pages."""
    secret_file: Path | None = None
    secret_env: str = ""
    """Where the client's secret is; neither: a public client, which only PKCE protects."""
    ca_file: Path | None = None
    """An authority that is trusted for the provider besides the usual ones, in PEM."""
    scope: str = "openid profile"
    """What to ask the provider for."""
    name_claim: str = "name"
    """What the pages call a person, and what is written down of who did something."""
    roles_claim: str = ""
    """The claim that names a person's roles; a dot goes inside, as in realm_access.roles. Empty: roles are
    only given by `fhir-coprod users grant`."""
    roles: dict[str, str] = {}
    """From values of that claim to roles of `access.roles`; empty: the values are those names."""
    departments_claim: str = ""
    """The claim that names a person's departments, in the same way."""
    departments: Departments = {}
    """From values of that claim to departments here (Organization/ID, or * for all)."""
    patient_claim: str = ""
    """The claim by which a patient is known; empty: patients do not sign in."""
    patient_system: str = ""
    """The system of the identifier that is in that claim; empty: it is the id of a Patient here."""
    related_person_claim: str = ""
    """The claim that holds the id of a RelatedPerson here, who signs in as a proxy; empty: no proxies do."""
    practitioner_claim: str = ""
    """The claim that holds the id of a person's Practitioner here; empty: whatever a patient refuses to any
    Practitioner is refused to everybody of the staff."""
    straight: bool = False
    """Whether a person who is not signed in is led to the provider without a page of ours between."""
    idle_minutes: float = Field(default=30.0, gt=0, le=1440)
    """Minutes without a page after which a sign-in ends."""
    hours: float = Field(default=10.0, gt=0, le=168)
    """Hours after which it ends in any case."""
    recent_minutes: float = Field(default=5.0, gt=0, le=60)
    """How long ago a person may have signed in who releases a letter or joins patients."""
    recent_acr: str = ""
    """How they have to have signed in for that: the value of `acr` that is asked for."""
    ask: str = ""
    """Whom to ask for access, in the site's words: shown to a person without a role."""

    @field_validator("scope")
    @classmethod
    def _of_openid(cls, value: str) -> str:
        if "openid" not in value.split():
            raise ValueError("openid has to be among them, as in openid profile")
        return value


_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")


class IssuerSettings(Section):
    """An authorization server of others, whose access tokens are taken here."""

    issuer: SafeUrl
    """As its tokens name it (iss)."""
    audience: str = Field(min_length=1)
    """How its tokens name this server (aud)."""
    jwks_url: str = ""
    """Where its keys are; empty: where its discovery document says."""
    algorithms: tuple[str, ...] = ("RS256", "RS384", "ES256", "ES384")
    """By which its tokens may be signed."""
    scope_claim: str = "scope"
    """The claim with the scopes of SMART, as one text or a list; a dot goes inside."""
    required_scope: str = ""
    """A scope without which no token is taken; empty: any token with scopes of SMART is."""
    client_claim: str = "client_id"
    """The claim that names a program; if there is none, azp and sub are looked at."""
    patient_claim: str = "patient"
    """The claim with the id of the Patient here that scopes of patient/ are about."""
    departments_claim: str = ""
    """The claim that names the departments that scopes of user/ reach; empty: they reach nobody's."""
    departments: Departments = {}
    """From values of that claim to departments here (Organization/ID, or * for all)."""
    roles_claim: str = ""
    """The claim that names roles, such as realm_access.roles; empty: scopes come from the token alone."""
    roles: dict[str, tuple[str, ...]] = {}
    """From values of that claim to scopes that a token gets besides its own."""

    @field_validator("jwks_url")
    @classmethod
    def _safe_place(cls, value: str) -> str:
        return _safe(value) if value else value

    @field_validator("algorithms")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not set(value) <= set(_ALGORITHMS):
            raise ValueError(f"name some of {', '.join(_ALGORITHMS)}")
        return value


class ServerTlsSettings(Section):
    """The certificate by which this server is known, in PEM. Both files are read again when they change."""

    certificate_file: Path | None = None
    """The certificate, and after it those of the authorities between."""
    key_file: Path | None = None
    """Its private key, without a password."""
    hsts_days: int = Field(default=365, ge=0, le=3650)
    """Days for which browsers shall come by https only; 0: they are not told so."""

    @model_validator(mode="after")
    def _both(self) -> ServerTlsSettings:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        return self


class AccessSettings(Section):
    """Who may call. Without any of it only this machine is served, and nobody is asked who they are."""

    required: bool | None = None
    """Whether callers have to say who they are; unset: as soon as a client has been registered, or an issuer
    or sign-in is configured."""
    key_file: Path | None = None
    """Where the private key for our own tokens is; unset: in the data folder. It is made here."""
    issuer: tuple[IssuerSettings, ...] = ()
    hosts: tuple[str, ...] = ()
    """Further names under which this server is called, as in a Host header, without a port."""
    per_minute: int = Field(default=60_000, ge=0, le=10_000_000)
    """Requests that each caller may send; 0: any number."""
    origins: tuple[str, ...] = ()
    """Web pages elsewhere that may call (CORS), such as https://app.example; empty: none."""
    metrics: Literal["local", "token"] = "local"
    """Who may read /metrics beside those with a token of system/: everybody on this machine, or nobody."""

    @field_validator("issuer")
    @classmethod
    def _distinct(cls, value: tuple[IssuerSettings, ...]) -> tuple[IssuerSettings, ...]:
        if len({one.issuer for one in value}) != len(value):
            raise ValueError("two [[access.issuer]] entries name the same issuer")
        return value

    @field_validator("hosts")
    @classmethod
    def _hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]", name) for name in value):
            raise ValueError('write names without a port, such as ["coprod.example", "10.0.0.7"]')
        return value

    @field_validator("origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(r"https?://[A-Za-z0-9.\-\[\]:]+", origin) for origin in value):
            raise ValueError('write origins, such as ["https://app.example"], without a path')
        return value

    sign_in: SignInSettings | None = None
    roles: dict[str, RoleSettings] = {}
    """By name, as `[access.roles.coordinator]`."""
    proxy_until_age: int = Field(default=13, ge=0, le=18)
    """Until which birthday parents speak for a child without its Consent."""

    @field_validator("roles")
    @classmethod
    def _names(cls, value: dict[str, RoleSettings]) -> dict[str, RoleSettings]:
        if not all(re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name) for name in value) or "patient" in value:
            raise ValueError(
                "name roles with small letters, digits and '-', such as coordinator; patient is taken"
            )
        return value

    @model_validator(mode="after")
    def _known_roles(self) -> AccessSettings:
        """A misspelled name would give nobody anything, and nobody would notice."""
        named = set(self.sign_in.roles.values()) if self.sign_in else set()
        if unknown := sorted(named - set(self.roles)):
            raise ValueError(
                f"sign_in.roles names {unknown[0]!r}; add [access.roles.{unknown[0]}] with scopes"
            )
        return self
