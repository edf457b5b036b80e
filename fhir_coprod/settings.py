"""All settings in one object, from `coprod.toml` and the environment.

Keys are those of `coprod.toml`; each can also come from the environment as `COPROD_SECTION__KEY`
(`COPROD_STORE__URL`, `COPROD_EHR__0__URL`), which wins over the file. An unknown key is an error. Secrets are
never settings: a setting names the file or the environment variable that holds a secret.
"""

from __future__ import annotations

import os
import re
import tomllib
from functools import cache
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

import platformdirs
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from fhir_coprod.access_settings import AccessSettings, ServerTlsSettings, is_department
from fhir_coprod.accounts import AUTHS, Auth, NoAuth, Section, TlsSettings, is_base
from fhir_coprod.addresses import is_loopback
from fhir_coprod.audit_settings import AuditSettings, RetentionSettings
from fhir_coprod.errors import ConfigError
from fhir_coprod.export_settings import ExportSettings
from fhir_coprod.windows import Window


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())  # looks through six hundred files


def data_folder() -> Path:
    """The folder of the store, unless a setting names another."""
    return Path(platformdirs.user_data_dir("fhir-coprod", appauthor=False))


def _default_store_url() -> str:
    return f"sqlite:///{data_folder() / 'coprod.db'}"


class StoreSettings(Section):
    """Where the store is."""

    url: str = Field(default_factory=_default_store_url)
    """sqlite:///path.db or postgresql://user@host/database; a password comes from PGPASSWORD or ~/.pgpass."""


class SiteSettings(Section):
    """Where the clinic is: working days and clock times follow from it."""

    timezone: str = "UTC"
    """IANA name, such as Europe/Stockholm."""
    country: str = ""
    """ISO 3166-1 alpha-2, such as SE; empty: weekends are the only days off."""
    region: str = ""
    """Subdivision for regional holidays, as in ISO 3166-2 without the country."""
    base_url: str = ""
    """Public address of the endpoint behind a proxy, such as https://coprod.example/fhir."""

    proxy: tuple[str, ...] = ()
    """Addresses or networks of the proxies before this server; what they say of the caller (X-Forwarded-For,
    X-Forwarded-Proto) is believed, and of nobody else."""

    @field_validator("proxy")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(str(ip_network(one, strict=False)) for one in value)
        except ValueError:
            raise ValueError('write addresses or networks, such as ["10.0.0.5", "10.1.0.0/16"]') from None

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in _zones():
            raise ValueError(f"{value!r} is not an IANA time zone such as Europe/Stockholm")
        return value

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


class PracticeSettings(Section):
    """How one step of referrals is recorded at an EHR or in a department. What is left out fits anything."""

    step: Literal["task", "told", "booking", "visit", "returned"]
    used: bool
    """False: nothing is claimed because it is absent. True: it is in use, whatever the records say."""
    ehr: str = ""
    department: str = ""
    """Reference of a department here, such as Organization/orthopaedics."""
    code: str = ""
    """What is asked for, as system|code."""

    @field_validator("department")
    @classmethod
    def _reference(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}|[^|]*\|.+", value):
            raise ValueError("write a reference as it is here, such as Organization/orthopaedics")
        return value

    @field_validator("code")
    @classmethod
    def _with_system(cls, value: str) -> str:
        if value and "|" not in value:
            raise ValueError("write system|code, such as http://snomed.info/sct|183545006")
        return value


class WatchSettings(Section):
    """How stalled referrals are judged."""

    policy: str = "default"
    """Name of a deadline policy, such as default or se-vardgaranti."""
    practice: tuple[PracticeSettings, ...] = ()
    """What is known of how steps of referrals are recorded; the first entry that fits decides."""
    words: tuple[Path, ...] = ()
    """The site's own files that say what its codes mean (mappings/README.md)."""


