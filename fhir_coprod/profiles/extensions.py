"""The content of our extensions as small frozen classes.

Dates and times are FHIR text (2026-03-02 or a full instant), which keeps the precision that was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args, get_origin, get_type_hints

from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.extension import Extension

from fhir_coprod import jsontext
from fhir_coprod.definitions import PROFILE
from fhir_coprod.jsontext import Json
from fhir_coprod.profiles.elements import target

Phase = Literal["co-assess", "co-decide", "co-design", "co-deliver"]
"""CodeSystem coproduction-phase: the cycle in which patient and professionals work."""
AgencyLevel = Literal["patient-led", "shared", "professional-led"]
"""CodeSystem agency: who leads."""
Agreement = Literal["considering", "agreed", "agreed-in-part", "declined", "withdrawn"]
"""CodeSystem plan-agreement-status: one person's answer to a plan as a whole."""
Acceptance = Literal["agree", "disagree", "pending"]
"""R4 ValueSet goal-acceptance-status."""

PHASE = PROFILE + "coproduction-phase"
PLAN_STATUS_REASON = PROFILE + "plan-status-reason"
PERTAINS_TO_GOAL = "http://hl7.org/fhir/StructureDefinition/resource-pertainsToGoal"

Ref = Annotated[str, "valueReference"]
"""The target of a Reference, such as Patient/1."""
Time = Annotated[str, "valueDateTime"]
"""A FHIR dateTime, in the precision that was written."""
Text = Annotated[str, "valueString"]
Truth = Annotated[bool, "valueBoolean"]
Concept = Annotated[CodeableConcept | str, "valueCodeableConcept"]
"""A concept; plain words become its text."""
Minutes = Annotated[float, "valueDuration"]


@dataclass(frozen=True, slots=True)
class ComplexExtension:
    """An extension made of parts: each field is a sub-extension, whose type decides which value[x] it has."""

    url: ClassVar[str] = ""

    def to_extension(self) -> Extension:
        """As an Extension element."""
        parts: list[Json] = []
        for name, carrier in _carriers(type(self)).items():
            value = getattr(self, name)
            items = value if isinstance(value, tuple) else (value,)
            parts += [{"url": _camel(name), carrier: _written(carrier, i)} for i in items if i is not None]
        return Extension.model_validate({"url": self.url, "extension": parts})

    @classmethod
    def from_extension(cls, extension: Extension) -> Self:
        """From an Extension element. Missing parts are None, or an empty tuple."""
        view: Json = jsontext.decode(extension.model_dump_json())
        found: dict[str, list[Json]] = {}
        for part in view.get("extension", ()):
            found.setdefault(part["url"], []).append(part)
        repeating = {field.name for field in fields(cls) if field.default == ()}
        values: dict[str, Any] = {}
        for name, carrier in _carriers(cls).items():
            items = [_told(carrier, part.get(carrier)) for part in found.get(_camel(name), ())]
            values[name] = tuple(items) if name in repeating else (items[0] if items else None)
        return cls(**values)


def _carriers(kind: type[ComplexExtension]) -> dict[str, str]:
    """From each field to its value[x]."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: _carrier(hints[field.name]) for field in fields(kind)}


def _carrier(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        return next((word for word in hint.__metadata__ if isinstance(word, str)), "")
    return next((found for found in map(_carrier, get_args(hint)) if found), "valueCode")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _written(carrier: str, item: Any) -> Any:
    match carrier:
        case "valueReference":
            return {"reference": target(item)}
        case "valueCodeableConcept":
            return {"text": item} if isinstance(item, str) else jsontext.decode(item.model_dump_json())
        case "valueDuration":
            return {"value": item, "unit": "min", "system": "http://unitsofmeasure.org", "code": "min"}
    return item


def _told(carrier: str, item: Any) -> Any:
    match carrier:
        case "valueReference":
            return (item or {}).get("reference", "")
        case "valueCodeableConcept":
            return CodeableConcept.model_validate(item)
        case "valueDuration":
            return _minutes(item)
    return item


def _minutes(duration: Json) -> float:
    """A Duration in minutes. Raises ValueError for a unit without a fixed length."""
    factor = {"s": 1 / 60, "min": 1, "h": 60, "d": 24 * 60}.get(
        duration.get("code") or duration.get("unit", "")
    )
    if factor is None:
        raise ValueError("extraTime must be in s, min, h or d (UCUM).")
    return float(duration["value"]) * factor


@dataclass(frozen=True, slots=True)
class PlanAgreement(ComplexExtension):
    """One person's answer to the plan as a whole; extension plan-agreement on CarePlan, 0..*."""

    url: ClassVar[str] = PROFILE + "plan-agreement"

    who: Ref
    """Reference to Patient, RelatedPerson, Practitioner or PractitionerRole; 1..1."""
    status: Agreement
    """1..1, required binding."""
    when: Time
    """When they said so; 1..1."""
    option: Ref | None = None
    """The option they chose, as it was described (DocumentReference); 0..1."""
    reason: Text | None = None
    """Why, in the person's own words; 0..1."""


