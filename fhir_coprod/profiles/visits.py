"""Profile classes for visits: the appointment, and the moment alone that the interpreter does not see."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal, Self

from fhir.resources.R4B.appointment import Appointment
from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.task import Task

from fhir_coprod.profiles.care_plan import TaskStatus
from fhir_coprod.profiles.elements import LABEL, coded, concept, reference
from fhir_coprod.profiles.extensions import Accommodation, PrivateMoment, all_of, first_of, replaced
from fhir_coprod.profiles.model import Profiled

AppointmentStatus = Literal[
    "proposed",
    "pending",
    "booked",
    "arrived",
    "fulfilled",
    "cancelled",
    "noshow",
    "entered-in-error",
    "checked-in",
    "waitlist",
]


class CoproductionAppointment(Profiled, Appointment):
    """A visit for a referral, or a meeting with others of the network, and what the person needs for it.

    Profile coproduction-appointment on Appointment. A missed visit is a question, not a closure.
    """

    profile_id: ClassVar[str] = "coproduction-appointment"

    @classmethod
    def book(
        cls,
        *,
        patient: str,
        start: str,
        end: str,
        others: Sequence[str] = (),
        referral: str | None = None,
        description: str | None = None,
        for_patient: str | None = None,
        accommodations: Sequence[Accommodation] = (),
        created: str | None = None,
        status: AppointmentStatus = "booked",
    ) -> Self:
        """Build a booked visit.

        patient:     one of Appointment.participant, 1..1, Patient
        start, end:  Appointment.start and end, FHIR instants
        others:      Appointment.participant: professional, interpreter, caseworker, relative; a department as
                     HealthcareService or Location (R4 takes no Organization)
        referral:    Appointment.basedOn, ServiceRequest
        description: Appointment.description
        for_patient: Appointment.patientInstruction: how to prepare, in words for the patient
        created:     Appointment.created, FHIR dateTime
        """
        made = cls.model_validate(
            {
                "status": status,
                "start": start,
                "end": end,
                "created": created,
                "description": description,
                "patientInstruction": for_patient,
                "basedOn": [reference(referral)] if referral else None,
                "participant": [
                    {"actor": reference(who), "status": "accepted"} for who in (patient, *others)
                ],
            }
        )
        made.accommodations = list(accommodations)
        return made

    def cancel(self, why: str | CodeableConcept) -> None:
        """Set Appointment.status to cancelled, with Appointment.cancelationReason."""
        self.status = "cancelled"
        self.cancelationReason = concept(why)

    @property
    def accommodations(self) -> list[Accommodation]:
        """Extension accommodation, 0..*: what the person needs in order to manage the visit."""
        return all_of(Accommodation, self.extension)

    @accommodations.setter
    def accommodations(self, accommodations: Iterable[Accommodation]) -> None:
        new = [accommodation.to_extension() for accommodation in accommodations]
        self.extension = replaced(self.extension, Accommodation.url, new)


class PrivateMomentTask(Profiled, Task):
    """Somebody sees to it that the patient can speak without the interpreter or the relatives.

    Profile private-moment-task on Task. Its label (NOAUTH) keeps it from those who are to leave, so it never
    stands on the appointment itself. Source: asked of every patient beforehand (migrant clinic).
    """

    profile_id: ClassVar[str] = "private-moment-task"

    @classmethod
    def build(
        cls,
        moment: PrivateMoment,
        *,
        patient: str,
        authored_on: str,
        owner: str | None = None,
        visit: str | None = None,
        requester: str | None = None,
        status: TaskStatus = "requested",
    ) -> Self:
        """Build a request to see to a moment alone.

        moment:      extension private-moment, 1..1
        patient:     Task.for, 1..1, Patient
        authored_on: Task.authoredOn, FHIR dateTime
        owner:       Task.owner: who sees to it
        visit:       Task.focus, Appointment or Encounter
        requester:   Task.requester; the patient if left out
        """
        made = cls.model_validate(
            {
                "meta": {"security": [LABEL]},
                "status": status,
                "intent": "order",
                "code": coded("task-kind", "private-moment"),
                "focus": reference(visit) if visit else None,
                "for": reference(patient),
                "authoredOn": authored_on,
                "requester": reference(requester or patient),
                "owner": reference(owner) if owner else None,
            }
        )
        made.moment = moment
        return made

    @property
    def moment(self) -> PrivateMoment | None:
        """Extension private-moment: whether the patient wants it, and whether it came about."""
        return first_of(PrivateMoment, self.extension)

    @moment.setter
    def moment(self, moment: PrivateMoment | None) -> None:
        new = [moment.to_extension()] if moment else []
        self.extension = replaced(self.extension, PrivateMoment.url, new)
