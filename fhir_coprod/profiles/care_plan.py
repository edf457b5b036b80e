"""Profile classes for the shared plan, its goals, and the tasks that the patient takes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal, Self, cast

from fhir.resources.R4B.careplan import CarePlan, CarePlanActivity
from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.extension import Extension
from fhir.resources.R4B.goal import Goal
from fhir.resources.R4B.task import Task

from fhir_coprod.profiles.elements import coded, concept, reference, references, referred
from fhir_coprod.profiles.extensions import (
    PERTAINS_TO_GOAL,
    PHASE,
    PLAN_STATUS_REASON,
    Agency,
    GoalAcceptance,
    Phase,
    PlanAgreement,
    all_of,
    first_of,
    replaced,
)
from fhir_coprod.profiles.model import Profiled

PlanStatus = Literal["draft", "active", "on-hold", "revoked", "completed", "entered-in-error", "unknown"]
PlanIntent = Literal["proposal", "plan", "order", "option"]
GoalStatus = Literal[
    "proposed",
    "planned",
    "accepted",
    "active",
    "on-hold",
    "completed",
    "cancelled",
    "entered-in-error",
    "rejected",
]
TaskStatus = Literal[
    "draft",
    "requested",
    "received",
    "accepted",
    "rejected",
    "ready",
    "cancelled",
    "in-progress",
    "on-hold",
    "failed",
    "completed",
    "entered-in-error",
]


class CoproductionCarePlan(Profiled, CarePlan):
    """The shared plan: the goals both sides agreed on, who does what, and each person's answer to it.

    Profile coproduction-careplan on CarePlan. Source: co-planning and co-execution, Batalden and others 2015.
    """

    profile_id: ClassVar[str] = "coproduction-careplan"

    @classmethod
    def build(
        cls,
        *,
        patient: str,
        goals: Sequence[str] = (),
        activities: Sequence[str] = (),
        status: PlanStatus = "draft",
        intent: PlanIntent = "plan",
        description: str | None = None,
        contributors: Sequence[str] = (),
        based_on: str | None = None,
        phase: Phase | None = None,
        agreements: Sequence[PlanAgreement] = (),
    ) -> Self:
        """Build a plan from references and plain words.

        patient:      CarePlan.subject, 1..1, Patient
        goals:        CarePlan.goal, 0..*, coproduction-goal; an active plan has at least one
        activities:   CarePlan.activity.reference, 0..*: Task with an owner, referral, appointment
        description:  CarePlan.description, 0..1: the plan in plain words
        contributors: CarePlan.contributor, 0..*: who had a part in making it, the patient first
        based_on:     CarePlan.basedOn: the proposal that became this plan
        """
        plan = cls(
            status=status,
            intent=intent,
            subject=reference(patient),
            description=description,
            goal=references(goals),
            activity=[CarePlanActivity(reference=reference(activity)) for activity in activities] or None,
            contributor=references(contributors),
            basedOn=[reference(based_on)] if based_on else None,
        )
        plan.phase = phase
        plan.agreements = list(agreements)
        return plan

    @property
    def phase(self) -> Phase | None:
        """Extension coproduction-phase, 0..1, required binding: the current phase of the cycle."""
        return phase_of(self.extension)

    @phase.setter
    def phase(self, phase: Phase | None) -> None:
        self.extension = with_phase(self.extension, phase)

    @property
    def agreements(self) -> list[PlanAgreement]:
        """Extension plan-agreement, 0..*: people's answers to the plan, in order."""
        return all_of(PlanAgreement, self.extension)

    @agreements.setter
    def agreements(self, agreements: Iterable[PlanAgreement]) -> None:
        new = [agreement.to_extension() for agreement in agreements]
        self.extension = replaced(self.extension, PlanAgreement.url, new)

    def agreement_of(self, person: str) -> PlanAgreement | None:
        """One person's latest answer; of two with the same time, the one written last."""
        said = [agreement for agreement in self.agreements if agreement.who == person]
        return max(reversed(said), key=lambda agreement: agreement.when, default=None)

    @property
    def status_reason(self) -> CodeableConcept | None:
        """Extension plan-status-reason, 0..1; required by the profile when on hold or revoked."""
        found = next((e for e in self.extension or () if e.url == PLAN_STATUS_REASON), None)
        return found.valueCodeableConcept if found else None

    @status_reason.setter
    def status_reason(self, reason: CodeableConcept | str | None) -> None:
        new = [Extension(url=PLAN_STATUS_REASON, valueCodeableConcept=concept(reason))] if reason else []
        self.extension = replaced(self.extension, PLAN_STATUS_REASON, new)


class CoproductionGoal(Profiled, Goal):
    """What the patient wants to reach, in their own words; who accepts it, and how much it matters to each.

    Profile coproduction-goal on Goal. Clinical wording goes to `note`, with its author. Source: "see me" in
    the spinal-surgery study; "not getting worse" in the Danish clinic.
    """

    profile_id: ClassVar[str] = "coproduction-goal"

    @classmethod
    def in_own_words(
        cls,
        words: str,
        *,
        patient: str,
        expressed_by: str | None = None,
        lifecycle_status: GoalStatus = "proposed",
        acceptances: Sequence[GoalAcceptance] = (),
    ) -> Self:
        """Build a goal from what the patient said or wrote.

        words:        Goal.description.text, 1..1, verbatim
        patient:      Goal.subject, 1..1, Patient
        expressed_by: Goal.expressedBy, 1..1, Patient or RelatedPerson; the patient if left out
        """
        goal = cls(
            lifecycleStatus=lifecycle_status,
            description=CodeableConcept(text=words),
            subject=reference(patient),
            expressedBy=reference(expressed_by or patient),
        )
        goal.acceptances = list(acceptances)
        return goal

    @property
    def words(self) -> str:
        """Goal.description.text: the patient's words. An EHR never overwrites them."""
        return self.description.text or ""

    @property
    def acceptances(self) -> list[GoalAcceptance]:
        """R4 extension goal-acceptance, 0..*, one per person."""
        return all_of(GoalAcceptance, self.extension)

    @acceptances.setter
    def acceptances(self, acceptances: Iterable[GoalAcceptance]) -> None:
        new = [acceptance.to_extension() for acceptance in acceptances]
        self.extension = replaced(self.extension, GoalAcceptance.url, new)

    @property
    def agency(self) -> Agency | None:
        """Extension agency, 0..1: who leads."""
        return first_of(Agency, self.extension)

    @agency.setter
    def agency(self, agency: Agency | None) -> None:
        new = [agency.to_extension()] if agency else []
        self.extension = replaced(self.extension, Agency.url, new)


