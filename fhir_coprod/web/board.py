"""The content of the board: turns standings into the words and names that clinic staff know.

The page and the demo's terminal table share it, so both say the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.watch.facts.names import names_of, read_names
from fhir_coprod.watch.facts.reader import Reader
from fhir_coprod.watch.rules.codes import RANK, Rule, Stage
from fhir_coprod.watch.rules.standing import Stall, Standing, just_before, urgency
from fhir_coprod.web.letters import addressee

PERHAPS = 50
"""How many of the orders that may be referrals the board lists; it counts the others."""
PATH = tuple(stage for stage in Stage if stage is not Stage.ASKED)
"""The stages drawn for a referral; a patient's own request has one more, before the first of these."""


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
    referral: str
    """The reference with its type, since a patient may ask by Communication."""
    patient: str
    patient_id: str
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
    telling_unseen: bool
    """Nobody can say whether the patient has been told."""
    untold_since: datetime | None
    stalls: tuple[Missing, ...]
    unseen: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    """States that nobody knows."""
    died: datetime | None = None
    scope_why: str = ""
    """Why it is a referral, or may be one."""

    @property
    def unsure(self) -> str:
        """Why nobody can say that all is well, although nothing is stalled; "" if somebody can."""
        states = f"unknown state: {', '.join(self.unknown)}" if self.unknown else ""
        return "; ".join(part for part in (", ".join(self.unseen), states) if part)

    @property
    def owners(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(stall.owner for stall in self.stalls if stall.owner))

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(Stage) if self.stage == Stage.ASKED else PATH


@dataclass(frozen=True, slots=True)
class Board:
    """Everything that the board says at one moment."""

    now: datetime
    zone: str
    policy: str
    stalled: tuple[Case, ...]
    moving: tuple[Case, ...]
    partly: tuple[Case, ...]
    """Not stalled as far as can be seen, but not everything can be seen, or in a state that nobody knows."""
    limits: tuple[str, ...]
    apart: tuple[str, ...] = ()
    """Orders that are not watched as referrals, in sentences."""
    unclear: tuple[Case, ...] = ()
    """What may be a referral, and was not sent or is silent: the longest first."""
    unclear_in_all: int = 0

    @property
    def open(self) -> int:
        return len(self.stalled) + len(self.moving) + len(self.partly)

    @property
    def untold(self) -> int:
        return sum(not case.informed and not case.telling_unseen for case in self.stalled)

    @property
    def blind(self) -> int:
        return sum(bool(case.unseen) for case in (*self.partly, *self.stalled))

    @property
    def departments(self) -> list[tuple[str, int]]:
        """Each owner with how many of the stalled referrals they can move, the most first."""
        return Counter(owner for case in self.stalled for owner in case.owners).most_common()


def compose(
    store: Store,
    settings: Settings,
    standings: Iterable[Standing],
    *,
    now: datetime,
    limits: Sequence[str] = (),
    apart: Sequence[str] = (),
) -> Board:
    """The board for these standings, the most urgent first."""
    listed = [s for s in standings if s.stage is not None and (s.is_open or s.is_stalled)]
    open_ones = [s for s in listed if not s.is_unclear]
    perhaps = sorted(
        (s for s in listed if s.is_unclear and s.counted), key=lambda s: (s.counted[0].since, s.referral)
    )
    zone = settings.site.zone
    with store.connect() as connection:
        known = _read(Reader(connection, settings), [*open_ones, *perhaps[:PERHAPS]])
    cases = [_case(standing, known, zone) for standing in sorted(open_ones, key=urgency)]
    return Board(
        now=now.astimezone(zone),
        zone=zone.key,
        policy=settings.watch.policy,
        stalled=tuple(case for case in cases if case.stalls),
        moving=tuple(case for case in cases if not case.stalls and not case.unsure),
        partly=tuple(case for case in cases if not case.stalls and case.unsure),
        limits=tuple(limits),
        apart=tuple(apart),
        unclear=tuple(_case(standing, known, zone) for standing in perhaps[:PERHAPS]),
        unclear_in_all=len(perhaps),
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """Referrals and patients by reference, and the names of departments."""

    resources: dict[str, Json]
    names: dict[str, str]

    def name(self, element: Json) -> str:
        """The name behind a Reference element: from our records, else as written in the element."""
        reference = str(element.get("reference", ""))
        identifier = element.get("identifier") or {}
        person = addressee(self.resources.get(reference, {}))
        return str(
            self.names.get(reference)
            or person
            or element.get("display")
            or identifier.get("value")
            or reference
        )


def _read(reader: Reader, standings: Sequence[Standing]) -> _Known:
    """Read what the board names, in a few queries however many referrals there are."""
    wanted = {name for s in standings for name in (s.referral, s.patient) if name}
    rows = reader.by_reference({(type, id) for type, _, id in (name.partition("/") for name in wanted)})
    resources = {row.reference: row.data for row in rows}
    parties = {
        str(element.get("reference", ""))
        for resource in resources.values()
        for element in (resource.get("requester") or {}, _first(resource.get("performer")))
    }
    return _Known(resources, read_names(reader, standings) | names_of(reader, parties))


def _case(standing: Standing, known: _Known, zone: ZoneInfo) -> Case:
    referral = known.resources.get(standing.referral, {})
    patient = known.resources.get(standing.patient, {})
    asking = referral.get("requester") or {}
    asked = _first(referral.get("performer"))
    owned = standing.owner and standing.owner != asking.get("reference")
    return Case(
        id=standing.referral.partition("/")[2],
        referral=standing.referral,
        patient=addressee(patient) or standing.patient or "unknown patient",
        patient_id=standing.patient.partition("/")[2],
        born=str(patient.get("birthDate", "")),
        what=_concept(referral.get("code")) or "referral",
        why=_concept(_first(referral.get("reasonCode"))),
        sender=known.name(asking) or "unknown sender",
        receiver=(known.names.get(standing.owner, standing.owner) if owned else known.name(asked))
        or "nobody yet",
        priority=standing.priority,
        severity=_worst(standing.stalls),
        stage=str(standing.stage),
        reached=max(RANK[standing.stage] - 1, 0) if standing.stage else 0,
        since=_local(_waits_since(standing), zone),
        due=_local(standing.due, zone, just_before),
        guarantee=_local(standing.guarantee, zone, just_before),
        informed=standing.patient_informed,
        telling_unseen=standing.is_telling_unseen,
        untold_since=_local(standing.untold_since, zone),
        stalls=tuple(_missing(stall, known.names, zone) for stall in _drawn(standing.stalls)),
        unseen=standing.not_observable,
        unknown=standing.unknown,
        died=_local(standing.deceased, zone),
        scope_why=standing.in_scope,
    )


def _waits_since(standing: Standing) -> datetime | None:
    """When its stage began; of what may be a referral, since when it waits."""
    return standing.counted[0].since if standing.is_unclear and standing.counted else standing.since


def _drawn(stalls: Sequence[Stall]) -> Sequence[Stall]:
    """The stalls to draw: not that the patient was not informed, which every case shows anyway."""
    return [stall for stall in stalls if stall.rule is not Rule.PATIENT_NOT_INFORMED] or stalls


def _missing(stall: Stall, names: dict[str, str], zone: ZoneInfo) -> Missing:
    return Missing(
        stall.missing,
        stall.since.astimezone(zone),
        just_before(stall.due).astimezone(zone),
        names.get(stall.owner, stall.owner),
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
