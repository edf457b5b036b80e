"""Loads deadline policies, which are TOML files with a source and a date, and looks up their numbers.

A policy is `policies/NAME.toml`, or a file of the site's own, and may extend another policy. In its own file
a site can override any number per specialty, priority and department:

    extends = "se-vardgaranti"
    name = "our-hospital"
    version = "3"
    valid_from = 2026-09-01
    source = "Decision of the referral board, 2026-08-20"

    [[override]]
    department = "Organization/orthopaedics"
    priority = "urgent"
    clocks = { unscheduled = "3 wd" }

Check the numbers before clinical use; they are not legal advice.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache, cached_property
from hashlib import blake2b
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, cast

from fhir_coprod.alike import FURTHEST_APART
from fhir_coprod.errors import ConfigError
from fhir_coprod.settings import SiteSettings
from fhir_coprod.watch.record.fhir import within_reach
from fhir_coprod.watch.record.model import Request
from fhir_coprod.watch.rules.calendar import SiteCalendar, Span
from fhir_coprod.watch.rules.codes import ABOUT, Rule, Stage
from fhir_coprod.watch.rules.scope_table import (
    ALERT_KEYS,
    CODE_LISTS,
    ROW_KEYS,
    ScopeAlerts,
    ScopeRow,
    one_of,
    scope_alerts,
    scope_row,
    share_of,
)

Severity = Literal["high", "moderate", "low"]
Owner = Literal["requester", "receiver"]
Clocks = Mapping[Rule, Span]

PRIORITIES = ("routine", "urgent", "asap", "stat")

_LARGEST_FACTOR = 100
_PACKAGE: Traversable = resources.files("fhir_coprod") / "_data" / "policies"
_KEYS = frozenset(
    {"name", "extends", "title", "version", "valid_from", "source", "country", "region", "enabled"}
    | {"clocks", "priority", "duplicate", "owners", "severity", "codes", "pauses", "guarantee", "override"}
    | {"alerts", "feeds", "scope", "orders", "silence", "withdrawal", "practice", "answers"}
)
_KEYS_WITHIN: Mapping[str, Collection[str]] = {
    "duplicate": {"window"},
    "codes": {"awaiting-information", "no-result-expected", *CODE_LISTS},
    "scope": ROW_KEYS,
    "practice": {"limit"},
    "silence": {*PRIORITIES, "hold_reviewed_within"},
    "orders": ALERT_KEYS,
    "pauses": {"reasons", "stops"},
    "feeds": {"behind_after"},
    "withdrawal": {"soon", "adult"},
    "answers": {"in_words"},
    "alerts": {"act_within", "acknowledged_for", "snooze_at_most", "ladder", "digest_over"},
    "guarantee": {"name", "within", "until", "specialties", "enabled", "valid_from", "valid_until"},
    "override": {"specialty", "priority", "department", "clocks"},
    "priority": PRIORITIES,
}
"""The keys that a table may have, or each table of a list."""
_SCALING = frozenset({"factor", "in_hours", "at_least", "each"})


@dataclass(frozen=True)
class Guarantee:
    """A date that the law or an agreement promises the patient."""

    name: str
    within: Span
    until: Stage = Stage.SEEN
    """The promise is kept when the referral has come this far."""
    specialties: frozenset[str] = frozenset()
    """Only for these codes of performerType or category; empty: for all that no other guarantee names."""
    enabled: bool = True
    valid_from: date | None = None
    valid_until: date | None = None


@dataclass(frozen=True)
class Override:
    """Different numbers for some referrals; all conditions that are given must hold."""

    clocks: Clocks
    specialty: str = ""
    priority: str = ""
    department: str = ""

    def fits(self, request: Request, departments: Iterable[str]) -> bool:
        return (
            (not self.specialty or _named(self.specialty, request.specialties))
            and (not self.priority or self.priority == request.priority)
            and (not self.department or self.department in departments)
        )


@dataclass(frozen=True)
class AlertRules:
    """How alerts are followed up."""

    act_within: Mapping[str, Span]
    """By severity: how long somebody may take to act before the alert goes one step up the ladder."""
    acknowledged_for: Span
    """How long an acknowledgement lasts."""
    snooze_at_most: Span
    ladder: tuple[str, ...]
    """The people who get the alert, step by step, in words."""
    digest_over: int = 25
    """If more than this many referrals were stalled when an EHR was first read, send one digest instead."""


@dataclass(frozen=True)
class Policy:
    """One policy at one site. `assess` takes every number, code and holiday from here."""

    name: str
    version: str
    title: str
    source: str
    valid_from: date
    calendar: SiteCalendar
    clocks: Mapping[str, Clocks]
    """By ServiceRequest.priority, already scaled."""
    scaling: Mapping[str, Mapping[str, Any]]
    duplicate_window: Span
    owners: Mapping[Rule, Owner]
    severities: Mapping[Rule, Severity]
    awaiting_information: frozenset[str]
    no_result_expected: frozenset[str]
    scopes: tuple[ScopeRow, ...]
    """Tells referrals from other orders: the first row that fits."""
    scope_alerts: ScopeAlerts
    pause_reasons: frozenset[str]
    pause_stops: frozenset[str]
    alerts: AlertRules
    feeds_behind_after: timedelta
    withdrawal_soon: Span
    """How soon somebody has to decide after a minor withdrew, or from an urgent referral."""
    adult: int
    """The age in years from which somebody is no minor."""
    answers_in_words: bool
    """Whether a finished Task whose output is only a code or a text has given its answer."""
    silence: Mapping[str, Span]
    """By priority: how long nothing may be recorded about an open referral."""
    practice_limit: float
    """A step is not in use where surely less than this share of the referrals show it."""
    hold_reviewed_within: Span
    """The longest time for which a hold's own date of review counts."""
    guarantees: tuple[Guarantee, ...] = ()
    overrides: tuple[Override, ...] = ()

    @property
    def label(self) -> str:
        """Name and version, as alerts cite it."""
        return f"{self.name} {self.version}"

    @cached_property
    def fingerprint(self) -> str:
        """A hash that changes with anything that affects a judgement, including the calendar."""
        place = (self.calendar.zone.key, self.calendar.country, self.calendar.region)
        told = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "calendar"}
        return blake2b(repr((place, _ordered(told))).encode(), digest_size=12).hexdigest()

    def clocks_for(self, request: Request, departments: Iterable[str]) -> Clocks:
        """The deadlines for one referral and department."""
        base = self.clocks.get(request.priority) or self.clocks["routine"]
        if not self.overrides:
            return base
        own = dict(base)
        for override in self.overrides:
            if override.fits(request, departments):
                for rule, span in override.clocks.items():
                    own[rule] = span if override.priority else self.scaled(span, request.priority)
        return own

    def guarantees_for(self, request: Request) -> tuple[Guarantee, ...]:
        """The promises that apply to this referral: those for its specialty, or else the general ones."""
        if not self.guarantees:
            return ()
        issued = self.calendar.date(request.authored)
        valid = [
            guarantee
            for guarantee in self.guarantees
            if guarantee.enabled
            and (guarantee.valid_from is None or guarantee.valid_from <= issued)
            and (guarantee.valid_until is None or issued <= guarantee.valid_until)
        ]
        special = tuple(g for g in valid if any_named(g.specialties, request.specialties))
        return special or tuple(g for g in valid if not g.specialties)

    def scaled(self, span: Span, priority: str) -> Span:
        """A routine number scaled for another priority."""
        return _scale(span, self.scaling.get(priority, {}))

    def act_by(self, severity: Severity, priority: str, now: datetime) -> datetime:
        """The time by which somebody has to act on an alert that is found now."""
        return self.calendar.due(now, self.scaled(self.alerts.act_within[severity], priority))

    def pulled_since(self, now: datetime) -> datetime:
        """A feed whose last complete pull was before this time counts as behind at `now`."""
        return within_reach(now) - self.feeds_behind_after

    def at(self, site: SiteSettings) -> Policy:
        """The same policy with the site's time zone, and the site's country if it names one."""
        country = site.country or self.calendar.country
        same = country.upper() == self.calendar.country.upper()
        region = site.region or (self.calendar.region if same else "")
        return replace(self, calendar=SiteCalendar(site.zone, country, region))


