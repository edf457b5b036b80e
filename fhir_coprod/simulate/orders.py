"""The in-house orders of a patient: what a hospital's EHRs file as ServiceRequest beside referrals.

None of them is a referral, so nothing in the truth is about them. How they are written follows what EHRs and
other simulators write: some name who is asked and some do not, some give a code and some a text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

from fhir_coprod.simulate.hospital import ALL, SNOMED, Department
from fhir_coprod.simulate.noise import Version
from fhir_coprod.simulate.records import text_of

Json = dict[str, Any]

LABORATORY: Final = "Organization/laboratory"
_LOINC: Final = "http://loinc.org"
_SECTION: Final = "http://terminology.hl7.org/CodeSystem/v2-0074"


@dataclass(frozen=True)
class Kind:
    """One kind of order; shares are of 1."""

    share: float
    system: str
    what: tuple[tuple[str, str], ...]
    """Codes, each with its text."""
    category: tuple[tuple[str, str], ...]
    """Codings of the category."""
    hours: float
    """Time until it is done, exponentially distributed; at least a quarter of an hour."""
    reported: float
    """How often a report is written."""
    left_open: float
    """How often nobody ever ends the order, whether it was done or not."""
    intents: tuple[str, ...] = ("order",)
    tasked: float = 0
    """How often a Task gives it to a nurse of the same department."""
    by_laboratory: bool = False


KINDS: Final = {
    "laboratory": Kind(
        0.6,
        _LOINC,
        (
            *(
                ("2160-0", "Creatinine"),
                ("2823-3", "Potassium"),
                ("2951-2", "Sodium"),
                ("718-7", "Hemoglobin"),
            ),
            *(("1988-5", "CRP"), ("6690-2", "Leukocytes"), ("777-3", "Platelets"), ("2345-7", "Glucose")),
            *(("1742-6", "ALT"), ("4548-4", "HbA1c"), ("3016-3", "TSH"), ("5902-2", "Prothrombin time")),
        ),
        ((SNOMED, "108252007"), (_SECTION, "LAB")),
        hours=10,
        reported=0.97,
        left_open=0.03,
        intents=("order", "order", "order", "original-order", "instance-order", "filler-order"),
        by_laboratory=True,
    ),
    "imaging": Kind(
        0.12,
        SNOMED,
        (
            ("399208008", "Chest X-ray"),
            ("45036003", "Ultrasound of abdomen"),
            ("29303009", "ECG"),
            ("40701008", "Echocardiography"),
        ),
        ((SNOMED, "363679005"), (_SECTION, "RAD")),
        hours=20,
        reported=0.93,
        left_open=0.05,
        intents=("order", "order", "original-order"),
    ),
    "medication": Kind(
        0.18,
        SNOMED,
        (
            ("57485005", "Oxygen therapy"),
            ("18629005", "Administration of drug or medicament"),
            ("225358003", "Wound care"),
            ("14152002", "Intravenous infusion"),
        ),
        ((SNOMED, "387713003"),),
        hours=30,
        reported=0,
        left_open=0.2,
        intents=("order", "instance-order", "filler-order"),
        tasked=0.05,
    ),
    "physiotherapy on the ward": Kind(
        0.1,
        SNOMED,
        (("91251008", "Physical therapy procedure"), ("229070002", "Stretching exercises")),
        ((SNOMED, "386053000"),),
        hours=72,
        reported=0,
        left_open=0.1,
        tasked=0.1,
    ),
}
WAYS: Final = ("person", "unnamed", "department", "service", "bare")
"""How an EHR says who asks and who is asked: the doctor on both sides; nobody asked; the department (or the
laboratory); its clinic (or the laboratory); nobody asked, no category, and a text in place of a code."""
REVOKED: Final = 0.04
SPREAD: Final = 0.3
"""Standard deviation of the number of orders a referral, as a share of the mean."""


def way_of(department: Department) -> str:
    """How the EHR of a department writes its orders."""
    return WAYS[ALL.index(department) % len(WAYS)]


def ward_staff() -> Iterator[tuple[str, Json]]:
    """The laboratory, and a nurse in each department; each with the department that keeps the record."""
    laboratory = {"resourceType": "Organization", "id": "laboratory", "active": True, "name": "Laboratory"}
    yield ALL[0].name, laboratory
    for department in ALL:
        name = department.name
        yield name, {"resourceType": "Practitioner", "id": f"{name}-nurse", "name": [{"text": "Nurse"}]}
        yield (
            name,
            {
                "resourceType": "PractitionerRole",
                "id": f"{name}-nurse",
                "active": True,
                "practitioner": {"reference": f"Practitioner/{name}-nurse"},
                "organization": {"reference": department.organization},
            },
        )


def behind_ward() -> dict[str, tuple[str, ...]]:
    """The person and organisation behind each nurse's role."""
    return {f"PractitionerRole/{d.name}-nurse": (f"Practitioner/{d.name}-nurse", d.organization) for d in ALL}


