"""Ends silence: finds open referrals of which nothing is recorded, and nothing claimed, for too long. Pure.

Scope, pauses, holds, feeds, dead letters and learned habits keep stalls from being claimed, each for a good
reason. So that all of them together cannot hide a referral for ever, time alone brings it before somebody.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from fhir_coprod.watch.record.model import ENDED, Facts
from fhir_coprod.watch.rules.bookings import is_booked_ahead
from fhir_coprod.watch.rules.codes import Rule
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.standing import Stall, Standing
from fhir_coprod.watch.rules.task import status_at


def break_silence(
    standing: Standing, facts: Facts, last: datetime, policy: Policy, now: datetime
) -> Standing:
    """The standing, with `silent-too-long` counted where it applies.

    It is not an alert of its own: a department gets the list of its silent referrals. While a booking lies
    ahead, nobody need record anything.

    last: when anything was last recorded about it.
    """
    if not standing.is_open or is_booked_ahead(facts, now) or _is_over(standing, facts, now):
        return standing
    span = policy.silence.get(standing.priority, policy.silence["routine"])
    due = policy.calendar.due(last, span)
    if due > now:
        wake = due if standing.wake is None else min(standing.wake, due)
        return msgspec.structs.replace(standing, wake=wake)
    if standing.stalls:
        return standing
    request = facts.request
    owner = standing.owner or next(iter((*request.departments, *request.requesters)), "")
    silent = Stall(
        Rule.SILENT_TOO_LONG,
        last,
        due,
        owner,
        severity=policy.severities.get(Rule.SILENT_TOO_LONG, "moderate"),
    )
    return msgspec.structs.replace(standing, counted=(*standing.counted, silent))


def _is_over(standing: Standing, facts: Facts, now: datetime) -> bool:
    """Whether the referral was ended and nothing is awaited any more but a word to the patient. Where nobody
    records those, every referral would come to be on the list in the end."""
    has_ended = status_at(facts.request.states, now).status in ENDED
    return has_ended and standing.due is None and not standing.not_claimed
