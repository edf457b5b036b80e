"""What each vendor's server says of itself and does, as far as its own statement goes; see mappings/ehr/.

Written by us from public facts, cut down to the types that the tests read. Where the statement says nothing
(whether a Bundle has a total, how a page is named) the script does what R4 asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]
Needs = tuple[tuple[str, ...], ...]
"""Alternatives: a search needs all parameters of one of them. Empty: it needs none."""

BY_PATIENT: Needs = (("patient",), ("_id",))
PERSON: Needs = (("_id",), ("identifier",), ("family", "birthdate"))
BY_NAME: Needs = (("_id",), ("name",), ("identifier",))


@dataclass(frozen=True)
class Offer:
    """One resource type at one server."""

    parameters: tuple[str, ...] = ()
    needs: Needs = ()
    interactions: tuple[str, ...] = ("read", "search-type")


READ_ONLY = Offer(interactions=("read",))


@dataclass(frozen=True)
class Script:
    """One vendor's server.

    software, description: as its statement has them; "" if it has none
    base:    the path of its base address
    paging:  session: the results are kept when the first page is asked for, and their pages named by a token
             live:    a page is searched for when it is asked for, and named by its offset
    token:   the parameter that names a page
    largest: the most records on one page
    """

    software: str
    description: str
    types: dict[str, Offer]
    base: str = "/fhir"
    paging: Literal["session", "live"] = "session"
    token: str = "page"
    largest: int = 2

    def statement(self) -> Json:
        resources = [
            {
                "type": type,
                "interaction": [{"code": code} for code in offer.interactions],
                "searchParam": [{"name": name, "type": "string"} for name in offer.parameters],
            }
            for type, offer in self.types.items()
        ]
        said: Json = {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": "2026-08-01",
            "kind": "instance",
            "fhirVersion": "4.0.1",
            "format": ["json"],
            "implementation": {"description": self.description},
            "rest": [{"mode": "server", "resource": resources}],
        }
        if self.software:
            said["software"] = {"name": self.software, "version": "1"}
        return said


def _of_patients(*types: str, more: tuple[str, ...] = ()) -> dict[str, Offer]:
    return {type: Offer(("patient", "_id", "_count", *more), BY_PATIENT) for type in types}


def _everything(*types: str, history: bool = False) -> dict[str, Offer]:
    interactions = ("read", "search-type", *(("history-type",) if history else ()))
    return {type: Offer(("_id", "_count", "_lastUpdated"), (), interactions) for type in types}


_STAFF = ("Organization", "Practitioner")
_CLINICAL = ("ServiceRequest", "Task", "Appointment", "Encounter", "CarePlan")

SCRIPTS: dict[str, Script] = {
    "epic": Script(
        "Epic",
        "FHIR Sandbox FHIR Server",
        {
            **{type: Offer(("_id", "_count"), (("_id",),)) for type in _STAFF},
            "Patient": Offer(("_id", "identifier", "family", "birthdate", "_count"), PERSON),
            **_of_patients("ServiceRequest", "Task", "Appointment", "Encounter"),
            "CarePlan": Offer(("patient", "category", "_id", "_count"), (("patient", "category"), ("_id",))),
        },
        token="sessionID",
    ),
    "oracle-health": Script(
        "",
        "Oracle Health implementation of FHIR on top of Millennium",
        {
            **{type: Offer(("_id", "name", "_count"), BY_NAME) for type in _STAFF},
            "Patient": Offer(("_id", "identifier", "family", "birthdate", "_count"), PERSON),
            **_of_patients("Encounter", "CarePlan"),
            **_of_patients("ServiceRequest", more=("_lastUpdated",)),
            "Appointment": Offer(
                ("_id", "patient", "date", "-date-or-req-period", "_count"),
                (("patient", "date"), ("patient", "-date-or-req-period"), ("_id",)),
            ),
        },
        token="-pageContext",
    ),
    "athenahealth": Script(
        "athenahealth FHIR Server",
        "athenahealth R4 FHIR Server",
        {
            **{type: Offer(("_id", "ah-practice"), (("_id",),)) for type in _STAFF},
            "Patient": Offer(("_id", "identifier", "family", "birthdate", "_count", "ah-practice"), PERSON),
            **_of_patients("ServiceRequest", "Encounter", "CarePlan", more=("cursor", "ah-practice")),
            "Appointment": Offer(("_id", "base-appointment-id"), (("_id",),)),
        },
        token="cursor",
    ),
    "meditech": Script(
        "Interoperability Services: US Core STU6 FHIR R4",
        "",
        {
            **{type: Offer(("_id", "name", "_count", "continue"), BY_NAME) for type in _STAFF},
            "Patient": Offer(("_id", "identifier", "family", "birthdate", "_count", "continue"), PERSON),
            **_of_patients("ServiceRequest", "Appointment", "Encounter", "CarePlan", more=("continue",)),
            "Task": READ_ONLY,
        },
        token="continue",
    ),
    "hapi": Script(
        "HAPI FHIR Server",
        "HAPI FHIR R4 Server",
        _everything(*_STAFF, "Patient", *_CLINICAL, history=True),
        token="_getpages",
    ),
    "medplum": Script(
        "medplum",
        "medplum",
        _everything(*_STAFF, "Patient", *_CLINICAL),
        paging="live",
        token="_cursor",
    ),
    "openmrs": Script(
        "HAPI FHIR Server",
        "HAPI FHIR",
        _everything("Practitioner", "Patient", "ServiceRequest", "Task", "Encounter"),
        base="/openmrs/ws/fhir2/R4",
        paging="live",
        token="_getpages",
    ),
}
