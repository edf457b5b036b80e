"""One referral of a scenario: its records, by which policy and when it is looked at, and what is expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from fhir_coprod.settings import SiteSettings
from fhir_coprod.watch.record.around import Held, Surroundings
from fhir_coprod.watch.record.compose import compose
from fhir_coprod.watch.record.model import Blind, Facts
from fhir_coprod.watch.rules import policies

BEHIND = {
    "PractitionerRole/gp": ("Practitioner/gp", "Organization/gp"),
    "HealthcareService/ortho-clinic": ("Organization/ortho",),
    "HealthcareService/neuro-clinic": ("Organization/neuro",),
    "Location/ortho-ward": ("Organization/ortho",),
}


@dataclass
class Expected:
    stage: str = ""
    since: str = ""
    stalls: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counted: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    more: dict[str, str] = field(default_factory=dict)


@dataclass
class Story:
    title: str
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    country: str = ""
    policy_name: str = "default"
    request: Held | None = None
    related: list[Held] = field(default_factory=list)
    siblings: list[tuple[Held, tuple[str, ...]]] = field(default_factory=list)
    blind: list[Blind] = field(default_factory=list)
    practice: list[tuple[str, str]] = field(default_factory=list)
    patient: Held | None = None
    now: datetime | None = None
    expected: Expected = field(default_factory=Expected)

    def facts(self, related: Sequence[Held] | None = None) -> Facts:
        """What is known; `related`: the same records in another order."""
        assert self.request is not None
        found = compose(
            self.request,
            self.related if related is None else related,
            self.siblings,
            proxies=("RelatedPerson/daughter",),
            blind=tuple(self.blind),
            around=Surroundings(self.zone, BEHIND),
            patient=self.patient,
        )
        return msgspec.structs.replace(found, practice=tuple(self.practice))

    def policy(self) -> policies.Policy:
        return policies.load(self.policy_name, SiteSettings(timezone=self.zone.key, country=self.country))

    def at(self, text: str, hour: int = 9) -> datetime:
        """An instant in UTC from 03-02 or 03-02T14:30."""
        day, _, clock = text.partition("T")
        local = datetime.combine(
            date.fromisoformat(f"2026-{day}" if len(day) == 5 else day),
            time.fromisoformat(clock) if clock else time(hour),
            self.zone,
        )
        return local.astimezone(UTC)

    def end_of(self, text: str) -> datetime:
        """The end of a local day, or the instant itself when a time is given."""
        if "T" in text:
            return self.at(text)
        following = self.at(text, 12).astimezone(self.zone).date() + timedelta(days=1)
        return datetime.combine(following, time(), self.zone).astimezone(UTC)

    def fhir(self, text: str) -> str:
        """As FHIR writes it; `day:03-02` stays a date without time."""
        if text.startswith("day:"):
            return f"2026-{text[4:]}"
        return self.at(text).isoformat()
