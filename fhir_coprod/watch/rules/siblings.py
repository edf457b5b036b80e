"""Compares a patient's referrals: which one answers, replaces or duplicates another. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from fhir_coprod.watch.record.kin import is_answer
from fhir_coprod.watch.record.model import NOT_ACTIVE, Facts, Request, Sibling
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.task import Course, status_at


def _is_referral(sibling: Sibling, now: datetime) -> bool:
    """Whether staff wrote it, not the patient, and it is not a draft."""
    return (
        not sibling.by_patient
        and sibling.authored <= now
        and status_at(sibling.states, now).status not in ("draft", "entered-in-error")
    )


def answers(sibling: Sibling, request: Request, now: datetime) -> bool:
    """Whether it is, by now, the referral that a patient's request led to."""
    return _is_referral(sibling, now) and (request.id in sibling.replaces or is_answer(sibling, request))


def replaces(sibling: Sibling, request: Request, now: datetime) -> bool:
    return request.id in sibling.replaces and _is_referral(sibling, now)


def is_twin(sibling: Sibling, request: Request, departments: set[str], policy: Policy, now: datetime) -> bool:
    """Whether it is an older active referral for the same code and department, not linked to this one."""
    if sibling.by_patient or sibling.authored > now:
        return False
    if (sibling.authored, sibling.id) >= (request.authored, request.id):
        return False
    if status_at(sibling.states, now).status in NOT_ACTIVE:
        return False
    if set(request.codes).isdisjoint(sibling.codes) or departments.isdisjoint(sibling.departments):
        return False
    linked = {*request.replaces, *request.based_on}
    if sibling.id in linked or request.id in sibling.replaces or request.id in sibling.based_on:
        return False
    if request.requisition and request.requisition == sibling.requisition:
        return False
    apart = policy.calendar.day(request.authored) - policy.calendar.day(sibling.authored)
    return apart <= policy.duplicate_window.number


def oldest_twin(facts: Facts, courses: Sequence[Course], policy: Policy, now: datetime) -> str:
    """Another active referral for the same thing, written shortly before this one; "" if there is none.

    courses: those of its own Tasks.
    """
    if not facts.siblings:
        return ""
    departments = {*facts.request.departments} if not courses else set()
    for course in courses:
        departments.update(course.departments)
    twins = [
        sibling.id for sibling in facts.siblings if is_twin(sibling, facts.request, departments, policy, now)
    ]
    return min(twins, default="")
