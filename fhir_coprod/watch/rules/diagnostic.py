"""Judges a diagnostic order: laboratory, or imaging and procedures within one department. Pure.

Two things matter: whether its result is there, and whether whoever asked has read it. A result that nobody
reads is one of the failures that studies find. Both are counted per department.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from fhir_coprod.watch.record.model import Facts
from fhir_coprod.watch.rules.answers import last_review
from fhir_coprod.watch.rules.codes import Rule, Stage
from fhir_coprod.watch.rules.lines import Clock
from fhir_coprod.watch.rules.policies import Policy, any_named
from fhir_coprod.watch.rules.task import When, active_since


class Judged(NamedTuple):
    """Where a diagnostic order stands, and what is awaited."""

    stage: Stage
    since: When
    owner: str
    clocks: tuple[Clock, ...] = ()


def judge_order(facts: Facts, policy: Policy, now: datetime) -> Judged:
    """The stage of a diagnostic order that has not ended."""
    request = facts.request
    requester = request.requesters[0] if request.requesters else ""
    performer = request.departments[0] if request.departments else requester
    results = sorted(
        (result for result in facts.results if result.at <= now or result.stored),
        key=lambda result: (result.at, result.id),
    )
    if not results:
        since = When(request.authored, request.authored_stored)
        active = active_since(request.states, now)  # a draft is not, nor what is on hold
        if active is None or any_named(policy.no_result_expected, request.codes):
            return Judged(Stage.WRITTEN, since, performer)
        return Judged(
            Stage.WRITTEN, since, performer, (Clock(Rule.RESULTS_MISSING, active, owner=performer),)
        )
    reviewed = last_review(facts, now)
    unread = [result for result in results if reviewed is None or reviewed < result.at]
    first = results[0]
    owner = requester or performer
    clocks = tuple(
        Clock(Rule.NOT_REVIEWED, When(result.at, result.stored), owner=owner, evidence=result.id)
        for result in unread[:1]
    )
    return Judged(Stage.RESULTED, When(first.at, first.stored), owner, clocks)
