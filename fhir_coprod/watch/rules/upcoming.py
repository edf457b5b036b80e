"""Finds the times in the facts of a referral: the last one recorded, and the next one ahead. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from fhir_coprod.watch.record.model import Facts


class Times(NamedTuple):
    """The times that lie around `now`.

    last:  when anything was last recorded about the referral. Other orders of the patient do not count: they
           say nothing about this one.
    ahead: the first later time that any fact names; None if all are past. A fact with a later time is ignored
           until then, and an appointment ahead counts until it begins.
    """

    last: datetime
    ahead: datetime | None


def times_around(facts: Facts, now: datetime) -> Times:
    """The times in the facts of a referral that are closest to `now`."""
    last, ahead = facts.request.authored, []
    for at in _own_times(facts):
        if at is None:
            continue
        if at > now:
            ahead.append(at)
        elif at > last:
            last = at
    for sibling in facts.siblings:
        ahead += [at for at in (sibling.authored, *(state.at for state in sibling.states)) if at > now]
    return Times(last, min(ahead, default=None))


def _own_times(facts: Facts) -> list[datetime | None]:
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
    return times
