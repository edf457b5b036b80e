"""Judges each department's part of a referral: weighs its Task against bookings, visits and results.

Proof beats a Task's status. A booking, visit or result counts whatever the Task says, unless it is older than
that Task's rejection or cancellation. The proof that is furthest along wins. What is still awaited becomes a
`Clock`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from fhir_coprod.watch.record.model import Appointment, AppointmentState, Facts, Result, SideTask, Visit
from fhir_coprod.watch.rules.codes import Rule, Stage
from fhir_coprod.watch.rules.policies import Policy, any_named
from fhir_coprod.watch.rules.task import Course, Event, When

NO_BOOKING: Final = frozenset({"proposed", "pending", "waitlist", "entered-in-error"})
WAS_THERE: Final = frozenset({"arrived", "checked-in", "fulfilled"})
_WAS_BOOKED: Final = WAS_THERE | {"booked", "noshow"}
_AT_ITS_TIME: Final = WAS_THERE | {"noshow"}
"""Statuses that an Appointment can have only from its own start on."""
_OPEN: Final = frozenset({"requested", "ready", "received", "accepted", "in-progress", "on-hold"})


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


class Booking(NamedTuple):
    """An Appointment in its present state."""

    appointment: Appointment
    state: AppointmentState

    @property
    def end(self) -> datetime:
        """When it is over: its end, or its start, or else the time it was made."""
        return self.state.end or self.state.start or self.appointment.created


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
    def has_proof(self) -> bool:
        return bool(self.bookings or self.visits or self.results)


def booking_at(appointment: Appointment, now: datetime) -> Booking | None:
    """The Appointment in its state at `now`; None if it is not made yet, or is not a booking."""
    if appointment.created > now and not appointment.created_stored:
        return None
    if appointment.states[-1].status == "entered-in-error":
        return None
    current = appointment.states[0]
    for state in appointment.states:
        if state.at <= now:
            current = state
    if current.status in NO_BOOKING:
        return None
    if current.at > now and current.status in _AT_ITS_TIME:
        # Its time has not come: we cannot know yet what became of it, only that it was booked.
        current = AppointmentState(
            appointment.created, "booked", appointment.created_stored, current.start, current.end
        )
    return Booking(appointment, current)


def is_booked_ahead(facts: Facts, now: datetime) -> bool:
    """Whether there is a booking in the future."""
    for appointment in facts.appointments:
        booking = booking_at(appointment, now)
        if booking and booking.state.status == "booked":
            start = booking.state.start
            if start is not None and start > now:
                return True
    return False


def draw(facts: Facts, courses: Sequence[Course], now: datetime) -> list[Line]:
    """One line for each Task, with the proof that belongs to it; without Tasks, one line for all proof."""
    lines = [Line(course) for course in courses] or [Line(None)]
    for appointment in facts.appointments:
        booking = booking_at(appointment, now)
        if booking:
            line = _home(lines, appointment.task, appointment.departments, appointment.created)
            if not _outlived(line, appointment.created):
                line.bookings.append(booking)
    for visit in facts.visits:
        if visit.start <= now or visit.start_stored:
            line = _home(lines, visit.task, visit.departments, visit.start)
            ended = visit.end if visit.end is not None and visit.end <= now else visit.start
            if not _outlived(line, ended):
                line.visits.append(visit)
    if facts.results:
        requesters = {*facts.request.requesters}
        for task in facts.tasks:
            requesters.update(task.requesters)
        for result in facts.results:
            if result.at > now and not result.stored:
                continue
            if result.authors and requesters.issuperset(result.authors):
                continue
            line = _home(lines, result.task, result.authors, result.at)
            if not _outlived(line, result.at):
                line.results.append(result)
    return lines


def _home(lines: Sequence[Line], task: str, departments: Iterable[str], at: datetime) -> Line:
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


def _outlived(line: Line, at: datetime) -> bool:
    """Whether it is older than the rejection or cancellation of its Task, and so proves nothing any more."""
    return line.course is not None and line.course.died is not None and at < line.course.died.at


def judge(line: Line, facts: Facts, policy: Policy, now: datetime) -> None:
    """Decide the line's stage and set its clocks. The line has a live Task, or proof."""
    if line.results:
        _judge_result(line, facts, now)
    elif (
        line.visits
        or (line.bookings and any(booking.state.status in WAS_THERE for booking in line.bookings))
        or _completed(line)
    ):
        _judge_seen(line, facts, policy, now)
    elif line.bookings:
        _judge_booking(line, _latest(line.bookings, now))
    else:
        _judge_task(line)
    _judge_hold(line, facts, now)


