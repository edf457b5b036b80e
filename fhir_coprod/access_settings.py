"""Settings that say who may call: how people sign in, and what each role may do.

Secrets are never settings: a setting names the file or the environment variable that holds a secret.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from fhir_coprod.accounts import Section, is_base

_DEPARTMENT = re.compile(r"\*|Organization/[A-Za-z0-9\-.]{1,64}")
_SCOPE = re.compile(r"user/(\*|[A-Z][A-Za-z]+)\.(c?r?u?d?s?|read|write|\*)(\?.+)?")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_department(reference: str) -> bool:
    """Whether this names a department, or all of them (`*`)."""
    return _DEPARTMENT.fullmatch(reference) is not None


def is_loopback(url: str) -> bool:
    """Whether an address is of this machine itself."""
    return urlsplit(url).hostname in _LOOPBACK


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


class SignInSettings(Section):
    """How people sign in: by OpenID Connect, at a provider of the site's choice."""

    issuer: str
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
    departments: dict[str, str] = {}
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

    @model_validator(mode="before")
    @classmethod
    def _no_secret(cls, value: Any) -> Any:
        if isinstance(value, dict) and "secret" in value:
            raise ValueError(
                "a secret is never a setting: secret_env names the variable that holds it, "
                "secret_file the file"
            )
        return value

    @field_validator("issuer")
    @classmethod
    def _safe(cls, value: str) -> str:
        if not is_base(value) or not (value.startswith("https:") or is_loopback(value)):
            raise ValueError("write the provider's https address, such as https://login.example/realms/care")
        return value

    @field_validator("scope")
    @classmethod
    def _of_openid(cls, value: str) -> str:
        if "openid" not in value.split():
            raise ValueError("openid has to be among them, as in openid profile")
        return value

    @field_validator("departments")
    @classmethod
    def _departments(cls, value: dict[str, str]) -> dict[str, str]:
        if not all(map(is_department, value.values())):
            raise ValueError("write departments as they are here, such as Organization/orthopaedics, or *")
        return value


class AccessSettings(Section):
    """Who may call. Without any of it only this machine is served, and nobody is asked who they are."""

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
