"""Profile classes for the person: who they are, what troubles them, their family, how they were met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self

from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.condition import Condition
from fhir.resources.R4B.extension import Extension
from fhir.resources.R4B.familymemberhistory import FamilyMemberHistory
from fhir.resources.R4B.list import List
from fhir.resources.R4B.patient import Patient
from fhir.resources.R4B.questionnaireresponse import QuestionnaireResponse

from fhir_coprod.definitions import CANONICAL
from fhir_coprod.profiles.elements import coded, concept, languages, note, reference, referred
from fhir_coprod.profiles.extensions import replaced
from fhir_coprod.profiles.model import Profiled

Gender = Literal["male", "female", "other", "unknown"]
Question = Literal["heard", "seriously", "person", "what-and-why", "decided", "kept", "trust"]
"""The statements of Questionnaire respect-and-trust, by linkId."""
Rating = Literal["not-at-all", "a-little", "half", "mostly", "completely", "does-not-apply"]
"""CodeSystem rating: how far a person agrees with a statement."""

_INTERPRETER = "http://hl7.org/fhir/StructureDefinition/patient-interpreterRequired"


class CoproductionPatient(Profiled, Patient):
    """The person, with the language to speak and write in, and whether an interpreter is needed.

    Profile coproduction-patient on Patient. Source: interpreters as equal colleagues (migrant clinic).
    """

    profile_id: ClassVar[str] = "coproduction-patient"

    @classmethod
    def build(
        cls,
        *,
        family: str,
        given: Sequence[str] = (),
        birth_date: str | None = None,
        gender: Gender | None = None,
        identifiers: Mapping[str, str] | None = None,
        phone: str | None = None,
        speaks: Sequence[str] = (),
        interpreter: bool | None = None,
    ) -> Self:
        """Build a patient.

        family, given: Patient.name
        birth_date:    Patient.birthDate, in the precision that is known
        identifiers:   Patient.identifier: number by its system (an address)
        phone:         Patient.telecom
        speaks:        Patient.communication.language (BCP 47), the preferred one first
        interpreter:   R4 extension patient-interpreterRequired; None: not known
        """
        made = cls.model_validate(
            {
                "active": True,
                "identifier": [{"system": s, "value": v} for s, v in (identifiers or {}).items()] or None,
                "name": [{"family": family, "given": list(given) or None}],
                "birthDate": birth_date,
                "gender": gender,
                "telecom": [{"system": "phone", "value": phone}] if phone else None,
                "communication": languages(speaks),
            }
        )
        made.interpreter_required = interpreter
        return made

    @property
    def interpreter_required(self) -> bool | None:
        """R4 extension patient-interpreterRequired, 0..1; None: not known."""
        found = next((e for e in self.extension or () if e.url == _INTERPRETER), None)
        return found.valueBoolean if found else None

    @interpreter_required.setter
    def interpreter_required(self, required: bool | None) -> None:
        new = [] if required is None else [Extension(url=_INTERPRETER, valueBoolean=required)]
        self.extension = replaced(self.extension, _INTERPRETER, new)


class PatientConcern(Profiled, Condition):
    """One thing that troubles the patient, verbatim. It is not a diagnosis.

    Profile patient-concern on Condition. Source: the problem list that the patient writes (migrant clinic).
    """

    profile_id: ClassVar[str] = "patient-concern"

    @classmethod
    def in_own_words(
        cls,
        words: str,
        *,
        patient: str,
        said_by: str | None = None,
        recorded: str | None = None,
        recorder: str | None = None,
    ) -> Self:
        """Build a concern from what the patient said or wrote.

        words:    Condition.code.text, 1..1, verbatim
        patient:  Condition.subject, 1..1, Patient
        said_by:  Condition.asserter, 1..1, Patient or RelatedPerson; the patient if left out
        recorded: Condition.recordedDate, FHIR dateTime
        recorder: Condition.recorder: who wrote it down
        """
        return cls.model_validate(
            {
                "clinicalStatus": coded("http://terminology.hl7.org/CodeSystem/condition-clinical", "active"),
                "category": [coded("concern-category", "health-concern")],
                "code": {"text": words},
                "subject": reference(patient),
                "asserter": reference(said_by or patient),
                "recordedDate": recorded,
                "recorder": reference(recorder) if recorder else None,
            }
        )

    @property
    def words(self) -> str:
        """Condition.code.text: the patient's words."""
        return (self.code.text or "") if self.code else ""


