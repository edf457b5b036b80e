"""Judges where one referral stands: (facts, policy, now) → stage, stalls, due date and owner.

Pure: it reads no clock and does no I/O, so the live watch, a bulk re-assessment, a test and a person at a
REPL all use the same function. The documentation page on the watch explains its rules, decision by decision.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from fhir_coprod.watch.record.fhir import within_reach
from fhir_coprod.watch.record.model import Facts, Request, RequestState
from fhir_coprod.watch.rules.bounce import there_and_back
from fhir_coprod.watch.rules.codes import ABOUT, RANK, SOFT, STAFF_ONLY, Rule, Stage
from fhir_coprod.watch.rules.department import Clock, Line, booking_at, booking_events, draw, judge
from fhir_coprod.watch.rules.policies import Clocks, Policy, Severity, any_named
from fhir_coprod.watch.rules.siblings import answers, is_twin, replaces
from fhir_coprod.watch.rules.standing import Stall, Standing
from fhir_coprod.watch.rules.task import ENDED, NOT_ACTIVE, Course, Event, When, follow, status_at
from fhir_coprod.watch.rules.upcoming import next_fact

_TICK: Final = timedelta(microseconds=1)
_NO_STEP: Final = frozenset(
    {Rule.BOOKED_TOO_LATE, Rule.BOUNCED, Rule.DUPLICATE, Rule.PATIENT_NOT_INFORMED, Rule.DRAFT_LEFT}
)
"""Rules whose due date is not that of the referral's next step."""
_WHILE_ENDED: Final = frozenset({Rule.HALF_CLOSED, Rule.PATIENT_NOT_INFORMED})
_BEFORE_VISIT: Final = frozenset({Stage.SENT, Stage.RECEIVED, Stage.ACCEPTED, Stage.SCHEDULED})
_HELD_BACK: Final = frozenset(
    {Rule.NOT_SENT, Rule.UNDECIDED, Rule.UNSCHEDULED, Rule.NO_SHOW_OPEN, Rule.CANCELLED_NOT_REBOOKED}
)
_SENT_ON: Final = frozenset({Rule.NOT_SENT, Rule.REJECTED_NOT_REROUTED, Rule.BOUNCED})


def assess(facts: Facts, policy: Policy, now: datetime) -> Standing:
    """Where one referral stands at `now`.

    now: an aware time. Facts with a later time are ignored.
    """
    now = within_reach(now)
    request = facts.request
    state = status_at(request.states, now)
    void = request.do_not_perform or request.states[-1].status == "entered-in-error"
    void = void or _goes_without_saying(facts, policy)
    if void or _unwritten(request, now):
        wake = None if void else request.authored
        return Standing(request.id, request.patient, None, policy=policy.label, wake=wake)
    if request.by_patient and request.intent == "proposal":
        return _Assessment(facts, policy, now, state, []).of_request()
    courses = [course for task in facts.tasks if (course := follow(task, policy, now))]
    if len(courses) > 1:
        courses.sort(key=lambda course: course.task.id)  # if two claim the same, the order must not matter
    return _Assessment(facts, policy, now, state, courses).of_referral()


