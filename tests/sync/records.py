"""Small records of a patient with a referral."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
PNR = "urn:number"


def organization(id: str, number: str = "", name: str = "Department", **more: Any) -> Json:
    return _record("Organization", id, _identifier("urn:org", number), name=name, **more)


def patient(id: str, number: str = "", **more: Any) -> Json:
    person = {"name": [{"family": "Öst", "given": ["Eva"]}], "birthDate": "1970-01-02", **more}
    return _record("Patient", id, _identifier(PNR, number), **person)


def referral(id: str, of: str, number: str = "", **more: Any) -> Json:
    content = {"status": "active", "intent": "order", "subject": {"reference": of}, "code": {"text": "MRI"}}
    return _record("ServiceRequest", id, _identifier("urn:referral", number), **{**content, **more})


def task(id: str, of: str, focus: str, status: str = "requested", number: str = "", **more: Any) -> Json:
    content = {
        "status": status,
        "intent": "order",
        "focus": {"reference": focus},
        "for": {"reference": of},
        "authoredOn": "2026-01-01T10:00:00Z",
        "lastModified": "2026-01-01T10:00:00Z",
    }
    return _record("Task", id, _identifier("urn:task", number), **{**content, **more})


def _identifier(system: str, number: str) -> Json:
    return {"identifier": [{"system": system, "value": number}]} if number else {}


def _record(type: str, id: str, identifier: Json, **content: Any) -> Json:
    return {"resourceType": type, "id": id, **identifier, **content}
