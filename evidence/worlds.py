"""Watches the worlds, before and after: with what was learned from real records switched off, and as shipped.

Before: every order is taken for a referral, every step for one that is in use, a hold's own date of review
counts for ever, and an invalid record is refused. After: the policy as shipped, with what the watch has
learned by then. The watch learns from what was seen, so the first pass also notes what referrals tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import ceil
from multiprocessing import get_context
from typing import Final

from evidence.hidden import Hidden, hidden_in
from evidence.measure import DAYS, LAST, PER_PATIENT, same
from evidence.watching import APART, NOTES, Alert, Watch, Way, morning, policy, surroundings, told_of, watch
from fhir_coprod.settings import PracticeSettings
from fhir_coprod.simulate.life import Life
from fhir_coprod.simulate.orders import behind_ward
from fhir_coprod.simulate.truth import Stall
from fhir_coprod.simulate.worlds import WORLDS, World, lived, received
from fhir_coprod.simulate.writing import feeds_of, span
from fhir_coprod.watch.facts.habits import Habit, Practices, learned_from
from fhir_coprod.watch.record.around import Surroundings
from fhir_coprod.watch.rules.calendar import Span
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.scope_table import ScopeRow

LEARNS_EVERY: Final = timedelta(days=14)
"""The watch learns once a day; here once a fortnight."""
CHUNK: Final = 50
WAYS: Final = ("before", "after", "settings")
"""settings: as shipped, and somebody has said that no Tasks are used (only where there are none)."""
TOLD: Final = "patient-not-informed"
Telling = Counter[tuple[str, str, str, str]]
Learned = tuple[tuple[datetime, tuple[Habit, ...]], ...]


@dataclass
class Count:
    """The counts for one world and one way to watch, over the last days."""

    referrals: int = 0
    orders: int = 0
    """ServiceRequests that are no referrals."""
    assessments: int = 0
    true: int = 0
    """Stalls that began and lasted at least until a morning."""
    found: int = 0
    alerts: int = 0
    right: int = 0
    told_alerts: int = 0
    told_right: int = 0
    """The same of `patient-not-informed`."""
    told_true: int = 0
    told_found: int = 0
    false: Counter[str] = field(default_factory=Counter)
    """False alerts by rule, without `patient-not-informed`."""
    on_orders: Counter[str] = field(default_factory=Counter)
    """False alerts about in-house orders by rule, `patient-not-informed` among them."""
    missed: Counter[str] = field(default_factory=Counter)
    """Stalls that were not found, by rule."""
    scopes: Counter[str] = field(default_factory=Counter)
    """In-house orders by the scope that they had last."""
    listed: Counter[str] = field(default_factory=Counter)
    """On the last morning: in-house orders, and referrals, on the lists of what is silent for too long."""
    hidden: list[Hidden] = field(default_factory=list)
    telling: dict[datetime, Telling] = field(default_factory=dict)

    def add(self, other: Count) -> None:
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _COUNTERS:
            getattr(self, name).update(getattr(other, name))
        self.hidden += other.hidden
        for at, told in other.telling.items():
            self.telling.setdefault(at, Counter()).update(told)


_NUMBERS: Final = (
    *("referrals", "orders", "assessments", "true", "found", "alerts", "right"),
    *("told_alerts", "told_right", "told_true", "told_found"),
)
_COUNTERS: Final = ("false", "on_orders", "missed", "scopes", "listed")


def measure_world(world: str, referrals: int, seed: int, workers: int) -> Iterator[tuple[str, Count]]:
    """Watch one world in each way that says something there; yields each way with its counts."""
    patients = ceil(referrals / PER_PATIENT)
    before = one_pass("before", world, patients, seed, workers)
    yield "before", before
    learned = learn(before.telling)
    yield "after", one_pass("after", world, patients, seed, workers, learned)
    if not WORLDS[world].has_tasks:
        yield "settings", one_pass("settings", world, patients, seed, workers, learned)


def learn(telling: Mapping[datetime, Telling]) -> Learned:
    """What referrals tell, made into what the watch has learned from each morning on, by its own code."""
    found: list[tuple[datetime, tuple[Habit, ...]]] = []
    known: tuple[Habit, ...] = ()
    for at in sorted(telling):
        known = tuple(learned_from(told_of(telling[at]), known, policy().practice_limit))
        found.append((at, known))
    return tuple(found)


def one_pass(
    way: str, world: str, patients: int, seed: int, workers: int = 1, learned: Learned = ()
) -> Count:
    """Watch so many patients of one world in one way (WAYS), by what has been learned."""
    chunks = [
        (way, world, start, min(start + CHUNK, patients), seed, learned)
        for start in range(0, patients, CHUNK)
    ]
    whole = Count()
    if workers == 1:
        for chunk in chunks:
            whole.add(_chunk(*chunk))
        return whole
    with ProcessPoolExecutor(workers, get_context("forkserver")) as pool:
        for part in pool.map(_chunk, *zip(*chunks, strict=True)):
            whole.add(part)
    return whole


def _chunk(way: str, world: str, start: int, stop: int, seed: int, learned: Learned) -> Count:
    begin, end = span(LAST)
    chosen = WORLDS[world]
    feeds = feeds_of(chosen.noise, seed, begin, end)
    around, manner = hospital(), way_to_watch(way, begin, end, learned)
    count = Count()
    for number in range(start, stop):
        life = lived(chosen, number, seed, begin, end)
        watching = watch(received(chosen, life, feeds, seed), feeds, around, manner, end)
        _count(count, chosen, life, watching, end)
    return count


def hospital() -> Surroundings:
    """The people behind roles and clinics, nurses among them."""
    around = surroundings()
    return replace(around, behind={**around.behind, **behind_ward()})


def way_to_watch(way: str, begin: datetime, end: datetime, learned: Learned) -> Way:
    """How the watch is set up for one of the ways."""
    shipped = policy()
    if way == "before":
        days = range(0, (end - begin).days, LEARNS_EVERY.days)
        mornings = tuple(morning(begin + timedelta(days=day)) for day in days)
        return Way(without_learning(shipped), learns=mornings, told_by=shipped, refuse=True)
    said: Sequence[PracticeSettings] = ()
    if way == "settings":
        said = (PracticeSettings(step="task", used=False),)
    known: list[tuple[datetime, Practices]] = []
    for at, habits in learned:
        practices = Practices.learned(habits, said)
        if not known or known[-1][1].fingerprint != practices.fingerprint:
            known.append((at, practices))
    return Way(shipped, tuple(known))


def without_learning(shipped: Policy) -> Policy:
    """The policy without its table of scopes, and with no limit to a hold's own date of review."""
    every = ScopeRow("referral", "every order is taken for one")
    return replace(shipped, scopes=(every,), hold_reviewed_within=Span(36500, "d"))


