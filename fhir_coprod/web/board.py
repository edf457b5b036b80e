"""What the board shows: standings turned into the words and names that clinic staff know.

Pure but for the lookups of names in the store. Shared by the page and the demo's terminal table, so both say
the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from fhir_coprod.errors import Gone, NotFound
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Store
from fhir_coprod.watch.codes import RANK, Rule, Stage
from fhir_coprod.watch.standing import Stall, Standing, last_moment, urgency

PATH = tuple(stage for stage in Stage if stage is not Stage.ASKED)
"""The stages drawn for a referral; asked comes before the first of them."""


@dataclass(frozen=True, slots=True)
class Missing:
    """One stall in words. Times are in the site's zone."""

    words: str
    since: datetime
    due: datetime
    owner: str
    """Name of who can move it; "" when nobody is named."""


@dataclass(frozen=True, slots=True)
class Case:
    """One referral on the board."""

    id: str
    patient: str
    born: str
    what: str
    why: str
    sender: str
    receiver: str
    priority: str
    severity: str
    stage: str
    reached: int
    since: datetime | None
    due: datetime | None
    guarantee: datetime | None
    informed: bool
    untold_since: datetime | None
    stalls: tuple[Missing, ...]
    unseen: tuple[str, ...]

    @property
    def owners(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(stall.owner for stall in self.stalls if stall.owner))

    @property
    def stages(self) -> tuple[str, ...]:
        return PATH


@dataclass(frozen=True, slots=True)
class Board:
    """Everything the page says at one moment."""

    now: datetime
    zone: str
    policy: str
    stalled: tuple[Case, ...]
    moving: tuple[Case, ...]
    limits: tuple[str, ...]

    @property
    def open(self) -> int:
        return len(self.stalled) + len(self.moving)

    @property
    def untold(self) -> int:
        return sum(not case.informed for case in self.stalled)

    @property
    def blind(self) -> int:
        return sum(bool(case.unseen) for case in (*self.stalled, *self.moving))

    @property
    def departments(self) -> list[tuple[str, int]]:
        """Who can move how many of the stalled referrals, the most first."""
        return Counter(owner for case in self.stalled for owner in case.owners).most_common()


def compose(
    store: Store,
    standings: Iterable[Standing],
    *,
    now: datetime,
    zone: ZoneInfo,
    policy: str,
    limits: Sequence[str] = (),
) -> Board:
    """The board for these standings, the most urgent first."""
    names = Names(store)
    ordered = sorted((standing for standing in standings if standing.stage is not None), key=urgency)
    shown = [_case(standing, names, zone) for standing in ordered if standing.is_open or standing.is_stalled]
    return Board(
        now=now.astimezone(zone),
        zone=zone.key,
        policy=policy,
        stalled=tuple(case for case in shown if case.stalls),
        moving=tuple(case for case in shown if not case.stalls),
        limits=tuple(limits),
    )


class Names:
    """Display names of people and places by reference, each read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, Json | None] = {}

    def resource(self, reference: str) -> Json | None:
        """The resource that a local reference names; None when we do not hold it."""
        if reference not in self._known:
            self._known[reference] = self._read(reference)
        return self._known[reference]

    def _read(self, reference: str) -> Json | None:
        type, _, id = reference.partition("/")
        if not id:
            return None
        try:
            return self._store.read(type, id).data
        except (NotFound, Gone):
            return None

    def of(self, reference: str, display: str = "") -> str:
        """A name to show: the resource's own, else the display that came with the reference."""
        resource = self.resource(reference) if reference else None
        return (_name(resource) if resource else "") or display or reference

    def of_element(self, element: Json | None) -> str:
        """The same for a Reference element."""
        element = element or {}
        identifier = element.get("identifier") or {}
        return self.of(element.get("reference", ""), element.get("display") or identifier.get("value", ""))


def _name(resource: Json) -> str:
    name = resource.get("name")
    if isinstance(name, str):
        return name
    for human in sorted(name or [], key=lambda human: human.get("use") != "official"):
        text = human.get("text") or " ".join([*human.get("given", []), human.get("family", "")]).strip()
        if text:
            return str(text)
    return ""


def _case(standing: Standing, names: Names, zone: ZoneInfo) -> Case:
    referral = names.resource(standing.referral) or {}
    patient = names.resource(standing.patient) or {}
    asked = _first(referral.get("performer")).get("reference", "")
    asking = (referral.get("requester") or {}).get("reference", "")
    return Case(
        id=standing.referral.partition("/")[2],
        patient=names.of(standing.patient) or "unknown patient",
        born=str(patient.get("birthDate", "")),
        what=_concept(referral.get("code")) or "referral",
        why=_concept(_first(referral.get("reasonCode"))),
        sender=names.of_element(referral.get("requester")) or "unknown sender",
        receiver=names.of(standing.owner if standing.owner not in ("", asking) else asked) or "nobody yet",
        priority=standing.priority,
        severity=_worst(standing.stalls),
        stage=str(standing.stage),
        reached=RANK[standing.stage] - 1 if standing.stage else 0,
        since=_local(standing.since, zone),
        due=_local(standing.due, zone, last_moment),
        guarantee=_local(standing.guarantee, zone, last_moment),
        informed=standing.patient_informed,
        untold_since=_local(standing.untold_since, zone),
        stalls=tuple(_missing(stall, names, zone) for stall in _drawn(standing.stalls)),
        unseen=standing.not_observable,
    )


def _drawn(stalls: Sequence[Stall]) -> Sequence[Stall]:
    """The stalls to draw: whether the patient was told stands beside every case anyway."""
    return [stall for stall in stalls if stall.rule is not Rule.PATIENT_NOT_INFORMED] or stalls


def _missing(stall: Stall, names: Names, zone: ZoneInfo) -> Missing:
    return Missing(
        stall.missing,
        stall.since.astimezone(zone),
        last_moment(stall.due).astimezone(zone),
        names.of(stall.owner),
    )


def _worst(stalls: Sequence[Stall]) -> str:
    order = ("high", "moderate", "low")
    return min((stall.severity for stall in stalls), key=order.index, default="low")


def _local(
    at: datetime | None, zone: ZoneInfo, told: Callable[[datetime], datetime] = lambda at: at
) -> datetime | None:
    return told(at).astimezone(zone) if at else None


def _first(elements: object) -> Json:
    return elements[0] if isinstance(elements, list) and elements else {}


def _concept(concept: Json | None) -> str:
    """The words of a CodeableConcept: its text, else the first display, else the first code."""
    concept = concept or {}
    coding = _first(concept.get("coding"))
    return str(concept.get("text") or coding.get("display") or coding.get("code") or "")
