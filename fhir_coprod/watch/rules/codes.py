"""The codes of stages and stall rules, their English wording, and what each rule needs to see.

The codes are public (command line, alerts, pages); their order and wording are defined here and nowhere else.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class Stage(StrEnum):
    """How far a referral has come, in order."""

    ASKED = "asked"  # the patient asks for a referral nobody has written
    WRITTEN = "written"  # ServiceRequest draft, or active and never given a Task
    SENT = "sent"  # Task requested or ready
    RECEIVED = "received"  # Task received
    ACCEPTED = "accepted"  # Task accepted or in progress
    SCHEDULED = "scheduled"  # Appointment booked
    SEEN = "seen"  # the patient was there
    RESULTED = "resulted"  # a final report or document
    RETURNED = "returned"  # the requester was sent it
    CLOSED = "closed"  # ServiceRequest ended, nothing live, patient told


RANK: Final = MappingProxyType({stage: rank for rank, stage in enumerate(Stage)})
"""How far along each stage is; asked is 0."""
BEFORE_VISIT: Final = frozenset({Stage.SENT, Stage.RECEIVED, Stage.ACCEPTED, Stage.SCHEDULED})


class Rule(StrEnum):
    """What can be wrong with a referral."""

    REQUEST_UNANSWERED = "request-unanswered"
    NOT_SENT = "not-sent"
    DRAFT_LEFT = "draft-left"
    UNACKNOWLEDGED = "unacknowledged"
    UNCLAIMED = "unclaimed"
    UNDECIDED = "undecided"
    AWAITING_INFORMATION = "awaiting-information"
    UNSCHEDULED = "unscheduled"
    NO_SHOW_OPEN = "no-show-open"
    CANCELLED_NOT_REBOOKED = "cancelled-not-rebooked"
    BOOKED_TOO_LATE = "booked-too-late"
    APPOINTMENT_PASSED = "appointment-passed"
    RESULTS_MISSING = "results-missing"
    REPORT_NOT_RETURNED = "report-not-returned"
    NOT_REVIEWED = "not-reviewed"
    HALF_CLOSED = "half-closed"
    REJECTED_NOT_REROUTED = "rejected-not-rerouted"
    BOUNCED = "bounced"
    DUPLICATE = "duplicate"
    ON_HOLD_WITHOUT_REVIEW = "on-hold-without-review"
    CANCELLATION_UNANSWERED = "cancellation-unanswered"
    WITHDRAWAL_UNDECIDED = "withdrawal-undecided"
    PATIENT_DECEASED = "patient-deceased"
    PATIENT_NOT_INFORMED = "patient-not-informed"
    SILENT_TOO_LONG = "silent-too-long"
    NO_TRACE = "no-trace"


class About(NamedTuple):
    """What a rule says, to whom, and what we must be able to see before we may claim it."""

    missing: str
    """What is missing, in words that can follow "Missing:"."""
    since: str
    """What is the case instead, in words for staff; `{since}` is replaced by the day on which it began."""
    needs: tuple[str, ...] = ()
    """Resource types that must be observable, because the rule claims that one of them is absent."""
    is_internal: bool = False
    """The staff's own business: the patient need not be told about such a stall."""
    is_soft: bool = False
    """A note to its author, never an alert."""
    is_listed: bool = False
    """On the list of a department, never an alert of its own."""