class EhrSettings(Section):
    """One department's FHIR server."""

    name: str
    url: str
    """FHIR base URL without user, password, query or fragment; secrets are named under `auth`."""
    vendor: str = ""
    """Known deviations from the server's own statement: a name of mappings/ehr/, or the path of a file."""
    department: str = ""
    """The Organization that this server is of, as a reference at that server (Organization/id)."""
    auth: Auth = NoAuth()
    tls: TlsSettings = TlsSettings()
    types: tuple[str, ...] = ()
    """Resource types to take from it; empty: those that the watch and the coproduction profiles need."""
    patients: tuple[str, ...] = ()
    """Ids there of the patients to follow, for a server that only lists patients when given a name."""
    on_invalid: Literal["keep", "refuse"] = "keep"
    """What becomes of a record that can be read and breaks a rule: keep it as it came, marked and listed
    (`fhir-coprod quality`), or refuse it (a dead letter)."""
    timeout: float = Field(default=30.0, gt=0, le=600)
    """Seconds to wait for one answer."""
    requests_per_second: float = Field(default=20.0, gt=0, le=1000)
    aliases: tuple[str, ...] = ()
    """Other addresses by which its records name this server: behind a proxy, or as it was called before."""
    overlap_seconds: int | None = Field(default=None, ge=0, le=604_800)
    """How far each sync reaches back behind what it has read; None: as the vendor's file says (120)."""
    bulk: Literal["auto", "never", "always"] = "auto"
    """Whether types are read by bulk export: where that is the best way, never, or always, also if the
    server's statement offers none."""
    group: str = ""
    """Id there of the Group whose members to export; empty: everybody."""
    bulk_every_hours: float | None = Field(default=None, ge=0, le=8760)
    """Hours from one export to the next; None: as the vendor's file says (1)."""
    bulk_hosts: tuple[str, ...] = ()
    """Other hosts where exports may be asked for and files be fetched with the same authorization; to others
    none is shown."""
    every_minutes: float | None = Field(default=None, ge=0, le=10_080)
    """As sync.every_minutes, for this EHR; None: as there."""
    window: str = ""
    """The hours of the day within which it may be read, in the site's zone, as 22:00-05:00; empty: any."""

    @field_validator("window")
    @classmethod
    def _hours(cls, value: str) -> str:
        return str(Window.read(value)) if value else ""

    @property
    def hours(self) -> Window | None:
        """Its window."""
        return Window.read(self.window) if self.window else None

    @field_validator("name")
    @classmethod
    def _short_name(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", value):
            raise ValueError("write a short name of small letters, digits and '-', such as orthopaedics")
        return value

    @field_validator("url")
    @classmethod
    def _base_url(cls, value: str) -> str:
        if not is_base(value):
            raise ValueError(
                "write the FHIR base address, such as https://ehr.example/fhir, without user, password, query"
            )
        return value

    @field_validator("group")
    @classmethod
    def _id(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", value):
            raise ValueError("write the id of a Group there, without Group/ in front")
        return value

    @field_validator("bulk_hosts")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(is_base, value)):
            raise ValueError('write addresses, such as ["https://files.ehr.example"]')
        return value

    @field_validator("aliases")
    @classmethod
    def _base_urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(is_base, value)):
            raise ValueError('write base addresses, such as ["http://hapi:8080/fhir"]')
        return value

    @field_validator("department")
    @classmethod
    def _organization(cls, value: str) -> str:
        if value and (value == "*" or not is_department(value)):
            raise ValueError("write a reference as at that server, such as Organization/orthopaedics")
        return value


class SyncSettings(Section):
    """When the EHRs are read, and how much may vanish from them at once."""

    every_minutes: float = Field(default=5.0, ge=0, le=1440)
    """Minutes from the start of one sync to the start of the next; 0: only `fhir-coprod sync` runs one."""
    identifiers: str = ""
    """Path of a .toml file that says which of this site's identifiers name a person; see
    mappings/README.md."""
    full_every_hours: float = Field(default=24.0, ge=0, le=8760)
    """Hours after which a sync that usually asks a type for changes lists all of it again; 0: never."""
    max_deleted_share: float = Field(default=0.1, ge=0, le=1)
    """The share of the records of one type that may vanish at once without a person saying that it is so."""
    bulk_folder: str = ""
    """Folder for exported files until they are read; empty: beside the SQLite store, else the data folder."""
    bulk_wait_minutes: float = Field(default=2.0, ge=0, le=10_080)
    """Minutes that one sync waits for exports; if one takes longer, a later sync goes on with it. What was
    read meanwhile is linked and written when the wait is over."""
    bulk_job_hours: float = Field(default=24.0, gt=0, le=8760)
    """Hours after which nobody waits any more for an export that is not done."""


class LogSettings(Section):
    """How events are told on stderr."""

    format: Literal["text", "json"] = "text"
    """text: `timestamp=… level=… event=…` on one line; json: the same as one JSON object a line."""