def _completed(line: Line) -> bool:
    return line.course is not None and line.course.completed is not None


def _judge_result(line: Line, facts: Facts, now: datetime) -> None:
    """Resulted or returned: every final result must be returned, and each must be reviewed after that."""
    results = sorted(line.results, key=lambda result: (result.at, result.id))
    reviewed = last_review(facts, now)
    unreturned: list[Result] = []
    returned: list[tuple[When, Result]] = []
    for result in results:
        back = _returned(result, facts, now)
        if back is None:
            unreturned.append(result)
        else:
            returned.append((back, result))
    unreviewed = [(back, result) for back, result in returned if reviewed is None or reviewed < back.at]
    if unreturned:
        first, owed = results[0], unreturned[0]
        line.stage, line.since = Stage.RESULTED, When(first.at, first.stored)
        start = When(owed.at, owed.stored)
        line.clocks.append(Clock(Rule.REPORT_NOT_RETURNED, start, line, evidence=owed.id))
    else:
        line.stage, line.since = Stage.RETURNED, max(back for back, _ in returned)
        line.review_due_from = min((back for back, _ in unreviewed), default=line.since)
    if unreviewed:
        start, result = min(unreviewed, key=lambda pair: (pair[0], pair[1].id))
        line.clocks.append(Clock(Rule.NOT_REVIEWED, start, line, evidence=result.id))


def _returned(result: Result, facts: Facts, now: datetime) -> When | None:
    """When a result reached the requester: in a Task's output, or by a message to them after the result."""
    backs: list[When] = []
    requesters = set(facts.request.requesters)
    for task in facts.tasks:
        requesters.update(task.requesters)
        for state in task.states:
            if result.id in state.outputs and (state.at <= now or state.stored):
                backs.append(When(max(state.at, result.at), state.stored))
                break
    backs += [
        When(max(message.sent, result.at))
        for message in facts.messages
        if message.latest >= result.at
        and message.sent <= now
        and not requesters.isdisjoint(message.recipients)
    ]
    return min(backs, default=None)


def last_review(facts: Facts, now: datetime) -> datetime | None:
    """When the requester last completed a Task of their own about this referral."""
    requesters = set(facts.request.requesters)
    for task in facts.tasks:
        requesters.update(task.requesters)
    done = [
        state.at
        for side in facts.side_tasks
        if not requesters.isdisjoint(side.owners)
        for state in side.states
        if state.status == "completed" and state.at <= now
    ]
    return max(done, default=None)


def _judge_seen(line: Line, facts: Facts, policy: Policy, now: datetime) -> None:
    """Seen: the result is awaited from the end of the last finished visit, or from the Task's completion."""
    starts = [When(visit.start, visit.start_stored) for visit in line.visits]
    ends = [
        (When(visit.end, visit.end_stored), visit.id)
        for visit in line.visits
        if visit.end is not None and visit.end <= now
    ]
    if not line.visits:
        there = [booking for booking in line.bookings if booking.state.status in WAS_THERE]
        # One that is recorded as kept before its own time was kept by then.
        starts = [When(min(b.state.start or b.appointment.created, b.state.at)) for b in there]
        ends = [(When(booking.end), booking.appointment.id) for booking in there]
    completed = line.course.completed if line.course else None
    if completed:
        starts = starts or [completed]
        ends = ends or [(completed, "")]
    line.stage, line.since = Stage.SEEN, min(starts)
    if ends and not any_named(policy.no_result_expected, facts.request.codes):
        end, evidence = max(ends)
        line.clocks.append(Clock(Rule.RESULTS_MISSING, end, line, evidence=evidence))


def _latest(bookings: Sequence[Booking], now: datetime) -> Booking:
    """The Appointment that counts: a booking in the future, or else the one made last."""
    ahead = [b for b in bookings if b.state.status == "booked" and b.state.start and b.state.start > now]
    return max(ahead or bookings, key=lambda b: (b.appointment.created, b.appointment.id))


