"""The times that lie ahead among the facts of a referral. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from fhir_coprod.watch.records import Facts


def next_fact(facts: Facts, now: datetime) -> datetime | None:
    """The first time after `now` that any fact names: facts timed after `now` are not known before, and an
    appointment ahead counts until it begins. None when all is past."""
    return min((at for at in _times(facts) if at is not None and at > now), default=None)


def _times(facts: Facts) -> Iterator[datetime | None]:
    request = facts.request
    yield request.authored
    for change in request.states:
        yield change.at
    for task in facts.tasks:
        yield task.authored
        for state in task.states:
            yield state.at
    for appointment in facts.appointments:
        yield appointment.created
        for held in appointment.states:
            yield held.at
            yield held.start
            yield held.end
    for visit in facts.visits:
        yield visit.start
        yield visit.end
    for result in facts.results:
        yield result.at
    for message in facts.messages:
        yield message.sent
        yield message.latest
    for side in facts.side_tasks:
        for change in side.states:
            yield change.at
    for sibling in facts.siblings:
        yield sibling.authored
        for change in sibling.states:
            yield change.at
