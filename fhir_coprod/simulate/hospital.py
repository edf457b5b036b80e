"""The simulated hospital: health centres that refer, departments that are asked, and their habits."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Final

Json = dict[str, Any]

SNOMED: Final = "http://snomed.info/sct"


@dataclass(frozen=True)
class Department:
    """One department; its records are in an EHR of its own."""

    name: str
    title: str
    code: str = ""
    """What it is asked for (SNOMED CT)."""
    wanted: str = ""
    acknowledges: bool = True
    """Says `received` before it decides."""
    queues: bool = False
    """Puts people on a waiting list (Appointment waitlist) before it books."""
    writes_documents: bool = False
    """Its results are documents, not reports."""
    returns_by_message: bool = False
    """Sends the answer as a Communication; else it is in the Task's output."""
    informs: float = 0.8
    """Share of events that it tells the patient about within two working days."""
    claims_profiles: bool = False

    @property
    def organization(self) -> str:
        return f"Organization/{self.name}"

    @property
    def clinic(self) -> str:
        return f"HealthcareService/{self.name}-clinic"

    @property
    def doctor(self) -> str:
        """The role that refers from here."""
        return f"PractitionerRole/{self.name}-doctor"


CENTRES: Final = (
    Department("linden", "Linden Health Centre", informs=0.9, claims_profiles=True),
    Department("harbour", "Harbour Health Centre", informs=0.8),
    Department("mill", "Mill Health Centre", informs=0.7),
    Department("station", "Station Health Centre", informs=0.85),
)
DEPARTMENTS: Final = (
    Department(
        "imaging", "Imaging", "241648009", "Magnetic resonance imaging of lumbar spine", claims_profiles=True
    ),
    Department(
        "orthopaedics",
        "Orthopaedics",
        "183545006",
        "Referral to orthopaedic service",
        queues=True,
        writes_documents=True,
        returns_by_message=True,
        informs=0.75,
    ),
    Department(
        "neurosurgery",
        "Neurosurgery",
        "183546007",
        "Referral to neurosurgery",
        acknowledges=False,
        informs=0.7,
    ),
    Department(
        "cardiology", "Cardiology", "183519002", "Referral to cardiology service", returns_by_message=True
    ),
    Department("dermatology", "Dermatology", "183518005", "Referral to dermatology service", queues=True),
    Department(
        "physiotherapy",
        "Physiotherapy",
        "308447003",
        "Referral to physiotherapist",
        acknowledges=False,
        writes_documents=True,
        informs=0.9,
    ),
)
ALL: Final = (*CENTRES, *DEPARTMENTS)
BY_NAME: Final = {department.name: department for department in ALL}


def staff() -> list[tuple[str, Json]]:
    """Organisations, clinics and the roles that refer, each with the department that keeps the record."""
    found: list[tuple[str, Json]] = []
    for department in ALL:
        name = department.name
        resources: list[Json] = [
            {"resourceType": "Organization", "id": name, "active": True, "name": department.title},
            {
                "resourceType": "HealthcareService",
                "id": f"{name}-clinic",
                "active": True,
                "providedBy": {"reference": department.organization},
                "name": f"{department.title}, outpatients",
            },
            {"resourceType": "Practitioner", "id": f"{name}-doctor", "name": [{"text": f"Doctor at {name}"}]},
            {
                "resourceType": "PractitionerRole",
                "id": f"{name}-doctor",
                "active": True,
                "practitioner": {"reference": f"Practitioner/{name}-doctor"},
                "organization": {"reference": department.organization},
            },
        ]
        found += [(name, resource) for resource in resources]
    return found


def behind() -> dict[str, tuple[str, ...]]:
    """The person and organisation behind each role or clinic."""
    found: dict[str, tuple[str, ...]] = {}
    for department in ALL:
        found[department.doctor] = (f"Practitioner/{department.name}-doctor", department.organization)
        found[department.clinic] = (department.organization,)
    return found


_GIVEN: Final = ("Anna", "Bertil", "Carin", "David", "Elif", "Farid", "Gunnel", "Hugo", "Ines", "Johan")
_FAMILY: Final = ("Ek", "Falk", "Haddad", "Holm", "Kaya", "Lind", "Moreno", "Ström", "Vik", "Öberg")


def patient(id: str, chance: Random) -> Json:
    """A patient who never lived."""
    language = chance.choices(("sv", "en", "ar", "tr", "fi"), (80, 5, 6, 5, 4))[0]
    return {
        "resourceType": "Patient",
        "id": id,
        "name": [
            {"use": "official", "family": chance.choice(_FAMILY), "given": [chance.choice(_GIVEN)]},
        ],
        "gender": chance.choice(("female", "male")),
        "birthDate": f"{chance.randint(1935, 2007)}-{chance.randint(1, 12):02}-{chance.randint(1, 28):02}",
        "communication": [
            {
                "language": {"coding": [{"system": "urn:ietf:bcp:47", "code": language}]},
                "preferred": True,
            }
        ],
    }
