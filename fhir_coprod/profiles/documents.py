"""Profile classes for what is written: information for the patient, options of a decision, the life story."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

from fhir.resources.R4B.documentreference import DocumentReference

from fhir_coprod.profiles.elements import LABEL, coded, reference, references
from fhir_coprod.profiles.model import Profiled

DocStatus = Literal["preliminary", "final", "amended", "entered-in-error"]


class _Written(Profiled, DocumentReference):
    """A text in one language, in the record or somewhere else."""

    @classmethod
    def _built(
        cls, kind: str, author: Sequence[str], date: str | None, attachment: dict[str, Any], **members: Any
    ) -> Self:
        return cls.model_validate(
            {
                "status": "current",
                "type": coded("document-kind", kind),
                "author": references(author),
                "date": date,
                "content": [{"attachment": attachment}],
                **members,
            }
        )

    @property
    def words(self) -> str | None:
        """The words, if they are in the record as text in UTF-8; None when they are not."""
        attachment = self.content[0].attachment
        if attachment.data is None or not (attachment.contentType or "").startswith("text/"):
            return None
        data: bytes = attachment.data  # the model has decoded base64
        try:
            return data.decode()
        except UnicodeDecodeError:
            return None


def plain(text: str, language: str, title: str | None = None) -> dict[str, Any]:
    """Plain text as an Attachment."""
    told = {"contentType": "text/plain", "language": language, "title": title}
    return {**told, "data": base64.b64encode(text.encode()).decode()}


class WrittenInformation(_Written):
    """What was said, in the patient's language and in plain words, to read again at home.

    Profile written-information on DocumentReference. It reaches the patient through a Communication. A
    document that is not plain text is one of these, too: set `content` to its Attachment.
    """

    profile_id: ClassVar[str] = "written-information"

    @classmethod
    def build(
        cls,
        title: str,
        text: str,
        *,
        language: str,
        description: str,
        patient: str | None = None,
        author: str | None = None,
        date: str | None = None,
        kind: Literal["written-information", "instructions"] = "written-information",
        about: Sequence[str] = (),
        doc_status: DocStatus = "final",
    ) -> Self:
        """Build information in plain text.

        title:       DocumentReference.content.attachment.title, 1..1
        text:        its words
        language:    DocumentReference.content.attachment.language, 1..1 (BCP 47)
        description: DocumentReference.description, 1..1: what it says, in a sentence
        patient:     DocumentReference.subject, 0..1; none if it is for everybody
        date:        DocumentReference.date, FHIR instant
        kind:        DocumentReference.type, 1..1, required binding
        about:       DocumentReference.context.related: the event that it should come before
        doc_status:  DocumentReference.docStatus: final when it may be given out
        """
        return cls._built(
            kind,
            [author] if author else [],
            date,
            plain(text, language, title),
            docStatus=doc_status,
            subject=reference(patient) if patient else None,
            description=description,
            context={"related": references(about)} if about else None,
        )


class DecisionOption(_Written):
    """One option of a decision (doing nothing is one): what it is, risks, benefits, and what to expect.

    Profile decision-option on DocumentReference. The options go out together in a Communication with topic
    decision; the choice stands in the plan's agreement.
    """

    profile_id: ClassVar[str] = "decision-option"

    @classmethod
    def build(
        cls,
        title: str,
        text: str,
        *,
        language: str,
        description: str,
        patient: str,
        author: str,
        date: str | None = None,
        doc_status: DocStatus = "final",
    ) -> Self:
        """Build an option in plain text.

        title:       DocumentReference.content.attachment.title, 1..1
        text:        its words
        language:    DocumentReference.content.attachment.language, 1..1 (BCP 47)
        description: DocumentReference.description, 1..1: what it says, in a sentence
        patient:     DocumentReference.subject, 1..1, Patient
        author:      DocumentReference.author, 1..*
        date:        DocumentReference.date, FHIR instant
        doc_status:  DocumentReference.docStatus: final before it is talked about
        """
        return cls._built(
            "decision-option",
            [author],
            date,
            plain(text, language, title),
            docStatus=doc_status,
            subject=reference(patient),
            description=description,
        )


class LifeStory(_Written):
    """What the person has told or written about their life. It is theirs.

    Profile life-story on DocumentReference. Its label (NOAUTH) keeps it out of other scopes until they, or
    somebody for them, release it.
    """

    profile_id: ClassVar[str] = "life-story"

    @classmethod
    def told(
        cls,
        text: str,
        *,
        patient: str,
        language: str,
        author: str | None = None,
        date: str | None = None,
        description: str | None = None,
    ) -> Self:
        """Build a life story, as it was told.

        patient:     DocumentReference.subject, 1..1, Patient
        language:    DocumentReference.content.attachment.language (BCP 47)
        author:      DocumentReference.author, 1..*, Patient or RelatedPerson; the patient if left out
        date:        DocumentReference.date, FHIR instant
        description: DocumentReference.description: how it was told
        """
        return cls._built(
            "life-story",
            [author or patient],
            date,
            plain(text, language),
            subject=reference(patient),
            description=description,
            meta={"security": [LABEL]},
        )
