"""Turns counts into the figures that are kept: plain data, small enough to commit."""

from __future__ import annotations

from statistics import quantiles
from typing import Any

from evidence.measure import APART, DAYS, Rule, Tally, wilson

Figures = dict[str, Any]
STEPS = (0, 6, 12, 24, 48, 96, 240)
"""Hours on the delay curve."""


def figures(tally: Tally, seed: int) -> Figures:
    """Everything that the page and the pictures say about one cohort."""
    census = tally.census
    missed = census["stalled"] - census["watch right"]
    return {
        "noise": tally.noise,
        "seed": seed,
        "referrals": tally.referrals,
        "patients": tally.patients,
        "assessments": tally.assessments,
        "days": DAYS,
        "whole": _rule(tally.whole()),
        "rules": {name: _rule(rule) for name, rule in sorted(tally.rules.items())},
        "census": {
            "stalled": census["stalled"],
            "watch": _listed(census["watch right"], census["watch wrong"], census["stalled"]),
            "query": _listed(census["query right"], census["query wrong"], census["stalled"]),
            "missed": missed,
            "missed and said so": census["watch missed and said so"],
        },
        "alerts": {
            "per department and day": tally.per_department_and_day(tally.raised),
            "follow-ups per department and day": tally.per_department_and_day(tally.followups),
            "by department": {
                name: count / DAYS for name, count in sorted(tally.raised.items(), key=lambda item: item[0])
            },
        },
    }


def apart(name: str) -> bool:
    """Whether a rule is counted separately."""
    return name in APART


def _rule(rule: Rule) -> Figures:
    delays = sorted(rule.delays)
    tenths = quantiles(delays, n=10, method="inclusive") if len(delays) > 1 else [*delays, 0.0] * 9
    return {
        "true": rule.true,
        "short": rule.short,
        "found": rule.found,
        "alerts": rule.alerts,
        "right": rule.right,
        "sensitivity": wilson(rule.found, rule.true),
        "ppv": wilson(rule.right, rule.alerts),
        "delay median": tenths[4] if delays else None,
        "delay 90 %": tenths[8] if delays else None,
        "delays": [sum(delay <= step for delay in delays) for step in STEPS],
    }


def _listed(right: int, wrong: int, stalled: int) -> Figures:
    return {
        "listed": right + wrong,
        "right": right,
        "sensitivity": wilson(right, stalled),
        "ppv": wilson(right, right + wrong),
    }