ABOUT: Final = MappingProxyType(
    {
        Rule.REQUEST_UNANSWERED: About(
            "an answer: a referral for what the patient asked", "no referral since", ("ServiceRequest",)
        ),
        Rule.NOT_SENT: About(
            "a Task that sends the referral to a department",
            "not sent to any department since {since}",
            ("Task",),
        ),
        Rule.DRAFT_LEFT: About(
            "the draft made active, or discarded", "still a draft", is_internal=True, is_soft=True
        ),
        Rule.UNACKNOWLEDGED: About(
            "word from the department that it has received the referral",
            "no word from the department since",
            ("Task",),
        ),
        Rule.UNCLAIMED: About("a department that owns the referral", "no department owns it", ("Task",)),
        Rule.UNDECIDED: About("a decision to accept or reject", "no decision since", ("Task",)),
        Rule.AWAITING_INFORMATION: About(
            "a Task that asks somebody for the information waited for",
            "waiting for information since {since}, and nobody has been asked for it",
            ("Task",),
        ),
        Rule.UNSCHEDULED: About("a booked appointment", "no booking since", ("Appointment",)),
        Rule.NO_SHOW_OPEN: About(
            "a new appointment, or the reason why the patient could not come",
            "appointment missed on {since}, no new one and no reason",
            ("Appointment",),
        ),
        Rule.CANCELLED_NOT_REBOOKED: About(
            "a new appointment in place of the cancelled one",
            "appointment cancelled on {since}, no new one",
            ("Appointment",),
        ),
        Rule.BOOKED_TOO_LATE: About(
            "an appointment before the guarantee date",
            "the appointment is after the guarantee date",
            ("Appointment",),
        ),
        Rule.APPOINTMENT_PASSED: About(
            "a record that the patient was seen, or of what happened instead",
            "the appointment passed on {since} and nobody recorded a visit",
            ("Appointment", "Encounter"),
        ),
        Rule.RESULTS_MISSING: About(
            "a final report or document in answer",
            "no final result since the visit ended on {since}",
            ("DiagnosticReport", "DocumentReference"),
        ),
        Rule.REPORT_NOT_RETURNED: About(
            "the result sent to the requester",
            "a result final on {since} has not reached the requester",
            ("Task", "Communication"),
        ),
        Rule.NOT_REVIEWED: About(
            "the requester's review of the result",
            "not reviewed by the requester since {since}",
            ("ServiceRequest", "Task"),
        ),
        Rule.HALF_CLOSED: About(
            "the same ending on both sides: referral, Tasks and bookings still disagree",
            "one side has ended and the other has not since {since}",
            ("ServiceRequest", "Task", "Appointment"),
            is_internal=True,
        ),
        Rule.REJECTED_NOT_REROUTED: About(
            "a new department after the rejection", "rejected on {since} and sent nowhere else", ("Task",)
        ),
        Rule.BOUNCED: About(
            "a department that accepts; the referral goes back and forth",
            "sent back and forth, last on {since}",
            ("Task",),
        ),
        Rule.DUPLICATE: About(
            "a decision which of two referrals for the same thing stands",
            "a second referral for the same thing",
            ("ServiceRequest",),
            is_internal=True,
        ),
        Rule.ON_HOLD_WITHOUT_REVIEW: About(
            "a review of the hold, or a date for one in time",
            "on hold without a review since {since}",
            ("Task",),
        ),
        Rule.CANCELLATION_UNANSWERED: About(
            "an answer to the request to cancel",
            "somebody asked on {since} to cancel it, and nobody has answered",
            ("Task",),
        ),
        Rule.WITHDRAWAL_UNDECIDED: About(
            "a decision after the patient withdrew: end the referral, or send it again",
            "the patient withdrew on {since}, and nobody has decided what follows",
            ("ServiceRequest", "Task"),
            is_internal=True,
        ),
        Rule.PATIENT_DECEASED: About(
            "the referral ended, now that the patient has died",
            "the patient died on {since}",
            is_internal=True,
            is_soft=True,
        ),
        Rule.PATIENT_NOT_INFORMED: About(
            "word to the patient of what happened",
            "the patient has not been told what happened on {since}",
            ("Communication",),
        ),
        Rule.SILENT_TOO_LONG: About(
            "anything on record; somebody has to look whether the referral goes on",
            "nothing recorded since {since}",
            is_internal=True,
            is_listed=True,
        ),
        Rule.NO_TRACE: About(
            "any trace of the referral: a booking in any state, a visit, a result",
            "no trace of it since {since}, where no Task is used",
            ("Appointment", "Encounter"),
            is_internal=True,
        ),
    }
)

