"""Says what cannot be seen of what a clock awaits, or rests on. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from fhir_coprod.watch.record.model import Facts
from fhir_coprod.watch.rules.codes import ABOUT, FURTHER, Rule
from fhir_coprod.watch.rules.lines import Clock
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.task import Course


def unseen_for(clock: Clock, facts: Facts, policy: Policy, courses: Iterable[Course]) -> set[str]:
    """The resource types because of which nobody can tell: what the clock awaits may exist unseen, or what it
    rests on may be out of date."""
    if not facts.blind:
        return set()
    needs = ABOUT[clock.rule].needs
    parties = _parties(clock, facts, policy, courses)
    urgent = facts.request.priority in ("urgent", "asap", "stat")
    rests_on = (facts.request.id, clock.line.task if clock.line else "", clock.evidence)
    further = FURTHER.get(clock.rule, ())
    own = {blind.type for blind in facts.blind if blind.is_own and blind.type in (*needs, *further)}
    unseen = {
        blind.type
        for blind in facts.blind
        if (
            (blind.type in needs and not (urgent and blind.is_nameless))
            or (blind.record and blind.record in rests_on)
        )
        and (not blind.departments or not parties or not parties.isdisjoint(blind.departments))
    }
    if clock.rule is Rule.NO_TRACE and not unseen.issuperset(needs):
        return own  # the one that can be seen would show a trace
    return unseen | own


def _parties(clock: Clock, facts: Facts, policy: Policy, courses: Iterable[Course]) -> set[str]:
    """Whose records would hold what the clock awaits."""
    receivers = {*(clock.line.departments if clock.line else facts.request.departments)}
    requesters = {*facts.request.requesters}
    if clock.rule in (Rule.PATIENT_NOT_INFORMED, Rule.HALF_CLOSED):
        both = receivers | requesters
        for course in courses:
            both.update(course.departments)
        return both
    return requesters if policy.owners.get(clock.rule) == "requester" else receivers
