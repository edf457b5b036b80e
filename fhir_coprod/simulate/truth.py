"""The truth about a referral: what was owed, since when, when it became too late, and when it was done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

from fhir_coprod.simulate.promises import after_promise, too_late

STORY: Final = {
    "request-unanswered": "nobody answered the patient",
    "not-sent": "the referral was written and lay in a tray",
    "draft-left": "the author never came back to the draft",
    "unacknowledged": "the department did not look into its inbox",
    "unclaimed": "nobody took it out of the pool",
    "undecided": "nobody decided",
    "awaiting-information": "the department waited for facts and asked nobody",
    "unscheduled": "the department forgot to book",
    "no-show-open": "nobody called the patient who did not come",
    "cancelled-not-rebooked": "nobody booked anew",
    "booked-too-late": "there was no earlier time",
    "appointment-passed": "nobody recorded the visit",
    "results-missing": "nobody wrote the answer",
    "report-not-returned": "the answer was written and not sent",
    "not-reviewed": "the one who asked did not read the answer",
    "half-closed": "one side ended it and the other did not",
    "rejected-not-rerouted": "the one who asked did nothing after the rejection",
    "bounced": "it was sent to and fro",
    "duplicate": "two doctors asked for the same",
    "on-hold-without-review": "it was put aside and nobody looked at it again",
    "cancellation-unanswered": "nobody answered the one who asked to cancel it",
    "withdrawal-undecided": "the patient said no, and the one who had asked did nothing",
    "patient-deceased": "the patient had died, and nobody ended the referral",
    "patient-not-informed": "nobody told the patient",
}
STAFF_ONLY: Final = frozenset(
    {"duplicate", "draft-left", "half-closed", "withdrawal-undecided", "patient-deceased"}
)
"""Stalls that the patient need not be told of."""


class Stall(NamedTuple):
    """Something owed that was not done in time."""

    referral: str
    """ServiceRequest/id, or Communication/id where a patient asked by message."""
    rule: str
    since: datetime
    """Since when it was owed."""
    stalled: datetime
    """When it became too late."""
    until: datetime | None
    """When it was done, or no longer mattered; None: never."""
    department: str
    """Who could have moved it."""
    task: str = ""
    story: str = ""

    def stands(self, at: datetime) -> bool:
        """Whether it was a stall at that time."""
        return self.stalled <= at and (self.until is None or at < self.until)


def cut(stalls: Iterable[Stall], end: datetime) -> list[Stall]:
    """The stalls up to `end`, when the referral was over; those that had not begun by then never did."""
    return [
        stall if stall.until is not None and stall.until <= end else stall._replace(until=end)
        for stall in stalls
        if stall.stalled < end
    ]


class Happening(NamedTuple):
    """Something that the patient must be told."""

    at: datetime
    department: str
    until: datetime | None = None
    """When it ceased to matter, for a delay that is over; None for an event, which always matters."""
    late: bool = False
    """True for a step that had become too late, False for an event."""


def untold(
    referral: str, happenings: Sequence[Happening], told: Sequence[datetime], priority: str
) -> list[Stall]:
    """The stalls in telling the patient; a message covers everything that happened before it."""
    edges = sorted({h.at for h in happenings} | {h.until for h in happenings if h.until} | set(told))
    found: list[Stall] = []
    for number, begin in enumerate(edges):
        end = edges[number + 1] if number + 1 < len(edges) else None
        last = max((at for at in told if at <= begin), default=None)
        owed = min(
            (
                h
                for h in happenings
                if h.at <= begin and (last is None or h.at > last) and (h.until is None or begin < h.until)
            ),
            default=None,
            key=lambda h: (h.at, h.late),
        )
        if owed is None:
            continue
        kind = "patient-not-informed"
        due = (
            after_promise(kind, owed.at, owed.at, priority)
            if owed.late
            else too_late(kind, owed.at, priority)
        )
        begins = max(due, begin)
        if end is not None and begins >= end:
            continue
        if found and found[-1].until == begins:
            found[-1] = found[-1]._replace(until=end)
        else:
            found.append(Stall(referral, kind, owed.at, begins, end, owed.department, "", STORY[kind]))
    return found
