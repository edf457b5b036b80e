"""Runs the watch on simulated lives, morning after morning, through its public `assess`, on the facts that
were known at the time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

from fhir_coprod.jsontext import Json
from fhir_coprod.settings import SiteSettings
from fhir_coprod.simulate.hospital import ALL, BY_NAME, behind
from fhir_coprod.simulate.noise import Delivery, Feeds
from fhir_coprod.simulate.promises import ZONE
from fhir_coprod.watch import assess
from fhir_coprod.watch.record.around import Held, Surroundings
from fhir_coprod.watch.record.compose import compose
from fhir_coprod.watch.record.fhir import is_asking, target
from fhir_coprod.watch.record.model import Blind, Facts
from fhir_coprod.watch.record.tasks import asks
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.codes import NEEDED
from fhir_coprod.watch.rules.standing import Standing

POLICY = "se-vardgaranti"
MORNING = time(6)
"""By then, the night's sync and watch are done."""
OLD = timedelta(days=30)
"""The plain query lists referrals that are older."""
_DEAD = frozenset({"rejected", "cancelled", "failed", "entered-in-error", "draft"})


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
    assessments: int = 0


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


class Patient:
    """The records about one patient that reached us, and the facts of each referral at any time."""

    def __init__(
        self, deliveries: Sequence[Delivery], feeds: Feeds, around: Surroundings, rules: policies.Policy
    ) -> None:
        self.deliveries = deliveries
        self.behind_after = rules.feeds_behind_after
        self.feeds = feeds
        self.around = around
        self.arrivals = sorted({delivery.at for delivery in deliveries})

    def referrals(self) -> list[str]:
        """Every referral and request that ever reached us, duplicates included."""
        found: dict[str, None] = {}
        for delivery in self.deliveries:
            data = delivery.data
            if data["resourceType"] == "ServiceRequest" or is_asking(data):
                found[f"{data['resourceType']}/{data['id']}"] = None
        return list(found)

    def held(self, at: datetime) -> tuple[dict[str, Held], dict[str, str], dict[str, str]]:
        """All records that had arrived by then, with the referral and the EHR that each belongs to."""
        versions: dict[str, list[tuple[datetime, Json]]] = {}
        home: dict[str, str] = {}
        ehr: dict[str, str] = {}
        for arrived, whose, referral, data in self.deliveries:
            if arrived > at:
                break
            name = f"{data['resourceType']}/{data['id']}"
            versions.setdefault(name, []).append((arrived, data))
            home[name], ehr[name] = referral, whose
        return {name: Held(name, tuple(found)) for name, found in versions.items()}, home, ehr

    def facts(self, at: datetime) -> Iterator[tuple[str, Facts]]:
        """The facts of each referral that were known at a time."""
        held, home, ehr = self.held(at)
        requests = [one for one in held.values() if one.type == "ServiceRequest"]
        proxies = tuple(name for name, one in held.items() if one.type == "RelatedPerson")
        wishes = [one for one in held.values() if one.type == "CommunicationRequest"]
        departments = self._asked(held)
        for name, root in held.items():
            if root.type != "ServiceRequest" and not is_asking(root.data):
                continue
            belongs = [
                one
                for other, one in held.items()
                if home[other] == home[name] and one.type != "ServiceRequest" and other != name
            ]
            # A referral registered twice has one number twice, but Tasks name only one of the two.
            belongs = [one for one in belongs if _leads_to(one, name, held)]
            siblings = [
                (one, self.around.parties(*departments.get(one.reference, ())))
                for one in requests
                if one.reference != name
            ]
            yield (
                name,
                compose(
                    root,
                    [*belongs, *wishes],
                    siblings,
                    proxies,
                    self._blind(root, ehr[name], at),
                    self.around,
                    patient=held.get(target(root.data.get("subject"))),
                ),
            )

    def _asked(self, held: dict[str, Held]) -> dict[str, list[Json]]:
        """The owners of the Tasks of each referral, without dead Tasks."""
        found: dict[str, list[Json]] = {}
        for one in held.values():
            data = one.data
            if (
                one.type == "Task"
                and asks(data, (), self.around)
                and data["status"] not in _DEAD
                and "owner" in data
            ):
                found.setdefault(target(data["focus"]), []).append(data["owner"])
        return found

    def _blind(self, root: Held, ehr: str, at: datetime) -> tuple[Blind, ...]:
        """What cannot be seen, and for whom, as the store's reader works it out from settings and feeds."""
        requesters = self.around.parties(root.data.get("requester"))
        found: list[Blind] = []
        for department in ALL:
            whose = (department.organization, *(requesters if department.name == ehr else ()))
            found += [Blind(type, department.name, whose) for type in self.feeds.hidden[department.name]]
            since = self.feeds.behind(department.name, at, self.behind_after)
            if since is not None:
                found += [Blind(type, department.name, whose, since, down=True) for type in sorted(NEEDED)]
        return tuple(found)


