"""Tells which identifiers name a person, and compares their values by what they mean.

The rules are data: mappings/identifiers.toml, and a file of the site's own beside it (`sync.identifiers` in
the settings). A number that names a person has up to three keys:

    number     system|value in the one form that its system prescribes; equal keys are the same number
    loose      system|value without anything that is often written in several ways; equal keys may be the same
    national   its system, if a country gives it to a person once
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

import msgspec

from fhir_coprod import mappings
from fhir_coprod.errors import ConfigError
from fhir_coprod.jsontext import Json
from fhir_coprod.mappings import Finding, r4

KINDS = "http://terminology.hl7.org/CodeSystem/v2-0203"
"""The code system of Identifier.type."""
LONGEST_KEY = 250
"""Characters; PostgreSQL indexes at most 2,700 bytes, which a key shares with other columns."""
_NOT_ANY_MORE = frozenset(("old", "temp"))
_BETWEEN = "|"
_COMPARING = b"3"
"""Raise it when records are read or compared in another way: then all people are compared again."""
_FEWEST = 4
"""Characters; the same sign this often is no number."""

Names = Literal["nation", "person", "assigner", "nobody"]


class Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Whom an identifier of one kind names."""

    names: Names = "nobody"


class System(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is known of one system of identifiers; see the comment in identifiers.toml."""

    type: str = ""
    also: tuple[str, ...] = ()
    drop: str = ""
    ignore_case: bool = False
    leading_zeros: bool = True
    pattern: str = ""
    century: bool = False


class Placeholders(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What people write where nothing is known, in small letters; days as month and day."""

    values: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    days: tuple[str, ...] = ()


class Identifiers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The content of identifiers.toml, or of a site's own file."""

    types: dict[str, Kind] = {}
    systems: dict[str, System] = {}
    placeholders: Placeholders = Placeholders()


def read(text: bytes, file: str) -> Identifiers:
    """The content of such a file. Raises Mistakes, a ConfigError, with every mistake in it."""
    return mappings.read(text, file, Identifiers, mistakes)


def mistakes(rules: Identifiers) -> Iterator[Finding]:
    """Kinds that R4 does not have, patterns that are none, and systems that two entries claim."""
    for code in rules.types:
        if said := r4.code_mistake(KINDS, code):
            yield ("types", code), said
    claimed: dict[str, str] = {}
    for name, system in rules.systems.items():
        if system.type and (said := r4.code_mistake(KINDS, system.type)):
            yield ("systems", name, "type"), said
        try:
            re.compile(system.pattern)
        except re.error as error:
            yield ("systems", name, "pattern"), f"no regular expression: {error}."
        for address in (name, *system.also):
            if address in claimed:
                yield ("systems", name), f"{address} is claimed by {claimed[address]}, too; keep one."
            claimed[address] = name
    for day in rules.placeholders.days:
        if not re.fullmatch(r"[0-9]{2}-[0-9]{2}", day):
            yield ("placeholders", "days"), f"{day!r} is no month and day; write 01-01 for 1 January."


@cache
def shipped() -> Numbering:
    """The rules that come with the package."""
    return Numbering(mappings.compiled("identifiers", Identifiers))


def load(file: str) -> Numbering:
    """Our rules with those of a site's own file on top; only ours if `file` is "".

    Raises ConfigError if the file cannot be read or has a mistake in it.
    """
    if not file:
        return shipped()
    try:
        text = Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"sync.identifiers: {file}: cannot be read ({error.strerror}).") from None
    own, ours = read(text, file), shipped().rules
    claimed = {address for name, system in own.systems.items() for address in (name, *system.also)}
    kept = {name: system for name, system in ours.systems.items() if not claimed & {name, *system.also}}
    held, more = ours.placeholders, own.placeholders
    return Numbering(
        Identifiers(
            {**ours.types, **own.types},
            {**kept, **own.systems},
            Placeholders((*held.values, *more.values), (*held.given, *more.given), (*held.days, *more.days)),
        )
    )


@dataclass(frozen=True, slots=True)
class Number:
    """One identifier that names a person.

    key:      `system|value`; "" if the value is only known to be perhaps such a number
    loose:    `system|value` without what is often written in several ways
    assigner: who gave it, if it counts only there and the record says who
    ends:     the last day on which it counts, YYYY-MM-DD; "" if there is none
    """

    system: str
    key: str
    loose: str
    is_national: bool = False
    assigner: str = ""
    ends: str = ""


