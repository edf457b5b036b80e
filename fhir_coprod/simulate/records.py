"""Makes the FHIR resources that departments write about one referral, a version for each change."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from fhir_coprod.definitions import CANONICAL, PROFILE
from fhir_coprod.simulate.hospital import SNOMED, Department
from fhir_coprod.simulate.noise import Version
from fhir_coprod.simulate.promises import ZONE

Json = dict[str, Any]

_TASK_CODE: Final = "http://hl7.org/fhir/CodeSystem/task-code"
_CLASS: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_VISIT: Final = timedelta(minutes=45)


def text_of(at: datetime) -> str:
    """An instant as FHIR writes it, with the hospital's offset."""
    return at.astimezone(ZONE).isoformat(timespec="seconds")


def ours(system: str, code: str) -> Json:
    """A concept of our own package."""
    return {"coding": [{"system": f"{CANONICAL}/CodeSystem/{system}", "code": code}]}


class Stopped(Exception):
    """A department that answers no longer would have had to record something."""

    def __init__(self, at: datetime) -> None:
        super().__init__("the department answers no longer")
        self.at = at


class Records:
    """Everything that is recorded about one referral."""

    def __init__(self, id: str, patient: str) -> None:
        self.id = id
        self.patient = patient
        self.reference = f"ServiceRequest/{id}"
        self.versions: list[Version] = []
        self._current: dict[str, tuple[str, Json]] = {}
        self._numbers: dict[str, int] = {}
        self.stops: Mapping[str, datetime] = {}
        """When a department that is asked stops answering: from then on it records nothing (Stopped)."""

    def _new(self, at: datetime, ehr: Department, type: str, profile: str = "", /, **content: Any) -> str:
        self._require_at_work(at, ehr.name)
        return self._put(at, ehr, type, profile, content)

    def _put(self, at: datetime, ehr: Department, type: str, profile: str, content: Json) -> str:
        number = self._numbers[type] = self._numbers.get(type, 0) + 1
        id = self.id if type == "ServiceRequest" else f"{self.id}-{type.lower()}-{number}"
        data: Json = {"resourceType": type, "id": id}
        if profile and ehr.claims_profiles:
            data["meta"] = {"profile": [PROFILE + profile]}
        data |= content
        reference = f"{type}/{id}"
        self._current[reference] = (ehr.name, data)
        self.versions.append(Version(at, ehr.name, self.id, data))
        return reference

    def change(self, reference: str, at: datetime, **content: Any) -> None:
        """Record a later version of a resource; an element set to None is removed."""
        self._require_at_work(at, self._current[reference][0])
        self._change(reference, at, content)

    def _require_at_work(self, at: datetime, ehr: str) -> None:
        if ehr in self.stops and at >= self.stops[ehr]:
            raise Stopped(at)

    def _change(self, reference: str, at: datetime, content: Json) -> None:
        ehr, was = self._current[reference]
        data = {key: value for key, value in {**was, **content}.items() if value is not None}
        self._current[reference] = (ehr, data)
        self.versions.append(Version(at, ehr, self.id, data))

    # -- the referral ----------------------------------------------------------------------------------

    def referral(
        self, at: datetime, by: Department, to: Department, priority: str, status: str, **more: Any
    ) -> str:
        """The ServiceRequest; later changes of its status carry no time of their own, as in R4."""
        return self._new(
            at,
            by,
            "ServiceRequest",
            "coproduction-servicerequest",
            status=status,
            **{
                "intent": "order",
                "priority": priority,
                "code": asked(to),
                "subject": {"reference": self.patient},
                "authoredOn": text_of(at),
                "requester": {"reference": by.doctor},
                "performer": [{"reference": to.organization}],
                "reasonCode": [{"text": "What the patient came for"}],
            }
            | more,
        )

    def task(
        self, at: datetime, sender: Department, owner: Department | None, keeper: Department, priority: str
    ) -> str:
        """One department being asked; the record is kept by `keeper`, also if that answers no longer."""
        content: Json = {
            "status": "requested",
            "intent": "order",
            "priority": priority,
            "code": {"coding": [{"system": _TASK_CODE, "code": "fulfill"}]},
            "focus": {"reference": self.reference},
            "for": {"reference": self.patient},
            "authoredOn": text_of(at),
            "lastModified": text_of(at),
            "requester": {"reference": sender.doctor},
        }
        if owner:
            content["owner"] = {"reference": owner.organization}
        return self._put(at, keeper, "Task", "referral-task", content)

    def move(self, task: str, at: datetime, **content: Any) -> None:
        """Record a change of a Task."""
        self.change(task, at, lastModified=text_of(at), **content)

    def answer(self, side: str, at: datetime) -> None:
        """The requester does what a Task of a department asked for."""
        self._change(side, at, {"lastModified": text_of(at), "status": "completed"})

    def side_task(self, at: datetime, keeper: Department, owner: str, code: Json, status: str) -> str:
        """Somebody's own work about the referral."""
        return self._new(
            at,
            keeper,
            "Task",
            status=status,
            intent="order",
            code=code,
            focus={"reference": self.reference},
            **{"for": {"reference": self.patient}},
            authoredOn=text_of(at),
            lastModified=text_of(at),
            owner={"reference": owner},
        )

    # -- the visit -------------------------------------------------------------------------------------

    def appointment(self, at: datetime, by: Department, status: str, start: datetime | None) -> str:
        """A booking; without `start` a place on the waiting list."""
        times = self.times(start) if start else {}
        return self._new(
            at,
            by,
            "Appointment",
            "coproduction-appointment",
            status=status,
            basedOn=[{"reference": self.reference}],
            created=text_of(at),
            participant=[
                {"actor": {"reference": self.patient}, "status": "accepted"},
                {"actor": {"reference": by.clinic}, "status": "accepted"},
            ],
            **times,
        )

    @staticmethod
    def times(start: datetime) -> Json:
        """Start and end of a visit of 45 minutes."""
        return {"start": text_of(start), "end": text_of(start + _VISIT)}

    def encounter(
        self, at: datetime, by: Department, appointment: str, start: datetime, end: datetime | None
    ) -> str:
        """The visit; without `end` it is still going on."""
        return self._new(
            at,
            by,
            "Encounter",
            status="finished" if end else "in-progress",
            **{"class": {"system": _CLASS, "code": "AMB"}},
            subject={"reference": self.patient},
            basedOn=[{"reference": self.reference}],
            appointment=[{"reference": appointment}],
            serviceProvider={"reference": by.organization},
            period=self.period(start, end),
        )

    @staticmethod
    def period(start: datetime, end: datetime | None) -> Json:
        return {"start": text_of(start)} | ({"end": text_of(end)} if end else {})

    # -- the answer ------------------------------------------------------------------------------------

    def result(self, at: datetime, by: Department, status: str, encounter: str) -> str:
        """A report, or a document where the department writes those."""
        if by.writes_documents:
            return self._new(
                at,
                by,
                "DocumentReference",
                status="current",
                docStatus="preliminary" if status == "preliminary" else "final",
                type={"text": "Answer to a referral"},
                subject={"reference": self.patient},
                date=text_of(at),
                author=[{"reference": by.organization}],
                content=[{"attachment": {"contentType": "text/plain", "title": "Answer"}}],
                context={
                    "encounter": [{"reference": encounter}],
                    "related": [{"reference": self.reference}],
                },
            )
        return self._new(
            at,
            by,
            "DiagnosticReport",
            status=status,
            basedOn=[{"reference": self.reference}],
            code=asked(by),
            subject={"reference": self.patient},
            encounter={"reference": encounter},
            performer=[{"reference": by.organization}],
            issued=text_of(at),
        )

    def finish_result(self, result: str, at: datetime) -> None:
        """A preliminary result becomes final."""
        if result.startswith("DocumentReference/"):
            self.change(result, at, docStatus="final", date=text_of(at))
        else:
            self.change(result, at, status="final", issued=text_of(at))

    def message(self, at: datetime, by: Department, to: str, about: list[str], topic: str, words: str) -> str:
        """Something said or written, and sent."""
        return self._new(
            at,
            by,
            "Communication",
            "coproduction-communication",
            status="completed",
            subject={"reference": self.patient},
            topic=ours("communication-topic", topic),
            about=[{"reference": name} for name in about],
            sent=text_of(at),
            recipient=[{"reference": to}],
            sender={"reference": by.organization},
            payload=[{"contentString": words}],
        )


def asked(department: Department) -> Json:
    """What a department is asked for."""
    return {
        "coding": [{"system": SNOMED, "code": department.code, "display": department.wanted}],
        "text": department.wanted,
    }
