"""Makes AuditEvents of what is remembered, when somebody asks for them, in the shape of IHE's BALP.

https://profiles.ihe.net/ITI/BALP: one AuditEvent for each patient whom a call was about. BALP wants the query
as it came; ours is without values that may say who somebody is (`queries`).
"""

from __future__ import annotations

import base64
import re
from typing import Any, Final

from fhir_coprod.audit.events import About, Event
from fhir_coprod.audit.finding import OF_ACTION, Found
from fhir_coprod.instants import from_milliseconds, last_updated
from fhir_coprod.jsontext import Json

BALP: Final = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
_TERMS: Final = "http://terminology.hl7.org/CodeSystem/"
_DICOM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_REST: Final = "http://hl7.org/fhir/restful-interaction"
_ID: Final = re.compile(r"(\d{6})-([0-9a-f]{16})-(\d{1,15})-(\d{1,4})")
_PROFILES: Final = {
    "create": "Create",
    "read": "Read",
    "vread": "Read",
    "update": "Update",
    "delete": "Delete",
    "search-type": "Query",
    "search-system": "Query",
}
"""The profile that a successful interaction is told by. Others, and what was refused, have none in BALP."""
_REST_NAMES: Final = frozenset(
    {
        *("read", "vread", "update", "patch", "delete", "create", "search-type", "search-system"),
        *("history-instance", "history-type", "history-system", "transaction", "batch"),
    }
)
_ENTRANCES: Final = {
    "sign-in": ("110122", "Login"),
    "sign-out": ("110123", "Logout"),
    "token": ("110122", "Login"),
}
"""Who came in and went: events of authentication. They are about no record."""
_TOLD_BY: Final = {"create": ("AUT", "Author"), "update": ("AUT", "Author")}


def action(interaction: str) -> str:
    """AuditEvent.action of an interaction."""
    return next((code for code, names in OF_ACTION.items() if interaction in names), "E")


def outcome(status: int) -> str:
    """AuditEvent.outcome of an HTTP status."""
    return "0" if status < 400 else "4" if status < 500 else "8"


def place(id: str) -> tuple[int, str, int, int] | None:
    """Where the row of an AuditEvent is, and the number of its patient in it; None for an id of another
    kind."""
    found = _ID.fullmatch(id)
    return (int(found[1]), found[2], int(found[3]), int(found[4])) if found else None


def resources(found: Found, server: str, patient: str = "") -> list[Json]:
    """The AuditEvents of one call: one for each patient, or one for none.

    server:  base address of this server
    patient: only that of this one, as they may see it themselves: nothing of other patients is in it, and
             staff by their departments only
    """
    patients = list(dict.fromkeys(about.patient for about in found.event.about if about.patient))
    made = []
    for number, one in enumerate(patients or [""], 1 if patients else 0):
        if not patient or one == patient:
            made.append(_resource(found, number, one, server, is_own=bool(patient)))
    return made


def _resource(found: Found, number: int, patient: str, server: str, *, is_own: bool) -> Json:
    event = found.event
    about = [each for each in event.about if each.patient == patient or (not each.patient and not is_own)]
    profile = _PROFILES.get(event.interaction) if event.status < 400 and about else None
    made: Json = {
        "resourceType": "AuditEvent",
        "id": f"{found.month}-{found.chain}-{found.number}-{number}",
        "meta": {"versionId": "1", "lastUpdated": last_updated(from_milliseconds(found.at))},
        "type": (
            _coding(_DICOM, "110114", "User Authentication")
            if event.interaction in _ENTRANCES
            else _coding(f"{_TERMS}audit-event-type", "rest", "Restful Operation")
        ),
        "subtype": [_subtype(event.interaction)],
        "action": action(event.interaction),
        "recorded": last_updated(from_milliseconds(found.at)),
        "outcome": outcome(event.status),
        "outcomeDesc": f"HTTP {event.status}",
    }
    if profile:
        made["meta"]["profile"] = [f"{BALP}{'Patient' if patient else ''}{profile}"]
    if event.purpose:
        made["purposeOfEvent"] = [
            {"coding": [_coding(f"{_TERMS}v3-ActReason", event.purpose, "break the glass")]}
        ]
    made["agent"] = _agents(event, server, is_own=is_own)
    made["source"] = {
        "observer": {"display": "fhir-coprod"},
        "type": [_coding(f"{_TERMS}security-source-type", "4", "Application Server")],
    }
    if event.interaction not in _ENTRANCES:
        made["entity"] = _entities(event, about, patient)
    return made


