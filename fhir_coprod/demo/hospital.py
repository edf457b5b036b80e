"""A small invented hospital: three departments, each with its own records, and referrals between them.

Every person and place is made up. What goes wrong is not: each referral stands for a failure that patients
in the founding studies described. Times are counted back from `now`, so the demo is as old as today.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Json = dict[str, Any]

ZONE = ZoneInfo("Europe/Stockholm")
SYSTEM = "https://fhir-coprod.org/demo"
PERSON = f"{SYSTEM}/person"
ORDER = f"{SYSTEM}/order"
PLACE = f"{SYSTEM}/department"

DEPARTMENTS = {
    "primary-care": "Linden Health Centre",
    "imaging": "Imaging, County Hospital",
    "orthopaedics": "Orthopaedics, County Hospital",
}

_PEOPLE = {
    "anna": ("Anna", "Lindqvist", "1958-03-14", "female", "sv"),
    "bertil": ("Bertil", "Öberg", "1949-11-02", "male", "sv"),
    "carin": ("Carin", "Dahl", "1971-06-21", "female", "sv"),
    "david": ("David", "Nyström", "1984-01-30", "male", "sv"),
    "elif": ("Elif", "Kaya", "1966-09-09", "female", "tr"),
    "farid": ("Farid", "Haddad", "1979-12-17", "male", "ar"),
    "gunnel": ("Gunnel", "Ström", "1943-05-05", "female", "sv"),
    "hugo": ("Hugo", "Falk", "1990-08-12", "male", "sv"),
    "ines": ("Ines", "Moreno", "1962-02-28", "female", "es"),
    "johan": ("Johan", "Vik", "1955-10-19", "male", "sv"),
    "karin": ("Karin", "Holm", "1976-07-07", "female", "sv"),
    "lars": ("Lars", "Ek", "1968-04-23", "male", "sv"),
}

_MRI = ("241648009", "Magnetic resonance imaging of lumbar spine", "MRI of the lumbar spine")
_SURGERY = ("183545006", "Referral to orthopaedic service", "Visit to orthopaedics")
_SYNCED_TYPES = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


@dataclass
class Department:
    """What one department's EHR holds. Its ids mean nothing anywhere else, as in life."""

    name: str
    now: datetime
    resources: list[Json] = field(default_factory=list)

    def add(self, type: str, key: str, **content: Any) -> str:
        """Stores a resource under an id of this department; returns the reference to it."""
        id = f"{self.name[:2]}-{key}"
        self.resources.append({"resourceType": type, "id": id, **content})
        return f"{type}/{id}"

    def ago(self, days: int, hour: int = 9) -> str:
        """An instant `days` before now (negative: ahead), moved off a weekend, at a full local hour."""
        day = self.now.astimezone(ZONE).date() - timedelta(days=days)
        while day.weekday() > 4:
            day += timedelta(days=1) if days < 0 else timedelta(days=-1)
        return datetime.combine(day, time(hour), ZONE).isoformat()

    def organization(self, name: str) -> Json:
        return {"reference": f"Organization/{self.name[:2]}-org-{name}", "display": DEPARTMENTS[name]}

    def patient(self, who: str) -> Json:
        return {"reference": f"Patient/{self.name[:2]}-{who}"}

    def know(self, people: Sequence[str]) -> None:
        """The departments and people this EHR has on record."""
        whole = self.add(
            "Organization",
            "org-hospital",
            identifier=[{"system": PLACE, "value": "hospital"}],
            active=True,
            name="Demo Hospital",
            address=[{"line": ["1 Hospital Road"], "postalCode": "123 45", "city": "Town"}],
        )
        for number, (name, title) in enumerate(DEPARTMENTS.items(), 1):
            self.add(
                "Organization",
                f"org-{name}",
                identifier=[{"system": PLACE, "value": name}],
                active=True,
                name=title,
                telecom=[{"system": "phone", "value": f"010-000 00 {number:02}"}],
                partOf={"reference": whole},
            )
        self.add(
            "HealthcareService",
            "clinic",
            identifier=[{"system": PLACE, "value": f"{self.name}-clinic"}],
            active=True,
            providedBy=self.organization(self.name),
            name=f"{DEPARTMENTS[self.name]}, outpatients",
        )
        for who in people:
            given, family, born, gender, language = _PEOPLE[who]
            self.add(
                "Patient",
                who,
                identifier=[{"system": PERSON, "value": f"demo-{who}"}],
                name=[{"use": "official", "family": family, "given": [given]}],
                gender=gender,
                birthDate=born,
                communication=[
                    {
                        "language": {"coding": [{"system": "urn:ietf:bcp:47", "code": language}]},
                        "preferred": True,
                    }
                ],
            )

    def referral(
        self,
        who: str,
        number: str,
        what: tuple[str, str, str],
        to: str,
        days: int,
        *,
        why: str,
        status: str = "active",
        intent: str = "order",
        priority: str = "routine",
        requester: Json | None = None,
    ) -> str:
        """The order itself; `number` is the business identifier that all departments share."""
        return self.add(
            "ServiceRequest",
            f"order-{number}",
            identifier=[{"system": ORDER, "value": number}],
            status=status,
            intent=intent,
            priority=priority,
            code={
                "coding": [{"system": "http://snomed.info/sct", "code": what[0], "display": what[1]}],
                "text": what[2],
            },
            subject=self.patient(who),
            authoredOn=self.ago(days),
            requester=requester or self.organization("primary-care"),
            performer=[self.organization(to)],
            reasonCode=[{"text": why}],
        )

    def task(
        self,
        who: str,
        number: str,
        focus: str,
        to: str,
        status: str,
        sent: int,
        changed: int | None = None,
        **more: Any,
    ) -> str:
        """One department being asked to fulfil the order."""
        return self.add(
            "Task",
            f"task-{number}",
            identifier=[{"system": f"{SYSTEM}/task", "value": number}],
            status=status,
            intent="order",
            code={"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}]},
            focus={"reference": focus},
            **{"for": self.patient(who)},
            authoredOn=self.ago(sent),
            lastModified=self.ago(sent if changed is None else changed, 14),
            requester=self.organization("primary-care"),
            owner=self.organization(to),
            **more,
        )

    def appointment(self, who: str, number: str, order: str, status: str, made: int, starts: int) -> str:
        start = self.ago(starts, 10)
        return self.add(
            "Appointment",
            f"visit-{number}",
            status=status,
            basedOn=[{"reference": order}],
            created=self.ago(made),
            start=start,
            end=(datetime.fromisoformat(start) + timedelta(minutes=45)).isoformat(),
            participant=[
                {"actor": self.patient(who), "status": "accepted"},
                {"actor": {"reference": f"HealthcareService/{self.name[:2]}-clinic"}, "status": "accepted"},
            ],
        )

    def encounter(self, who: str, number: str, order: str, days: int) -> str:
        start = self.ago(days, 10)
        return self.add(
            "Encounter",
            f"seen-{number}",
            status="finished",
            **{"class": {"system": _SYNCED_TYPES, "code": "AMB"}},
            subject=self.patient(who),
            basedOn=[{"reference": order}],
            serviceProvider=self.organization(self.name),
            period={
                "start": start,
                "end": (datetime.fromisoformat(start) + timedelta(minutes=40)).isoformat(),
            },
        )

    def report(self, who: str, number: str, order: str, days: int, status: str = "final") -> str:
        return self.add(
            "DiagnosticReport",
            f"report-{number}",
            status=status,
            basedOn=[{"reference": order}],
            code={"text": _MRI[2]},
            subject=self.patient(who),
            performer=[self.organization(self.name)],
            issued=self.ago(days, 15),
        )

    def told(self, who: str, number: str, about: str, days: int, text: str) -> str:
        """The patient was told what happens next, and why."""
        return self.add(
            "Communication",
            f"told-{number}",
            status="completed",
            subject=self.patient(who),
            about=[{"reference": about}],
            recipient=[self.patient(who)],
            sender=self.organization(self.name),
            sent=self.ago(days, 16),
            payload=[{"contentString": text}],
        )

    def sent_back(self, who: str, number: str, order: str, days: int) -> str:
        """The answer, sent to the one who asked."""
        return self.add(
            "Communication",
            f"answer-{number}",
            status="completed",
            subject=self.patient(who),
            basedOn=[{"reference": order}],
            about=[{"reference": order}],
            recipient=[self.organization("primary-care")],
            sender=self.organization(self.name),
            sent=self.ago(days, 16),
        )


def departments(now: datetime) -> dict[str, list[Json]]:
    """The records of the three departments as of `now`, by EHR name."""
    primary, imaging, surgery = (Department(name, now) for name in DEPARTMENTS)
    primary.know(list(_PEOPLE))
    imaging.know(["anna", "carin", "david", "elif", "gunnel", "hugo", "johan", "karin"])
    surgery.know(["bertil", "carin", "farid", "ines", "karin"])
    _waiting(primary)
    _at_imaging(primary, imaging)
    _at_surgery(primary, surgery)
    _bad_records(imaging)
    return {d.name: d.resources for d in (primary, imaging, surgery)}


def _waiting(primary: Department) -> None:
    """Referrals that never reached anybody."""
    primary.referral("lars", "1001", _MRI, "imaging", 9, why="Pain down the left leg for five months")
    order = primary.referral(
        "bertil", "1002", _SURGERY, "orthopaedics", 24, why="Cannot walk further than the mailbox"
    )
    primary.task("bertil", "1002", order, "orthopaedics", "requested", 24)
    primary.told("bertil", "1002", order, 24, "We have asked the orthopaedic clinic to see you.")
    primary.referral(
        "hugo",
        "1003",
        _MRI,
        "primary-care",
        26,
        intent="proposal",
        requester=primary.patient("hugo"),
        why="I have asked for an X-ray of my back three times",
    )


def _at_imaging(primary: Department, imaging: Department) -> None:
    """Referrals that imaging has taken on."""

    def both(who: str, number: str, days: int, why: str, **more: Any) -> tuple[str, str]:
        here = primary.referral(who, number, _MRI, "imaging", days, why=why, **more)
        there = imaging.referral(who, number, _MRI, "imaging", days, why=why, **more)
        return here, there

    here, there = both("anna", "2001", 40, "Numb right foot")
    imaging.task("anna", "2001", there, "imaging", "accepted", 40, 36)
    imaging.appointment("anna", "2001", there, "booked", 35, 8)
    primary.told("anna", "2001", here, 34, "Your scan is booked. It shows whether a nerve is pinched.")

    here, there = both("david", "2002", 60, "Pain at night, on sick leave again")
    imaging.task("david", "2002", there, "imaging", "in-progress", 60, 30)
    imaging.appointment("david", "2002", there, "fulfilled", 55, 28)
    imaging.encounter("david", "2002", there, 28)
    primary.told("david", "2002", here, 54, "Your scan is booked.")

    here, there = both("elif", "2003", 55, "Back pain, tingling in both legs")
    imaging.task("elif", "2003", there, "imaging", "in-progress", 55, 20)
    imaging.appointment("elif", "2003", there, "fulfilled", 50, 20)
    imaging.encounter("elif", "2003", there, 20)
    imaging.report("elif", "2003", there, 14)
    primary.told("elif", "2003", here, 49, "Your scan is booked. An interpreter will be there.")

    here, there = both("gunnel", "2004", 35, "Afraid of the narrow tube; needs more time")
    imaging.task("gunnel", "2004", there, "imaging", "accepted", 35, 30)
    imaging.appointment("gunnel", "2004", there, "noshow", 29, 13)
    primary.told("gunnel", "2004", here, 28, "Your scan is booked.")
    imaging.told("gunnel", "2004-missed", there, 2, "You could not come. What would make it possible?")

    here, there = both("johan", "2005", 30, "Follow-up of a slipped disc")
    imaging.task("johan", "2005", there, "imaging", "accepted", 30, 12)
    imaging.appointment("johan", "2005", there, "booked", 11, -6)
    primary.told("johan", "2005", here, 10, "Your scan is booked. Bring your old pictures.")

    here, there = both("karin", "2006", 70, "Weak ankle", status="completed")
    imaging.task("karin", "2006", there, "imaging", "completed", 70, 50)
    imaging.encounter("karin", "2006", there, 52)
    imaging.report("karin", "2006", there, 50)
    imaging.sent_back("karin", "2006", there, 49)
    primary.told(
        "karin", "2006", here, 47, "The scan shows a narrow spinal canal. We talk about it on Monday."
    )


def _at_surgery(primary: Department, surgery: Department) -> None:
    """Referrals that orthopaedics has taken on, or turned down."""

    def both(who: str, number: str, days: int, why: str, **more: Any) -> tuple[str, str]:
        here = primary.referral(who, number, _SURGERY, "orthopaedics", days, why=why, **more)
        there = surgery.referral(who, number, _SURGERY, "orthopaedics", days, why=why, **more)
        return here, there

    here, there = both("carin", "3001", 45, "Wants to lift her grandchild again")
    surgery.task("carin", "3001", there, "orthopaedics", "accepted", 45, 38)
    primary.told("carin", "3001", here, 37, "Orthopaedics will see you. They write to you with a time.")
    surgery.told("carin", "3001-late", there, 4, "There is no time yet. We are sorry; we call you this week.")

    here, there = both("farid", "3002", 28, "Cannot stand at the stove at work")
    surgery.task(
        "farid",
        "3002",
        there,
        "orthopaedics",
        "rejected",
        28,
        14,
        statusReason={"text": "An MRI of the lumbar spine is needed first"},
    )

    _, there = both("ines", "3003", 33, "Leg gives way on stairs", priority="urgent")
    surgery.task("ines", "3003", there, "orthopaedics", "accepted", 33, 31)
    surgery.appointment("ines", "3003", there, "booked", 12, -3)

    here, there = both("karin", "3004", 44, "Narrow spinal canal on MRI")
    surgery.task("karin", "3004", there, "orthopaedics", "accepted", 44, 40)
    surgery.appointment("karin", "3004", there, "booked", 9, -14)
    primary.told(
        "karin", "3004", here, 8, "Your visit to orthopaedics is booked, to talk through the choices."
    )


def _bad_records(imaging: Department) -> None:
    """What real feeds also hold: a person who may be the same as another, and a record that is not FHIR."""
    imaging.add(
        "Patient",
        "lars-or-not",
        identifier=[{"system": PERSON, "value": "demo-lars"}],
        name=[{"use": "official", "family": "Eklund", "given": ["Lasse"]}],
        gender="male",
        birthDate="1986-04-23",
    )
    imaging.add(
        "DiagnosticReport",
        "broken",
        status="finished",
        code={"text": _MRI[2]},
        subject=imaging.patient("anna"),
        issued="yesterday",
    )
