"""One department's part of a referral: its Task, the proof that belongs to it, and the clocks that it
sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from fhir_coprod.watch.record.model import Facts, Result, Visit
from fhir_coprod.watch.rules.bookings import Booking
from fhir_coprod.watch.rules.codes import Rule, Stage
from fhir_coprod.watch.rules.task import Course, When

_UNKNOWN: Final = When(datetime.min.replace(tzinfo=UTC))


class Clock(NamedTuple):
    """Something that is awaited. It becomes a stall when its time is over."""

    rule: Rule
    start: When
    line: Line | None = None
    owner: str = ""
    due: datetime | None = None
    """The deadline if it is known already (it may be at once); otherwise the policy's span from `start`."""
    evidence: str = ""
    """The resource that shows it, beside the referral and the Task."""
    from_due: bool = False
    """It starts when another deadline ends, which is the midnight after a day: count from that day."""
    sought_by: datetime | None = None
    """Until when somebody wants it done; it is due then if that is earlier."""


class Line:
    """One department's part of a referral: its Task (None if nobody used one) and the proof that belongs to
    it."""

    __slots__ = (
        "bookings",
        "clocks",
        "course",
        "next",
        "results",
        "review_due_from",
        "since",
        "stage",
        "visits",
    )

    def __init__(self, course: Course | None) -> None:
        self.course = course
        self.bookings: list[Booking] = []
        self.visits: list[Visit] = []
        self.results: list[Result] = []
        self.stage = Stage.WRITTEN
        self.since = _UNKNOWN
        self.clocks: list[Clock] = []
        self.next: Booking | None = None
        """The booking because of which the stage is scheduled."""
        self.review_due_from: When | None = None
        """When the result reached the requester, if it did: the deadline for the review counts from then."""

    @property
    def task(self) -> str:
        return self.course.task.id if self.course else ""

    @property
    def owner(self) -> str:
        return self.course.owner if self.course else ""

    @property
    def departments(self) -> tuple[str, ...]:
        return self.course.departments if self.course else ()

    @property
    def is_below(self) -> bool:
        """Whether it carries out another referral, which claims its own stalls, in order to carry out this
        one."""
        return self.course is not None and bool(self.course.task.request)

    @property
    def has_proof(self) -> bool:
        return bool(self.bookings or self.visits or self.results)


def requesters_of(facts: Facts) -> set[str]:
    """Those who get the answer: whoever wrote the referral or asked for it, not somebody in between."""
    found = {*facts.request.requesters, *facts.request.ordered_for}
    for task in facts.tasks:
        if not task.request and not task.part_of:
            found.update(task.requesters)
    return found


def home_of(lines: Sequence[Line], task: str, departments: Iterable[str], at: datetime) -> Line:
    """The line that a fact belongs to: by the Task or department it names, or else the line that took the
    referral on."""
    if len(lines) == 1:
        return lines[0]
    if task:
        for line in lines:
            if line.task == task:
                return line
    named = [line for line in lines if not set(line.departments).isdisjoint(departments)]
    return max(named or lines, key=lambda line: _claim(line, at))


def _claim(line: Line, at: datetime) -> tuple[bool, bool, bool, datetime]:
    """How strong a line's claim is to a fact that names neither: it was live at that time, it took the
    referral on, it is live now, it is the latest."""
    course = line.course
    assert course is not None  # beside others; one without Task stands alone
    alive = course.sent <= at and (course.died is None or at < course.died.at)
    took_on = course.accepted or course.completed
    return (alive, took_on is not None, course.live, took_on.at if took_on else course.sent)


def outlived(line: Line, at: datetime) -> bool:
    """Whether it is older than the rejection or cancellation of its Task, and so proves nothing any more."""
    return line.course is not None and line.course.died is not None and at < line.course.died.at
