"""Profile classes for messages between patient, relatives, professionals and departments, and for silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from fhir.resources.R4B.communication import Communication, CommunicationPayload
from fhir.resources.R4B.communicationrequest import CommunicationRequest

from fhir_coprod.profiles.care_plan import phase_of, with_phase
from fhir_coprod.profiles.elements import coded, concept, period, reference, references
from fhir_coprod.profiles.extensions import Phase
from fhir_coprod.profiles.model import Profiled


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
                "recipient": references(recipients),
                "sent": sent,
                "about": references(about),
                "topic": coded("communication-topic", topic) if topic else None,
                "reasonCode": [concept(why)] if why else None,
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


class DoNotContact(Profiled, CommunicationRequest):
    """The patient does not want to be written to or called about something, for a time.

    Profile do-not-contact on CommunicationRequest. It silences messages to the patient only, never alerts to
    staff. Source: the patient decides how to be met (migrant clinic).
    """

    profile_id: ClassVar[str] = "do-not-contact"

    @classmethod
    def build(
        cls,
        *,
        patient: str,
        asked: str,
        asked_by: str | None = None,
        start: str | None = None,
        end: str | None = None,
        about: Sequence[str] = (),
        why: str | None = None,
        status: Literal["active", "revoked"] = "active",
    ) -> Self:
        """Build the patient's word that nobody shall contact them.

        patient:    CommunicationRequest.subject, 1..1, Patient
        asked:      CommunicationRequest.authoredOn, 1..1, FHIR dateTime
        asked_by:   CommunicationRequest.requester, 1..1; the patient if left out
        start, end: CommunicationRequest.occurrencePeriod, 0..1: for how long
        about:      CommunicationRequest.about, 0..*: only about these; everything if left out
        why:        CommunicationRequest.reasonCode.text
        """
        return cls.model_validate(
            {
                "status": status,
                "doNotPerform": True,
                "subject": reference(patient),
                "about": references(about),
                "occurrencePeriod": period(start, end),
                "authoredOn": asked,
                "requester": reference(asked_by or patient),
                "reasonCode": [concept(why)] if why else None,
            }
        )
