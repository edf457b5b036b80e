"""Judges each department's part of a referral: weighs its Task against bookings, visits and results.

Proof beats a Task's status. A booking, visit or result counts whatever the Task says, unless it is older than
that Task's rejection or cancellation. The proof that is furthest along wins. What is still awaited becomes a
`Clock`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from fhir_coprod.watch.record.model import Appointment, AppointmentState, Facts, SideTask
from fhir_coprod.watch.record.visits import WAS_THERE
from fhir_coprod.watch.rules.answers import draw_results, judge_result
from fhir_coprod.watch.rules.bookings import NO_BOOKING, Booking, booking_at
from fhir_coprod.watch.rules.codes import BEFORE_VISIT, Rule, Stage
from fhir_coprod.watch.rules.lines import Clock, Line, home_of, outlived
from fhir_coprod.watch.rules.policies import Policy, any_named
from fhir_coprod.watch.rules.task import Course, Event, When

_WAS_BOOKED: Final = WAS_THERE | {"booked", "noshow"}
_OPEN: Final = frozenset({"requested", "ready", "received", "accepted", "in-progress", "on-hold"})


def draw(facts: Facts, courses: Sequence[Course], policy: Policy, now: datetime) -> list[Line]:
    """One line for each Task, with the proof that belongs to it; without Tasks, one line for all proof.

    A Task of which others carry out the parts has no line while one of those is alive: they decide. But
    where its department has seen the patient itself, what it orders from others is its own affair.
    """
    lines = [Line(course) for course in courses] or [Line(None)]
    for appointment in facts.appointments:
        booking = booking_at(appointment, now)
        if booking:
            line = home_of(lines, appointment.task, appointment.departments, appointment.created)
            if not outlived(line, appointment.created):
                line.bookings.append(booking)
    for line in lines:
        if line.course is not None and line.course.words and (spoken := spoken_booking(line.course)):
            line.bookings.append(spoken)
    for visit in facts.visits:
        if visit.start <= now or visit.start_stored:
            line = home_of(lines, visit.task, visit.departments, visit.start)
            ended = visit.end if visit.end is not None and visit.end <= now else visit.start
            if not outlived(line, ended):
                line.visits.append(visit)
    draw_results(lines, facts, policy, now)
    return _without_those_between(lines) if any(course.task.part_of for course in courses) else lines


def _without_those_between(lines: Sequence[Line]) -> list[Line]:
    acted = {line.task for line in lines if line.visits or line.results}
    apart = [
        line
        for line in lines
        if not (line.is_below and line.course and not acted.isdisjoint(line.course.task.part_of))
    ]
    live = [line.course for line in apart if line.course and line.course.live]
    handed_on = {above for course in live for above in course.task.part_of} - acted
    return [line for line in apart if line.task not in handed_on or not line.course or not line.course.live]


def spoken_booking(course: Course) -> Booking | None:
    """The visit that a Task speaks of by a code: booked, missed, cancelled or held, at a time that nobody
    says."""
    if course.visit is None:
        return None
    status, when = course.visit
    state = AppointmentState(when.at, status, when.stored)
    return Booking(Appointment("", when.at, (state,), when.stored, course.departments, course.task.id), state)


def judge(line: Line, facts: Facts, policy: Policy, now: datetime) -> None:
    """Decide the line's stage and set its clocks. The line has a live Task, or proof."""
    if line.results:
        judge_result(line, facts, now)
    elif (
        line.visits
        or (line.bookings and any(booking.state.status in WAS_THERE for booking in line.bookings))
        or _completed(line)
    ):
        _judge_seen(line, facts, policy, now)
    elif line.bookings:
        _judge_booking(line, _latest(line.bookings, now))
    else:
        _judge_task(line, facts)
    _judge_hold(line, facts, now)


def _completed(line: Line) -> bool:
    return line.course is not None and line.course.completed is not None


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


_TICK: Final = timedelta(microseconds=1)
_AHEAD: Final = timedelta(days=30)
"""How long before the time at which something is wanted its booking is owed."""


def _judge_task(line: Line, facts: Facts) -> None:
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
        line.clocks.append(_booking_clock(line, course, facts))
        return
    line.clocks.append(Clock(rule, course.since, line))


def _booking_clock(line: Line, course: Course, facts: Facts) -> Clock:
    """A booking is owed: from the acceptance, or 30 days before it is wanted; by the end of a wait that the
    department has set, or by the time until which the requester seeks it."""
    start = course.since
    wanted = facts.request.wanted_from
    if wanted is not None and wanted - _AHEAD > start.at:
        start = When(wanted - _AHEAD)
    clock = Clock(Rule.UNSCHEDULED, start, line)
    if course.review is None or course.held is not None:
        return clock
    end = max(course.review + _TICK, start.at)  # it is the last instant of its day
    return (
        clock._replace(due=end) if course.waits and course.review_by_owner else clock._replace(sought_by=end)
    )


REPLACED: Final = frozenset(
    {Rule.UNDECIDED, Rule.UNSCHEDULED, Rule.NO_SHOW_OPEN, Rule.CANCELLED_NOT_REBOOKED}
)
"""The stalls of received and accepted: during a hold, the hold's own clock runs instead."""


def _judge_hold(line: Line, facts: Facts, now: datetime) -> None:
    """Set the clocks of a hold, and of information that the department waits for."""
    course = line.course
    if course is None or not course.live:
        return
    held = course.held
    before_visit = line.stage in BEFORE_VISIT
    if held and before_visit:
        line.clocks = [clock for clock in line.clocks if clock.rule not in REPLACED]
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
        home = None
        if lines:
            home = home_of(lines, appointment.task, appointment.departments, appointment.created)
        if home and home.is_below:
            continue  # told of with the referral that it belongs to
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
