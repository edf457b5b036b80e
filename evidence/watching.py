"""Runs the watch on simulated lives, morning after morning, through its public `assess`, on the facts that
were known at the time.

A referral is looked at as the live watch does it: when something arrived that concerns it, when its own time
has come, when what can be seen changed, and when the watch has learned something new.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from evidence.records import Patient
from evidence.silence import Look, look_of
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import SiteSettings
from fhir_coprod.simulate.hospital import ALL, BY_NAME, behind
from fhir_coprod.simulate.noise import Delivery, Feeds
from fhir_coprod.simulate.promises import ZONE
from fhir_coprod.watch import assess
from fhir_coprod.watch.facts.habits import Practices, Told, is_telling
from fhir_coprod.watch.record.around import Surroundings
from fhir_coprod.watch.record.fhir import moment
from fhir_coprod.watch.record.model import Facts
from fhir_coprod.watch.record.parties import Place
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.standing import Standing

POLICY = "se-vardgaranti"
MORNING = time(6)
"""By then, the night's sync and watch are done."""
OLD = timedelta(days=30)
"""The plain query lists referrals that are older."""
NOTES = frozenset({"draft-left", "patient-deceased"})
"""Notes, which raise no alert."""
APART = NOTES | {"patient-not-informed"}
"""Counted separately: notes, and what accompanies nearly every stall."""


class Alert(NamedTuple):
    """A stall as the watch reported it, from one morning to another."""

    referral: str
    rule: str
    task: str
    owner: str
    stage: str
    raised: datetime
    ended: datetime | None


@dataclass
class Watched:
    """What the watch reported about one referral."""

    referral: str
    alerts: list[Alert] = field(default_factory=list)
    listed: bool = False
    """The plain query lists it on the last morning."""
    unseen: bool = False
    """On the last morning, it is among the referrals that cannot be fully watched."""
    looks: list[Look] = field(default_factory=list)
    """What the watch was silent about, and why, from each morning on which that changed."""
    assessments: int = 0


@dataclass(frozen=True)
class Way:
    """A way to watch: as shipped, or with something switched off."""

    policy: policies.Policy
    practices: tuple[tuple[datetime, Practices], ...] = ()
    """What has been learned, and from which morning on that holds."""
    learns: tuple[datetime, ...] = ()
    """Mornings on which to note what referrals tell of the steps in use."""
    told_by: policies.Policy | None = None
    """The policy that says which orders are referrals that tell of it; None: the same policy."""
    refuse: bool = False
    """Take in no invalid record."""


def policy() -> policies.Policy:
    """The policy of the simulated hospital."""
    return policies.load(POLICY, SiteSettings(timezone=ZONE.key, country="SE"))


def morning(at: datetime) -> datetime:
    """The first morning not before `at`."""
    local = at.astimezone(ZONE)
    found = datetime.combine(local.date(), MORNING, ZONE)
    if found < local:
        found = datetime.combine(local.date() + timedelta(days=1), MORNING, ZONE)
    return found.astimezone(UTC)


