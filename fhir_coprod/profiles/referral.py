"""Profile classes for the referral, each department's share of it, and the alerts of the referral watch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal, Self

from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.detectedissue import DetectedIssue
from fhir.resources.R4B.extension import Extension
from fhir.resources.R4B.servicerequest import ServiceRequest
from fhir.resources.R4B.task import Task

from fhir_coprod.profiles.care_plan import TaskStatus, goals_of
from fhir_coprod.profiles.elements import code_in, coded, concept, reference, references, referred
from fhir_coprod.profiles.extensions import (
    PERTAINS_TO_GOAL,
    Accommodation,
    ReferralStanding,
    all_of,
    first_of,
    replaced,
)
from fhir_coprod.profiles.model import Profiled

Priority = Literal["routine", "urgent", "asap", "stat"]


class CoproductionServiceRequest(Profiled, ServiceRequest):
    """A referral: what is requested, by whom, why, for which goal, and what the patient needs for the visit.

    Profile coproduction-servicerequest on ServiceRequest.
    """

    profile_id: ClassVar[str] = "coproduction-servicerequest"

    @classmethod
    def refer(
        cls,
        what: str | CodeableConcept,
        *,
        patient: str,
        requester: str,
        authored_on: str,
        to: Sequence[str] = (),
        why: str | None = None,
        priority: Priority = "routine",
        goals: Sequence[str] = (),
        accommodations: Sequence[Accommodation] = (),
        for_patient: str | None = None,
    ) -> Self:
        """Build a referral that a professional writes.

        what:        ServiceRequest.code, 1..1; words alone become its text
        requester:   ServiceRequest.requester, 1..1
        authored_on: ServiceRequest.authoredOn, FHIR dateTime: every deadline starts there
        to:          ServiceRequest.performer: the department asked
        why:         ServiceRequest.reasonCode.text
        goals:       R4 extension resource-pertainsToGoal
        for_patient: ServiceRequest.patientInstruction: what and why, in words for the patient
        """
        return cls._asked(
            what,
            patient,
            requester,
            authored_on,
            to,
            why,
            "order",
            priority,
            goals,
            accommodations,
            for_patient,
        )

    @classmethod
    def ask(
        cls,
        what: str | CodeableConcept,
        *,
        patient: str,
        authored_on: str,
        of: Sequence[str] = (),
        why: str | None = None,
        asked_by: str | None = None,
    ) -> Self:
        """Build the patient's request for a referral that nobody has written: intent proposal. `asked_by` may
        be a RelatedPerson; the patient if left out. Source: "had to fight nearly two years"."""
        return cls._asked(
            what, patient, asked_by or patient, authored_on, of, why, "proposal", "routine", (), (), None
        )

    @classmethod
    def _asked(
        cls,
        what: str | CodeableConcept,
        patient: str,
        requester: str,
        authored_on: str,
        to: Sequence[str],
        why: str | None,
        intent: str,
        priority: Priority,
        goals: Sequence[str],
        accommodations: Sequence[Accommodation],
        for_patient: str | None,
    ) -> Self:
        request = cls.model_validate(
            {
                "status": "active",
                "intent": intent,
                "priority": priority,
                "code": concept(what),
                "subject": reference(patient),
                "requester": reference(requester),
                "authoredOn": authored_on,
                "performer": references(to),
                "reasonCode": [concept(why)] if why else None,
                "patientInstruction": for_patient,
            }
        )
        request.goals = list(goals)
        request.accommodations = list(accommodations)
        return request

    @property
    def goals(self) -> list[str]:
        """R4 extension resource-pertainsToGoal, 0..*: references to the goals it serves."""
        return goals_of(self.extension)

    @goals.setter
    def goals(self, goals: Iterable[str]) -> None:
        new = [Extension(url=PERTAINS_TO_GOAL, valueReference=reference(goal)) for goal in goals]
        self.extension = replaced(self.extension, PERTAINS_TO_GOAL, new)

    @property
    def accommodations(self) -> list[Accommodation]:
        """Extension accommodation, 0..*: the needs that the receiving department must know about."""
        return all_of(Accommodation, self.extension)

    @accommodations.setter
    def accommodations(self, accommodations: Iterable[Accommodation]) -> None:
        new = [accommodation.to_extension() for accommodation in accommodations]
        self.extension = replaced(self.extension, Accommodation.url, new)


class ReferralTask(Profiled, Task):
    """One department's share of a referral: whether it has received, accepted, held or declined it.

    Profile referral-task on Task, code fulfill. The owner moves the status; either side may cancel.
    """

    profile_id: ClassVar[str] = "referral-task"

    @classmethod
    def build(
        cls,
        *,
        referral: str,
        patient: str,
        requester: str,
        authored_on: str,
        owner: str | None = None,
        status: TaskStatus = "requested",
    ) -> Self:
        """Build a request to one department.

        referral:    Task.focus, 1..1, ServiceRequest
        patient:     Task.for, 1..1, Patient
        requester:   Task.requester, 1..1
        authored_on: Task.authoredOn, 1..1, FHIR dateTime
        owner:       Task.owner: the department; if left out, nobody has claimed it yet
        """
        return cls.model_validate(
            {
                "status": status,
                "intent": "order",
                "code": coded("http://hl7.org/fhir/CodeSystem/task-code", "fulfill"),
                "focus": reference(referral),
                "for": reference(patient),
                "authoredOn": authored_on,
                "requester": reference(requester),
                "owner": reference(owner) if owner else None,
            }
        )

    @property
    def referral(self) -> str:
        """Task.focus: the ServiceRequest."""
        return referred(self.focus)

    @property
    def accommodations(self) -> list[Accommodation]:
        """Extension accommodation, 0..*, carried over from the referral."""
        return all_of(Accommodation, self.extension)


class StalledReferral(Profiled, DetectedIssue):
    """One finding of the referral watch: which rule, in which referral, since when.

    Profile stalled-referral on DetectedIssue. The watch writes it; everybody may read it.
    """

    profile_id: ClassVar[str] = "stalled-referral"

    @property
    def rule(self) -> str:
        """DetectedIssue.code, 1..1, required binding: code of CodeSystem stall-rule, else ""."""
        return code_in(self.code)

    @property
    def referral(self) -> str:
        """The ServiceRequest, or the Communication that asked for one, among DetectedIssue.implicated."""
        named = [referred(item) for item in self.implicated or ()]
        return next(
            (to for to in named if to.split("/")[-2:-1] in (["ServiceRequest"], ["Communication"])), ""
        )

    @property
    def resolved(self) -> bool:
        """Whether DetectedIssue.status is final: the missing fact has appeared."""
        return self.status == "final"

    @property
    def standing(self) -> ReferralStanding | None:
        """Extension referral-standing, 0..1: how far the referral had come."""
        return first_of(ReferralStanding, self.extension)


class StallFollowup(Profiled, Task):
    """The work that a stall causes: one Task per referral and stage, gathering its stalls.

    Profile stall-followup on Task. It ends by itself when the missing fact appears.
    """

    profile_id: ClassVar[str] = "stall-followup"

    @property
    def referral(self) -> str:
        """Task.focus: the referral, or the patient's request for one."""
        return referred(self.focus)

    @property
    def stalls(self) -> list[str]:
        """References to each StalledReferral it gathers: Task.reasonReference and Task.input, each once."""
        named = [referred(self.reasonReference)]
        named += [referred(item.valueReference) for item in self.input or () if item.valueReference]
        return [to for to in dict.fromkeys(named) if to]

    @property
    def standing(self) -> ReferralStanding | None:
        """Extension referral-standing, 0..1: how far the referral had come."""
        return first_of(ReferralStanding, self.extension)
