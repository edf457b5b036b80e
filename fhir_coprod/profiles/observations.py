"""Profile classes for what is observed with the person: everyday life, readiness, barriers, teach-back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.period import Period
from fhir.resources.R4B.quantity import Quantity

from fhir_coprod.profiles.elements import code_in, coded, note, reference, references
from fhir_coprod.profiles.model import Profiled

Everyday = Literal["work", "sick-leave", "family-care", "home", "economy", "transport", "daily-activities"]
"""ValueSet everyday-life-code: what has to be arranged around care."""
ReadinessKind = Literal["readiness", "confidence", "importance", "capability"]
"""ValueSet readiness-code: what the person can and wants to do now."""
BarrierKind = Literal[
    "fear",
    "pain",
    "language",
    "money",
    "work",
    "care-of-others",
    "transport",
    "waiting",
    "trust",
    "not-informed",
]
"""CodeSystem barrier-kind: what keeps a person from a goal."""
TeachBackResult = Literal["understood", "understood-in-part", "not-understood"]
"""CodeSystem teach-back-result: it judges the explanation, not the person."""

_KIND = "coproduction-observation"


class _Observed(Profiled, Observation):
    """What these observations have in common."""

    @classmethod
    def _seen(cls, code: CodeableConcept, patient: str, when: str, by: Sequence[str], **members: Any) -> Self:
        return cls.model_validate(
            {
                "status": "final",
                "code": code,
                "subject": reference(patient),
                "effectiveDateTime": when,
                "performer": references(by),
                **members,
            }
        )

    @property
    def kind(self) -> str:
        """Observation.code: the code, "" where there are only words."""
        return code_in(self.code)


class EverydayLife(_Observed):
    """Work, sick leave, family and home, as far as care has to fit in with them.

    Profile everyday-life on Observation. Source: sick leave, single parents, the self-employed
    (spinal-surgery study).
    """

    profile_id: ClassVar[str] = "everyday-life"

    @classmethod
    def build(
        cls,
        kind: Everyday | CodeableConcept,
        value: str | CodeableConcept | Period | Quantity,
        *,
        patient: str,
        when: str,
        told_by: str | None = None,
    ) -> Self:
        """Build what was told about everyday life.

        kind:    Observation.code, 1..1, extensible binding: a code of everyday-life-code, or a concept
        value:   Observation.value[x], 1..1: words, a concept, from when to when, or how much
        patient: Observation.subject, 1..1, Patient
        when:    Observation.effectiveDateTime, 1..1
        told_by: Observation.performer: the patient if left out
        """
        carrier = next((name for type_, name in _CARRIERS if isinstance(value, type_)), None)
        if carrier is None:
            raise TypeError(
                f"value is words, a CodeableConcept, a Period or a Quantity, not a {type(value).__name__}."
            )
        social = coded("http://terminology.hl7.org/CodeSystem/observation-category", "social-history")
        return cls._seen(
            coded(_KIND, kind), patient, when, [told_by or patient], category=[social], **{carrier: value}
        )


_CARRIERS: tuple[tuple[type, str], ...] = (
    (str, "valueString"),
    (CodeableConcept, "valueCodeableConcept"),
    (Period, "valuePeriod"),
    (Quantity, "valueQuantity"),
)


class Readiness(_Observed):
    """Readiness, confidence or importance from 0 to 10, or capability in words, as the person says it.

    Profile readiness on Observation. Source: willingness and capabilities; small steps (migrant clinic).
    """

    profile_id: ClassVar[str] = "readiness"

    @classmethod
    def said(
        cls,
        kind: ReadinessKind,
        value: int | str,
        *,
        patient: str,
        about: Sequence[str],
        when: str,
        said_by: str | None = None,
        words: str | None = None,
    ) -> Self:
        """Build what the person said.

        kind:    Observation.code, 1..1, required binding
        value:   Observation.value[x], 1..1: a number from 0 to 10, or words
        patient: Observation.subject, 1..1, Patient
        about:   Observation.focus, 1..*: the goal, task, plan or referral
        when:    Observation.effectiveDateTime, 1..1
        said_by: Observation.performer, 1..*, Patient or RelatedPerson; the patient if left out
        words:   Observation.note: what they said about it
        """
        who = said_by or patient
        carrier = "valueString" if isinstance(value, str) else "valueInteger"
        return cls._seen(
            coded(_KIND, kind),
            patient,
            when,
            [who],
            focus=references(about),
            note=note(words, who),
            **{carrier: value},
        )


class Barrier(_Observed):
    """What stands in the way of a goal, coded where possible, and in the person's own words.

    Profile barrier on Observation. Source: fear behind a reluctance to be examined (migrant clinic).
    """

    profile_id: ClassVar[str] = "barrier"

    @classmethod
    def build(
        cls,
        barrier: BarrierKind | CodeableConcept,
        *,
        patient: str,
        goals: Sequence[str],
        when: str,
        told_by: str | None = None,
        words: str | None = None,
        status: Literal["final", "cancelled"] = "final",
    ) -> Self:
        """Build a barrier to a goal.

        barrier: Observation.valueCodeableConcept, 1..1, extensible binding: a code of CodeSystem barrier-kind
                 or a concept
        patient: Observation.subject, 1..1, Patient
        goals:   Observation.focus, 1..*, Goal
        when:    Observation.effectiveDateTime, 1..1
        told_by: Observation.performer: the patient if left out
        words:   Observation.note: what they said about it
        status:  cancelled when it is gone
        """
        who = told_by or patient
        made = cls._seen(
            coded(_KIND, "barrier"),
            patient,
            when,
            [who],
            focus=references(goals),
            valueCodeableConcept=coded("barrier-kind", barrier),
            note=note(words, who),
        )
        made.status = status
        return made


class TeachBack(_Observed):
    """Whether what was explained could be said back in the person's own words.

    Profile teach-back on Observation. It tests the explanation, not the person.
    """

    profile_id: ClassVar[str] = "teach-back"

    @classmethod
    def build(
        cls,
        result: TeachBackResult,
        *,
        patient: str,
        about: Sequence[str],
        when: str,
        explained_by: str,
        words: str | None = None,
    ) -> Self:
        """Build the result of one teach-back.

        result:       Observation.valueCodeableConcept, 1..1, required binding
        patient:      Observation.subject, 1..1, Patient
        about:        Observation.focus, 1..*: the Communication, document, referral or plan explained
        when:         Observation.effectiveDateTime, 1..1
        explained_by: Observation.performer, 1..*: the professional
        words:        Observation.note: how the patient said it
        """
        return cls._seen(
            coded(_KIND, "teach-back"),
            patient,
            when,
            [explained_by],
            focus=references(about),
            valueCodeableConcept=coded("teach-back-result", result),
            note=note(words, patient),
        )

    @property
    def result(self) -> str:
        """Observation.valueCodeableConcept: code of CodeSystem teach-back-result."""
        return code_in(self.valueCodeableConcept)
