"""Plants referrals between departments among the orders of a foreign hospital, half of them lost. Pure.

The hospital is turned into one Organization in which nobody has a role. What is planted depends on the seed,
and all its dates on `now`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from evidence.foreign.ways import BSER, HOSPITAL, PLACES, SDOHCC, SERVICES, WAYS, Json, Way


class Lost(StrEnum):
    """Where a referral is lost."""

    SENT = "not sent"
    RECEIVED = "not acknowledged"
    DECIDED = "undecided"
    BOOKED = "not scheduled"
    SEEN = "missed"
    RESULTED = "not reported"
    REVIEWED = "not reviewed"
    TOLD = "patient not told"


RIGHT: Mapping[Lost, frozenset[str]] = {
    Lost.SENT: frozenset({"not-sent", "no-trace"}),
    Lost.RECEIVED: frozenset({"unacknowledged", "unclaimed"}),
    Lost.DECIDED: frozenset({"undecided"}),
    Lost.BOOKED: frozenset({"unscheduled"}),
    Lost.SEEN: frozenset({"no-show-open", "appointment-passed", "cancelled-not-rebooked"}),
    Lost.RESULTED: frozenset({"results-missing"}),
    Lost.REVIEWED: frozenset({"not-reviewed", "report-not-returned"}),
    Lost.TOLD: frozenset({"patient-not-informed"}),
}
"""The rules that name the loss where every step is recorded."""
_LOST_AFTER: Mapping[Lost, Mapping[str, float]] = {
    Lost.SENT: {"written": 30},
    Lost.RECEIVED: {"written": 30, "sent": 29},
    Lost.DECIDED: {"written": 40, "sent": 39, "received": 37},
    Lost.BOOKED: {"written": 60, "sent": 59, "received": 57, "accepted": 55},
    Lost.SEEN: {"written": 80, "sent": 79, "received": 78, "accepted": 76, "booked": 74, "start": 21},
    Lost.RESULTED: {
        "written": 90,
        "sent": 89,
        "received": 88,
        "accepted": 86,
        "booked": 85,
        "start": 42,
        "seen": 42,
    },
}
_DONE = {"written": 95, "sent": 94, "received": 92, "accepted": 90, "booked": 89, "start": 66, "seen": 66}
_ON_TIME: Mapping[Lost, Mapping[str, float]] = {
    Lost.SENT: {"written": 1},
    Lost.RECEIVED: {"written": 4, "sent": 3},
    Lost.DECIDED: {"written": 7, "sent": 6, "received": 3},
    Lost.BOOKED: {"written": 12, "sent": 11, "received": 9, "accepted": 4},
    Lost.SEEN: {"written": 30, "sent": 29, "received": 28, "accepted": 26, "booked": 25, "start": -10},
    Lost.RESULTED: {
        "written": 40,
        "sent": 39,
        "received": 38,
        "accepted": 36,
        "booked": 35,
        "start": 6,
        "seen": 6,
    },
    Lost.REVIEWED: {
        "written": 40,
        "sent": 39,
        "received": 38,
        "accepted": 36,
        "booked": 35,
        "start": 15,
        "seen": 15,
        "resulted": 8,
        "returned": 7,
    },
    Lost.TOLD: {**_DONE, "resulted": 60, "returned": 59, "reviewed": 54},
}
"""How many days before `now` each step was, when all goes well so far."""


@dataclass(frozen=True)
class Planted:
    """One referral, where it is lost (None: it goes well), and everything that is on record of it."""

    id: str
    way: Way
    stage: Lost
    is_lost: bool
    records: tuple[Json, ...]

    @property
    def reference(self) -> str:
        return f"ServiceRequest/{self.id}"

    @property
    def can_be_told(self) -> bool:
        """Whether the record of a lost one differs from that of one that goes well: where no word to any
        patient is recorded, nobody can see that one of them was not told."""
        return self.stage is not Lost.TOLD or bool(self.way.told)

    @property
    def right(self) -> frozenset[str]:
        """The rules that name its loss. Where a department records no Task or no booking, all that is to be
        seen is that the step before it is late."""
        rules = RIGHT[self.stage]
        if not self.way.task and self.stage in (Lost.RECEIVED, Lost.DECIDED, Lost.BOOKED):
            return RIGHT[Lost.SENT]
        if not self.way.booked and self.stage is Lost.SEEN:
            return rules | RIGHT[Lost.BOOKED]
        return rules


def one_house(records: Iterable[Json]) -> list[Json]:
    """The hospital as one Organization in which nobody has a role."""
    kept = []
    for record in records:
        type = record["resourceType"]
        if type == "PractitionerRole" or (type == "Organization" and record["id"] != "hospital-main"):
            continue
        kept.append(_in_one_house(record))
    return kept


def _in_one_house(value: Any) -> Any:
    if isinstance(value, dict):
        name = value.get("reference")
        if isinstance(name, str) and name.startswith("Organization/") and "payer" not in name:
            return {**value, **HOSPITAL}
        return {key: _in_one_house(held) for key, held in value.items()}
    return [_in_one_house(held) for held in value] if isinstance(value, list) else value


def house() -> list[Json]:
    """The services and places that the planted referrals name."""
    services = [
        {"resourceType": "HealthcareService", "id": id, "active": True, "providedBy": HOSPITAL, "name": id}
        for id in SERVICES
    ]
    places = [
        {
            "resourceType": "Location",
            "id": id,
            "status": "active",
            "name": id,
            "managingOrganization": HOSPITAL,
        }
        for id in PLACES
    ]
    return [*services, *places]


def plant(
    records: Sequence[Json], now: datetime, seed: int, lost: int = 100, good: int = 100
) -> list[Planted]:
    """Referrals of the hospital's own patients by its own doctors, spread over all stages and all ways."""
    chosen = random.Random(seed)
    patients = sorted(r["id"] for r in records if r["resourceType"] == "Patient" and not _died(r))
    doctors = sorted({_asker(r) for r in records if r["resourceType"] == "ServiceRequest"} - {""})
    planted = []
    asked: set[tuple[str, str, str]] = set()
    for number in range(lost + good):
        is_lost = number < lost
        place = number if is_lost else number - lost
        stage = list(Lost)[place % 8]
        way = WAYS[(place // 8 + 3 * (place % 8)) % len(WAYS)]
        # Nobody is referred for the same thing twice.
        free = [
            (p, thing) for p in patients for thing in way.things if (p, way.name, str(thing)) not in asked
        ]
        patient, thing = chosen.choice(free)
        asked.add((patient, way.name, str(thing)))
        story = _Story(f"planted-{number:03d}", way, patient, thing, chosen.choice(doctors), now, chosen)
        planted.append(Planted(story.id, way, stage, is_lost, tuple(story.told(stage, is_lost))))
    return planted


def _died(patient: Json) -> bool:
    return bool(patient.get("deceasedBoolean") or patient.get("deceasedDateTime"))


def _asker(order: Json) -> str:
    name: str = order.get("requester", {}).get("reference", "")
    return name.partition("/")[2] if name.startswith("Practitioner/") else ""


class _Story:
    """Everything that is recorded of one referral."""

    def __init__(
        self,
        id: str,
        way: Way,
        patient: str,
        thing: Json,
        doctor: str,
        now: datetime,
        chosen: random.Random,
    ) -> None:
        self.id = id
        self.way = way
        self.patient = {"reference": f"Patient/{patient}"}
        self.doctor = {"reference": f"Practitioner/{doctor}"}
        self.now = now
        self.thing = thing
        self.chosen = chosen
        self.request = {"reference": f"ServiceRequest/{id}"}
        self.task = {"reference": f"Task/{id}"}
        self.booking = {"reference": f"Appointment/{id}"}
        self.answer = {"reference": f"{way.result}/{id}"}

    def told(self, stage: Lost, is_lost: bool) -> Iterator[Json]:
        steps = dict(self._steps(stage, is_lost))
        if is_lost:
            earlier = self.chosen.randrange(10)
            steps = {name: days + earlier for name, days in steps.items()}
        at = {name: self.now - timedelta(days=days) for name, days in steps.items()}
        yield self._request(at, stage, is_lost)
        if self.way.task and "sent" in at:
            yield self._task(at, stage, is_lost)
        if "booked" in at and self.way.booked not in ("", "code"):
            yield self._appointment(at, is_lost and stage is Lost.SEEN)
        if "seen" in at and self.way.seen:
            yield self._encounter(at)
        if "resulted" in at and self.way.result:
            yield self._answer(at["resulted"])
        if "returned" in at and self.way.back == "message":
            yield self._message("back", at["returned"], self.doctor, self.answer)
        if self.way.told and (about := self._last_told(at, stage, is_lost)) is not None:
            yield self._word(about + timedelta(hours=5))

    def _steps(self, stage: Lost, is_lost: bool) -> Mapping[str, float]:
        if not is_lost:
            return _ON_TIME[stage]
        if stage is Lost.REVIEWED:
            return {**_DONE, "resulted": 60, "returned": 59}
        if stage is Lost.TOLD:
            return {**_DONE, "resulted": 60, "returned": 59, "reviewed": 54}
        return _LOST_AFTER[stage]

    def _last_told(self, at: Mapping[str, datetime], stage: Lost, is_lost: bool) -> datetime | None:
        """The last event that the patient is told of: acceptance, booking, result."""
        events = ["accepted", "booked"]
        if not (is_lost and stage is Lost.TOLD):
            events += ["resulted", "returned", "reviewed"]
        times = [at[name] for name in events if name in at]
        return max(times, default=None)

    def _request(self, at: Mapping[str, datetime], stage: Lost, is_lost: bool) -> Json:
        way = self.way
        request = {
            "resourceType": "ServiceRequest",
            "id": self.id,
            "identifier": [{"system": "http://hospital.example.org/referrals", "value": f"R-{self.id}"}],
            "status": "completed" if "reviewed" in at else "active",
            "intent": "order",
            "priority": "routine",
            "code": self.thing,
            "subject": self.patient,
            "authoredOn": _instant(at["written"]),
            "requester": self.doctor,
            **dict(way.more),
        }
        if way.category:
            request["category"] = list(way.category)
        if way.performer:
            request["performer"] = [way.performer]
        if way.performer_type:
            request["performerType"] = way.performer_type
        return request

    def _task(self, at: Mapping[str, datetime], stage: Lost, is_lost: bool) -> Json:
        way = self.way
        done = "returned" in at and way.back == "output"
        status, since = "requested", at["sent"]
        for name, reached in (("received", "received"), ("accepted", "accepted"), ("booked", "in-progress")):
            if name in at:
                status, since = reached, at[name]
        if "resulted" in at:
            status, since = "completed", at["returned" if done else "resulted"]
        task: Json = {
            "resourceType": "Task",
            "id": self.id,
            "status": status,
            "intent": "order",
            "for": self.patient,
            "authoredOn": _instant(at["sent"]),
            "requester": self.doctor,
        }
        if way.task == "focus":
            task["focus"] = self.request
        else:
            task["basedOn"] = [self.request]
        if way.task_code:
            task["code"] = way.task_code
        if way.owner:
            task["owner"] = way.owner
        if way.booked == "code" and "booked" in at and status == "in-progress":
            said, since = ("5.1.1", at["booked"])
            if is_lost and stage is Lost.SEEN:
                said, since = ("5.1.2", at["start"])
            if "seen" in at:
                said, since = ("5.1.4", at["seen"])
            task["businessStatus"] = {"coding": [{"system": BSER, "code": said}]}
        if done:
            task["output"] = [
                {"type": {"text": "answer"}, "valueReference": self.answer}
                if way.result
                else {"type": {"text": "answer"}, "valueCodeableConcept": {"text": "Help was given"}}
            ]
        task["lastModified"] = _instant(since)
        return task

    def _appointment(self, at: Mapping[str, datetime], missed: bool) -> Json:
        over = at["start"] < self.now
        status = "fulfilled" if "seen" in at else "booked"
        if missed and over and self.chosen.random() < 0.5:
            status = "noshow"
        return {
            "resourceType": "Appointment",
            "id": self.id,
            "status": status,
            "created": _instant(at["booked"]),
            "start": _instant(at["start"]),
            "end": _instant(at["start"] + timedelta(minutes=30)),
            self.way.booked: [self.request],
            "participant": [
                {"actor": self.patient, "status": "accepted"},
                {"actor": self.way.there, "status": "accepted"},
            ],
        }

    def _encounter(self, at: Mapping[str, datetime]) -> Json:
        encounter: Json = {
            "resourceType": "Encounter",
            "id": self.id,
            "status": "finished",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            "subject": self.patient,
            "period": {
                "start": _instant(at["seen"]),
                "end": _instant(at["seen"] + timedelta(minutes=30)),
            },
            "serviceProvider": HOSPITAL,
        }
        named = self.way.seen == "appointment" and self.way.booked not in ("", "code")
        return encounter | ({"appointment": [self.booking]} if named else {"basedOn": [self.request]})

    def _answer(self, at: datetime) -> Json:
        if self.way.result == "DiagnosticReport":
            return {
                "resourceType": "DiagnosticReport",
                "id": self.id,
                "status": "final",
                "code": self.thing,
                "subject": self.patient,
                "basedOn": [self.request],
                "issued": _instant(at),
                "performer": [self.way.there],
            }
        return {
            "resourceType": "DocumentReference",
            "id": self.id,
            "status": "current",
            "docStatus": "final",
            "type": {"coding": [{"system": "http://loinc.org", "code": "11488-4"}], "text": "Consult note"},
            "subject": self.patient,
            "date": _instant(at),
            "author": [self.way.there],
            "content": [{"attachment": {"contentType": "text/plain", "data": "U2Vlbi4="}}],
            "context": {"related": [self.request]},
        }

    def _message(self, what: str, at: datetime, to: Json, about: Json, by: str = "about") -> Json:
        return {
            "resourceType": "Communication",
            "id": f"{self.id}-{what}",
            "status": "completed",
            "subject": self.patient,
            "sender": self.way.there,
            "recipient": [to],
            by: [about],
            "sent": _instant(at),
        }

    def _word(self, at: datetime) -> Json:
        """The patient is told."""
        if self.way.told != "task":
            return self._message("told", at, self.patient, self.request, self.way.told)
        return {
            "resourceType": "Task",
            "id": f"{self.id}-told",
            "status": "completed",
            "intent": "order",
            "code": {"coding": [{"system": SDOHCC, "code": "make-contact"}]},
            "partOf": [self.task],
            "focus": self.request,
            "for": self.patient,
            "owner": self.patient,
            "requester": self.doctor,
            "authoredOn": _instant(at),
            "lastModified": _instant(at),
        }


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
