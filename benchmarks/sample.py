"""The sample data for benchmarks: a care plan of 2.7 kB, as a clinic writes it, and its patient."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from fhir_coprod.demo.hospital import SYSTEM, departments

_ORDER = re.compile(rf'("{re.escape(SYSTEM)}/(?:order|task)","value":")')

PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "bench",
    "identifier": [{"system": "https://fhir-coprod.org/bench/person", "value": "1"}],
    "name": [{"use": "official", "family": "Bench", "given": ["Mark"]}],
    "gender": "unknown",
    "birthDate": "1970-01-01",
}

REFERRED_TO: tuple[dict[str, Any], ...] = (
    PATIENT,
    {"resourceType": "PractitionerRole", "id": "physiotherapist"},
    {"resourceType": "CareTeam", "id": "back"},
)
"""The resources that every care plan refers to: a server that checks references needs them first."""


def _activity(number: int) -> dict[str, Any]:
    return {
        "detail": {
            "status": "scheduled",
            "code": {
                "coding": [
                    {
                        "system": "http://snomed.info/sct",
                        "code": "229070002",
                        "display": "Stretching exercises",
                    }
                ],
                "text": f"Exercise {number}: ten minutes, morning and evening",
            },
            "scheduledTiming": {
                "repeat": {
                    "boundsPeriod": {"start": "2026-01-05", "end": "2026-04-05"},
                    "frequency": 2,
                    "period": 1,
                    "periodUnit": "d",
                }
            },
            "performer": [{"reference": "Patient/bench"}],
            "description": "Stop when it hurts. Write down how it went.",
        }
    }


def care_plan(number: int = 0) -> dict[str, Any]:
    """A CarePlan; `number` makes it a different one of the same size."""
    return {
        "resourceType": "CarePlan",
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>Back pain: what we agreed on</p></div>',
        },
        "identifier": [{"system": "https://fhir-coprod.org/bench/plan", "value": f"{number:08}"}],
        "status": "active",
        "intent": "plan",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://hl7.org/fhir/us/core/CodeSystem/careplan-category",
                        "code": "assess-plan",
                    }
                ]
            }
        ],
        "title": "Back on my bicycle by spring",
        "description": "What matters to me: cycling to my sister's, eleven kilometres each way.",
        "subject": {"reference": "Patient/bench"},
        "period": {"start": "2026-01-05", "end": "2026-04-05"},
        "created": "2026-01-05T10:15:00+01:00",
        "activity": [_activity(n) for n in range(1, 5)],
        "contributor": [{"reference": "Patient/bench"}, {"reference": "PractitionerRole/physiotherapist"}],
        "careTeam": [{"reference": "CareTeam/back"}],
        "note": [
            {
                "time": "2026-01-05T10:20:00+01:00",
                "text": "Prefers to be called after four, and wants her sister to get the written plan, too.",
            }
        ],
    }


def care_plan_bytes(number: int = 0) -> bytes:
    return _compact(care_plan(number))


def population(patients: int, first: int = 0) -> Iterator[bytes]:
    """So many patients, each with three referrals, three tasks and three care plans: ten resources, ids kept.

    About ten patients share a family name; a third of the referrals is completed. A population with `first`
    = n continues where one of n patients ended.
    """
    numbers = range(first, first + patients)
    for number in numbers:
        yield _compact(
            {
                **PATIENT,
                "id": f"p{number}",
                "identifier": [{"system": "https://fhir-coprod.org/bench/person", "value": f"{number:08}"}],
                "name": [{"use": "official", "family": family(number), "given": ["Mark"]}],
            }
        )
    for number in numbers:
        for part in range(3):
            yield _compact(referral(number, part))
            yield _compact(_task(number, part))
            plan = {**care_plan(3 * number + part), "id": f"c{number}-{part}"}
            yield _compact(plan).replace(b"Patient/bench", f"Patient/p{number}".encode())


def family(number: int) -> str:
    """The family name of patient `number`; no name is the beginning of another."""
    return f"Bench{number // 10:06}"


def referral(number: int, part: int) -> dict[str, Any]:
    """A ServiceRequest of 0.9 kB for patient `number`."""
    return {
        "resourceType": "ServiceRequest",
        "id": f"s{number}-{part}",
        "identifier": [{"system": "https://fhir-coprod.org/bench/order", "value": f"{number:08}-{part}"}],
        "status": "completed" if part == 2 else "active",
        "intent": "order",
        "priority": "routine",
        "category": [{"coding": [{"system": "http://snomed.info/sct", "code": "3457005"}]}],
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "183545006"}], "text": "Back"},
        "subject": {"reference": f"Patient/p{number}"},
        "authoredOn": f"2026-{1 + number % 12:02}-{1 + part * 9:02}T09:{number % 60:02}:00Z",
        "reasonCode": [{"text": "Pain in the lower back since autumn, worse on standing; no red flags."}],
        "note": [{"text": "Please see within the time that the guarantee allows."}],
    }


def _task(number: int, part: int) -> dict[str, Any]:
    return {
        "resourceType": "Task",
        "id": f"t{number}-{part}",
        "identifier": [{"system": "https://fhir-coprod.org/bench/task", "value": f"{number:08}-{part}"}],
        "basedOn": [{"reference": f"ServiceRequest/s{number}-{part}"}],
        "status": ("requested", "accepted", "completed")[part],
        "intent": "order",
        "code": {"text": "Make an appointment"},
        "focus": {"reference": f"ServiceRequest/s{number}-{part}"},
        "for": {"reference": f"Patient/p{number}"},
        "authoredOn": f"2026-{1 + number % 12:02}-{1 + part * 9:02}T10:00:00Z",
        "lastModified": f"2026-{1 + number % 12:02}-{2 + part * 9:02}T10:00:00Z",
    }


def _compact(resource: dict[str, Any]) -> bytes:
    return json.dumps(resource, ensure_ascii=False, separators=(",", ":")).encode()


def hospital(copies: int, now: datetime) -> list[bytes]:
    """The demo's three departments, copied so many times; each copy has its own patients and ids."""
    resources: list[bytes] = []
    for records in departments(now).values():
        for record in records:
            if record.get("status") == "finished" and record["resourceType"] == "DiagnosticReport":
                continue  # the demo's one malformed record
            text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
            for copy in range(copies):
                # Every id and reference there begins with two letters of its department and a dash.
                own = re.sub(r'(?<=[/"])(pr|im|or)-', rf"\1-{copy}-", text).replace("demo-", f"demo-{copy}-")
                resources.append(_ORDER.sub(rf"\g<1>{copy}-", own).encode())
    return resources
