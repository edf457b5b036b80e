"""Says which steps of its way a referral shows, so that what an EHR never records can be learned. Pure.

Exposing a type is not using it: many hospitals write no Task for a referral, or record no word to a patient.
A step counts for or against that only where the referral went further.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from math import sqrt
from types import MappingProxyType
from typing import Final

from fhir_coprod.watch.record.model import Facts
from fhir_coprod.watch.rules.bookings import has_booking, has_visit
from fhir_coprod.watch.rules.codes import Rule
from fhir_coprod.watch.rules.task import status_at


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
        return any(state.at <= now or state.stored for task in facts.tasks for state in task.states)
    if step is Step.BOOKING:
        return has_booking(facts, now)
    if step is Step.VISIT:
        return has_visit(facts, now)
    if step is Step.TOLD:
        return _were_told({facts.request.patient, *facts.proxies}, facts, now)
    for task in facts.tasks:
        if any(state.outputs and (state.at <= now or state.stored) for state in task.states):
            return True
    return _were_told({*facts.request.requesters}, facts, now)


def _were_told(whom: set[str], facts: Facts, now: datetime) -> bool:
    return any(message.sent <= now and not whom.isdisjoint(message.recipients) for message in facts.messages)


def shown(facts: Facts, now: datetime) -> Iterator[str]:
    """Each step that this referral tells of: "task+" if it shows it, "task-" if it went further without."""
    has_result = any(result.at <= now or result.stored for result in facts.results)
    further = has_result or has_visit(facts, now)
    if not further and not has_booking(facts, now):
        return
    told_of = [Step.TASK]
    if further:
        told_of += (Step.TOLD, Step.BOOKING)
    if has_result:
        told_of.append(Step.VISIT)
        if status_at(facts.request.states, now).status == "completed":
            told_of.append(Step.RETURNED)
    for step in told_of:
        yield f"{step.value}{'+' if carries(facts, step, now) else '-'}"


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
