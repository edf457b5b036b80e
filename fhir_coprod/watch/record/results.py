"""Reads what may answer a referral, or tell somebody of it: reports, documents, messages, objections.
Pure."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Final

from fhir_coprod.alike import thing
from fhir_coprod.jsontext import Json
from fhir_coprod.watch.record.around import Held, Surroundings, staff
from fhir_coprod.watch.record.fhir import (
    codes,
    is_written_information,
    last_moment,
    message_about,
    moment,
    target,
)
from fhir_coprod.watch.record.model import Message, Result

FINAL_REPORT: Final = frozenset({"final", "amended", "corrected", "appended"})
FINAL_DOCUMENT: Final = frozenset({"final", "amended"})
BASED_ON: Final = "http://hl7.org/fhir/5.0/StructureDefinition/extension-DocumentReference.basedOn"
"""The element of R5 as R4 carries it."""


def read_result(
    held: Held,
    around: Surroundings,
    task: str = "",
    asked: Collection[str] = (),
    since: datetime | None = None,
    *,
    named: bool = False,
) -> Result | None:
    """Read a final DiagnosticReport or DocumentReference; None if it is not a result, or not yet.

    asked: the departments that were asked: a document of theirs counts without a docStatus, too.
    since: when they were asked; an older document is no answer.
    named: whether a Task's output names it.
    """
    if held.type == "DiagnosticReport":
        return _report(held, around, task, named=named)
    return _document(held, around, task, asked, since, named=named)


def _report(held: Held, around: Surroundings, task: str, *, named: bool) -> Result | None:
    data = held.data
    authors = around.parties(*(data.get("performer") or ()), *(data.get("resultsInterpreter") or ()))
    if data.get("status") not in FINAL_REPORT or (authors and not staff(authors)):
        return None
    first_stored, first = next(
        (version for version in held.versions if version[1].get("status") in FINAL_REPORT), held.versions[-1]
    )
    at = moment(first.get("issued"), around.zone)
    what = thing(data.get("code"))
    return Result(held.reference, at or first_stored, at is None, staff(authors), task, what, named)


def _document(
    held: Held,
    around: Surroundings,
    task: str,
    asked: Collection[str],
    since: datetime | None,
    *,
    named: bool,
) -> Result | None:
    data = held.data
    authors = around.parties(*(data.get("author") or ())) or around.parties(data.get("custodian"))
    kind = around.words.of(data.get("type"))
    if data.get("status") == "entered-in-error" or is_written_information(data) or "referral-note" in kind:
        return None
    if authors and not staff(authors):
        return None
    final = _final_version(held)
    if final is None:
        theirs = not set(asked).isdisjoint((*authors, *around.parties(data.get("custodian"))))
        said = data.get("docStatus") is not None or data.get("status") != "current"
        if said or not (theirs or named or "answer" in kind):
            return None
        final = next(version for version in held.versions if version[1].get("status") == "current")
    stored, version = final
    at, latest = moment(version.get("date"), around.zone), last_moment(version.get("date"), around.zone)
    if since is not None and latest is not None and latest < since:
        return None
    return Result(held.reference, at or stored, at is None, staff(authors), task, (), named)


def _final_version(held: Held) -> tuple[datetime, Json] | None:
    """The first version with a final docStatus, if the current one has one."""
    if held.data.get("docStatus") not in FINAL_DOCUMENT:
        return None
    return next(version for version in held.versions if version[1].get("docStatus") in FINAL_DOCUMENT)


def document_about(data: Json) -> list[Json]:
    """The references of R5's element basedOn, which R4 carries as an extension."""
    return [
        one["valueReference"]
        for one in data.get("extension") or ()
        if one.get("url") == BASED_ON and isinstance(one.get("valueReference"), dict)
    ]


def read_message(held: Held, around: Surroundings, results: Collection[str] = ()) -> Message | None:
    """Read a completed Communication and when it was sent; None for a draft or an unknown time, which prove
    nothing.

    results: reports and documents of the referral: a message about one of them carries it.
    """
    data = held.data
    sent, latest = moment(data.get("sent"), around.zone), last_moment(data.get("sent"), around.zone)
    if data.get("status") != "completed" or sent is None or latest is None:
        return None
    kinds = (*(data.get("category") or ()), *(data.get("reasonCode") or ()), data.get("topic"))
    return Message(
        sent,
        latest,
        around.parties(*(data.get("recipient") or ())),
        held.reference,
        around.parties(data.get("sender")),
        around.words.of(*kinds),
        not set(results).isdisjoint(message_about(data)),
    )


def bound_by(held: Held, related: frozenset[str], patient: str) -> tuple[str, ...]:
    """Who asked for no messages by this CommunicationRequest, about this referral or at all; () for nobody.

    It binds its recipients; the patient where none is named.
    """
    data = held.data
    about = message_about(data)
    stands = data.get("status") not in ("revoked", "entered-in-error", "draft")
    whose = target(data.get("subject"))
    if not stands or data.get("doNotPerform") is not True or (about and related.isdisjoint(about)):
        return ()
    if whose.startswith("Patient/") and whose != patient:
        return ()
    named = [target(one) for one in data.get("recipient") or ()]
    return tuple(name for name in named if name) or (patient,)


def refusal(held: Held, around: Surroundings) -> datetime | None:
    """When a Communication was not sent because the patient objected to it; None for any other."""
    data = held.data
    objected = any(code.endswith("|patient-objection") for code in codes(data.get("statusReason")))
    if data.get("status") != "not-done" or not objected:
        return None
    return moment(data.get("sent"), around.zone) or held.first_stored(
        lambda version: version.get("status") == "not-done"
    )


def objects(data: Json, around: Surroundings) -> bool:
    """Whether a ServiceRequest says that the patient wants no messages (orderDetail)."""
    return "do-not-contact" in around.words.of(*(data.get("orderDetail") or ()))


def patients_named(data: Json) -> set[str]:
    """The patients that a CommunicationRequest may be a wish of."""
    given = [data.get("subject"), data.get("requester"), data.get("sender"), *(data.get("recipient") or ())]
    return {name for reference in given if (name := target(reference)).startswith("Patient/")}
