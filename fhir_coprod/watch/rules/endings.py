"""Judges the ends that somebody asks for: requests to cancel, patients who withdraw, and holds. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from fhir_coprod.watch.record.model import Facts, RequestState
from fhir_coprod.watch.rules.answers import last_review
from fhir_coprod.watch.rules.codes import Rule
from fhir_coprod.watch.rules.lines import Clock, Line, requesters_of
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.task import When, status_at

_UNANSWERED: Final = frozenset({"requested", "ready", "received"})


def cancellation(facts: Facts, lines: Iterable[Line], now: datetime) -> Clock | None:
    """The first request to cancel that nobody has answered: a Task of its own, or the word of a Task."""
    asked = [
        (line.course.asked_to_cancel, line.owner, "")
        for line in lines
        if line.course and line.course.asked_to_cancel and not line.is_below
    ]
    for side in facts.side_tasks:
        state = status_at(side.states, now)
        if "asks-to-cancel" in side.says and state.status in _UNANSWERED:
            since = side.authored or side.states[0].at
            if since <= now:
                when = When(since, side.authored is None and side.states[0].stored)
                asked.append((when, next(iter(side.owners), ""), side.id))
    if not asked:
        return None
    when, owner, evidence = min(asked)
    return Clock(Rule.CANCELLATION_UNANSWERED, when, owner=owner, evidence=evidence)


def withdrawal(facts: Facts, state: RequestState, now: datetime) -> Clock | None:
    """A referral that was revoked in the patient's name, if nothing shows that its requester knows.

    state: that of the ServiceRequest.
    """
    if state.status != "revoked" or "cancelled-by-patient" not in facts.request.because:
        return None
    reviewed = last_review(facts, now)
    requesters = requesters_of(facts)
    told = any(
        state.at <= message.latest and message.sent <= now
        for message in facts.messages
        if not requesters.isdisjoint(message.recipients)
    )
    if told or (reviewed is not None and reviewed >= state.at):
        return None
    return Clock(Rule.WITHDRAWAL_UNDECIDED, When(state.at, state.stored))


def is_pressing(facts: Facts, policy: Policy, at: datetime) -> bool:
    """Whether a withdrawal has to be looked at soon: the patient is a minor, or the referral is urgent."""
    if facts.request.priority in ("asap", "stat"):
        return False  # sooner still
    born, day = facts.born, policy.calendar.date(at)
    minor = born is not None and (
        (day.year - born.year, day.month, day.day) < (policy.adult, born.month, born.day)
    )
    return minor or facts.request.priority == "urgent"


def capped(clock: Clock, policy: Policy, guarantee: datetime | None) -> Clock:
    """The same clock; a hold's own date of review counts only for so long, and never past the guarantee
    date."""
    held = clock.line.course.held if clock.line and clock.line.course else None
    if clock.rule is not Rule.ON_HOLD_WITHOUT_REVIEW or held is None:
        return clock
    cap = policy.calendar.due(held.at, policy.hold_reviewed_within)
    if guarantee is not None:
        cap = max(min(cap, guarantee), held.at)
    return clock._replace(start=When(cap)) if clock.start.at > cap else clock
