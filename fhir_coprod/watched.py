"""The resource types that matter: what sync pulls of them, and by what the watch finds its way through them.

One row a type. A new one needs a row here, and a reader in `watch/record/compose.py`; all else follows. Names
in lower case are search parameters (https://hl7.org/fhir/R4/searchparameter-registry.html): the store's index
answers for each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from fhir_coprod import definitions
from fhir_coprod.jsontext import Json

Pairs = tuple[tuple[str, str], ...]
"""Resource types, each with a search parameter of it."""
Path = tuple[str, ...]
"""Keys, from a resource down to a reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What has to be known of one resource type."""

    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Search parameters by which it says that it belongs to something, each with the types of that."""
    parties: tuple[str, ...] = ()
    """Those by which it names somebody who may be a role, a service, a place or a department."""
    patient: str = ""
    """That by which it names its patient, where it may concern every referral of that patient."""
    behind: tuple[str, ...] | None = None
    """Of one that may be such a party: those by which it names who stands behind it."""
    is_output: bool = False
    """A Task names it as its output: the result of what was asked."""
    is_history: bool = True
    """Its earlier versions tell when things happened; else the newest says all."""
    is_reached: bool = False
    """It is enough to know those that something else refers to."""


WATCHED: Final[Mapping[str, Watched]] = {
    "Organization": Watched(behind=(), is_reached=True),
    "Location": Watched(behind=("organization",), is_reached=True),
    "HealthcareService": Watched(behind=("organization",), is_reached=True),
    "Practitioner": Watched(is_reached=True),
    "PractitionerRole": Watched(behind=("practitioner", "organization"), is_reached=True),
    "Patient": Watched(is_reached=True),
    "RelatedPerson": Watched(patient="patient", is_history=False, is_reached=True),
    "CareTeam": Watched(behind=()),
    "EpisodeOfCare": Watched(),
    "Condition": Watched(),
    "FamilyMemberHistory": Watched(),
    "Goal": Watched(),
    "CarePlan": Watched(),
    "ServiceRequest": Watched(patient="subject", parties=("requester", "performer")),
    "Task": Watched(
        names={
            "focus": ("ServiceRequest", "Task", "DiagnosticReport", "DocumentReference", "Communication"),
            "based-on": ("ServiceRequest", "Task", "Communication"),
            "part-of": ("Task",),
        },
        parties=("owner", "requester"),
    ),
    "Appointment": Watched(names={"based-on": ("ServiceRequest",)}, parties=("actor",)),
    "Encounter": Watched(
        names={"based-on": ("ServiceRequest",), "appointment": ("Appointment",)},
        parties=("participant", "service-provider"),
    ),
    "DiagnosticReport": Watched(
        names={"based-on": ("ServiceRequest",)},
        parties=("performer", "results-interpreter"),
        is_output=True,
    ),
    "DocumentReference": Watched(
        names={"related": ("ServiceRequest", "Task", "Appointment"), "encounter": ("Encounter",)},
        parties=("author", "custodian"),
        is_output=True,
    ),
    "Communication": Watched(
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
        },
        parties=("recipient", "sender"),
        is_history=False,
    ),
    "CommunicationRequest": Watched(
        names={"based-on": ("ServiceRequest",)}, patient="subject", is_history=False
    ),
    "QuestionnaireResponse": Watched(),
    "List": Watched(),
    "Provenance": Watched(),
}
"""What the watch and the coproduction profiles need, in the order in which it is pulled.

Observation is left out: a hospital has more of it than of everything else together, and the coproduction
profiles use few; name it in an EHR's `types` where it is wanted.
"""

PULLED: Final = tuple(WATCHED)
REACHED_BY_REFERENCE: Final = frozenset(type for type, row in WATCHED.items() if row.is_reached)
OUTPUTS: Final = frozenset(type for type, row in WATCHED.items() if row.is_output)
STAFF: Final = frozenset(type for type, row in WATCHED.items() if row.behind is not None)
"""Who may be a party, and is no single person."""
ROLES: Final = frozenset(type for type, row in WATCHED.items() if row.behind)
"""Those of them who stand for somebody else."""

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
"""From a type to the (type, search parameter) by which other resources say that they belong to it."""
OF_PATIENT: Final[Pairs] = tuple((type, row.patient) for type, row in WATCHED.items() if row.patient)
"""By which a resource names the patient whose every referral it may concern."""
PARTIES: Final[Pairs] = tuple(
    (type, parameter) for type, row in WATCHED.items() for parameter in (*row.parties, *(row.behind or ()))
)
"""By which a resource names a party, or who stands behind one."""


def parties(data: Json) -> list[Json]:
    """References by which a resource names its parties."""
    return _found(data, _paths_of(data["resourceType"])[0])


def behind(data: Json) -> list[Json]:
    """References by which a role, a service or a place names who stands behind it, in order."""
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
    """To the parties of a type, and to who stands behind it."""
    row = WATCHED.get(type, Watched())
    return tuple(path(type, p) for p in row.parties), tuple(path(type, p) for p in row.behind or ())


@cache
def path(type: str, parameter: str) -> Path:
    """Where the references of a search parameter stand: ("participant", "actor") of Appointment's actor.

    Raises ValueError for one whose expression is more than a path.
    """
    head, *keys = definitions.search_parameters(type)[parameter].expression.split(".")
    if head != type or not all(key.isalpha() for key in keys):
        raise ValueError(f"{type}.{parameter} is more than a path")
    return tuple(keys)