def _ordered(value: Any) -> Any:
    """The value with everything in a fixed order, so that equal values have equal texts."""
    if is_dataclass(value):
        return [(field.name, _ordered(getattr(value, field.name))) for field in fields(value)]
    if isinstance(value, Mapping):
        return sorted((str(key), _ordered(held)) for key, held in value.items())
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_ordered(held) for held in value]
    return str(value)


def any_named(wanted: frozenset[str], codes: Collection[str]) -> bool:
    """Whether one of `codes` (`system|code`) is in `wanted`, whose entries may leave out the system."""
    return bool(codes) and any(code in wanted or code.rpartition("|")[2] in wanted for code in codes)


def _named(wanted: str, codes: Iterable[str]) -> bool:
    return any(code == wanted or code.rpartition("|")[2] == wanted for code in codes)


def names(folder: Traversable = _PACKAGE) -> tuple[str, ...]:
    """The policies that come with the package, sorted."""
    return tuple(sorted(file.name.removesuffix(".toml") for file in folder.iterdir()))


@cache
def load(name: str, site: SiteSettings | None = None, folder: Traversable = _PACKAGE) -> Policy:
    """A policy by name, or by path of a site's own file (ending in .toml).

    site:   without it, UTC and the country that the policy itself names.
    folder: where the policies with a name are.

    Raises ConfigError, which says what to write.
    """
    try:
        content = _content(name, (), folder)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ConfigError(f"policy {name}: not valid TOML ({error}).") from None
    unknown = sorted(content.keys() - _KEYS)
    if unknown:
        raise ConfigError(f"policy {name}: unknown key {unknown[0]!r}; known: {', '.join(sorted(_KEYS))}.")
    if not content.get("enabled", True):
        raise ConfigError(f"policy {name} is switched off (enabled = false); name another with watch.policy.")
    try:
        _require_known(content)
        policy = _policy(content)
    except ConfigError as error:
        raise ConfigError(f"policy {name}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ConfigError(f"policy {name}: missing or malformed entry ({error}).") from None
    return policy.at(site or SiteSettings())


def _content(name: str, above: tuple[str, ...], folder: Traversable) -> dict[str, Any]:
    """The content of the file and of all it extends. The nearer file wins; tables merge key by key, lists
    replace."""
    if name in above:
        raise ConfigError(f"policy {name} extends itself through {' > '.join(above)}; break the circle.")
    content = tomllib.loads(_text(name, folder))
    if "extends" not in content:
        return content
    extended = content["extends"]
    if not isinstance(extended, str):
        raise ConfigError(f"policy {name}: extends names another policy, in quotes.")
    if extended.endswith(".toml"):
        extended = str(Path(name).parent / extended)  # relative to the file that extends it
    base = _content(extended, (*above, name), folder)
    merged: dict[str, Any] = {**base, **content}
    for key, value in content.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merged[key] = {**base[key], **value}
    if isinstance(content.get("scope"), list) and isinstance(base.get("scope"), list):
        merged["scope"] = [*content["scope"], *base["scope"]]  # a site's own rows come first
    return merged


def _text(name: str, folder: Traversable) -> str:
    known = names(folder)
    try:
        if name.endswith(".toml"):
            return Path(name).read_text()
        if name in known:
            return (folder / f"{name}.toml").read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"policy {name}: cannot be read ({error}).") from None
    raise ConfigError(
        f"there is no policy {name!r}; use one of {', '.join(known)}, or the path of your own .toml file."
    )