class _PlanTask(Profiled, Task):
    """What the tasks of a plan have in common."""

    @classmethod
    def _taken_on(
        cls,
        description: str,
        patient: str,
        owner: str,
        requester: str | None,
        agreed: str | None,
        by_when: str | None,
        status: TaskStatus,
        plan: str | None,
        goals: Sequence[str],
        agency: Agency | None,
    ) -> Self:
        task = cls.model_validate(
            {
                "status": status,
                "intent": "plan",
                "code": coded("task-kind", "plan-activity"),
                "description": description,
                "for": reference(patient),
                "owner": reference(owner),
                "requester": reference(requester) if requester else None,
                "authoredOn": agreed,
                "restriction": {"period": {"end": by_when}} if by_when else None,
                "basedOn": [reference(plan)] if plan else None,
                "extension": [
                    Extension(url=PERTAINS_TO_GOAL, valueReference=reference(goal)) for goal in goals
                ]
                or None,
            }
        )
        task.agency = agency
        return task

    @property
    def goals(self) -> list[str]:
        """R4 extension resource-pertainsToGoal, 0..*: references to the goals it serves."""
        return goals_of(self.extension)

    @property
    def agency(self) -> Agency | None:
        """Extension agency, 0..1: who leads."""
        return first_of(Agency, self.extension)

    @agency.setter
    def agency(self, agency: Agency | None) -> None:
        new = [agency.to_extension()] if agency else []
        self.extension = replaced(self.extension, Agency.url, new)


class PlanTask(_PlanTask):
    """What one person, on either side, takes on in the plan: in plain words, by when, for which goal.

    Profile plan-task on Task. The owner moves the status. What the patient or a relative takes on is a
    `PatientTask`.
    """

    profile_id: ClassVar[str] = "plan-task"

    @classmethod
    def build(
        cls,
        description: str,
        *,
        patient: str,
        owner: str,
        requester: str | None = None,
        agreed: str | None = None,
        by_when: str | None = None,
        status: TaskStatus = "requested",
        plan: str | None = None,
        goals: Sequence[str] = (),
        agency: Agency | None = None,
    ) -> Self:
        """Build a task from plain words.

        description: Task.description, 1..1
        patient:     Task.for, 1..1, Patient
        owner:       Task.owner, 1..1: who does it
        requester:   Task.requester: who proposes it
        agreed:      Task.authoredOn: when it was agreed, as FHIR dateTime
        by_when:     Task.restriction.period.end: the date by which it is agreed to be done
        plan:        Task.basedOn: the shared plan
        goals:       R4 extension resource-pertainsToGoal, 0..*
        """
        return cls._taken_on(
            description, patient, owner, requester, agreed, by_when, status, plan, goals, agency
        )


class PatientTask(_PlanTask):
    """What the patient or a relative has taken on in the plan, as far as they can and want.

    Profile patient-task on Task. They accept it, put it off or hand it back; a missed date is a question.
    """

    profile_id: ClassVar[str] = "patient-task"

    @classmethod
    def build(
        cls,
        description: str,
        *,
        patient: str,
        owner: str | None = None,
        agreed: str,
        by_when: str | None = None,
        status: TaskStatus = "accepted",
        plan: str | None = None,
        goals: Sequence[str] = (),
        agency: Agency | None = None,
    ) -> Self:
        """Build a task from plain words.

        description: Task.description, 1..1
        patient:     Task.for, 1..1, Patient
        owner:       Task.owner, 1..1, Patient or RelatedPerson; the patient if left out
        agreed:      Task.authoredOn: when it was agreed, as FHIR dateTime
        by_when:     Task.restriction.period.end: the date by which it is agreed to be done
        plan:        Task.basedOn: the shared plan
        goals:       R4 extension resource-pertainsToGoal, 0..*
        """
        return cls._taken_on(
            description, patient, owner or patient, None, agreed, by_when, status, plan, goals, agency
        )


def goals_of(extensions: Iterable[Extension] | None) -> list[str]:
    """References in the extension resource-pertainsToGoal."""
    return [referred(e.valueReference) for e in extensions or () if e.url == PERTAINS_TO_GOAL]


def phase_of(extensions: Iterable[Extension] | None) -> Phase | None:
    """The code in the extension coproduction-phase."""
    found = next((e for e in extensions or () if e.url == PHASE), None)
    return cast(Phase, found.valueCode) if found and found.valueCode else None


def with_phase(extensions: Sequence[Extension] | None, phase: Phase | None) -> list[Extension] | None:
    """The same extensions with that phase, or without a phase."""
    return replaced(extensions, PHASE, [Extension(url=PHASE, valueCode=phase)] if phase else [])