class PatientProblemList(Profiled, List):
    """What troubles the patient, the worst first, in the patient's order.

    Profile patient-problem-list on List. A professional may write it down; the patient is its source.
    """

    profile_id: ClassVar[str] = "patient-problem-list"

    @classmethod
    def ranked(cls, concerns: Sequence[str], *, patient: str, date: str, title: str | None = None) -> Self:
        """Build the list.

        concerns: List.entry.item, PatientConcern, the worst first
        patient:  List.subject and List.source, 1..1, Patient
        date:     List.date, 1..1, FHIR dateTime
        title:    List.title
        """
        return cls.model_validate(
            {
                "status": "current",
                "mode": "working",
                "title": title,
                "code": coded("list-kind", "patient-problem-list"),
                "subject": reference(patient),
                "source": reference(patient),
                "date": date,
                "orderedBy": coded("http://terminology.hl7.org/CodeSystem/list-order", "priority"),
                "entry": [{"item": reference(concern)} for concern in concerns] or None,
            }
        )

    @property
    def concerns(self) -> list[str]:
        """List.entry.item: references to the concerns, the worst first."""
        return [referred(entry.item) for entry in self.entry or ()]


class FamilyMember(Profiled, FamilyMemberHistory):
    """A relative, living or dead, what they had, and what that means to the patient.

    Profile family-member on FamilyMemberHistory. Source: the family tree (migrant clinic).
    """

    profile_id: ClassVar[str] = "family-member"

    @classmethod
    def build(
        cls,
        relationship: str | CodeableConcept,
        *,
        patient: str,
        name: str | None = None,
        deceased: bool | None = None,
        conditions: Sequence[str | CodeableConcept] = (),
        meaning: str | None = None,
        noted_by: str | None = None,
        date: str | None = None,
        status: Literal["partial", "completed"] = "completed",
    ) -> Self:
        """Build a member of the family tree.

        relationship: FamilyMemberHistory.relationship, 1..1; words become its text
        patient:      FamilyMemberHistory.patient, 1..1, Patient
        conditions:   FamilyMemberHistory.condition.code: what they had; words become its text
        meaning:      FamilyMemberHistory.note: what it means to the patient; `noted_by` is its author
        date:         FamilyMemberHistory.date: when it was told
        """
        return cls.model_validate(
            {
                "status": status,
                "patient": reference(patient),
                "date": date,
                "name": name,
                "relationship": concept(relationship),
                "deceasedBoolean": deceased,
                "condition": [{"code": concept(condition)} for condition in conditions] or None,
                "note": note(meaning, noted_by),
            }
        )


class RespectAndTrustResponse(Profiled, QuestionnaireResponse):
    """Answers of the patient, or of a relative for them, to the questionnaire respect-and-trust.

    Profile respect-and-trust-response on QuestionnaireResponse. Source: mutual trust and respect are crucial
    (spinal-surgery study).
    """

    profile_id: ClassVar[str] = "respect-and-trust-response"

    @classmethod
    def answered(
        cls,
        answers: Mapping[Question, Rating],
        *,
        patient: str,
        authored: str,
        by: str | None = None,
        words: str | None = None,
    ) -> Self:
        """Build a completed response; each question may be left out.

        answers:  QuestionnaireResponse.item.answer by linkId
        patient:  QuestionnaireResponse.subject, 1..1, Patient
        authored: QuestionnaireResponse.authored, 1..1, FHIR dateTime
        by:       QuestionnaireResponse.source, 1..1, Patient or RelatedPerson; the patient if left out
        words:    the last question: anything they want to tell
        """
        system = f"{CANONICAL}/CodeSystem/rating"
        items = [
            {"linkId": question, "answer": [{"valueCoding": {"system": system, "code": rating}}]}
            for question, rating in answers.items()
        ]
        told = [{"linkId": "words", "answer": [{"valueString": words}]}] if words else []
        return cls.model_validate(
            {
                "questionnaire": f"{CANONICAL}/Questionnaire/respect-and-trust",
                "status": "completed",
                "subject": reference(patient),
                "authored": authored,
                "source": reference(by or patient),
                "item": [*items, *told] or None,
            }
        )

    @property
    def ratings(self) -> dict[str, str]:
        """Code of each rating by linkId of its question."""
        rated = (
            (item.linkId, answer.valueCoding.code)
            for item in self.item or ()
            for answer in (item.answer or ())[:1]
            if answer.valueCoding
        )
        return {question: code for question, code in rated if question and code}
