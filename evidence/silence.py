"""Why the watch raises no alert about a referral: each kind of silence, from the standing itself. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from fhir_coprod.watch.facts.visibility import NOT_TAKEN_IN
from fhir_coprod.watch.record.model import Facts
from fhir_coprod.watch.rules.codes import Rule
from fhir_coprod.watch.rules.standing import Standing
from fhir_coprod.watch.rules.steps import OF_RULE, Use, carries

KINDS: Final = {
    "no record": "nothing of it has reached us",
    "scope out": "out of scope",
    "scope diagnostic": "a diagnostic order",
    "scope unclear": "scope unclear",
    "not in use": "a step that is not in use there",
    "hold": "on hold",
    "feed not shown": "a type that the EHR does not show",
    "feed behind": "a feed that is behind",
    "dead letter": "the newest version is a dead letter",
    "unreadable element": "an element that cannot be read",
    "other": "records late, lost or wrong",
}
"""Every kind of silence, in words."""
_HELD: Final = frozenset(
    {"on-hold-without-review", "awaiting-information", "undecided", "unscheduled", "not-sent"}
    | {"no-show-open", "cancelled-not-rebooked"}
)
"""What a hold keeps from being claimed."""


class Look(NamedTuple):
    """What held from one morning on."""

    at: datetime
    scope: str
    is_alert: bool
    """An alert is open about it."""
    is_listed: bool
    """It stands on its department's list of silent referrals."""
    not_claimed: frozenset[str]
    """Rules that cannot be checked."""
    blind: str
    """The kind of silence that keeps them from being checked."""
    counted: frozenset[str]
    """Rules whose stalls are only counted."""
    unused: bool
    """A step that it does not show is not in use there."""
    held: bool

    def kind(self, rule: str) -> str:
        """Why a true stall of this rule raises no alert; "" if an alert is open."""
        if self.is_alert:
            return ""
        if self.scope not in ("referral", ""):
            return f"scope {self.scope}"
        if rule in self.not_claimed:
            return self.blind
        if self.counted or self.unused:
            return "not in use"
        if self.not_claimed:
            return self.blind
        return "hold" if self.held and rule in _HELD else "other"


def look_of(standing: Standing, facts: Facts, at: datetime, *, is_alert: bool) -> Look:
    """What a standing says about silence."""
    rules = {str(stall.rule) for stall in standing.counted}
    return Look(
        at,
        standing.scope,
        is_alert,
        Rule.SILENT_TOO_LONG in rules,
        frozenset(str(rule) for rule in standing.not_claimed),
        _blindness(standing, facts) if standing.not_claimed else "",
        frozenset(rules - {str(Rule.SILENT_TOO_LONG)}),
        _is_unused(facts, at),
        _is_held(facts),
    )


def _blindness(standing: Standing, facts: Facts) -> str:
    """The kind that matters most among what cannot be seen: a single record before a whole feed."""
    matters = [blind for blind in facts.blind if blind.type in standing.not_observable]
    if any(blind.reason == NOT_TAKEN_IN for blind in matters):
        return "dead letter"
    if any(blind.record for blind in matters):
        return "unreadable element"
    return "feed behind" if any(blind.down for blind in matters) else "feed not shown"


def _is_unused(facts: Facts, at: datetime) -> bool:
    uses = dict(facts.practice)
    return any(
        uses.get(step, Use.USED) != Use.USED and not carries(facts, step, at)
        for rule, step in OF_RULE.items()
        if rule is not Rule.PATIENT_NOT_INFORMED
    )


def _is_held(facts: Facts) -> bool:
    return facts.request.states[-1].status == "on-hold" or any(
        task.states[-1].status == "on-hold" for task in facts.tasks
    )