_PROOF: Final = ("Appointment", "Encounter", "DiagnosticReport", "DocumentReference")
FURTHER: Final = MappingProxyType(
    {
        Rule.NOT_SENT: _PROOF,
        Rule.NO_TRACE: ("Task", *_PROOF),
        Rule.UNACKNOWLEDGED: _PROOF,
        Rule.UNCLAIMED: _PROOF,
        Rule.UNDECIDED: _PROOF,
        Rule.AWAITING_INFORMATION: _PROOF,
        Rule.ON_HOLD_WITHOUT_REVIEW: _PROOF,
        Rule.REJECTED_NOT_REROUTED: _PROOF,
        Rule.UNSCHEDULED: _PROOF[1:],
        Rule.NO_SHOW_OPEN: _PROOF[1:],
        Rule.CANCELLED_NOT_REBOOKED: _PROOF[1:],
        Rule.APPOINTMENT_PASSED: _PROOF[2:],
        Rule.RESULTS_MISSING: ("Task", "Communication"),
        Rule.PATIENT_NOT_INFORMED: ("Task",),
    }
)
"""Types beside those that a rule needs by which a referral may have gone further: if a record of that type
belongs to the referral and cannot be read, nobody can tell."""

NO_VISIT: Final = "no final result since the department finished on {since}"
"""In place of the words of results-missing where nothing on record says that there was a visit."""

NEEDED: Final = frozenset(type for about in ABOUT.values() for type in about.needs)
"""Types that some rule looks for."""
STAFF_ONLY: Final = frozenset(rule for rule, about in ABOUT.items() if about.is_internal)
LISTED: Final = frozenset(rule for rule, about in ABOUT.items() if about.is_listed)
OF_ORDERS: Final = frozenset({Rule.RESULTS_MISSING, Rule.NOT_REVIEWED})
"""What is watched of diagnostic orders."""
SOFT: Final = frozenset(rule for rule, about in ABOUT.items() if about.is_soft)

NEXT_STEP: Final = MappingProxyType(
    {
        Stage.ASKED: "a referral, written in answer",
        Stage.WRITTEN: "sending it to a department",
        Stage.SENT: "the department acknowledging it",
        Stage.RECEIVED: "a decision to accept or reject",
        Stage.ACCEPTED: "a booked appointment",
        Stage.SCHEDULED: "the visit",
        Stage.SEEN: "a final report",
        Stage.RESULTED: "the report reaching the requester",
        Stage.RETURNED: "the requester's review, and closing the referral",
        Stage.CLOSED: "nothing",
    }
)
"""What would move a referral on from each stage."""
NO_STEP: Final = frozenset(
    {Rule.BOOKED_TOO_LATE, Rule.BOUNCED, Rule.DUPLICATE, Rule.PATIENT_NOT_INFORMED, Rule.DRAFT_LEFT}
    | {Rule.PATIENT_DECEASED, Rule.CANCELLATION_UNANSWERED}
)
"""Rules whose due date is not that of the referral's next step."""
WHILE_ENDED: Final = frozenset(
    {Rule.HALF_CLOSED, Rule.PATIENT_NOT_INFORMED, Rule.WITHDRAWAL_UNDECIDED, Rule.PATIENT_DECEASED}
)
"""Rules that go on once the referral has been completed or revoked."""
HELD_BACK: Final = frozenset(
    {Rule.NOT_SENT, Rule.UNDECIDED, Rule.UNSCHEDULED, Rule.NO_SHOW_OPEN, Rule.CANCELLED_NOT_REBOOKED}
)
"""Rules that wait while the whole referral is on hold."""
SENT_ON: Final = frozenset({Rule.NOT_SENT, Rule.REJECTED_NOT_REROUTED, Rule.BOUNCED})
"""Rules that a referral in place of this one answers."""