def _require_known(content: Mapping[str, Any]) -> None:
    """Refuse unknown keys: with a misspelt key the extended policy's number would apply unnoticed."""
    tables: list[tuple[str, Any, Collection[str]]]
    tables = [(name, table, _KEYS_WITHIN[name]) for name, table in content.items() if name in _KEYS_WITHIN]
    tables += [(f"priority.{name}", table, _SCALING) for name, table in content["priority"].items()]
    for name, table, allowed in tables:
        for one in table if isinstance(table, list) else [table]:
            unknown = [key for key in one if key not in allowed]
            if unknown:
                known = ", ".join(sorted(allowed))
                raise ConfigError(f"unknown key {unknown[0]!r} in {name}; known: {known}.")


def _policy(content: Mapping[str, Any]) -> Policy:
    routine = _clocks(content["clocks"])
    scaling = cast(Mapping[str, Mapping[str, Any]], content["priority"])
    codes = content["codes"]
    pauses = content["pauses"]
    return Policy(
        name=content["name"],
        version=str(content["version"]),
        title=str(content["title"]),
        source=str(content["source"]),
        valid_from=_day(content["valid_from"]),
        calendar=SiteCalendar(SiteSettings().zone, content.get("country", ""), content.get("region", "")),
        clocks={
            priority: {rule: _scale(span, scaling.get(priority, {})) for rule, span in routine.items()}
            for priority in PRIORITIES
        },
        scaling=scaling,
        duplicate_window=_window(content["duplicate"]["window"]),
        owners={
            _rule(rule): one_of(owner, "requester", "receiver") for rule, owner in content["owners"].items()
        },
        severities={
            _rule(rule): one_of(level, "high", "moderate", "low")
            for rule, level in content["severity"].items()
        },
        awaiting_information=frozenset(codes["awaiting-information"]),
        no_result_expected=frozenset(codes["no-result-expected"]),
        scopes=tuple(scope_row(row, codes) for row in content["scope"]),
        scope_alerts=scope_alerts(content["orders"]),
        pause_reasons=frozenset(pauses["reasons"]),
        pause_stops=frozenset(stop if stop == "guarantee" else _rule(stop).value for stop in pauses["stops"]),
        alerts=_alerts(content["alerts"]),
        feeds_behind_after=timedelta(days=_some(Span.parse(content["feeds"]["behind_after"])).number),
        withdrawal_soon=_some(Span.parse(content["withdrawal"]["soon"])),
        adult=_count(content["withdrawal"]["adult"]),
        answers_in_words=_yes_or_no(content["answers"]["in_words"]),
        silence={priority: _some(Span.parse(content["silence"][priority])) for priority in PRIORITIES},
        practice_limit=share_of(content["practice"]["limit"], "practice.limit"),
        hold_reviewed_within=_some(Span.parse(content["silence"]["hold_reviewed_within"])),
        guarantees=tuple(_guarantee(entry) for entry in content.get("guarantee", ())),
        overrides=tuple(_override(entry) for entry in content.get("override", ())),
    )


