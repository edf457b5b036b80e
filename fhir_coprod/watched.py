"""The table of resource types that sync pulls and the watch reads, and the links between them.

There is one row for each type. A new type needs a row here and a reader in `watch/record/compose.py`; all
else follows. Names in lower case are search parameters
(https://hl7.org/fhir/R4/searchparameter-registry.html), all of which the store indexes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from fhir_coprod import definitions
from fhir_coprod.jsontext import Json

UNREADABLE: Final = ":unreadable"
"""Ends the name of a search parameter under which the index has a resource whose reference cannot be read: by
the patient that it concerns, or by "" if it names none."""
Pairs = tuple[tuple[str, str], ...]
"""Pairs of a resource type and one of its search parameters."""
Path = tuple[str, ...]
"""The keys from a resource down to a reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What we have to know about one resource type."""

    reads: tuple[str, ...] = ()
    """The elements that the watch reads. What rests on one that cannot be read cannot be seen; a fault in any
    other element changes nothing."""
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Search parameters by which it says that it belongs to something, each with the types it can name."""
    parties: tuple[str, ...] = ()
    """Search parameters that name a party: a person, role, service, place or department."""
    patients: tuple[str, ...] = ()
    """The search parameters that name its patient, if it may concern every referral of that patient."""
    behind: tuple[str, ...] | None = None
    """If it can be a party other than a person: the search parameters that name who is behind it."""
    made: str = ""
    """The element that says when it was made: what is older than a referral cannot belong to it."""
    is_output: bool = False
    """Whether a Task may name it as its output: the result of what was asked."""
    is_history: bool = True
    """Whether its earlier versions matter, because they tell when things happened."""
    is_reached: bool = False
    """Whether it is enough to pull those that something else refers to."""


WATCHED: Final[Mapping[str, Watched]] = {
    "Organization": Watched(behind=(), is_reached=True),
    "Location": Watched(behind=("organization",), is_reached=True),
    "HealthcareService": Watched(behind=("organization",), is_reached=True),
    "Practitioner": Watched(is_reached=True),
    "PractitionerRole": Watched(behind=("practitioner", "organization"), is_reached=True),
    "Patient": Watched(is_reached=True),
    "RelatedPerson": Watched(
        reads=("active", "patient"), patients=("patient",), is_history=False, is_reached=True
    ),
    "CareTeam": Watched(behind=()),
    "EpisodeOfCare": Watched(),
    "Condition": Watched(),
    "FamilyMemberHistory": Watched(),
    "Goal": Watched(),
    "CarePlan": Watched(),
    "ServiceRequest": Watched(
        reads=(
            "status",
            "intent",
            "subject",
            "authoredOn",
            "requester",
            "performer",
            "performerType",
            "category",
            "code",
            "priority",
            "basedOn",
            "replaces",
            "requisition",
            "supportingInfo",
            "doNotPerform",
            "orderDetail",
            "identifier",
            "occurrenceDateTime",
            "occurrencePeriod",
            "occurrenceTiming",
        ),
        names={"based-on": ("ServiceRequest",)},
        parties=("requester", "performer"),
    ),
    "Task": Watched(
        made="authoredOn",
        reads=(
            "status",
            "focus",
            "basedOn",
            "partOf",
            "reasonReference",
            "code",
            "owner",
            "requester",
            "authoredOn",
            "lastModified",
            "statusReason",
            "businessStatus",
            "restriction.period",
            "output.valueReference",
        ),
        names={
            "focus": ("ServiceRequest", "Task", "DiagnosticReport", "DocumentReference", "Communication"),
            "based-on": ("ServiceRequest", "Task", "Communication"),
            "part-of": ("Task",),
        },
        parties=("owner", "requester"),
    ),
    "Appointment": Watched(
        made="created",
        reads=(
            "status",
            "created",
            "start",
            "end",
            "minutesDuration",
            "participant.actor",
            "basedOn",
            "supportingInformation",
        ),
        names={"based-on": ("ServiceRequest",), "supporting-info": ("ServiceRequest", "Task")},
        parties=("actor",),
    ),
    "Encounter": Watched(
        reads=(
            "status",
            "period",
            "participant.individual",
            "serviceProvider",
            "basedOn",
            "appointment",
            "partOf",
        ),
        names={"based-on": ("ServiceRequest",), "appointment": ("Appointment",)},
        parties=("participant", "service-provider"),
    ),
    "DiagnosticReport": Watched(
        made="issued",
        reads=("status", "issued", "performer", "resultsInterpreter", "basedOn", "encounter"),
        names={"based-on": ("ServiceRequest",)},
        parties=("performer", "results-interpreter"),
        is_output=True,
    ),
    "DocumentReference": Watched(
        made="date",
        reads=("status", "docStatus", "date", "author", "custodian", "context.related", "context.encounter"),
        names={
            "related": ("ServiceRequest", "Task", "Appointment"),
            "encounter": ("Encounter",),
            "based-on": ("ServiceRequest",),
        },
        parties=("author", "custodian"),
        is_output=True,
    ),
    "Communication": Watched(
        made="sent",
        reads=(
            "status",
            "statusReason",
            "sent",
            "subject",
            "sender",
            "recipient",
            "category",
            "reasonCode",
            "topic",
            "priority",
            "about",
            "basedOn",
            "partOf",
            "inResponseTo",
        ),
        names={
            "about": (
                "ServiceRequest",
                "Task",
                "Appointment",
                "Encounter",
                "DiagnosticReport",
                "DocumentReference",
                "Communication",
            ),
            "based-on": ("ServiceRequest", "Task", "Communication"),
            "part-of": ("ServiceRequest", "Task", "Communication"),
        },
        parties=("recipient", "sender"),
        is_history=False,
    ),
    "CommunicationRequest": Watched(
        made="authoredOn",
        reads=(
            "status",
            "doNotPerform",
            "subject",
            "recipient",
            "requester",
            "sender",
            "about",
            "basedOn",
        ),
        names={"based-on": ("ServiceRequest",), "about": ("ServiceRequest", "Task", "Appointment")},
        patients=("subject", "recipient", "requester", "sender"),
        is_history=False,
    ),
    "QuestionnaireResponse": Watched(),
    "List": Watched(),
    "Provenance": Watched(),
}
"""The types that the watch and the coproduction profiles need, in the order in which they are pulled.

Observation is left out: a hospital has more Observations than everything else together, and the coproduction
profiles use few. To pull it, name it in an EHR's `types`.
"""

