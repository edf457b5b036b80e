"""Finds the times in the facts of a referral: the next one ahead, and the last one recorded. Pure."""

from __future__ import annotations

from datetime import datetime

import msgspec

from fhir_coprod.watch.record.model import Facts


def next_fact(facts: Facts, now: datetime) -> datetime | None:
    """The first time after `now` that any fact names; None if all are past.

    A fact with a later time is ignored until then, and an appointment ahead counts until it begins.
    """
    return min([at for at in _times(facts) if at is not None and at > now], default=None)


def last_fact(facts: Facts, now: datetime) -> datetime:
    """The last time up to now at which anything was recorded; now itself while a booking lies ahead.

    Other orders of the patient do not count: they say nothing about this referral.
    """
    known_states = (
        [state for state in booking.states if state.at <= now][-1:] for booking in facts.appointments
    )
    ahead = any(
        state.status == "booked" and state.start and state.start > now
        for states in known_states
        for state in states
    )
    alone = msgspec.structs.replace(facts, siblings=()) if facts.siblings else facts
    known = [at for at in _times(alone) if at is not None and at <= now]
    return now if ahead else max(known, default=facts.request.authored)


def _times(facts: Facts) -> list[datetime | None]:
    request = facts.request
    times: list[datetime | None] = [request.authored]
    times += [change.at for change in request.states]
    for task in facts.tasks:
        times.append(task.authored)
        times += [state.at for state in task.states]
    for appointment in facts.appointments:
        times.append(appointment.created)
        for held in appointment.states:
            times += (held.at, held.start, held.end)
    for visit in facts.visits:
        times += (visit.start, visit.end)
    for result in facts.results:
        times.append(result.at)
    for message in facts.messages:
        times += (message.sent, message.latest)
    for side in facts.side_tasks:
        times.append(side.authored)
        times += [change.at for change in side.states]
    times += [*facts.refused, facts.deceased]
    for sibling in facts.siblings:
        times.append(sibling.authored)
        times += [change.at for change in sibling.states]
    return times