def orders(
    patient: str, referrals: int, mean: float, chance: Random, start: datetime, end: datetime
) -> Iterator[Version]:
    """The orders of one patient, from the first referral on, in stays at one department after the other.

    mean: orders a referral.
    """
    room = min(end - start, timedelta(days=150))
    left = sum(max(1, round(chance.gauss(mean, SPREAD * mean))) for _ in range(referrals))
    number = 0
    while left > 0:
        some = min(left, chance.randint(5, 40))
        left -= some
        department = chance.choice(ALL)
        begin = start + room * chance.random()
        length = timedelta(days=chance.expovariate(1 / 5))
        for _ in range(some):
            number += 1
            at = begin + length * chance.random()
            if at < end:
                id = f"{patient.partition('/')[2]}-o{number}"
                yield from _order(id, patient, department, at, chance)


def _order(id: str, patient: str, by: Department, at: datetime, chance: Random) -> Iterator[Version]:
    kind = chance.choices(list(KINDS.values()), [kind.share for kind in KINDS.values()])[0]
    code, text = chance.choice(kind.what)
    way = way_of(by)
    data: Json = {
        "resourceType": "ServiceRequest",
        "id": id,
        "status": "active",
        "intent": chance.choice(kind.intents),
        "code": {"text": text},
        "subject": {"reference": patient},
        "authoredOn": text_of(at),
        **_parties(kind, way, by),
    }
    if way != "bare":
        data["code"]["coding"] = [{"system": kind.system, "code": code}]
        data["category"] = [
            {"coding": [{"system": system, "code": category} for system, category in kind.category]}
        ]
    yield Version(at, by.name, id, data)
    done = at + timedelta(hours=max(0.25, chance.expovariate(1 / kind.hours)))
    tasked = chance.random() < kind.tasked
    if tasked:
        task = _task(id, patient, "Practitioner" if way == "person" else "PractitionerRole", by, at)
        yield Version(at, by.name, id, task)
        taken = at + (done - at) * chance.random()
        yield Version(taken, by.name, id, {**task, "status": "accepted", "lastModified": text_of(taken)})
    if chance.random() < REVOKED:
        yield Version(done, by.name, id, {**data, "status": "revoked"})
        return
    if chance.random() < kind.reported:
        yield Version(done, by.name, id, _report(id, patient, kind, by, data["code"], done))
    if chance.random() >= kind.left_open:
        yield Version(done + timedelta(minutes=5), by.name, id, {**data, "status": "completed"})
        if tasked:
            yield Version(done, by.name, id, {**task, "status": "completed", "lastModified": text_of(done)})


def _parties(kind: Kind, way: str, by: Department) -> Json:
    if way == "person":
        doctor = {"reference": f"Practitioner/{by.name}-doctor"}
        return {"requester": doctor, "performer": [doctor]}
    asks = {"requester": {"reference": by.doctor}}
    if way in ("unnamed", "bare"):
        return asks
    own = by.organization if way == "department" else by.clinic
    return {**asks, "performer": [{"reference": LABORATORY if kind.by_laboratory else own}]}


def _task(id: str, patient: str, role: str, by: Department, at: datetime) -> Json:
    return {
        "resourceType": "Task",
        "id": f"{id}-task",
        "status": "requested",
        "intent": "order",
        "focus": {"reference": f"ServiceRequest/{id}"},
        "for": {"reference": patient},
        "authoredOn": text_of(at),
        "lastModified": text_of(at),
        "requester": {"reference": f"{role}/{by.name}-doctor"},
        "owner": {"reference": f"{role}/{by.name}-nurse"},
    }


def _report(id: str, patient: str, kind: Kind, by: Department, code: Json, at: datetime) -> Json:
    return {
        "resourceType": "DiagnosticReport",
        "id": f"{id}-report",
        "status": "final",
        "basedOn": [{"reference": f"ServiceRequest/{id}"}],
        "code": code,
        "subject": {"reference": patient},
        "performer": [{"reference": LABORATORY if kind.by_laboratory else by.organization}],
        "issued": text_of(at),
    }
