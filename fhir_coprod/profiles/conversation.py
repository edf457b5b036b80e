"""Profile class for messages between patient, relatives, professionals and departments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self

from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.coding import Coding
from fhir.resources.R4B.communication import Communication, CommunicationPayload

from fhir_coprod.definitions import CANONICAL
from fhir_coprod.profiles.care_plan import phase_of, with_phase
from fhir_coprod.profiles.extensions import Phase
from fhir_coprod.profiles.model import Profiled, reference


class CoproductionCommunication(Profiled, Communication):
    """Something said or written: who to whom, when, about what, and why.

    Profile coproduction-communication on Communication. For the referral watch, a completed one to the
    patient about a referral proves that the patient was told. Source: "desiring to know what and why" in the
    spinal-surgery study.
    """

    profile_id: ClassVar[str] = "coproduction-communication"

    @classmethod
    def said(
        cls,
        words: str,
        *,
        patient: str,
        sender: str,
        recipients: Sequence[str],
        sent: str,
        about: Sequence[str] = (),
        topic: str | None = None,
        why: str | None = None,
        in_response_to: str | None = None,
        phase: Phase | None = None,
    ) -> Self:
        """Build a communication that took place.

        words:      Communication.payload.contentString
        patient:    Communication.subject, 1..1, Patient
        sender:     Communication.sender, required when completed
        recipients: Communication.recipient, at least one when completed
        sent:       Communication.sent, FHIR dateTime, required when completed
        about:      Communication.about: the referral, Task, appointment, plan or result
        topic:      Communication.topic, code of CodeSystem communication-topic (extensible)
        why:        Communication.reasonCode.text
        """
        said = cls.model_validate(
            {
                "status": "completed",
                "subject": reference(patient),
                "sender": reference(sender),
                "recipient": [reference(recipient) for recipient in recipients],
                "sent": sent,
                "about": [reference(thing) for thing in about] or None,
                "topic": _topic(topic) if topic else None,
                "reasonCode": [CodeableConcept(text=why)] if why else None,
                "inResponseTo": [reference(in_response_to)] if in_response_to else None,
                "payload": [CommunicationPayload(contentString=words)],
            }
        )
        said.phase = phase
        return said

    @property
    def phase(self) -> Phase | None:
        """Extension coproduction-phase, 0..1, required binding: the current phase of the cycle."""
        return phase_of(self.extension)

    @phase.setter
    def phase(self, phase: Phase | None) -> None:
        self.extension = with_phase(self.extension, phase)


def _topic(code: str) -> CodeableConcept:
    system = f"{CANONICAL}/CodeSystem/communication-topic"
    return CodeableConcept(coding=[Coding(system=system, code=code)])
