"""Ten departments of a hospital, and how each of them records the referrals that it gets.

Each writes as one published guide or EHR does. The whole hospital is one Organization and nobody has a role,
so what is left to tell one department from another is a service, a place, a name, a code, or nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

HOSPITAL = {"reference": "Organization/hospital-main"}
SCT, LOINC = "http://snomed.info/sct", "http://loinc.org"
TASK_CODE = "http://hl7.org/fhir/CodeSystem/task-code"
SDOHCC = "http://hl7.org/fhir/us/sdoh-clinicalcare/CodeSystem/SDOHCC-CodeSystemTemporaryCodes"
BSER = "http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS"
NUMBERS = "http://hospital.example.org/identifiers"


def concept(system: str, code: str, text: str) -> Json:
    return {"coding": [{"system": system, "code": code, "display": text}], "text": text}


def said(text: str) -> Json:
    return {"text": text}


FULFILL = concept(TASK_CODE, "fulfill", "Fulfill the focal request")
REFERRAL = concept(SCT, "3457005", "Patient referral")


@dataclass(frozen=True)
class Way:
    """How one department's referrals are recorded.

    owner:    who owns the Task; None: nobody. `task` "": there is no Task at all.
    booked:   the element by which an Appointment names the referral; "code": only Task.businessStatus does;
              "": bookings are not recorded
    there:    who sees the patient, and answers
    seen:     the element by which the Encounter names it
    result:   the type of the answer
    told:     how it is recorded that the patient was told; "": it is not
    back:     how the answer reaches the requester: in the "output" of the Task, or by a "message"; "": nobody
              records it
    """

    name: str
    like: str
    things: tuple[Json, ...]
    category: tuple[Json, ...] = ()
    performer: Json | None = None
    performer_type: Json | None = None
    task: str = ""
    task_code: Json | None = None
    owner: Json | None = None
    booked: str = "basedOn"
    there: Json = field(default_factory=lambda: {"reference": "Practitioner/DR-CA-002"})
    seen: str = "basedOn"
    result: str = "DiagnosticReport"
    told: str = ""
    back: str = "message"
    more: tuple[tuple[str, Any], ...] = ()
    """What else the ServiceRequest holds."""


def service(id: str) -> Json:
    return {"reference": f"HealthcareService/{id}"}


def person(id: str) -> Json:
    return {"reference": f"Practitioner/{id}"}


SERVICES = ("cardiology-clinic", "endoscopy", "food-support", "imaging")
"""The services that the hospital's list of services has."""
PLACES = ("ent-outpatients", "radiology")

WAYS: tuple[Way, ...] = (
    Way(
        "cardiology",
        "CA:eReC, PH eReferral: category, code of the service, a HealthcareService, a Task to it",
        (
            concept(SCT, "183519002", "Referral to cardiology service"),
            concept(SCT, "308447003", "Referral to physician"),
        ),
        category=(REFERRAL,),
        performer=service("cardiology-clinic"),
        task="focus",
        task_code=FULFILL,
        owner=service("cardiology-clinic"),
        there=service("cardiology-clinic"),
        told="about",
        back="output",
    ),
    Way(
        "dermatology",
        "a large US EHR: the name of the order as text, its own category, no Task",
        (said("Ambulatory referral to Dermatology"), said("Ambulatory referral to Wound Care")),
        category=(concept("urn:oid:1.2.3.4.5.6", "23", "Outpatient Referral"),),
        performer_type=concept(SCT, "394582007", "Dermatology"),
        performer=HOSPITAL,
        told="basedOn",
    ),
    Way(
        "ear, nose and throat",
        "C-CDA on FHIR: LOINC referral note, a Location as performer (not allowed), a Task without a code",
        (
            concept(LOINC, "57133-1", "Referral note"),
            concept(SCT, "183544005", "Referral to ear, nose and throat service"),
        ),
        category=(concept(LOINC, "57133-1", "Referral note"),),
        performer={"reference": "Location/ent-outpatients"},
        task="focus",
        owner=HOSPITAL,
        there=person("DR-GS-001"),
        seen="appointment",
        result="DocumentReference",
        told="task",
    ),
    Way(
        "diabetes",
        "NL generic functions: patient referral as code, both sides by identifier, a Task by basedOn",
        (REFERRAL, concept(SCT, "183523005", "Referral to endocrinology service")),
        performer={
            "identifier": {"system": f"{NUMBERS}/ura", "value": "22222222"},
            "display": "Diabetes clinic",
        },
        task="basedOn",
        task_code=REFERRAL,
        owner={"identifier": {"system": f"{NUMBERS}/ura", "value": "22222222"}},
        booked="supportingInformation",
        told="about",
        back="output",
    ),
    Way(
        "orthopaedics",
        "US Core: only code and a doctor's name; no Task, no category",
        (
            concept(SCT, "11429006", "Consultation"),
            concept(SCT, "183545006", "Referral to orthopedic service"),
        ),
        performer=person("DR-OR-001"),
        there=person("DR-OR-001"),
        told="about",
    ),
    Way(
        "endoscopy",
        "QI-Core and BSeR: category referral for procedure, a service, bookings as Task.businessStatus",
        (concept(SCT, "73761001", "Colonoscopy"), concept(SCT, "76009000", "Esophagogastroduodenoscopy")),
        category=(concept(SCT, "700274009", "Referral for procedure"),),
        performer=service("endoscopy"),
        task="focus",
        owner=service("endoscopy"),
        booked="code",
        told="about",
        back="output",
    ),
    Way(
        "physiotherapy",
        "PACIO, R4's own example: evaluation procedure, nobody named, an unowned Task",
        (
            concept(SCT, "410158009", "Physical therapy assessment"),
            concept(SCT, "34431008", "Physiotherapy of chest"),
        ),
        category=(concept(SCT, "386053000", "Evaluation procedure"),),
        performer_type=concept(SCT, "36682004", "Physiotherapist"),
        task="focus",
        task_code=FULFILL,
        owner=None,
        told="basedOn",
        result="DocumentReference",
    ),
    Way(
        "radiology",
        "AU eRequesting, IHE: imaging at a place (locationReference), no performer, a Task to the service",
        (
            concept(LOINC, "36643-5", "XR Chest 2 Views"),
            concept(SCT, "241615005", "Magnetic resonance imaging of breast"),
        ),
        category=(concept(SCT, "363679005", "Imaging procedure"),),
        task="focus",
        task_code=FULFILL,
        owner=service("imaging"),
        there=service("imaging"),
        more=(("locationReference", [{"reference": "Location/radiology"}]),),
        told="",
        back="output",
    ),
    Way(
        "social work",
        "SDOHCC: social procedure, a Task to the service, no bookings",
        (
            concept(SCT, "467771000124109", "Assistance with application for food pantry program"),
            concept(SCT, "410606002", "Social service procedure"),
        ),
        category=(
            concept(
                "http://hl7.org/fhir/us/sdoh-clinicalcare/CodeSystem/SDOHCC-CodeSystemTemporaryCodes",
                "food-insecurity",
                "Food Insecurity",
            ),
        ),
        performer=service("food-support"),
        task="focus",
        task_code=FULFILL,
        owner=service("food-support"),
        booked="",
        result="",
        told="about",
        back="output",
    ),
    Way(
        "oncology",
        "the plainest: a SNOMED referral code, nobody asked by name, no Task, nothing to the patient",
        (
            concept(SCT, "306206005", "Referral to service"),
            concept(SCT, "103696004", "Patient referral to specialist"),
        ),
        told="",
    ),
)