class _Assessment:
    """One run of `assess`, with everything it gathers on the way."""

    def __init__(
        self, facts: Facts, policy: Policy, now: datetime, state: RequestState, courses: list[Course]
    ) -> None:
        self.facts = facts
        self.request = facts.request
        self.policy = policy
        self.now = now
        self.state = state
        self.courses = courses
        self.ended = state.status in ENDED
        self.lines: list[Line] = []
        self.clocks: list[Clock] = []
        self.stalls: list[Stall] = []
        self.notes: list[Stall] = []
        self.unseen: set[str] = set()
        self.not_claimed: set[Rule] = set()
        self.dues: list[datetime] = []
        self.wakes: list[datetime] = []
        self.guarantee: datetime | None = None
        self.guarantee_name = ""
        self.spans = policy.clocks_for(self.request, self.request.departments)
        self.pauses = [pause for course in courses for pause in course.pauses]

    # -- the two kinds ---------------------------------------------------------------------------------

    def of_request(self) -> Standing:
        """The standing of a patient's request for a referral; only a referral answers it."""
        since = When(self.request.authored)
        answer = min(
            (s.authored for s in self.facts.siblings if answers(s, self.request, self.now)), default=None
        )
        if answer is not None:
            return self._standing(Stage.CLOSED, When(max(answer, self.request.authored)), "", None, [])
        if self.state.status == "draft":
            self.clocks.append(Clock(Rule.DRAFT_LEFT, since))
        elif not self.ended:
            self.clocks.append(Clock(Rule.REQUEST_UNANSWERED, since))
        self._run_clocks()
        return self._conclude(Stage.ASKED, since, _first(self.request.departments))

    def of_referral(self) -> Standing:
        """The standing of a referral, with or without Tasks."""
        self.lines = draw(self.facts, self.courses, self.now)
        active = [line for line in self.lines if line.has_proof or (line.course and line.course.live)]
        for line in active:
            judge(line, self.facts, self.policy, self.now)
            self.clocks += line.clocks
        if active:
            least = min(active, key=lambda line: (RANK[line.stage], line.since))
            stage, since, owner = least.stage, least.since, least.owner
        else:
            stage, since, owner = self._without_line()
        self._hold_back(active)
        self._promise(stage, active)
        self._compare_siblings()
        self._bounce()
        siblings = self.facts.siblings
        if siblings and any(replaces(s, self.request, self.now) for s in siblings):
            self.clocks = [clock for clock in self.clocks if clock.rule not in _SENT_ON]
        self._half_close(active)
        self._run_clocks()
        return self._conclude(stage, since, owner)

    # -- clocks ----------------------------------------------------------------------------------------

    def _without_line(self) -> tuple[Stage, When, str]:
        """Stage, since when and owner if no department has it: it was never sent, or every Task has ended."""
        if not self.courses:
            active = self._active_since()
            if self.state.status == "draft":
                self.clocks.append(Clock(Rule.DRAFT_LEFT, When(self.request.authored)))
            elif active:
                self.clocks.append(Clock(Rule.NOT_SENT, active))
            return (
                Stage.WRITTEN,
                When(self.request.authored, self.request.states[0].stored),
                self._requester(),
            )
        last = max(self.courses, key=_death)
        died, _ = _death(last)
        line = next(line for line in self.lines if line.course is last)
        if last.status == "cancelled":
            self.clocks.append(Clock(Rule.NOT_SENT, died, line))
            return Stage.WRITTEN, died, self._requester()
        self.clocks.append(Clock(Rule.REJECTED_NOT_REROUTED, died, line))
        turned_back = last.stage in (Stage.RECEIVED, Stage.ACCEPTED)
        return Stage.SENT, died if turned_back else When(last.sent), last.owner

    def _active_since(self) -> When | None:
        """Since when the ServiceRequest has been active; None if it is not."""
        if self.state.status in NOT_ACTIVE:
            return None
        since = When(self.state.at, self.state.stored)
        for state in reversed(self.request.states):
            if state.at > since.at:
                continue
            if state.status in NOT_ACTIVE:
                break
            since = When(state.at, state.stored)
        return since

    def _hold_back(self, active: list[Line]) -> None:
        """If the whole referral is on hold, stop the departments' clocks and start the hold's own."""
        if self.state.status != "on-hold":
            return
        self.clocks = [clock for clock in self.clocks if clock.rule not in _HELD_BACK]
        reviewed = any(line.course and line.course.held for line in active)
        if not reviewed and (not active or any(line.stage in _BEFORE_VISIT for line in active)):
            hold = When(self.state.at, self.state.stored)
            self.clocks.append(Clock(Rule.ON_HOLD_WITHOUT_REVIEW, hold, owner=self._requester()))

    def _promise(self, stage: Stage, active: list[Line]) -> None:
        """Find the guarantee date, and bookings after it."""
        if self.ended:
            return
        pauses = self.pauses if "guarantee" in self.policy.pause_stops else ()
        visit_by: datetime | None = None
        for promise in self.policy.guarantees_for(self.request):
            if RANK[stage] >= RANK[promise.until]:
                continue
            by = self.policy.calendar.due(self.request.authored, promise.within, pauses)
            if promise.until is Stage.SEEN and (visit_by is None or by < visit_by):
                visit_by = by
            if self.guarantee is None or by < self.guarantee:
                self.guarantee, self.guarantee_name = by, promise.name
        if visit_by is None:
            return
        for line in active:
            if line.next and line.next.state.start and line.next.state.start >= visit_by:
                booked = line.next.appointment.created
                self.clocks.append(
                    Clock(
                        Rule.BOOKED_TOO_LATE,
                        line.since,
                        line,
                        due=booked,
                        evidence=line.next.appointment.id,
                    )
                )

    def _compare_siblings(self) -> None:
        """Look for another active referral for the same thing, written shortly before this one."""
        if self.state.status in NOT_ACTIVE or not self.facts.siblings:
            return
        departments = {*self.request.departments} if not self.courses else set()
        for course in self.courses:
            departments.update(course.departments)
        twins = [
            sibling.id
            for sibling in self.facts.siblings
            if is_twin(sibling, self.request, departments, self.policy, self.now)
        ]
        if twins:
            at = When(self.request.authored)
            self.clocks.append(Clock(Rule.DUPLICATE, at, due=at.at, evidence=min(twins)))

    def _bounce(self) -> None:
        """Find a referral that bounces: two rejections, or A→B→A, and no acceptance after that."""
        turns = sorted([when for course in self.courses for when in course.rejections])
        if not turns and sum([len(course.owners) for course in self.courses]) < 3:
            return  # the usual case, and the rest is expensive
        turns = turns[1:]
        back = there_and_back(self.courses)
        if back is not None:
            turns = sorted([*turns, back])
        accepted = [course.accepted or course.completed for course in self.courses]
        last_yes = max((when.at for when in accepted if when), default=None)
        turns = [turn for turn in turns if last_yes is None or turn.at > last_yes]
        proven = any(RANK[line.stage] > RANK[Stage.ACCEPTED] for line in self.lines)
        if turns and not proven:
            self.clocks.append(Clock(Rule.BOUNCED, turns[0], due=turns[0].at))

    def _half_close(self, active: list[Line]) -> None:
        """Find a referral that has ended on one side but not on the other."""
        going = [
            line for line in active if line.course and line.course.live and line.course.status != "completed"
        ]
        if self.ended:
            end = When(self.state.at, self.state.stored)
            for line in going:
                review = self._review_due(line) if self.state.status == "completed" else None
                self._disagree(line, end, review, line.owner)
            if self.state.status == "revoked" and not going and self._booked_ahead():
                self.clocks.append(Clock(Rule.HALF_CLOSED, end, owner=_first(d.owner for d in self.lines)))
        elif not going:
            for line in active:
                review = self._review_due(line)
                done = line.course.completed if line.course else None
                if review and done:
                    self._disagree(line, done, review, self._requester())

    def _disagree(self, line: Line, since: When, review: When | None, owner: str) -> None:
        """The two sides have disagreed since `since`, but that is no stall before the review is due."""
        by_review = review is not None and review.at > since.at
        start = review if review is not None and by_review else since
        self.clocks.append(Clock(Rule.HALF_CLOSED, start, line, owner, from_due=by_review))

    def _review_due(self, line: Line) -> When | None:
        """When the review of a returned result is due; None if none is."""
        span = self._spans_of(line).get(Rule.NOT_REVIEWED)
        if line.review_due_from is None or span is None:
            return None
        return When(self.policy.calendar.due(line.review_due_from.at, span), line.review_due_from.stored)

    def _booked_ahead(self) -> bool:
        """Whether there is a booking in the future."""
        for appointment in self.facts.appointments:
            booking = booking_at(appointment, self.now)
            if booking and booking.state.status == "booked":
                start = booking.state.start
                if start is not None and start > self.now:
                    return True
        return False

    def _run_clocks(self) -> None:
        """Turn every clock into a stall, a due date, or something that cannot be seen."""
        for clock in self.clocks:
            if self.ended and clock.rule not in _WHILE_ENDED:
                continue
            self._run(clock)

    def _run(self, clock: Clock) -> None:
        due = clock.due or self._due(clock)
        if due is None or self._is_blind(clock):
            return
        if due > self.now:
            self.wakes.append(due)
        else:
            stall = Stall(
                rule=clock.rule,
                since=clock.start.at,
                due=due,
                owner=self._owner(clock),
                task=clock.line.task if clock.line else "",
                severity=self._severity(clock.rule),
                since_stored=clock.start.stored,
                evidence=clock.evidence,
            )
            (self.notes if clock.rule in SOFT else self.stalls).append(stall)
        if clock.rule not in _NO_STEP:
            self.dues.append(due)

    def _due(self, clock: Clock) -> datetime | None:
        span = self._spans_of(clock.line).get(clock.rule)
        if span is None:
            return None
        pauses = self.pauses if clock.rule in self.policy.pause_stops else ()
        start = clock.start.at - _TICK if clock.from_due and span.unit != "h" else clock.start.at
        return self.policy.calendar.due(start, span, pauses)

    def _spans_of(self, line: Line | None) -> Clocks:
        """The deadlines of the department that the line belongs to."""
        if line is None or not self.policy.overrides:
            return self.spans
        return self.policy.clocks_for(self.request, line.departments or self.request.departments)

    def _is_blind(self, clock: Clock) -> bool:
        """Whether we cannot tell: what the clock awaits may exist unseen, or what it rests on may be out of
        date. Then note which types are missing; no stall is claimed."""
        if not self.facts.blind:
            return False
        needs = ABOUT[clock.rule].needs
        parties = self._parties(clock)
        rests_on = (self.request.id, clock.line.task if clock.line else "", clock.evidence)
        unseen = {
            blind.type
            for blind in self.facts.blind
            if (blind.type in needs or (blind.record and blind.record in rests_on))
            and (not blind.departments or not parties or not parties.isdisjoint(blind.departments))
        }
        if unseen:
            self.unseen |= unseen
            self.not_claimed.add(clock.rule)
        return bool(unseen)

    def _parties(self, clock: Clock) -> set[str]:
        """Whose records would hold what the clock awaits."""
        receivers = {*(clock.line.departments if clock.line else self.request.departments)}
        requesters = set(self.request.requesters)
        if clock.rule in (Rule.PATIENT_NOT_INFORMED, Rule.HALF_CLOSED):
            both = receivers | requesters
            for course in self.courses:
                both.update(course.departments)
            return both
        return requesters if self.policy.owners.get(clock.rule) == "requester" else receivers

    def _owner(self, clock: Clock) -> str:
        """Who can move it."""
        if clock.owner:
            return clock.owner
        if self.policy.owners.get(clock.rule) == "requester":
            return self._requester()
        owner = (clock.line.owner if clock.line else "") or _first(self.request.departments)
        return owner or (self._requester() if clock.rule is Rule.PATIENT_NOT_INFORMED else "")

    def _requester(self) -> str:
        return _first(self.request.requesters)

    def _severity(self, rule: Rule) -> Severity:
        if self.request.priority in ("asap", "stat"):
            return "high"
        if self.guarantee is not None and self.guarantee <= self.now:
            return "high"
        return self.policy.severities.get(rule, "moderate")

    # -- the patient, and the end ----------------------------------------------------------------------

    def _events(self) -> list[Event]:
        """Everything up to now that the patient must be told about."""
        events = [event for course in self.courses for event in course.events]
        events += booking_events(self.facts, self.lines, self.now)
        for line in self.lines:
            events += [Event(result.at, "result", line.owner) for result in line.results]
        requester = self._requester()
        for state in self.request.states:
            if state.status in ("on-hold", "revoked"):
                what = "changed" if state.status == "on-hold" else "cancelled"
                events.append(Event(state.at, what, requester))
        events += [
            Event(stall.due, stall.rule, stall.owner) for stall in self.stalls if stall.rule not in STAFF_ONLY
        ]
        return [event for event in events if event.at <= self.now]

    def _conclude(self, stage: Stage, since: When, owner: str) -> Standing:
        """Decide what the patient has not been told, and whether the referral is closed."""
        told = self._last_told()
        events = self._events()
        untold = min([event for event in events if told is None or event.at > told], default=None)
        if untold is not None:
            late = untold.what in ABOUT
            self._run(Clock(Rule.PATIENT_NOT_INFORMED, When(untold.at), owner=untold.owner, from_due=late))
        if self.ended and not self._is_live() and (untold is None or "Communication" in self.unseen):
            stage, since = Stage.CLOSED, When(self.state.at, self.state.stored)
        return self._standing(stage, since, owner, told, [untold] if untold else [])

    def _last_told(self) -> datetime | None:
        reaches = {self.request.patient, *self.facts.proxies}
        return max(
            [
                min(message.latest, self.now)
                for message in self.facts.messages
                if message.sent <= self.now and not reaches.isdisjoint(message.recipients)
            ],
            default=None,
        )

    def _is_live(self) -> bool:
        """Whether a Task is still open, or a booking is in the future."""
        return (
            any(course.live and course.status != "completed" for course in self.courses)
            or self._booked_ahead()
        )

    def _standing(
        self, stage: Stage, since: When, owner: str, told: datetime | None, untold: list[Event]
    ) -> Standing:
        closed = stage is Stage.CLOSED
        wakes = [*self.wakes, next_fact(self.facts, self.now)]
        if self.guarantee is not None:
            wakes.append(self.guarantee)  # from then on every stall is of high severity
        if any(until == self.now for _, until in self.pauses):
            # While a pause lasts, each day moves every deadline that it stops.
            wakes.append(self.policy.calendar.start_of(self.policy.calendar.day(self.now) + 1))
        return Standing(
            referral=self.request.id,
            patient=self.request.patient,
            stage=stage,
            since=since.at,
            since_stored=since.stored,
            due=None if closed else min(self.dues, default=None),
            owner=owner,
            stalls=() if closed else _in_order(self.stalls),
            notes=tuple(self.notes),
            not_observable=tuple(sorted(self.unseen)),
            not_claimed=tuple(sorted(self.not_claimed)),
            patient_informed=told is not None and not untold,
            last_informed=told,
            untold_since=untold[0].at if untold else None,
            untold=untold[0].what if untold else "",
            do_not_contact=self.facts.do_not_contact,
            guarantee=None if closed else self.guarantee,
            guarantee_name="" if closed else self.guarantee_name,
            priority=self.request.priority,
            policy=self.policy.label,
            wake=min([at for at in wakes if at is not None and at > self.now], default=None),
            zone=self.policy.calendar.zone.key,
        )


def _goes_without_saying(facts: Facts, policy: Policy) -> bool:
    """Whether it is a kind of order that no department needs to accept, and none was asked."""
    asked = facts.tasks or facts.appointments or facts.visits or facts.request.by_patient
    return not asked and any_named(policy.no_referral, facts.request.specialties)


def _death(course: Course) -> tuple[When, str]:
    """When it died, and its Task, so that the order must not matter if two died together."""
    assert course.died is not None  # a live one would have a line of its own
    return course.died, course.task.id


def _unwritten(request: Request, now: datetime) -> bool:
    return request.authored > now and not request.authored_stored


def _in_order(stalls: list[Stall]) -> tuple[Stall, ...]:
    if len(stalls) > 1:
        stalls = sorted(stalls, key=lambda stall: (stall.due, stall.rule, stall.task))
    return tuple(stalls)


def _first(references: Iterable[str]) -> str:
    return next(iter(references), "")