PULLED: Final = tuple(WATCHED)
REACHED_BY_REFERENCE: Final = frozenset(type for type, row in WATCHED.items() if row.is_reached)
OUTPUTS: Final = frozenset(type for type, row in WATCHED.items() if row.is_output)
STAFF: Final = frozenset(type for type, row in WATCHED.items() if row.behind is not None)
"""Types that can be a party and are not a single person."""
ROLES: Final = frozenset(type for type, row in WATCHED.items() if row.behind)
"""The STAFF types that have somebody else behind them."""

LINKS: Final[Mapping[str, Pairs]] = {
    named: links
    for named in WATCHED
    if (
        links := tuple(
            (type, parameter)
            for type, row in WATCHED.items()
            for parameter, types in row.names.items()
            if named in types
        )
    )
}
"""From a type to each (type, search parameter) by which other resources say that they belong to it."""
OF_PATIENT: Final[Pairs] = tuple(
    (type, parameter) for type, row in WATCHED.items() for parameter in row.patients
)
"""The search parameters by which a resource names a patient, all of whose referrals it may concern."""
PARTIES: Final[Pairs] = tuple(
    (type, parameter) for type, row in WATCHED.items() for parameter in (*row.parties, *(row.behind or ()))
)
"""The search parameters by which a resource names a party, or who is behind one."""
STRAYS: Final[Pairs] = tuple(
    (type, f"{parameter}{UNREADABLE}")
    for type, row in WATCHED.items()
    for parameter in row.names
    if type != "ServiceRequest"
)
"""Under these the index has, by patient, records that name what they belong to in a form that cannot be
read."""


def parties(data: Json) -> list[Json]:
    """The references by which a resource names its parties."""
    return _found(data, _paths_of(data["resourceType"])[0])


def behind(data: Json) -> list[Json]:
    """The references by which a role, a service or a place names who is behind it, in order."""
    return _found(data, _paths_of(data["resourceType"])[1])


def _found(data: Json, paths: Iterable[Path]) -> list[Json]:
    found = []
    for first, *further in paths:
        held = data.get(first)
        if held is None:
            continue
        values = held if isinstance(held, list) else [held]
        for key in further:
            values = [value[key] for value in values if key in value]
        found += values
    return found


@cache
def _paths_of(type: str) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The paths to the parties of a type, and to who is behind it."""
    row = WATCHED.get(type, Watched())
    return tuple(path(type, p) for p in row.parties), tuple(path(type, p) for p in row.behind or ())


@cache
def path(type: str, parameter: str) -> Path:
    """The path to a search parameter's references: ("participant", "actor") for Appointment's `actor`.

    Raises ValueError if the parameter's expression is more than a path.
    """
    head, *keys = definitions.search_parameters(type)[parameter].expression.split(".")
    if head != type or not all(key.isalpha() for key in keys):
        raise ValueError(f"{type}.{parameter} is more than a path")
    return tuple(keys)
