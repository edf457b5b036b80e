"""Decides whether an order is a referral, a diagnostic order, out of scope, or unclear. Pure.

Every EHR files all its orders as ServiceRequest, and few of them are referrals between departments. The rows
of the policy (`[[scope]]`) are tried in order, and the first that fits decides and gives its reason. No order
disappears: those that are no referral are counted, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

from fhir_coprod.watch.record.model import Facts, Request
from fhir_coprod.watch.rules.policies import Policy, any_named
from fhir_coprod.watch.rules.scope_table import ScopeRow
from fhir_coprod.watch.rules.task import Course

_PEOPLE: Final = ("Practitioner/", "PractitionerRole/")


class Scope(StrEnum):
    """What the watch does with an order."""

    REFERRAL = "referral"  # everything is watched
    DIAGNOSTIC = "diagnostic"  # result and review: counted per department, alerts only where turned on
    OUT = "out"  # nothing is watched; counted
    UNCLEAR = "unclear"  # may be a referral: whether it was sent is on the board, without an alert


class Scoped(NamedTuple):
    """In which scope an order is, and why."""

    scope: Scope
    reason: str


_NO_ROW: Final = Scoped(Scope.UNCLEAR, "nothing says what it is")


def scope_of(facts: Facts, courses: Sequence[Course], policy: Policy, now: datetime) -> Scoped:
    """The scope of an order, from what was known at `now`."""
    request = facts.request
    known: dict[str, bool] = {
        "by_patient": request.by_patient and request.intent == "proposal",
        "asked": any(_asks(course, request.requesters) for course in courses),
        "visit": any(visit.start <= now or visit.start_stored for visit in facts.visits)
        or any(booking.created <= now or booking.created_stored for booking in facts.appointments),
    }
    codes = (*request.codes, *request.specialties)
    for row in policy.scopes:
        if _fits(row, known, request, codes):
            return Scoped(Scope(row.scope), row.reason)
    return _NO_ROW


def _fits(row: ScopeRow, known: dict[str, bool], request: Request, codes: tuple[str, ...]) -> bool:
    """Whether all that a row names is so. Codes, words and profiles are one condition: each says what it
    is."""
    if row.intents and request.intent not in row.intents:
        return False
    if row.parties and request.between not in row.parties:
        return False
    if any(known[name] is not wanted for name, wanted in row.known):
        return False
    if row.codes or row.says or row.profiles:
        return (
            any_named(row.codes, codes)
            or not row.says.isdisjoint(request.says)
            or not row.profiles.isdisjoint(request.profiles)
        )
    return True


def _asks(course: Course, requesters: tuple[str, ...]) -> bool:
    """Whether a Task asks somebody other than the requester and their own department, or anybody who takes
    it."""
    return not course.owners or any(
        owner not in course.task.colleagues and not _is_own(owner, behind, requesters)
        for _, owner, behind in course.owners
    )


def _is_own(owner: str, behind: tuple[str, ...], requesters: tuple[str, ...]) -> bool:
    """Whether the owner of a Task is the requester: the same party, or the same person in another role."""
    if not owner or not requesters:
        return False
    return owner == requesters[0] or not _people(behind).isdisjoint(_people(requesters))


def _people(names: Iterable[str]) -> set[str]:
    return {name for name in names if name.startswith(_PEOPLE)}