# -- counting -----------------------------------------------------------------------------------------------


def _count(count: Count, world: World, life: Life, watching: Watch, end: datetime) -> None:
    recent = end - timedelta(days=DAYS)
    found = watching.found
    truly = {stall.referral for stall in life.stalls} | set(life.referrals)
    ours = {name for name in found if not _is_order(name)}
    count.referrals += len(life.referrals)
    count.orders += len(found) - len(ours)
    count.assessments += sum(one.assessments for one in found.values())
    for name, one in found.items():
        if _is_order(name):
            count.scopes[one.looks[-1].scope] += 1
        if one.looks[-1].is_listed:
            count.listed["orders" if _is_order(name) else "referrals"] += 1
    for at, told in watching.told.items():
        count.telling.setdefault(at, Counter()).update(told)
    for stall in life.stalls:
        first = morning(stall.stalled)
        over = stall.until if stall.until is not None and stall.until <= end else None
        if first <= recent or first > end or (over is not None and over <= first):
            continue
        if stall.rule in APART and stall.rule != TOLD:
            continue
        watched = found.get(stall.referral)
        is_found = watched is not None and any(
            _is_about(alert, stall)
            and (over is None or alert.raised < over)
            and (alert.ended is None or alert.ended > stall.stalled)
            for alert in watched.alerts
        )
        if stall.rule == TOLD:
            count.told_true += 1
            count.told_found += is_found
        else:
            count.true += 1
            count.found += is_found
            count.missed[stall.rule] += not is_found
    for name, one in found.items():
        for alert in one.alerts:
            if alert.raised <= recent or alert.rule in NOTES:
                continue
            right = name in truly and any(
                _is_about(alert, stall) and stall.stands(alert.raised) for stall in life.stalls
            )
            if alert.rule == TOLD:
                count.told_alerts += 1
                count.told_right += right
            else:
                count.alerts += 1
                count.right += right
                count.false[alert.rule] += not right
            if _is_order(name):
                count.on_orders[alert.rule] += 1
    count.hidden += hidden_in(life, found, recent, end)
    count.missed, count.false = +count.missed, +count.false


def _is_about(alert: Alert, stall: Stall) -> bool:
    """Whether alert and stall are about the same thing. `no-trace` is about whatever keeps a referral from
    leaving a trace."""
    if alert.rule == "no-trace":
        return alert.referral == stall.referral and stall.rule not in APART
    return same(alert, stall)


def _is_order(name: str) -> bool:
    """Whether it is an in-house order: the simulator numbers those with an o."""
    return "-o" in name
