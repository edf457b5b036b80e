"""Records of a small hospital, drawn by our simulator: nobody in it ever lived."""

from __future__ import annotations

from datetime import date
from functools import cache
from typing import Any

from fhir_coprod.simulate.hospital import staff
from fhir_coprod.simulate.life import lives
from fhir_coprod.simulate.noise import CLEAN
from fhir_coprod.simulate.writing import delivered, feeds_of, newest, span

Json = dict[str, Any]

SEED = 14
DEPARTMENT = "orthopaedics"
TYPES = (
    "Organization",
    "Practitioner",
    "Patient",
    "ServiceRequest",
    "Task",
    "Appointment",
    "Encounter",
    "CarePlan",
)


@cache
def drawn(patients: int, seed: int = SEED) -> tuple[Json, ...]:
    """Staff and so many patients' records of TYPES; patients have the ids p1, p2, …"""
    begin, end = span(date(2026, 3, 1))
    feeds = feeds_of(CLEAN, seed, begin, end)
    found = [resource for _, resource in staff()]
    for number, life in enumerate(lives(patients, seed, begin, end), 1):
        found += newest(delivered(life, feeds, seed), end)
        found += [visit(life.patient, f"visit-{number}{letter}") for letter in ("", "a", "b")]
        if number > 1:  # so that a search finds nothing
            found.append(plan(life.patient, f"plan-{number}"))
    return tuple(resource for resource in found if resource["resourceType"] in TYPES)


def plan(patient: str, id: str) -> Json:
    return {
        "resourceType": "CarePlan",
        "id": id,
        "status": "active",
        "intent": "plan",
        "subject": {"reference": patient},
    }


def visit(patient: str, id: str) -> Json:
    return {
        "resourceType": "Encounter",
        "id": id,
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": patient},
    }


def order(patient: str, id: str, status: str = "active") -> Json:
    """An order that the simulator did not draw: what happens between two syncs."""
    return {
        "resourceType": "ServiceRequest",
        "id": id,
        "status": status,
        "intent": "order",
        "code": {"text": "Knee"},
        "subject": {"reference": patient},
    }