def _judge_booking(line: Line, booking: Booking) -> None:
    """Scheduled; or still accepted, if the appointment was missed or cancelled."""
    appointment, state = booking
    if state.status == "noshow":
        missed = When(booking.end)
        line.stage, line.since = Stage.ACCEPTED, missed
        line.clocks.append(Clock(Rule.NO_SHOW_OPEN, missed, line, evidence=appointment.id))
    elif state.status == "cancelled":
        cancelled = When(state.at, state.stored)
        line.stage, line.since = Stage.ACCEPTED, cancelled
        line.clocks.append(Clock(Rule.CANCELLED_NOT_REBOOKED, cancelled, line, evidence=appointment.id))
    else:
        line.stage, line.since = Stage.SCHEDULED, When(appointment.created, appointment.created_stored)
        line.next = booking
        if state.start:
            line.clocks.append(
                Clock(Rule.APPOINTMENT_PASSED, When(booking.end), line, evidence=appointment.id)
            )


def _judge_task(line: Line) -> None:
    """Without proof, the Task's own status says how far it came."""
    course = line.course
    assert course is not None
    assert course.stage is not None  # only a completed Task may have none, and it counts as seen
    line.stage, line.since = course.stage, course.since
    if course.stage is Stage.SENT:
        rule = Rule.UNACKNOWLEDGED if course.owner else Rule.UNCLAIMED
    elif course.stage is Stage.RECEIVED:
        rule = Rule.UNDECIDED
    else:
        rule = Rule.UNSCHEDULED
    line.clocks.append(Clock(rule, course.since, line))


_REPLACED: Final = frozenset(
    {Rule.UNDECIDED, Rule.UNSCHEDULED, Rule.NO_SHOW_OPEN, Rule.CANCELLED_NOT_REBOOKED}
)
"""The stalls of received and accepted: during a hold, the hold's own clock runs instead."""


def _judge_hold(line: Line, facts: Facts, now: datetime) -> None:
    """Set the clocks of a hold, and of information that the department waits for."""
    course = line.course
    if course is None or not course.live:
        return
    held = course.held
    before_visit = line.stage in (Stage.SENT, Stage.RECEIVED, Stage.ACCEPTED, Stage.SCHEDULED)
    if held and before_visit:
        line.clocks = [clock for clock in line.clocks if clock.rule not in _REPLACED]
    waits = course.marked if (held and before_visit) or line.stage is Stage.RECEIVED else None
    if waits and not _asked(course, facts.side_tasks, facts.request.id, now):
        line.clocks.append(Clock(Rule.AWAITING_INFORMATION, waits, line))
    elif held and before_visit:
        # Even if somebody has been asked: a question that nobody answers must not hold a referral for ever.
        start = held if course.review is None else When(max(course.review, held.at))
        line.clocks.append(Clock(Rule.ON_HOLD_WITHOUT_REVIEW, start, line))


def _asked(course: Course, side_tasks: Iterable[SideTask], request: str, now: datetime) -> bool:
    """Whether an open Task asks somebody for the information."""
    about = {course.task.id, request}
    for side in side_tasks:
        if side.owners and not about.isdisjoint(side.about):
            known = [state for state in side.states if state.at <= now or state.stored]
            if known and known[-1].status in _OPEN:
                return True
    return False


def booking_events(facts: Facts, lines: Sequence[Line], now: datetime) -> list[Event]:
    """Events for bookings, moves and cancellations, whatever became of their Task."""
    happened: list[Event] = []
    for appointment in facts.appointments:
        home = _home(lines, appointment.task, appointment.departments, appointment.created) if lines else None
        owner = home.owner if home else ""
        booked: AppointmentState | None = None
        for state in appointment.states:
            if state.at > now and state is not appointment.states[0]:
                continue
            if state.status in _WAS_BOOKED:
                if booked is None:
                    # Off the waiting list: the patient knew about the place on the list, not the time.
                    promoted = appointment.states[0].status in NO_BOOKING
                    happened.append(Event(state.at if promoted else appointment.created, "booked", owner))
                elif booked.start != state.start and state.status == "booked":
                    happened.append(Event(state.at, "changed", owner))
                booked = state
            elif state.status == "cancelled":
                happened.append(Event(state.at, "cancelled", owner))
    return happened
