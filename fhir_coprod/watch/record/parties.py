"""Compares who asks and who is asked: the same person, the same department, or different departments. Pure.

An Organization is a department only if the settings name it, its type is dept or team, or it is a leaf under
a prov. Two Organizations of which neither is part of the other are different departments whatever their type.
Where both sides have the same Organization and it is a whole hospital, what is finer is compared instead:
services, places, teams, and the specialties of roles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PEOPLE: Final = ("Practitioner/", "PractitionerRole/")
_FINER: Final = ("HealthcareService/", "Location/", "CareTeam/")
_ORGANIZATION: Final = "Organization/"


class Between(StrEnum):
    """What requester and performer are to each other."""

    SAME_PERSON = "same-person"
    SAME_DEPARTMENT = "same-department"
    DIFFERENT_DEPARTMENTS = "different-departments"
    REQUESTER_UNKNOWN = "requester-unknown"
    PERFORMER_UNKNOWN = "performer-unknown"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Place:
    """An Organization: what it is part of, nearest first, and whether it is a department."""

    above: tuple[str, ...] = ()
    is_department: bool = False


@dataclass(frozen=True, slots=True)
class Side:
    """Who is on one side: the references of one party and everybody behind it."""

    parties: tuple[str, ...]
    specialties: frozenset[str] = frozenset()
    """Codes of the specialties of the role or service."""

    def of(self, *types: str) -> frozenset[str]:
        return frozenset(party for party in self.parties if party.startswith(types))

    @property
    def others(self) -> frozenset[str]:
        """Those known only by an identifier or a name."""
        return frozenset(party for party in self.parties if "|" in party)


def between(requester: Side | None, performers: Sequence[Side], places: Mapping[str, Place]) -> Between:
    """What the requester and those asked are to each other; a single other department decides."""
    if requester is None:
        return Between.REQUESTER_UNKNOWN
    if not performers:
        return Between.PERFORMER_UNKNOWN
    found = {_compared(requester, performer, places) for performer in performers}
    if Between.DIFFERENT_DEPARTMENTS in found:
        return Between.DIFFERENT_DEPARTMENTS
    if len(found) == 1:
        return found.pop()
    return Between.UNCLEAR if Between.UNCLEAR in found else Between.SAME_DEPARTMENT


def _compared(one: Side, other: Side, places: Mapping[str, Place]) -> Between:
    if one.of(*PEOPLE) & other.of(*PEOPLE):
        return Between.SAME_PERSON
    here, there = one.of(_ORGANIZATION), other.of(_ORGANIZATION)
    shared = here & there
    if any(places.get(name, Place()).is_department for name in shared):
        return Between.SAME_DEPARTMENT
    finer = _finer(one, other)
    if finer is not None:
        return finer
    if here and there and not shared and not _related(here, there, places):
        return Between.DIFFERENT_DEPARTMENTS
    return Between.UNCLEAR


def _finer(one: Side, other: Side) -> Between | None:
    """The same by services, places and teams, by name alone, and by specialty; None if that says nothing."""
    if one.of(*_FINER) & other.of(*_FINER) or one.others & other.others:
        return Between.SAME_DEPARTMENT
    for type in _FINER:
        if one.of(type) and other.of(type):
            return Between.DIFFERENT_DEPARTMENTS
    if one.specialties and other.specialties:
        same = not one.specialties.isdisjoint(other.specialties)
        return Between.SAME_DEPARTMENT if same else Between.DIFFERENT_DEPARTMENTS
    return None


def _related(here: frozenset[str], there: frozenset[str], places: Mapping[str, Place]) -> bool:
    """Whether one of them is part of another, so that it may be the same department."""
    return any(
        low in ups or up in lows
        for up in here
        for low in there
        for ups, lows in ((places.get(up, Place()).above, places.get(low, Place()).above),)
    )
