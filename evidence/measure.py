"""Counts true stalls, how many the watch found, and how late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from math import ceil, sqrt
from multiprocessing import get_context

from evidence.watching import APART, NOTES, Alert, Watched, Way, morning, policy, surroundings, watch
from fhir_coprod.simulate.hospital import ALL
from fhir_coprod.simulate.life import Life, live
from fhir_coprod.simulate.noise import MODELS
from fhir_coprod.simulate.truth import Stall
from fhir_coprod.simulate.writing import delivered, feeds_of, span

LAST = date(2026, 6, 30)
DAYS = 180
"""The last days of the simulation, over which alerts per day are counted."""
PER_PATIENT = 1.15
CHUNK = 250
_Z = 1.959964


@dataclass
class Rule:
    """The counts for one rule."""

    true: int = 0
    """Stalls that lasted at least until a morning."""
    short: int = 0
    """Stalls that were over before the next morning: nobody could have acted on an alert."""
    found: int = 0
    alerts: int = 0
    right: int = 0
    delays: list[float] = field(default_factory=list)
    """Hours from the start of the stall to the alert."""

    def add(self, other: Rule) -> None:
        self.true += other.true
        self.short += other.short
        self.found += other.found
        self.alerts += other.alerts
        self.right += other.right
        self.delays += other.delays


@dataclass
class Tally:
    """The counts for one cohort under one noise model."""

    noise: str
    referrals: int = 0
    patients: int = 0
    assessments: int = 0
    rules: dict[str, Rule] = field(default_factory=dict)
    census: Counter[str] = field(default_factory=Counter)
    """On the last morning, by referral: watch and query, right, wrong and missed."""
    raised: Counter[str] = field(default_factory=Counter)
    """Alerts of the last days by department."""
    followups: Counter[str] = field(default_factory=Counter)
    """The same alerts gathered into follow-ups: one Task for a referral and stage."""

    def add(self, other: Tally) -> None:
        self.referrals += other.referrals
        self.patients += other.patients
        self.assessments += other.assessments
        for name, rule in other.rules.items():
            self.rules.setdefault(name, Rule()).add(rule)
        self.census += other.census
        self.raised += other.raised
        self.followups += other.followups

    def whole(self) -> Rule:
        """All rules but those counted separately."""
        total = Rule()
        for name, rule in self.rules.items():
            if name not in APART:
                total.add(rule)
        return total

    def per_department_and_day(self, counts: Counter[str]) -> float:
        """Counts of `raised` or `followups`, per department and day."""
        return sum(counts.values()) / len(ALL) / DAYS


def wilson(hits: int, of: int) -> tuple[float, float, float]:
    """A share with its 95 % confidence interval (Wilson 1927; Brown, Cai & DasGupta 2001, Stat Sci 16:101).

    Returns (share, low, high); for no cases, nothing is known: (nan, 0, 1).
    """
    if not of:
        return float("nan"), 0.0, 1.0
    share = hits / of
    centre = (share + _Z**2 / (2 * of)) / (1 + _Z**2 / of)
    half = _Z * sqrt(share * (1 - share) / of + _Z**2 / (4 * of**2)) / (1 + _Z**2 / of)
    return share, max(0.0, centre - half), min(1.0, centre + half)


def measure(referrals: int, noise: str, seed: int, workers: int = 1) -> Iterator[Tally]:
    """Simulate, watch and count; yields the tally so far, and the whole at the end."""
    patients = ceil(referrals / PER_PATIENT)
    chunks = [(start, min(start + CHUNK, patients), noise, seed) for start in range(0, patients, CHUNK)]
    tally = Tally(noise)
    if workers == 1:
        for chunk in chunks:
            tally.add(_chunk(*chunk))
            yield tally
        return
    with ProcessPoolExecutor(workers, get_context("forkserver")) as pool:
        for part in pool.map(_chunk, *zip(*chunks, strict=True)):
            tally.add(part)
            yield tally


def _chunk(start: int, stop: int, noise: str, seed: int) -> Tally:
    begin, end = span(LAST)
    feeds = feeds_of(MODELS[noise], seed, begin, end)
    way, around = Way(policy()), surroundings()
    tally = Tally(noise)
    for number in range(start, stop):
        life = live(number, seed, begin, end)
        watched = list(watch(delivered(life, feeds, seed), feeds, around, way, end).found.values())
        tally.patients += 1
        tally.referrals += len(life.referrals)
        tally.assessments += sum(one.assessments for one in watched)
        _count(tally, life, watched, end)
        _take_census(tally, life, watched, end)
    return tally


def same(alert: Alert, stall: Stall) -> bool:
    """Whether alert and stall are about the same thing."""
    return (
        alert.referral == stall.referral
        and alert.rule == stall.rule
        and (not alert.task or not stall.task or alert.task == stall.task)
    )


def _count(tally: Tally, life: Life, watched: Sequence[Watched], end: datetime) -> None:
    alerts = [alert for one in watched for alert in one.alerts]
    for stall in life.stalls:
        rule = tally.rules.setdefault(stall.rule, Rule())
        over = stall.until if stall.until is not None and stall.until <= end else None
        first = morning(stall.stalled)
        if first > end or (over is not None and over <= first):
            rule.short += 1
            continue
        rule.true += 1
        found = [
            max(alert.raised, stall.stalled)
            for alert in alerts
            if same(alert, stall)
            and (over is None or alert.raised < over)
            and (alert.ended is None or alert.ended > stall.stalled)
        ]
        if found:
            rule.found += 1
            rule.delays.append((min(found) - stall.stalled) / timedelta(hours=1))
    recent = end - timedelta(days=DAYS)
    followups: set[tuple[str, str, str]] = set()
    for alert in alerts:
        rule = tally.rules.setdefault(alert.rule, Rule())
        rule.alerts += 1
        rule.right += any(same(alert, stall) and stall.stands(alert.raised) for stall in life.stalls)
        if alert.raised > recent and alert.rule not in NOTES:
            followups.add((alert.referral, alert.stage, alert.owner))
            if alert.rule not in APART:
                tally.raised[alert.owner or "nobody named"] += 1
    tally.followups.update(owner or "nobody named" for _, _, owner in followups)


def _take_census(tally: Tally, life: Life, watched: Sequence[Watched], end: datetime) -> None:
    """On the last morning: which referrals are stalled, which does the watch report, which the query?"""
    truly = {s.referral for s in life.stalls if s.rule not in APART and s.stands(end)}
    said = {
        one.referral for one in watched if any(a.ended is None and a.rule not in APART for a in one.alerts)
    }
    listed = {one.referral for one in watched if one.listed}
    unseen = {one.referral for one in watched if one.unseen}
    tally.census.update(
        {
            "stalled": len(truly),
            "watch right": len(said & truly),
            "watch wrong": len(said - truly),
            "query right": len(listed & truly),
            "query wrong": len(listed - truly),
            "watch missed and said so": len((truly - said) & unseen),
        }
    )
