"""Follows one Task's status history up to a given time: stage, owners, holds, pauses and rejections.

It looks at the Task alone; `department` weighs that against proof from bookings, visits and results.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from fhir_coprod.watch.record.model import RequestState, Task, TaskState
from fhir_coprod.watch.rules.calendar import Pause
from fhir_coprod.watch.rules.codes import Stage
from fhir_coprod.watch.rules.policies import Policy, any_named

DEAD: Final = frozenset({"rejected", "cancelled", "failed"})
"""Statuses that end a Task without success. (entered-in-error never existed, draft does not exist yet.)"""
ENDED: Final = frozenset({"completed", "revoked"})
"""ServiceRequest statuses that end a referral."""
NOT_ACTIVE: Final = ENDED | {"draft", "on-hold", "entered-in-error"}
"""Any other status, known to R4 or not, is active."""
ABSENT: Final = frozenset({"draft", "entered-in-error"})

_STAGE: Final = {
    "requested": Stage.SENT,
    "ready": Stage.SENT,
    "received": Stage.RECEIVED,
    "accepted": Stage.ACCEPTED,
    "in-progress": Stage.ACCEPTED,
}


class When(NamedTuple):
    """A time, and whether it is only when we first stored the event."""

    at: datetime
    stored: bool = False


class Event(NamedTuple):
    """Something that the patient must be told about."""

    at: datetime
    what: str
    """accepted, booked, changed, cancelled, rejected or result; or the code of a stall that became due."""
    owner: str = ""
    """Who should tell."""


class Course:
    """What happened to one Task up to now; see `follow`."""

    __slots__ = (
        "accepted",
        "completed",
        "departments",
        "died",
        "events",
        "held",
        "marked",
        "owner",
        "owners",
        "pauses",
        "reasons",
        "rejections",
        "review",
        "sent",
        "since",
        "stage",
        "status",
        "task",
    )

    def __init__(self, task: Task) -> None:
        self.task = task
        self.status = ""
        self.stage: Stage | None = None
        """sent, received or accepted, from the statuses alone; kept during a hold and after the end."""
        self.since = When(task.states[0].at)
        """When that stage began."""
        self.sent = task.states[0].at
        self.accepted: When | None = None
        self.completed: When | None = None
        self.died: When | None = None
        self.held: When | None = None
        """When the present hold began; None if it is not on hold."""
        self.marked: When | None = None
        """Since when its codes have said that it awaits information."""
        self.review: datetime | None = None
        self.owner = ""
        self.departments: tuple[str, ...] = ()
        self.owners: list[tuple[datetime, str, tuple[str, ...]]] = []
        """Every owner it had, in order."""
        self.reasons: tuple[str, ...] = ()
        self.rejections: list[When] = []
        self.events: list[Event] = []
        self.pauses: list[Pause] = []

    @property
    def live(self) -> bool:
        """It has not been rejected, cancelled or failed; a completed Task counts as live."""
        return self.died is None


def follow(task: Task, policy: Policy, now: datetime) -> Course | None:
    """The course of a Task up to now; None if the Task does not exist, or not yet.

    States after `now` are ignored. If every state is after `now` but the Task was authored before, it counts
    as requested since it was authored. If the first state has no time of its own, it counts as known already.
    A Task that was entered in error never existed, at any time.
    """
    if task.states[-1].status == "entered-in-error":
        return None
    states = _known(task, now)
    if not states or states[-1].status in ABSENT:
        return None
    drafted = states[0].status in ABSENT
    if drafted:
        states = [state for state in states if state.status not in ABSENT]
    course = Course(task)
    course.sent = states[0].at
    if task.authored is not None and task.authored < course.sent and not drafted:
        course.sent = task.authored
    pause_from: datetime | None = None
    for state in states:
        status = state.status
        if state.departments != course.departments or state.owner != course.owner:
            course.owner, course.departments = state.owner, state.departments
            course.owners.append((state.at, state.owner, state.departments))
        paused = status == "on-hold" and any_named(policy.pause_reasons, state.reasons)
        if paused and pause_from is None:
            pause_from = state.at
        elif not paused and pause_from is not None:
            course.pauses.append((pause_from, state.at))
            pause_from = None
        if any_named(policy.awaiting_information, state.reasons):
            course.marked = course.marked or When(state.at, state.stored)
        else:
            course.marked = None
        if status != course.status:
            _enter(course, state)
        course.review = state.review
        course.reasons = state.reasons
    if pause_from is not None:
        course.pauses.append((pause_from, now))
    return course


def _known(task: Task, now: datetime) -> Sequence[TaskState]:
    states = task.states
    if states[-1].at <= now:
        return states
    known = [state for state in states if state.at <= now]
    if known:
        return known
    first = states[0]
    if first.stored:
        return states[:1]
    if task.authored is not None and task.authored <= now:
        return (TaskState(task.authored, "requested", owner=first.owner, departments=first.departments),)
    return ()


def _enter(course: Course, state: TaskState) -> None:
    """Apply a change of status to the course."""
    status, when = state.status, When(state.at, state.stored)
    revived = course.died is not None
    course.status = status
    if status in DEAD:
        course.died, course.held = when, None
        if status == "rejected":
            course.rejections.append(when)
        what = "cancelled" if status == "cancelled" else "rejected"
        course.events.append(Event(when.at, what, course.owner))
        return
    course.died = None
    if status == "on-hold":
        course.held = when
        course.stage = course.stage or Stage.ACCEPTED
        course.events.append(Event(when.at, "changed", course.owner))
        return
    course.held = None
    if status == "completed":
        course.completed = when
        return
    course.completed = None
    # A Task with a status that R4 does not know counts too: somebody was asked.
    stage = _STAGE.get(status, Stage.SENT)
    if stage is Stage.ACCEPTED and (course.accepted is None or revived):
        course.accepted = when
        course.events.append(Event(when.at, "accepted", course.owner))
    if stage is not course.stage or revived:
        course.stage, course.since = stage, when
        if stage is Stage.SENT and revived:
            course.sent = when.at


def status_at(states: Sequence[RequestState], now: datetime) -> RequestState:
    """The state at `now`; before the time of the first state, the first state."""
    current = states[0]
    for state in states:
        if state.at <= now:
            current = state
    return current