class Watch:
    """The watch over one patient's referrals."""

    def __init__(self, feeds: Feeds, around: Surroundings, way: Way) -> None:
        self.way = way
        self.patient = Patient(feeds, around, way.policy.feeds_behind_after, refuse=way.refuse)
        self.found: dict[str, Watched] = {}
        self.told: dict[datetime, Counter[tuple[str, str, str, str]]] = {}
        """By morning: what referrals tell of the steps in use, and how many."""
        self._open: dict[str, dict[tuple[str, str], Alert]] = {}
        self._facts: dict[str, Facts] = {}
        self._standings: dict[str, Standing] = {}
        self._wakes: dict[str, datetime] = {}
        self._telling: dict[str, tuple[Facts, Standing]] = {}

    def run(self, deliveries: Sequence[Delivery], end: datetime) -> None:
        """Watch on every morning on which something may have changed, up to the last."""
        place, before = 0, datetime.min.replace(tzinfo=UTC)
        practice_since = None
        turns: list[datetime] = []
        at = morning(deliveries[0].at) if deliveries else None
        while at is not None and at <= end:
            stale: dict[str, None] = {}
            ehrs = len(self.patient.ehr)
            while place < len(deliveries) and deliveries[place].at <= at:
                stale |= dict.fromkeys(self.patient.take(deliveries[place]))
                place += 1
            if len(self.patient.ehr) != ehrs:
                turns = sorted(self.patient.turns())
            if bisect_right(turns, at) != bisect_right(turns, before):
                stale |= dict.fromkeys(self._watched_now())
            for name in stale:
                self._facts.pop(name, None)
            due = stale | dict.fromkeys(name for name, wake in self._wakes.items() if wake <= at)
            since, practices = self._learned(at)
            if since != practice_since:
                due |= dict.fromkeys(self._watched_now())
                practice_since = since
            for name in due:
                self._look(name, at, practices)
            if at in self.way.learns:
                self._note(at)
            before = at
            at = self._next(at, deliveries[place].at if place < len(deliveries) else None, turns)
        self._finish(end)

    def _watched_now(self) -> Iterator[str]:
        """Referrals whose standing may depend on what can be seen, or is in use."""
        for name, standing in self._standings.items():
            if standing.scope in ("referral", "unclear"):
                yield name

    def _learned(self, at: datetime) -> tuple[datetime | None, Practices | None]:
        known = [one for one in self.way.practices if one[0] <= at]
        return known[-1] if known else (None, None)

    def _next(self, at: datetime, arrival: datetime | None, turns: list[datetime]) -> datetime | None:
        times = [*self._wakes.values()]
        if arrival is not None:
            times.append(arrival)
        for known in (turns, [since for since, _ in self.way.practices], self.way.learns):
            place = bisect_right(known, at)
            if place < len(known):
                times.append(known[place])
        later = morning(at + timedelta(hours=1))
        return max(morning(min(times)), later) if times else None

    def _look(self, name: str, at: datetime, practices: Practices | None) -> None:
        facts = self._facts.get(name)
        if facts is None:
            facts = self._facts[name] = self.patient.facts(name, at)
        if practices is not None:
            facts = practices.applied(facts, self.patient.ehr[name])
        one = self.found.setdefault(name, Watched(name))
        standing = assess(facts, self.way.policy, at)
        one.assessments += 1
        self._standings[name] = standing
        self._wakes.pop(name, None)
        if standing.wake is not None:
            self._wakes[name] = standing.wake
        alerts = self._open.setdefault(name, {})
        _compare(one, alerts, standing, at)
        one.unseen = bool(standing.not_observable)
        look = look_of(standing, facts, at, is_alert=any(rule not in APART for rule, _ in alerts))
        if not one.looks or one.looks[-1][1:] != look[1:]:
            one.looks.append(look)

    def _note(self, at: datetime) -> None:
        """Note what referrals tell, as the rows of the store say it."""
        by = self.way.told_by or self.way.policy
        counts = self.told[at] = Counter()
        for name, facts in self._facts.items():
            if not is_telling(facts.request.authored, at):
                continue
            known = self._telling.get(name)
            if known is None or known[0] is not facts:
                known = self._telling[name] = (facts, assess(facts, by, at))
            standing = known[1]
            if standing.steps:
                steps = " ".join(standing.steps)
                counts[self.patient.ehr[name], standing.department, standing.thing, steps] += 1

    def _finish(self, end: datetime) -> None:
        for name, one in self.found.items():
            one.alerts += self._open[name].values()
            one.listed = _is_listed(self.patient.held[name].data, end)


def watch(
    deliveries: Sequence[Delivery], feeds: Feeds, around: Surroundings, way: Way, end: datetime
) -> Watch:
    """Watch one patient's referrals up to the last morning."""
    watching = Watch(feeds, around, way)
    watching.run(deliveries, end)
    return watching


def told_of(counts: Counter[tuple[str, str, str, str]]) -> Iterable[Told]:
    """What was noted, for the watch to learn from."""
    return [Told(*key, count) for key, count in sorted(counts.items())]


def _compare(
    one: Watched, standing_now: dict[tuple[str, str], Alert], standing: Standing, at: datetime
) -> None:
    """Raise new stalls and end those that are over; stalls that cannot be seen at present stay."""
    claimed = {(str(stall.rule), stall.task): stall for stall in (*standing.stalls, *standing.notes)}
    for key, alert in list(standing_now.items()):
        if key not in claimed and key[0] not in standing.not_claimed:
            one.alerts.append(alert._replace(ended=at))
            del standing_now[key]
    for key, stall in claimed.items():
        if key not in standing_now:
            standing_now[key] = Alert(
                one.referral, *key, _department(stall.owner), str(standing.stage), at, None
            )


def _department(owner: str) -> str:
    name = owner.partition("/")[2].removesuffix("-doctor").removesuffix("-clinic")
    return name if name in BY_NAME else ""


def _is_listed(data: Json, at: datetime) -> bool:
    """Whether the plain query lists it: not closed, and written more than 30 days ago."""
    written = moment(data.get("authoredOn") or data.get("sent"), ZONE)
    return (
        data.get("status") not in ("completed", "revoked", "entered-in-error", "draft")
        and written is not None
        and written <= at - OLD
    )


def surroundings() -> Surroundings:
    """The people behind roles and clinics at the simulated hospital, whose settings name each department."""
    places = {department.organization: Place(is_department=True) for department in ALL}
    return Surroundings(ZONE, behind(), places)


def last_morning(day: date) -> datetime:
    """The last morning of a simulation that ends on that day."""
    return datetime.combine(day, MORNING, ZONE).astimezone(UTC)