class LimitSettings(Section):
    """Limits of what the endpoint, `load` and `validate` accept."""

    body_bytes: int = Field(default=20_000_000, gt=0)
    elements: int = Field(default=1_500_000, gt=0)
    """Values and members of one body, counted before they are read: `{},{},…` would fill the memory."""
    record_bytes: int = Field(default=100_000_000, gt=0)
    """Bytes of one line, or of one file that is a single record or Bundle, for `load` and `validate`."""
    page: int = Field(default=1000, gt=0, le=10_000)
    bundle_entries: int = Field(default=5_000, gt=0)
    answer_bytes: int = Field(default=50_000_000, gt=0)
    """Bytes of resources on one page of a search or a history, and of the answers to a whole bundle."""
    seconds: float = Field(default=30.0, gt=0)
    async_seconds: float = Field(default=600.0, gt=0)
    """Seconds for what is answered later (`Prefer: respond-async`)."""
    async_requests: int = Field(default=20, ge=0)
    """How many of these are kept, those that have been answered included."""


class Settings(Section):
    """Everything that `coprod.toml` can contain. The constructor uses only its arguments; `load` reads file
    and environment."""

    store: StoreSettings = StoreSettings()
    site: SiteSettings = SiteSettings()
    watch: WatchSettings = WatchSettings()
    sync: SyncSettings = SyncSettings()
    limits: LimitSettings = LimitSettings()
    log: LogSettings = LogSettings()
    access: AccessSettings = AccessSettings()
    export: ExportSettings = ExportSettings()
    tls: ServerTlsSettings = ServerTlsSettings()
    audit: AuditSettings = AuditSettings()
    retention: RetentionSettings = RetentionSettings()
    ehr: tuple[EhrSettings, ...] = ()

    @field_validator("ehr")
    @classmethod
    def _distinct(cls, value: tuple[EhrSettings, ...]) -> tuple[EhrSettings, ...]:
        names = [ehr.name for ehr in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two [[ehr]] entries share the name {twice[0]!r}; each needs its own")
        return value

    @model_validator(mode="after")
    def _practice_of_known_ehrs(self) -> Settings:
        """A misspelled name would fit nothing, and nobody would notice."""
        known = {ehr.name for ehr in self.ehr}
        for said in self.watch.practice if known else ():
            if said.ehr and said.ehr not in known:
                named = ", ".join(sorted(known))
                raise ValueError(f"watch.practice: no [[ehr]] is called {said.ehr!r}; there are {named}")
        return self

    @model_validator(mode="after")
    def _address_to_come_back_to(self) -> Settings:
        base = self.site.base_url
        if self.access.sign_in and not (base.startswith("https:") or is_loopback(base)):
            raise ValueError(
                "access.sign_in needs site.base_url, the https address by which people reach this server: "
                "the provider sends them back there"
            )
        return self

    @classmethod
    def load(cls, path: Path | None = None) -> Settings:
        """Settings from `path`, else the file that COPROD_CONFIG names, else ./coprod.toml if there is one.

        Raises ConfigError naming the key and what it may contain.
        """
        named = path or (Path(os.environ["COPROD_CONFIG"]) if os.environ.get("COPROD_CONFIG") else None)
        file = named or Path("coprod.toml")
        content: dict[str, Any] = {}
        if named or file.exists():
            content = _read(file)
            _anchor(content, file.absolute().parent)
        variables = _add_environment(content)
        try:
            return cls(**content)
        except ValidationError as error:
            there = file if named or file.exists() else None
            raise ConfigError(_explain(error, there, variables)) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file; name another with --config or COPROD_CONFIG.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({error}).") from None
    except tomllib.TOMLDecodeError as error:
        hint = " Text stands in quotes." if "Invalid value" in str(error) else ""
        raise ConfigError(f"{file}: not valid TOML: {error}.{hint}") from None
    except (RecursionError, ValueError):
        raise ConfigError(f"{file}: not valid TOML: too deep, or a number out of reach.") from None


def _anchor(content: dict[str, Any], folder: Path) -> None:
    """Make relative paths in a settings file relative to the file's folder."""

    def anchored(value: str) -> str:
        return str(folder / value)

    sections = [section for section in content.values() if isinstance(section, dict)]
    for section in sections:
        url = section.get("url")
        if isinstance(url, str) and url.startswith("sqlite:///") and url != "sqlite:///":
            section["url"] = "sqlite:///" + anchored(url.removeprefix("sqlite:///"))
        policy = section.get("policy")
        if isinstance(policy, str) and policy.endswith(".toml"):
            section["policy"] = anchored(policy)
        for key in ("identifiers", "bulk_folder", "folder", "certificate_file", "key_file", "heads_file"):
            path = section.get(key)
            if isinstance(path, str) and path:
                section[key] = anchored(path)
        if isinstance(part := section.get("sign_in"), dict):
            for key in ("secret_file", "ca_file"):
                if isinstance(part.get(key), str):
                    part[key] = anchored(part[key])
        words = section.get("words")
        if isinstance(words, list):
            section["words"] = [anchored(file) if isinstance(file, str) else file for file in words]
    for ehr in content.get("ehr", ()) if isinstance(content.get("ehr"), list) else ():
        if not isinstance(ehr, dict):
            continue
        vendor = ehr.get("vendor")
        if isinstance(vendor, str) and vendor.endswith(".toml"):
            ehr["vendor"] = anchored(vendor)
        for name in ("auth", "tls"):
            part = ehr.get(name)
            for key, value in [*part.items()] if isinstance(part, dict) else ():
                if key.endswith("_file") and isinstance(value, str):
                    ehr[name][key] = anchored(value)


Place = tuple[str, ...]
"""The keys that lead to a setting, with numbers from 0 as text."""


def _add_environment(content: dict[str, Any]) -> dict[Place, str]:
    """Let each COPROD_SECTION__KEY override the file; EHRs are counted from 0. Returns which did."""
    used: dict[Place, str] = {}
    for name, value in sorted(os.environ.items()):
        section, *keys = name.upper().removeprefix("COPROD_").lower().split("__")
        if not name.upper().startswith("COPROD_") or (not keys and section not in Settings.model_fields):
            continue
        if section not in Settings.model_fields or not keys or not all(keys):
            known = ", ".join(f"COPROD_{field.upper()}__…" for field in Settings.model_fields)
            raise ConfigError(f"environment variable {name}: unknown setting; known: {known}.")
        place: Any = content
        for key in (section, *keys[:-1]):
            place = _beneath(place, key, name)
        if not isinstance(place, dict):
            raise ConfigError(f"environment variable {name}: name the key too, as in COPROD_EHR__0__URL.")
        place[keys[-1]] = value.split(",") if keys[-1] in _SEVERAL else value
        used[section, *keys] = name
    return used


_SEVERAL = ("types", "patients", "aliases", "bulk_hosts", "words", "proxy", "hosts", "origins", "algorithms")
"""Settings that are lists of texts; in the environment, with commas between them."""
_ENTRIES = ("ehr", "practice", "issuer")
"""Settings that are lists of tables; in the environment, counted from 0."""


def _beneath(place: Any, key: str, variable: str) -> Any:
    if isinstance(place, list):
        if not key.isascii() or not key.isdigit() or len(key) > 3 or int(key) > len(place):
            raise ConfigError(f"environment variable {variable}: entries are counted from 0, without gaps.")
        if int(key) == len(place):
            place.append({})
        return place[int(key)]
    if not isinstance(place, dict):
        raise ConfigError(f"environment variable {variable}: there is no such setting.")
    return place.setdefault(key, [] if key in _ENTRIES else {})


def _explain(error: ValidationError, file: Path | None, variables: dict[Place, str]) -> str:
    """The first problem as one sentence; without values, since they may be secrets."""
    problem = error.errors(include_input=False, include_url=False)[0]
    place = _place(problem["loc"])
    own = tuple(str(part) for part in problem["loc"] if part not in AUTHS)
    variable = variables.get(own) or (variables.get((*own, "type")) if "tag" in problem["type"] else None)
    where = f"environment variable {variable}" if variable else f"{file or 'settings'}: {place}"
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key; known keys here: {', '.join(_known_keys(problem['loc'][:-1]))}."
    if problem["type"] == "missing":
        return f"{where}: is missing."
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        return (
            f'{where}: set type to one of {", ".join(AUTHS)}, as in {{ type = "bearer", token_env = "…" }}.'
        )
    return f"{where}: {problem['msg'].removeprefix('Value error, ').removeprefix('Input ')}."


def _place(location: tuple[int | str, ...]) -> str:
    """The place in a person's terms: a file's EHRs are counted from 1, and kinds of `auth` are no keys."""
    parts = [part for part in location if part not in AUTHS]
    return ".".join(str(part + 1) if isinstance(part, int) else part for part in parts)


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = Settings
    for part in location:
        if isinstance(part, int):
            continue
        if part in AUTHS:
            return sorted(AUTHS[part].model_fields)
        field = model.model_fields.get(part)
        if field is None:
            break
        candidates = [field.annotation, *get_args(field.annotation)]
        nested = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not nested:
            break
        model = nested[0]
    return sorted(model.model_fields)
