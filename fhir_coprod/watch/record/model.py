"""The facts about one referral as plain values: `assess` needs nothing else but a policy and the time.

All times are aware and in UTC. References are the strings of `Reference.reference`, or `system|value` if only
an identifier was given. Codes are `system|code`. A `stored` flag marks a time that the resource itself did
not carry: it is when we first stored that state, so the event may be older.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Final

import msgspec

ENDED: Final = frozenset({"completed", "revoked"})
"""ServiceRequest statuses that end a referral."""
NOT_ACTIVE: Final = ENDED | {"draft", "on-hold", "entered-in-error"}
"""Any other status, known to R4 or not, is active."""


class RequestState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The status of a ServiceRequest from some time on."""

    at: datetime
    status: str
    stored: bool = False


class Request(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The referral itself: a ServiceRequest, or a Communication by which a patient asks for one."""

    id: str
    """ServiceRequest/x or Communication/x."""
    patient: str
    states: tuple[RequestState, ...]
    """In order of time, at least one."""
    authored: datetime
    intent: str = "order"
    by_patient: bool = False
    """Requester (sender) is a Patient or RelatedPerson."""
    priority: str = "routine"
    codes: tuple[str, ...] = ()
    """What is asked for (`alike.thing`): codes, or a text as `|text`."""
    specialties: tuple[str, ...] = ()
    """performerType and category; an override or a guarantee may apply to some of these only."""
    requesters: tuple[str, ...] = ()
    """The requester, and the person and organisation behind that role; show the first one to people."""
    departments: tuple[str, ...] = ()
    """performer, and the organisations behind it."""
    based_on: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    requisition: str = ""
    do_not_perform: bool = False
    authored_stored: bool = False
    wanted_from: datetime | None = None
    """occurrence[x]: when what is asked for should happen, or begin."""
    because: tuple[str, ...] = ()
    """Why it is in its status (extension request-statusReason), in the words of `record.words`."""
    ordered_for: tuple[str, ...] = ()
    """If somebody in between wrote it in order to carry out another referral: who asked for that one, and
    gets the answer."""
    profiles: tuple[str, ...] = ()
    """Canonicals that it claims, without version."""
    between: str = "unclear"
    """What requester and performer are to each other: a `parties.Between`."""
    says: tuple[str, ...] = ()
    """What its code and category mean, in the words of `record.words`."""


class TaskState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The state of a Task from some time on."""

    at: datetime
    status: str
    stored: bool = False
    owner: str = ""
    departments: tuple[str, ...] = ()
    """The owner, and the organisation behind it."""
    reasons: tuple[str, ...] = ()
    """Codes of statusReason and businessStatus."""
    review: datetime | None = None
    """restriction.period.end."""
    outputs: tuple[str, ...] = ()
    """References that Task.output names."""
    says: tuple[str, ...] = ()
    """What businessStatus means, in the words of `record.words`."""
    because: tuple[str, ...] = ()
    """The same of statusReason."""
    answers: bool = False
    """Task.output holds a code or a text: an answer without a document."""


class Task(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A Task by which the referral is sent to one department."""

    id: str
    states: tuple[TaskState, ...]
    """In order of time, at least one."""
    authored: datetime | None = None
    requesters: tuple[str, ...] = ()
    request: str = ""
    """The referral that it carries out, if that is another one, written by somebody in between; "": this
    one."""
    part_of: tuple[str, ...] = ()
    """The Tasks of this referral, or of those above it, that it carries out a part of."""
    colleagues: tuple[str, ...] = ()
    """Its owners who belong to the requester's own department, as a nurse of the ward."""


class AppointmentState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The state of an Appointment from some time on."""

    at: datetime
    status: str
    stored: bool = False
    start: datetime | None = None
    end: datetime | None = None


class Appointment(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A time for the patient, booked or not yet."""

    id: str
    created: datetime
    states: tuple[AppointmentState, ...]
    """In order of versions, at least one; `at` is the latest time at which that state can have begun."""
    created_stored: bool = False
    departments: tuple[str, ...] = ()
    task: str = ""


class Visit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An Encounter that the patient attended (arrived, triaged, in-progress, onleave or finished)."""

    id: str
    start: datetime
    end: datetime | None = None
    """When it finished; None while it goes on."""
    start_stored: bool = False
    end_stored: bool = False
    departments: tuple[str, ...] = ()
    task: str = ""


class Result(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A final DiagnosticReport or DocumentReference."""

    id: str
    at: datetime
    """When it became final."""
    stored: bool = False
    authors: tuple[str, ...] = ()
    task: str = ""
    """The Task whose output or context names it."""
    codes: tuple[str, ...] = ()
    """What was done, as `Request.codes` says it; () for a document or a message."""
    named: bool = False
    """A Task's output names it."""
    in_hand: bool = False
    """The requester has it: it is a part of the finished Task, or is itself a message to them."""


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A completed Communication about any resource of the referral."""

    sent: datetime
    latest: datetime
    """The last instant that `sent` may mean: a date without a time is the whole day."""
    recipients: tuple[str, ...]
    id: str = ""
    senders: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    """What kind of message it is, in the words of `record.words`."""
    carries: bool = False
    """It is about a report or a document on record, and so is no answer of its own."""


class SideTask(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A Task that is about the referral but does not send it anywhere: the requester's own work, or a
    question for more information."""

    id: str
    states: tuple[RequestState, ...]
    owners: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    """What its code asks for, in the words of `record.words`."""
    authored: datetime | None = None


class Sibling(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Another ServiceRequest of the same patient."""

    id: str
    authored: datetime
    states: tuple[RequestState, ...]
    by_patient: bool = False
    codes: tuple[str, ...] = ()
    departments: tuple[str, ...] = ()
    based_on: tuple[str, ...] = ()
    """basedOn and supportingInfo."""
    replaces: tuple[str, ...] = ()
    requisition: str = ""


class Blind(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A resource type that cannot be seen at one EHR, or has not been seen lately."""

    type: str
    ehr: str
    departments: tuple[str, ...] = ()
    """The departments whose records that EHR holds; empty: it may hold anybody's."""
    since: datetime | None = None
    reason: str = ""
    down: bool = False
    """True: it should be visible but is not now (failed or behind). False: the server never shows it."""
    record: str = ""
    """Only this resource of ours is concerned, since its newest version could not be taken in, or cannot be
    read; "": every resource of the type."""
    is_own: bool = False
    """That resource is known to belong to the referral: it exists, and only what it proves cannot be seen."""
    made: str = ""
    """When the unseen records say that they were made; "" if that is not known."""

    @property
    def is_nameless(self) -> bool:
        """Whether it is about records that say neither what nor whom they belong to: no reason to be silent
        about an urgent referral."""
        return not self.ehr and not self.record


class Facts(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Everything known about one referral."""

    request: Request
    tasks: tuple[Task, ...] = ()
    appointments: tuple[Appointment, ...] = ()
    visits: tuple[Visit, ...] = ()
    results: tuple[Result, ...] = ()
    messages: tuple[Message, ...] = ()
    side_tasks: tuple[SideTask, ...] = ()
    siblings: tuple[Sibling, ...] = ()
    proxies: tuple[str, ...] = ()
    """Active RelatedPersons of the patient."""
    do_not_contact: bool = False
    """The patient asked for no messages."""
    blind: tuple[Blind, ...] = ()
    practice: tuple[tuple[str, str], ...] = ()
    """Steps that are not surely in use where it comes from, each with its use (`rules/steps.py`)."""
    silent: tuple[str, ...] = ()
    """Relatives who asked for no messages, or to whom the patient wants none to go."""
    refused: tuple[datetime, ...] = ()
    """When a message was not sent as the patient objected to it, to that one only."""
    pending: tuple[str, ...] = ()
    """Reports and documents on record that are not final."""
    unknown: tuple[str, ...] = ()
    """States that nobody knows: `Type status` for one that R4 does not have, `system|code` for one of a
    Task's own that no file translates."""
    born: date | None = None
    deceased: datetime | None = None
    """When the patient died; if only the fact is recorded, when that was stored."""
