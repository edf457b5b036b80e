"""What the readers of a record are given: resources as we hold them, and what is known around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from fhir_coprod.jsontext import Json
from fhir_coprod.watch.record import words
from fhir_coprod.watch.record.fhir import PERSONS, target
from fhir_coprod.watch.record.parties import Place, Side
from fhir_coprod.watch.record.words import Words


@dataclass(frozen=True, slots=True)
class Held:
    """A resource as we hold it: its reference, and each version with the time we stored it, oldest first."""

    reference: str
    versions: tuple[tuple[datetime, Json], ...]

    @property
    def data(self) -> Json:
        """The current version."""
        return self.versions[-1][1]

    @property
    def type(self) -> str:
        return self.reference.partition("/")[0]

    def first_stored(self, holds: Callable[[Json], bool]) -> datetime:
        """When we first stored a version for which `holds` is true; it is true for the current one."""
        return next((stored for stored, data in self.versions if holds(data)), self.versions[-1][0])


@dataclass(frozen=True)
class Surroundings:
    """What the readers need to know beside the resources themselves."""

    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    """Dates without a time are days in this zone."""
    behind: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """From a PractitionerRole, HealthcareService or Location to the person and organisation behind it."""
    places: Mapping[str, Place] = field(default_factory=dict)
    """What is known of Organizations."""
    specialties: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The specialties of roles and services."""
    words: Words = field(default_factory=words.load)
    """What codes mean."""
    payers: Mapping[str, bool] = field(default_factory=dict)
    """Whether an Organization pays for care (type `pay` or `ins`) and so is no department that could be
    asked."""

    def side(self, reference: Json | None) -> Side | None:
        """One party with everybody behind it; None if it is not named."""
        parties = self.parties(reference)
        return Side(parties, self.specialties.get(parties[0], frozenset())) if parties else None

    def parties(self, *references: Json | None) -> tuple[str, ...]:
        """The references and everybody behind them, in order, once each."""
        found: dict[str, None] = {}
        for reference in references:
            name = target(reference)
            if name:
                found[name] = None
                for other in self.behind.get(name, ()):
                    found[other] = None
        return tuple(found)


def staff(parties: tuple[str, ...]) -> tuple[str, ...]:
    """The parties that are neither a patient nor a relative."""
    return tuple(party for party in parties if not party.startswith(PERSONS))