def _rule(code: str) -> Rule:
    try:
        return Rule(code)
    except ValueError:
        raise ConfigError(f"{code!r} is no rule; rules are {', '.join(ABOUT)}.") from None


def _clocks(table: Mapping[str, str]) -> dict[Rule, Span]:
    return {_rule(rule): Span.parse(text) for rule, text in table.items()}


def _scale(span: Span, scaling: Mapping[str, Any]) -> Span:
    if "each" in scaling:
        return Span.parse(scaling["each"])
    factor = float(scaling.get("factor", 1))
    if not 0 < factor <= _LARGEST_FACTOR:
        raise ConfigError(f"factor {factor:g} is not above 0 and at most {_LARGEST_FACTOR}.")
    if scaling.get("in_hours"):
        least = Span.parse(scaling.get("at_least", "0 h")).number
        scaled = span.in_hours(factor)
        return Span(max(least, scaled.number), "h")
    return span.times(factor)


def _guarantee(entry: Mapping[str, Any]) -> Guarantee:
    return Guarantee(
        name=entry["name"],
        within=Span.parse(entry["within"]),
        until=Stage(entry.get("until", Stage.SEEN)),
        specialties=frozenset(entry.get("specialties", ())),
        enabled=entry.get("enabled", True),
        valid_from=_day(entry["valid_from"]) if "valid_from" in entry else None,
        valid_until=_day(entry["valid_until"]) if "valid_until" in entry else None,
    )


def _day(value: object) -> date:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ConfigError(f"{value!r} is not a day; write 2026-01-01, without quotes.")
    return value


def _some(span: Span) -> Span:
    if span.number < 1:
        raise ConfigError(f"'{span}' is too short; write at least 1.")
    return span


def _window(text: str) -> Span:
    window = Span.parse(text)
    if window.unit != "d" or window.number > FURTHEST_APART:
        raise ConfigError(
            f"duplicate.window = '{text}' is not a number of days up to {FURTHEST_APART}; write '30 d'."
        )
    return window


def _alerts(table: Mapping[str, Any]) -> AlertRules:
    within = {
        one_of(level, "high", "moderate", "low"): Span.parse(text)
        for level, text in table["act_within"].items()
    }
    return AlertRules(
        act_within=within,
        acknowledged_for=Span.parse(table["acknowledged_for"]),
        snooze_at_most=Span.parse(table["snooze_at_most"]),
        ladder=_ladder(table["ladder"]),
        digest_over=_count(table.get("digest_over", 25)),
    )


def _ladder(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(step, str) for step in value):
        raise ConfigError("ladder lists in words who is asked, one after the other; name at least one.")
    return tuple(value)


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{value!r} is not true or false.")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigError(f"{value!r} is not a whole number; write 0 or more.")
    return value


def _override(entry: Mapping[str, Any]) -> Override:
    if entry.get("priority", "routine") not in PRIORITIES:
        raise ConfigError(f"{entry['priority']!r} is no priority; use {', '.join(PRIORITIES)}.")
    return Override(
        clocks=_clocks(entry["clocks"]),
        specialty=entry.get("specialty", ""),
        priority=entry.get("priority", ""),
        department=entry.get("department", ""),
    )
