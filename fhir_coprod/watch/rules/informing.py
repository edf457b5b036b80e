"""Finds what a patient must be told about, and when they were last told anything. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from fhir_coprod.watch.record.model import Facts
from fhir_coprod.watch.rules.codes import STAFF_ONLY
from fhir_coprod.watch.rules.department import Line, booking_events
from fhir_coprod.watch.rules.standing import Stall
from fhir_coprod.watch.rules.task import Course, Event


def events_of(
    facts: Facts, courses: Iterable[Course], lines: Sequence[Line], stalls: Iterable[Stall], now: datetime
) -> list[Event]:
    """Everything up to now that the patient must be told about."""
    events = [event for course in courses for event in course.events]
    events += booking_events(facts, lines, now)
    for line in lines:
        events += [Event(result.at, "result", line.owner) for result in line.results]
    requester = next(iter(facts.request.requesters), "")
    for state in facts.request.states:
        if state.status in ("on-hold", "revoked"):
            what = "changed" if state.status == "on-hold" else "cancelled"
            events.append(Event(state.at, what, requester))
    events += [Event(stall.due, stall.rule, stall.owner) for stall in stalls if stall.rule not in STAFF_ONLY]
    return [event for event in events if event.at <= now]


def last_told(facts: Facts, now: datetime) -> datetime | None:
    """When the patient, or an active relative, was last told anything about the referral."""
    reaches = {facts.request.patient, *facts.proxies}
    return max(
        [
            min(message.latest, now)
            for message in facts.messages
            if message.sent <= now and not reaches.isdisjoint(message.recipients)
        ],
        default=None,
    )