@dataclass(frozen=True)
class Numbering:
    """The rules, ready to be asked."""

    rules: Identifiers

    @cached_property
    def mark(self) -> str:
        """Changes whenever the rules do, so that what was read by older rules can be read again."""
        encoded = msgspec.json.encode(self.rules, order="deterministic")
        return hashlib.sha256(_COMPARING + encoded).hexdigest()[:16]

    @cached_property
    def given_placeholders(self) -> frozenset[str]:
        return frozenset(self.rules.placeholders.given)

    @cached_property
    def days(self) -> frozenset[str]:
        return frozenset(self.rules.placeholders.days)

    @cached_property
    def _values(self) -> frozenset[str]:
        return frozenset(map(_bare, self.rules.placeholders.values))

    @cached_property
    def _systems(self) -> Mapping[str, tuple[str, System, re.Pattern[str] | None]]:
        """Address → the system's own name, its rules and its compiled pattern."""
        found = {}
        for name, system in self.rules.systems.items():
            pattern = re.compile(system.pattern) if system.pattern else None
            for address in (name, *system.also):
                found[address] = (name, system, pattern)
        return found

    def of(self, identifier: object, birth: str = "") -> Number | None:
        """The number that an Identifier is; None if it names nobody.

        birth: the person's birth date, which says the century of a number that leaves it out
        """
        if not isinstance(identifier, dict):
            return None
        address, value = identifier.get("system"), identifier.get("value")
        if not isinstance(address, str) or not isinstance(value, str) or not address.strip():
            return None
        if identifier.get("use") in _NOT_ANY_MORE:
            return None
        name, system, pattern = self._systems.get(address.strip(), (address.strip(), None, None))
        names = self._names(identifier, system)
        written = value.strip() if system is None else _written(value, system)
        if names == "nobody" or any(_is_placeholder(each, self._values) for each in (value, written)):
            return None
        bare = _bare(written)
        key, loose = f"{name}|{_whole(written)}", f"{name}|{bare}"
        if system is not None and pattern is not None and not pattern.fullmatch(written):
            century = _century(written, system, birth)
            if century is None:
                return None  # not such a number at all
            key = f"{name}|{century}{written}" if century else ""
        if system is not None and system.century:
            loose = f"{name}|{bare[-10:]}"
        if len(loose) > LONGEST_KEY or len(key) > LONGEST_KEY:
            return None
        assigner = _assigner(identifier) if names == "assigner" else ""
        return Number(name, key, loose, names == "nation", assigner, _ends(identifier))

    def _names(self, identifier: Json, system: System | None) -> Names:
        """Whom the identifier names, by its system or else by its kind."""
        if system is not None and system.type:
            return self.rules.types.get(system.type, Kind()).names
        codes = _kinds(identifier)
        if not codes:
            return "person"  # until the data speak against it
        said = [self.rules.types.get(code, Kind()).names for code in codes]
        return "nobody" if "nobody" in said else said[0]


def system_of(key: str) -> str:
    """The system of a key `system|value`."""
    return key.rpartition(_BETWEEN)[0]


def _kinds(identifier: Json) -> list[str]:
    type = identifier.get("type")
    codings = type.get("coding") if isinstance(type, dict) else None
    return [
        coding["code"]
        for coding in (codings if isinstance(codings, list) else ())
        if isinstance(coding, dict) and coding.get("system") == KINDS and isinstance(coding.get("code"), str)
    ]


def _written(value: str, system: System) -> str:
    kept = "".join(c for c in value.strip() if c not in system.drop)
    kept = kept.upper() if system.ignore_case else kept
    return kept if system.leading_zeros else kept.lstrip("0")


def _whole(value: str) -> str:
    """The value as a part of a key, which is cut at its last bar."""
    return value.replace(_BETWEEN, "¦")


def _bare(value: str) -> str:
    return re.sub(r"[\W_]+", "", value).casefold().lstrip("0")


def _is_placeholder(value: str, known: frozenset[str]) -> bool:
    """Whether it is a word for nothing, or the same sign again and again: 0000000000."""
    bare = re.sub(r"[\W_]+", "", value).casefold()
    again = len(bare) >= _FEWEST and len(set(bare)) == 1
    return again or not bare.strip("0") or bare.lstrip("0") in known


def _century(written: str, system: System, birth: str) -> str | None:
    """The two digits that are missing; "" if nobody can tell; None if it is not that short form."""
    if not system.century or not re.fullmatch(r"[0-9]{10}", written):
        return None
    if len(birth) == 10 and birth[2:4] + birth[5:7] + birth[8:10] == written[:6]:
        return birth[:2]
    return ""


def _assigner(identifier: Json) -> str:
    """The organisation that gave it, by its identifier, address or name; "" if the record does not say."""
    assigner = identifier.get("assigner")
    if not isinstance(assigner, dict):
        return ""
    own = assigner.get("identifier")
    if isinstance(own, dict) and isinstance(own.get("value"), str):
        return f"{own.get('system', '')}|{own['value'].strip()}"
    display = assigner.get("display")
    return display.strip().casefold() if isinstance(display, str) else ""


def _ends(identifier: Json) -> str:
    period = identifier.get("period")
    end = period.get("end") if isinstance(period, dict) else None
    return end[:10] if isinstance(end, str) else ""