def _subtype(interaction: str) -> Json:
    if interaction in _ENTRANCES:
        return _coding(_DICOM, *_ENTRANCES[interaction])
    if interaction in _REST_NAMES:
        return _coding(_REST, interaction, interaction)
    return (
        _coding(_REST, "operation", interaction) if interaction.startswith("$") else {"display": interaction}
    )


def _agents(event: Event, server: str, *, is_own: bool) -> list[Json]:
    source, destination = _dicom("110153", "Source Role ID"), _dicom("110152", "Destination Role ID")
    # As IHE has it: what is asked for flows from the client, what is read flows to it.
    reads = event.interaction in ("read", "vread", "history-instance")
    is_person = event.kind in ("person", "patient", "proxy")
    client: Json = {"type": destination if reads else source}
    named = event.who and not is_person
    client["who"] = {"identifier": {"value": event.who}} if named else {"display": "not named"}
    client["requestor"] = not is_person
    client["network"] = (
        {"address": event.address, "type": "2"}
        if event.address and not is_own
        else {"address": "not told", "type": "1"}
    )
    agents = [
        client,
        {
            "type": source if reads else destination,
            "who": {"display": "fhir-coprod"},
            "requestor": False,
            "network": {"address": server or "localhost", "type": "5"},
        },
    ]
    if is_person:
        code, display = _TOLD_BY.get(event.interaction, ("IRCP", "information recipient"))
        participation = {"coding": [_coding(f"{_TERMS}v3-ParticipationType", code, display)]}
        user: Json = {"type": participation, "who": _person(event, is_own=is_own), "requestor": True}
        roles = [{"text": event.kind}, *({"text": one} for one in event.departments.split())]
        agents.append({**user, "role": roles})
    return agents


def _person(event: Event, *, is_own: bool) -> Json:
    if is_own and event.kind != "patient":
        # By what unit and when: who of the staff it was is for the unit to tell.
        return {"display": "staff" if event.kind == "person" else "a proxy"}
    issuer, bar, subject = event.who.rpartition("|")
    return {"identifier": {"system": issuer, "value": subject} if bar and issuer else {"value": event.who}}


def _entities(event: Event, about: list[About], patient: str) -> list[Json]:
    entities: list[Json] = []
    if patient:
        entities.append(
            {
                "what": {"reference": f"Patient/{patient}"},
                "type": _coding(f"{_TERMS}audit-entity-type", "1", "Person"),
                "role": _coding(f"{_TERMS}object-role", "1", "Patient"),
            }
        )
    single = event.interaction in ("read", "vread", "create", "update", "patch", "delete")
    system = _coding(f"{_TERMS}audit-entity-type", "2", "System Object")
    for each in about:
        if not single and not each.version and each.type == "Patient" and each.id == patient:
            continue  # asked about, and told above
        # In BALP's query, the one System Object is the query itself.
        kind = system if single else _coding("http://hl7.org/fhir/resource-types", each.type, each.type)
        at = f"/_history/{each.version}" if each.version else ""
        role = _coding(f"{_TERMS}object-role", "4", "Domain Resource")
        entities.append({"what": {"reference": f"{each.type}/{each.id}{at}"}, "type": kind, "role": role})
    if not single:
        asked = f"{event.type}?{event.query}" if event.query else event.type or "/"
        entities.append(
            {
                "type": system,
                "role": _coding(f"{_TERMS}object-role", "24", "Query"),
                "query": base64.b64encode(asked.encode()).decode(),
            }
        )
    return entities


def _coding(system: str, code: str, display: str) -> dict[str, Any]:
    return {"system": system, "code": code, "display": display}


def _dicom(code: str, display: str) -> Json:
    return {"coding": [_coding(_DICOM, code, display)]}