def _leads_to(one: Held, root: str, held: dict[str, Held]) -> bool:
    """Whether a record leads to the referral by its references, as the store's reader follows them."""
    if root not in held:
        return False
    names = _names(one.data)
    if root in names:
        return True
    return any(root in _names(held[name].data) for name in names if name in held and name != one.reference)


def _names(data: Json) -> set[str]:
    elements = [data.get("focus"), *(data.get("basedOn") or ()), *(data.get("about") or ())]
    elements += [*(data.get("appointment") or ()), *((data.get("context") or {}).get("related") or ())]
    elements += (data.get("context") or {}).get("encounter") or ()
    return {target(element) for element in elements if element}


def watch(
    deliveries: Sequence[Delivery], feeds: Feeds, around: Surroundings, rules: policies.Policy, end: datetime
) -> list[Watched]:
    """Watch on every morning on which something may have changed, up to the last."""
    patient = Patient(deliveries, feeds, around, rules)
    found = {name: Watched(name) for name in patient.referrals()}
    standing_now: dict[str, dict[tuple[str, str], Alert]] = {name: {} for name in found}
    extra = _turns(feeds, deliveries, rules.feeds_behind_after)
    if not patient.arrivals:
        return []
    at = morning(patient.arrivals[0])
    while at <= end:
        wake: datetime | None = None
        for name, facts in patient.facts(at):
            one = found[name]
            standing = assess(facts, rules, at)
            one.assessments += 1
            if standing.wake is not None and (wake is None or standing.wake < wake):
                wake = standing.wake
            _compare(one, standing_now[name], standing, at)
            one.unseen = bool(standing.not_observable)
        times = [morning(wake)] if wake is not None else []
        for known in (patient.arrivals, extra):
            place = bisect_right(known, at)
            if place < len(known):
                times.append(morning(known[place]))
        if not times:
            break
        at = max(min(times), at + timedelta(hours=1))
        at = morning(at)
    held, _, _ = patient.held(end)
    for name, one in found.items():
        one.alerts += standing_now[name].values()
        if name in held:
            one.listed = _is_listed(held[name].data, end)
    return list(found.values())


def _turns(feeds: Feeds, deliveries: Sequence[Delivery], behind_after: timedelta) -> list[datetime]:
    """The times when an EHR falls behind or is back."""
    names = {delivery.ehr for delivery in deliveries}
    return sorted(
        turn
        for name in names
        for begin, over in feeds.outages[name]
        if over - begin > behind_after
        for turn in (begin + behind_after, over)
    )


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
    written = data.get("authoredOn") or data.get("sent")
    return (
        data["status"] not in ("completed", "revoked", "entered-in-error", "draft")
        and written is not None
        and datetime.fromisoformat(written) <= at - OLD
    )


def surroundings() -> Surroundings:
    """The people behind roles and clinics at the simulated hospital."""
    return Surroundings(ZONE, behind())


def last_morning(day: date) -> datetime:
    """The last morning of a simulation that ends on that day."""
    return datetime.combine(day, MORNING, ZONE).astimezone(UTC)
