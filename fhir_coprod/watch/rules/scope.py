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

from fhir_coprod.watch.record.model import Facts
from fhir_coprod.watch.record.parties import PEOPLE
from fhir_coprod.watch.rules.bookings import has_booking, has_visit
from fhir_coprod.watch.rules.policies import Policy, any_named
from fhir_coprod.watch.rules.scope_table import ScopeRow
from fhir_coprod.watch.rules.task import Course


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
    codes = (*facts.request.codes, *facts.request.specialties)
    for row in policy.scopes:
        if _fits(row, facts, codes, courses, now):
            return Scoped(Scope(row.scope), row.reason)
    return _NO_ROW


def _fits(
    row: ScopeRow, facts: Facts, codes: tuple[str, ...], courses: Sequence[Course], now: datetime
) -> bool:
    """Whether all that a row names is so. Codes, words and profiles are one condition: each says what it
    is."""
    request = facts.request
    if row.intents and request.intent not in row.intents:
        return False
    if row.parties and request.between not in row.parties:
        return False
    said = (
        any_named(row.codes, codes)
        or not row.says.isdisjoint(request.says)
        or not row.profiles.isdisjoint(request.profiles)
    )
    if (row.codes or row.says or row.profiles) and not said:
        return False
    return all(_is_known(name, facts, courses, now) is wanted for name, wanted in row.known)


def _is_known(name: str, facts: Facts, courses: Sequence[Course], now: datetime) -> bool:
    """Whether one of the things is so of which a row says whether they have to be: `ScopeRow.known`."""
    request = facts.request
    if name == "by_patient":
        return request.by_patient and request.intent == "proposal"
    if name == "asked":
        return any(_asks(course, request.requesters) for course in courses)
    return has_visit(facts, now) or has_booking(facts, now)


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
    return {name for name in names if name.startswith(PEOPLE)}
