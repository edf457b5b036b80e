"""Finds what a patient must be told about, and when they were last told anything. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from fhir_coprod.watch.record.model import Facts
from fhir_coprod.watch.rules.codes import STAFF_ONLY
from fhir_coprod.watch.rules.department import REPLACED, booking_events
from fhir_coprod.watch.rules.lines import Line
from fhir_coprod.watch.rules.standing import Stall
from fhir_coprod.watch.rules.task import Course, Event, status_at


def events_of(
    facts: Facts, courses: Sequence[Course], lines: Sequence[Line], stalls: Iterable[Stall], now: datetime
) -> list[Event]:
    """Everything up to now that the patient must be told about.

    courses: the Tasks of this referral itself; what happens in a referral that carries it out is told of
    there.
    """
    events = [event for course in courses for event in course.events]
    events += booking_events(facts, lines, now)
    for line in lines if not facts.request.ordered_for else ():
        advised = line.course is not None and line.course.advised
        events += [
            Event(result.at, "result", line.owner)
            for result in line.results
            if not (advised and result.id == line.task)
        ]
    requester = next(iter(facts.request.requesters), "")
    for state in facts.request.states:
        if state.status in ("on-hold", "revoked"):
            what = "changed" if state.status == "on-hold" else "cancelled"
            events.append(Event(state.at, what, requester))
    resumed = {course.task.id: course.resumed for course in courses if course.resumed}
    events += [
        Event(_late_from(stall, resumed.get(stall.task)), stall.rule, stall.owner)
        for stall in stalls
        if stall.rule not in STAFF_ONLY
    ]
    return [event for event in events if event.at <= now]


def _late_from(stall: Stall, resumed: datetime | None) -> datetime:
    """Since when a stall is one. What came due during a hold is late from the end of the hold on: until then
    the hold's own clock ran instead."""
    return max(stall.due, resumed) if resumed and stall.rule in REPLACED else stall.due


def last_told(facts: Facts, now: datetime) -> datetime | None:
    """When the patient, or an active relative, was last told anything about the referral.

    A Task of theirs that is coded as telling counts, too, once they have completed it: for what stood when it
    was written.
    """
    reaches = {facts.request.patient, *facts.proxies}
    told = [
        min(message.latest, now)
        for message in facts.messages
        if message.sent <= now and not reaches.isdisjoint(message.recipients)
    ]
    told += [
        side.authored
        for side in facts.side_tasks
        if "tells-patient" in side.says
        and side.authored is not None
        and not reaches.isdisjoint(side.owners)
        and side.states[-1].at <= now
        and status_at(side.states, now).status == "completed"
    ]
    return max(told, default=None)
