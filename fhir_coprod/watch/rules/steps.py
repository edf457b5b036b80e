"""Says which steps of its way a referral shows, so that what an EHR never records can be learned. Pure.

Exposing a type is not using it: many hospitals write no Task for a referral, or record no word to a patient.
A step counts for or against that only where the referral went further; `habits` leaves out young referrals.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from math import sqrt
from types import MappingProxyType
from typing import Final

from fhir_coprod.watch.record.model import Facts
from fhir_coprod.watch.rules.codes import Rule


class Step(StrEnum):
    """Something that an EHR may or may not record of its referrals."""

    TASK = "task"  # a Task asks the department
    TOLD = "told"  # a word to the patient
    BOOKING = "booking"  # an Appointment
    VISIT = "visit"  # an Encounter
    RETURNED = "returned"  # the result in the output of a Task, or in a message to the requester


class Use(StrEnum):
    """Whether a step is in use somewhere."""

    USED = "used"
    MIXED = "mixed"  # now and then: claims are counted, no alert
    ABSENT = "absent"  # as far as the records say, never: claims are counted, and a person is asked
    NOT_USED = "not-used"  # a person said so in the settings: nothing is claimed


WORDS: Final = MappingProxyType(
    {
        Step.TASK: "were sent by a Task",
        Step.TOLD: "have a word to the patient on record",
        Step.BOOKING: "have an appointment",
        Step.VISIT: "have a visit",
        Step.RETURNED: "have their result returned on record",
    }
)
OF_RULE: Final = MappingProxyType(
    {
        Rule.NOT_SENT: Step.TASK,
        Rule.PATIENT_NOT_INFORMED: Step.TOLD,
        Rule.UNSCHEDULED: Step.BOOKING,
        Rule.APPOINTMENT_PASSED: Step.VISIT,
        Rule.REPORT_NOT_RETURNED: Step.RETURNED,
    }
)
"""Rules that claim something because a step is absent."""
LEAST: Final = 30
"""Fewer referrals than this say nothing."""
_MOSTLY: Final = 0.8
_Z: Final = 1.959964
"""How many standard deviations wide a 95 % interval is on either side."""


def carries(facts: Facts, step: Step, now: datetime) -> bool:
    """Whether this referral shows the step by now; then it is judged, whatever is usual."""
    if step is Step.TASK:
        return any(task.states[0].at <= now for task in facts.tasks)
    if step is Step.TOLD:
        return _reaches({facts.request.patient, *facts.proxies}, facts, now)
    if step is Step.BOOKING:
        return any(appointment.created <= now for appointment in facts.appointments)
    if step is Step.VISIT:
        return any(visit.start <= now for visit in facts.visits)
    outputs = any(state.outputs and state.at <= now for task in facts.tasks for state in task.states)
    return outputs or _reaches(set(facts.request.requesters), facts, now)


def _reaches(who: set[str], facts: Facts, now: datetime) -> bool:
    return any(message.sent <= now and not who.isdisjoint(message.recipients) for message in facts.messages)


def shown(facts: Facts, now: datetime) -> Iterator[str]:
    """Each step that this referral tells of: "task+" if it shows it, "task-" if it went further without."""
    known = [state for state in facts.request.states if state.at <= now]
    booked, seen = carries(facts, Step.BOOKING, now), carries(facts, Step.VISIT, now)
    resulted = any(result.at <= now for result in facts.results)
    went = {
        Step.TASK: booked or seen or resulted,
        Step.TOLD: seen or resulted,
        Step.BOOKING: seen or resulted,
        Step.VISIT: resulted,
        Step.RETURNED: resulted and bool(known) and known[-1].status == "completed",
    }
    for step, further in went.items():
        if further:
            yield f"{step}{'+' if carries(facts, step, now) else '-'}"


def upper_bound(carried: int, of: int) -> float:
    """The upper end of the 95 % Wilson interval of a share: under 20 % for 12 of 100, over it for 1 of 20."""
    share = carried / of
    middle = share + _Z**2 / (2 * of)
    spread = _Z * sqrt(share * (1 - share) / of + _Z**2 / (4 * of**2))
    return (middle + spread) / (1 + _Z**2 / of)


def use_of(carried: int, of: int, limit: float) -> Use:
    """What a share says; `limit` is the policy's."""
    if upper_bound(carried, of) < limit:
        return Use.ABSENT
    return Use.USED if carried >= _MOSTLY * of else Use.MIXED


def use_for(rule: Rule, facts: Facts, now: datetime) -> str:
    """Whether the step is in use whose absence a rule claims.

    What this referral shows, it uses; asap and stat count as in use unless the settings say otherwise.
    """
    step = OF_RULE.get(rule)
    if step is None or not facts.practice:
        return Use.USED
    use = dict(facts.practice).get(step, Use.USED)
    if use == Use.USED or carries(facts, step, now):
        return Use.USED
    return Use.USED if use != Use.NOT_USED and facts.request.priority in ("asap", "stat") else use


def first_wait(facts: Facts, now: datetime) -> Rule:
    """What an active referral without a Task waits for: being sent, or where no Tasks are used any trace."""
    return Rule.NO_TRACE if use_for(Rule.NOT_SENT, facts, now) == Use.NOT_USED else Rule.NOT_SENT