@dataclass(frozen=True, slots=True)
class Agency(ComplexExtension):
    """Who leads, who judged that, and what the patient says; extension agency on Task and Goal, 0..1."""

    url: ClassVar[str] = PROFILE + "agency"

    level: AgencyLevel
    """1..1, required binding."""
    judged_by: Ref
    """Reference to the person who says so; 1..1."""
    judged: Time | None = None
    """When; 0..1."""
    patient_confirmed: Truth | None = None
    """Whether the patient sees it the same way; None: not asked."""


@dataclass(frozen=True, slots=True)
class Accommodation(ComplexExtension):
    """What the person needs in order to manage the visit; extension accommodation on the referral, 0..*."""

    url: ClassVar[str] = PROFILE + "accommodation"

    kind: Concept
    """What is needed; 1..1, extensible binding. Plain words become its text."""
    why: Text | None = None
    """Why, in the patient's own words; 0..1."""
    extra_time: Minutes | None = None
    """How much longer than usual, in minutes; 0..1."""
    agreed_by: tuple[Ref, ...] = ()
    """References to the people who agreed it; 0..*."""
    agreed: Time | None = None
    """When; 0..1."""


@dataclass(frozen=True, slots=True)
class PrivateMoment(ComplexExtension):
    """Whether the patient wants to speak alone, and whether it came about; extension private-moment."""

    url: ClassVar[str] = PROFILE + "private-moment"

    wanted: Truth
    """Whether the patient wants it; 1..1."""
    asked: Time | None = None
    """When the patient was asked; 0..1."""
    without: tuple[Ref, ...] = ()
    """References to those who are to leave the room; 0..*."""
    happened: Truth | None = None
    """Whether it came about; 0..1."""


@dataclass(frozen=True, slots=True)
class GoalAcceptance(ComplexExtension):
    """Whether one person accepts the goal, and how much it matters; R4 extension goal-acceptance, 0..*."""

    url: ClassVar[str] = "http://hl7.org/fhir/StructureDefinition/goal-acceptance"

    individual: Ref
    """Reference to Patient, Practitioner or RelatedPerson (R4 allows no PractitionerRole); 1..1."""
    status: Acceptance
    """1..1 in our profile, required binding."""
    priority: Concept | None = None
    """How much it matters to this person; 0..1."""


@dataclass(frozen=True, slots=True)
class ReferralStanding(ComplexExtension):
    """How far the referral had come when the stall was found; extension referral-standing on alerts, 0..1."""

    url: ClassVar[str] = PROFILE + "referral-standing"

    stage: str
    """1..1, required binding: code of CodeSystem referral-stage, from asked to closed."""
    since: Time
    """When the wait began; 1..1."""
    patient_informed: Truth
    """Whether the patient has been told of everything that happened; 1..1."""
    due: Time | None = None
    """When it should have ended; 0..1."""
    guarantee: Time | None = None
    """The date promised to the patient; 0..1."""
    owner: Ref | None = None
    """Who can move it; 0..1."""
    policy: Text | None = None
    """Name and version of the deadline policy; 0..1."""


C = TypeVar("C", bound=ComplexExtension)


def all_of(kind: type[C], extensions: Iterable[Extension] | None) -> list[C]:
    """Every extension of one kind, in order."""
    return [kind.from_extension(e) for e in extensions or () if e.url == kind.url]


def first_of(kind: type[C], extensions: Iterable[Extension] | None) -> C | None:
    """The first extension of one kind."""
    return next(iter(all_of(kind, extensions)), None)


def replaced(
    extensions: Sequence[Extension] | None, url: str, new: Iterable[Extension]
) -> list[Extension] | None:
    """All extensions, with those of `url` replaced by `new`; None if empty: FHIR allows no empty lists."""
    return [*(e for e in extensions or () if e.url != url), *new] or None
