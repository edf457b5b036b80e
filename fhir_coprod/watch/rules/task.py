"""Follows one Task's status history up to a given time: stage, owners, holds, pauses and rejections.

It looks at the Task alone; `department` weighs that against proof from bookings, visits and results.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from fhir_coprod.watch.record.model import NOT_ACTIVE, RequestState, Task, TaskState
from fhir_coprod.watch.rules.calendar import Pause
from fhir_coprod.watch.rules.codes import Stage
from fhir_coprod.watch.rules.policies import Policy, any_named

WITHDRAWN: Final = "withdrawn"
"""The status of a Task that ended because the patient does not want it any more; R4 says so beside the
status."""
DEAD: Final = frozenset({"rejected", "cancelled", "failed", WITHDRAWN})
"""Statuses that end a Task without success. (entered-in-error never existed, draft does not exist yet.)"""
WAITING: Final = frozenset({"waiting-list", "awaiting-booking"})
"""Words of a Task whose department means the patient to wait for a visit."""
_BOOKED: Final = {
    "booked": "booked",
    "no-show": "noshow",
    "visit-cancelled": "cancelled",
    "seen": "fulfilled",
}
"""From a word of a Task to the status of the Appointment that it speaks of."""
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
    """accepted, booked, changed, cancelled, rejected, advice or result; or the code of a stall that became
    due."""
    owner: str = ""
    """Who should tell."""


class Course:
    """What happened to one Task up to now; see `follow`."""

    __slots__ = (
        "accepted",
        "advised",
        "answers",
        "asked_to_cancel",
        "completed",
        "departments",
        "died",
        "events",
        "held",
        "marked",
        "outputs",
        "owner",
        "owners",
        "pauses",
        "reasons",
        "rejections",
        "resumed",
        "review",
        "review_by_owner",
        "said",
        "sent",
        "since",
        "stage",
        "status",
        "task",
        "words",
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
        self.resumed: datetime | None = None
        """When its last hold ended; None if there was none, or it lasts."""
        self.marked: When | None = None
        """Since when its codes have said that it awaits information."""
        self.review: datetime | None = None
        """Until when fulfilment is sought, or when a hold is looked at again."""
        self.review_by_owner = False
        """Whether it was set once the department had the Task, and so is no wish of the requester."""
        self.words: tuple[str, ...] = ()
        """What businessStatus says at present, in the words of `record.words`; () once the status has moved
        on."""
        self.said: When | None = None
        """Since when it has said so."""
        self.advised = False
        """It ended with advice to the requester in place of a visit."""
        self.asked_to_cancel: When | None = None
        """Since when it has said that somebody asked to cancel it."""
        self.outputs: tuple[str, ...] = ()
        self.answers = False
        """Its output holds an answer in words or codes."""
        self.owner = ""
        self.departments: tuple[str, ...] = ()
        self.owners: list[tuple[datetime, str, tuple[str, ...]]] = []
        """Every owner it had, in order."""
        self.reasons: tuple[str, ...] = ()
        self.rejections: list[When] = []
        self.events: list[Event] = []
        self.pauses: list[Pause] = []

    @property
    def visit(self) -> tuple[str, When] | None:
        """The Appointment that its words speak of: its status, and since when."""
        status = next((_BOOKED[word] for word in self.words if word in _BOOKED), "")
        return (status, self.said) if status and self.said and self.live else None

    @property
    def waits(self) -> bool:
        """Whether the department means the patient to wait."""
        return not WAITING.isdisjoint(self.words)

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
    before: TaskState | None = None
    for state in states:
        if state.says or course.words or (before is not None and before.says):
            _hear(course, state, before)
        status = _meant(course, state)
        if state.departments != course.departments or state.owner != course.owner:
            course.owner, course.departments = state.owner, state.departments
            course.owners.append((state.at, state.owner, state.departments))
        paused = state.status == "on-hold" and any_named(policy.pause_reasons, state.reasons)
        if paused and pause_from is None:
            pause_from = state.at
        elif not paused and pause_from is not None:
            course.pauses.append((pause_from, state.at))
            pause_from = None
        if _awaits_information(state, policy):
            course.marked = course.marked or When(state.at, state.stored)
        else:
            course.marked = None
        if status != course.status:
            _enter(course, state, status)
        if state.review != course.review:
            course.review_by_owner = state.status not in _NOT_TAKEN
        course.review = state.review
        course.reasons = state.reasons
        course.outputs, course.answers = state.outputs, state.answers
        before = state
    if pause_from is not None:
        course.pauses.append((pause_from, now))
    return course


def _awaits_information(state: TaskState, policy: Policy) -> bool:
    return (
        any_named(policy.awaiting_information, state.reasons)
        or "awaiting-information" in state.says
        or "awaiting-information" in state.because
    )


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


_NOT_TAKEN: Final = frozenset({"draft", "requested", "ready", "received"})
"""Statuses in which the department has not taken the Task on."""
_FORWARD: Final = {"draft": 0, "requested": 1, "ready": 1, "received": 2, "accepted": 3, "in-progress": 4}


def _hear(course: Course, state: TaskState, before: TaskState | None) -> None:
    """Take in what the businessStatus says. It counts from the version that set it, and until a later
    version moves the status elsewhere than forward."""
    if before is None or state.says != before.says:
        course.words = state.says
        course.said = When(state.at, state.stored) if state.says else None
        if "booked" in state.says or "visit-cancelled" in state.says:
            what = "booked" if "booked" in state.says else "cancelled"
            course.events.append(Event(state.at, what, state.owner))
    elif state.status != before.status:
        ahead = _FORWARD.get(state.status, -1) > _FORWARD.get(before.status, 99)
        course.words = course.words if ahead else ()
    asked = "cancellation-requested" in course.words and state.status not in DEAD
    course.asked_to_cancel = (course.asked_to_cancel or course.said) if asked else None


def _meant(course: Course, state: TaskState) -> str:
    """The status that a state means, together with what it says beside it."""
    status, words = state.status, course.words
    if not words and not state.because:  # as nearly always
        course.advised = False
        return status
    if status == "entered-in-error":
        return status
    why = (*words, *state.because)
    ended = status in DEAD
    course.advised = "advice" in words or (ended and "advice" in why)
    if course.advised or (not ended and "done" in words):
        return "completed"
    if status == "completed" or (not ended and "no-choice" in words):
        return status
    if "cancelled-by-patient" in (why if ended else words) and "no-choice" not in why:
        return WITHDRAWN
    if not ended and "forwarded" in words:
        return "rejected"  # whoever has it now decides
    if "cancelled-by-department" in (why if ended else words):
        return status if status == "failed" else "rejected"
    if "cancelled-by-requester" in (why if ended else words):
        return "cancelled"
    return status


def _enter(course: Course, state: TaskState, status: str) -> None:
    """Apply a change of status to the course."""
    when = When(state.at, state.stored)
    revived = course.died is not None
    course.status = status
    if status in DEAD:
        course.died, course.held = when, None
        forwarded = "forwarded" in course.words or "forwarded" in state.because
        if status == "rejected" and not forwarded:
            course.rejections.append(when)
        if status != WITHDRAWN:  # that one is the patient's own word
            what = "cancelled" if status == "cancelled" else "changed" if forwarded else "rejected"
            course.events.append(Event(when.at, what, course.owner))
        return
    course.died = None
    if status == "on-hold":
        course.held, course.resumed = when, None
        course.stage = course.stage or Stage.ACCEPTED
        course.events.append(Event(when.at, "changed", course.owner))
        return
    if course.held is not None:
        course.held, course.resumed = None, when.at
    if status == "completed":
        course.completed = when
        if course.advised:
            course.events.append(Event(when.at, "advice", course.owner))
        return
    course.completed = None
    # A Task with a status that R4 does not know counts too: somebody was asked.
    stage = _STAGE.get(status, Stage.SENT)
    if stage is Stage.ACCEPTED and (course.accepted is None or revived):
        course.accepted = when
        # If the first that is known of it is a booking or a visit, it was accepted before, nobody knows when.
        if course.stage is not None or _BOOKED.keys().isdisjoint(course.words):
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


def active_since(states: Sequence[RequestState], now: datetime) -> When | None:
    """Since when a ServiceRequest with these states has been active; None if it is not active now."""
    current = status_at(states, now)
    if current.status in NOT_ACTIVE:
        return None
    since = When(current.at, current.stored)
    for state in reversed(states):
        if state.at > since.at:
            continue
        if state.status in NOT_ACTIVE:
            break
        since = When(state.at, state.stored)
    return since
