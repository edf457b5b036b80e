"""Judges where one referral stands: (facts, policy, now) → stage, stalls, due date and owner.

Pure: it reads no clock and does no I/O, so the live watch, a bulk re-assessment, a test and a person at a
REPL all use the same function. The documentation page on the watch explains its rules, decision by decision.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from fhir_coprod.watch.record.fhir import within_reach
from fhir_coprod.watch.record.model import ENDED, NOT_ACTIVE, Facts, RequestState
from fhir_coprod.watch.rules.answers import claimed, last_review
from fhir_coprod.watch.rules.bookings import is_booked_ahead
from fhir_coprod.watch.rules.bounce import bounced
from fhir_coprod.watch.rules.codes import (
    ABOUT,
    BEFORE_VISIT,
    HELD_BACK,
    NO_STEP,
    RANK,
    SENT_ON,
    SOFT,
    WHILE_ENDED,
    Rule,
    Stage,
)
from fhir_coprod.watch.rules.department import draw, judge
from fhir_coprod.watch.rules.diagnostic import judge_order
from fhir_coprod.watch.rules.endings import cancellation, capped, is_pressing, withdrawal
from fhir_coprod.watch.rules.informing import events_of, last_told
from fhir_coprod.watch.rules.lines import Clock, Line
from fhir_coprod.watch.rules.policies import Clocks, Policy, Severity, any_named
from fhir_coprod.watch.rules.scope import Scope, Scoped, scope_of
from fhir_coprod.watch.rules.seeing import unseen_for
from fhir_coprod.watch.rules.siblings import answers, oldest_twin, replaces
from fhir_coprod.watch.rules.silence import break_silence
from fhir_coprod.watch.rules.standing import Stall, Standing
from fhir_coprod.watch.rules.steps import Use, first_wait, shown, use_for
from fhir_coprod.watch.rules.task import (
    WITHDRAWN,
    Course,
    Event,
    When,
    active_since,
    follow,
    status_at,
)
from fhir_coprod.watch.rules.upcoming import times_around

_TICK: Final = timedelta(microseconds=1)


def assess(facts: Facts, policy: Policy, now: datetime) -> Standing:
    """Where one referral stands at `now`.

    now: an aware time. Facts with a later time are ignored.
    """
    now = within_reach(now)
    request = facts.request
    state = status_at(request.states, now)
    void = request.do_not_perform or request.states[-1].status == "entered-in-error"
    if void or (request.authored > now and not request.authored_stored):
        wake = None if void else request.authored
        return Standing(request.id, request.patient, None, policy=policy.label, wake=wake, scope="")
    courses = [course for task in facts.tasks if (course := follow(task, policy, now))]
    courses.sort(key=lambda course: course.task.id)  # if two claim the same, the order must not matter
    scoped = scope_of(facts, courses, policy, now)
    if scoped.scope is Scope.OUT:
        return Standing(
            request.id,
            request.patient,
            None,
            policy=policy.label,
            scope=scoped.scope,
            in_scope=scoped.reason,
            thing=_first(request.codes),
            written=request.authored,
        )
    assessment = _Assessment(facts, policy, now, state, courses, scoped)
    return break_silence(_judged(assessment), facts, assessment.times.last, policy, now)


def _judged(assessment: _Assessment) -> Standing:
    """Where an order stands that is watched at all."""
    scope = assessment.scoped.scope
    if assessment.request.by_patient and assessment.request.intent == "proposal":
        return assessment.of_request()
    if scope is Scope.DIAGNOSTIC:
        return assessment.of_diagnostic()
    return assessment.of_unclear() if scope is Scope.UNCLEAR else assessment.of_referral()


class _Assessment:
    """One run of `assess`, with everything it gathers on the way."""

    def __init__(
        self,
        facts: Facts,
        policy: Policy,
        now: datetime,
        state: RequestState,
        courses: list[Course],
        scoped: Scoped,
    ) -> None:
        self.facts = facts
        self.request = facts.request
        self.policy = policy
        self.now = now
        self.state = state
        self.courses = courses
        self.scoped = scoped
        self.times = times_around(facts, now)
        self.own = [course for course in courses if not course.task.request]
        """The Tasks of this referral itself, without those of referrals that carry it out."""
        self.ended = state.status in ENDED
        self.undecided = False
        """The patient has withdrawn, and nobody knows that the requester knows."""
        died = facts.deceased
        self.died = When(died) if died is not None and died <= now else None
        self.lines: list[Line] = []
        self.clocks: list[Clock] = []
        self.stalls: list[Stall] = []
        self.notes: list[Stall] = []
        self.counted: list[Stall] = []
        self.unseen: set[str] = set()
        self.not_claimed: set[Rule] = set()
        self.dues: list[datetime] = []
        self.wakes: list[datetime] = []
        self.guarantee: datetime | None = None
        self.guarantee_name = ""
        self.spans = policy.clocks_for(self.request, self.request.departments)
        self.pauses = [pause for course in courses for pause in course.pauses]

    # -- the kinds of order ----------------------------------------------------------------------------

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
        self.lines = draw(self.facts, self.courses, self.policy, self.now)
        active = [line for line in self.lines if line.has_proof or (line.course and line.course.live)]
        for line in active:
            judge(line, self.facts, self.policy, self.now)
            self.clocks += claimed(line, self.facts, self.own)
        if active:
            least = min(active, key=lambda line: (RANK[line.stage], line.since))
            stage, since, owner = least.stage, least.since, least.owner
        else:
            stage, since, owner = self._without_line()
        self._hold_back(active)
        self._promise(stage, active)
        self.clocks = [capped(clock, self.policy, self.guarantee) for clock in self.clocks]
        if self.state.status not in NOT_ACTIVE and (
            twin := oldest_twin(self.facts, self.own, self.policy, self.now)
        ):
            at = When(self.request.authored)
            self.clocks.append(Clock(Rule.DUPLICATE, at, due=at.at, evidence=twin))
        proven = any(RANK[line.stage] > RANK[Stage.ACCEPTED] for line in self.lines)
        if not proven and (turn := bounced(self.own)):
            self.clocks.append(Clock(Rule.BOUNCED, turn, due=turn.at))
        siblings = self.facts.siblings
        if siblings and any(replaces(s, self.request, self.now) for s in siblings):
            self.clocks = [clock for clock in self.clocks if clock.rule not in SENT_ON]
        self._half_close(active)
        if active and (asked := cancellation(self.facts, active, self.now)):
            self.clocks.append(asked)
        if withdrawn := withdrawal(self.facts, self.state, self.now):
            self.undecided = True
            self.clocks.append(withdrawn)
        self._run_clocks()
        return self._conclude(stage, since, owner)

    def of_diagnostic(self) -> Standing:
        """The standing of a diagnostic order: its result and the review are counted, or alert where the site
        wants that."""
        if self.ended:
            return self._standing(Stage.CLOSED, When(self.state.at, self.state.stored), "", None, [])
        stage, since, owner, clocks = judge_order(self.facts, self.policy, self.now)
        self.clocks += clocks
        self._run_clocks()
        parties = {"*", *self.request.departments, *self.request.requesters}
        if self.policy.scope_alerts.diagnostic_for.isdisjoint(parties):
            self.stalls, self.counted = [], self.stalls
        return self._standing(stage, since, owner, None, [])

    def of_unclear(self) -> Standing:
        """The standing of what may be a referral: counts that it was not sent, and claims nothing else."""
        standing = self.of_referral()
        self.stalls, self.counted, self.notes, self.dues, self.unseen = [], [], [], [], set()
        self.clocks = [clock for clock in self.clocks if clock.rule in (Rule.NOT_SENT, Rule.NO_TRACE)]
        self._run_clocks()
        return msgspec.structs.replace(
            standing,
            stalls=(),
            notes=(),
            counted=() if standing.stage is Stage.CLOSED else _in_order([*self.stalls, *self.counted]),
            due=min(self.dues, default=None),
            not_observable=tuple(sorted(self.unseen)),
            untold_since=None,
            untold="",
        )

    # -- clocks ----------------------------------------------------------------------------------------

    def _without_line(self) -> tuple[Stage, When, str]:
        """Stage, since when and owner if no department has it: it was never sent, or every Task has ended."""
        dead = [course for course in self.own if course.died]
        if not dead:
            active = active_since(self.request.states, self.now)
            if self.state.status == "draft":
                self.clocks.append(Clock(Rule.DRAFT_LEFT, When(self.request.authored)))
            elif active:
                self.clocks.append(Clock(first_wait(self.facts, self.now), active))
            return (
                Stage.WRITTEN,
                When(self.request.authored, self.request.states[0].stored),
                self._requester(),
            )
        last = max(dead, key=_death)
        died, _ = _death(last)
        line = next(line for line in self.lines if line.course is last)
        if last.status == "cancelled":
            self.clocks.append(Clock(Rule.NOT_SENT, died, line))
            return Stage.WRITTEN, died, self._requester()
        if last.status == WITHDRAWN:
            reviewed = last_review(self.facts, self.now)
            if not self.ended and (reviewed is None or reviewed < died.at):
                self.clocks.append(Clock(Rule.WITHDRAWAL_UNDECIDED, died, line))
            return Stage.WRITTEN, died, self._requester()
        self.clocks.append(Clock(Rule.REJECTED_NOT_REROUTED, died, line))
        turned_back = last.stage in (Stage.RECEIVED, Stage.ACCEPTED)
        return Stage.SENT, died if turned_back else When(last.sent), last.owner

    def _hold_back(self, active: list[Line]) -> None:
        """If the whole referral is on hold, stop the departments' clocks and start the hold's own."""
        if self.state.status != "on-hold":
            return
        self.clocks = [clock for clock in self.clocks if clock.rule not in HELD_BACK]
        reviewed = any(line.course and line.course.held for line in active)
        if not reviewed and (not active or any(line.stage in BEFORE_VISIT for line in active)):
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

    def _half_close(self, active: list[Line]) -> None:
        """Find a referral that has ended on one side but not on the other."""
        going = [
            line for line in active if line.course and line.course.live and line.course.status != "completed"
        ]
        if self.ended:
            end = When(self.state.at, self.state.stored)
            shown = {line.course for line in self.lines}
            going += [
                Line(course)
                for course in self.own
                if course not in shown and course.live and course.status != "completed"
            ]
            for line in going:
                review = self._review_due(line) if self.state.status == "completed" else None
                self._disagree(line, end, review, line.owner)
            if self.state.status == "revoked" and not going and is_booked_ahead(self.facts, self.now):
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

    def _run_clocks(self) -> None:
        """Turn every clock into a stall, a due date, or something that cannot be seen."""
        if self.died:
            # Nobody waits for anything any more: one note in place of everything.
            owner = _first([*(line.owner for line in self.lines if line.owner), *self.request.departments])
            note = Clock(Rule.PATIENT_DECEASED, self.died, owner=owner, due=self.died.at)
            self.clocks = [] if self.ended else [note]
        for clock in self.clocks:
            if self.ended and clock.rule not in WHILE_ENDED:
                continue
            self._run(clock)

    def _run(self, clock: Clock) -> None:
        due = clock.due or self._due(clock)
        use = use_for(clock.rule, self.facts, self.now)
        if due is None or use == Use.NOT_USED or self._is_blind(clock):
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
            found = self.stalls if use == Use.USED else self.counted
            (self.notes if clock.rule in SOFT else found).append(stall)
        if clock.rule not in NO_STEP:
            self.dues.append(due)

    def _due(self, clock: Clock) -> datetime | None:
        span = self._spans_of(clock.line).get(clock.rule)
        if span is None:
            return None
        if clock.rule is Rule.WITHDRAWAL_UNDECIDED and is_pressing(self.facts, self.policy, clock.start.at):
            span = self.policy.withdrawal_soon
        pauses = self.pauses if clock.rule in self.policy.pause_stops else ()
        start = clock.start.at - _TICK if clock.from_due and span.unit != "h" else clock.start.at
        due = self.policy.calendar.due(start, span, pauses)
        return due if clock.sought_by is None else min(due, clock.sought_by)

    def _spans_of(self, line: Line | None) -> Clocks:
        """The deadlines of the department that the line belongs to."""
        if line is None or not self.policy.overrides:
            return self.spans
        return self.policy.clocks_for(self.request, line.departments or self.request.departments)

    def _is_blind(self, clock: Clock) -> bool:
        """Whether we cannot tell; then note which types are missing, and no stall is claimed."""
        unseen = unseen_for(clock, self.facts, self.policy, self.courses)
        if unseen:
            self.unseen |= unseen
            self.not_claimed.add(clock.rule)
        return bool(unseen)

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

    def _conclude(self, stage: Stage, since: When, owner: str) -> Standing:
        """Decide what the patient has not been told, and whether the referral is closed."""
        told = last_told(self.facts, self.now)
        events = events_of(self.facts, self.own, self.lines, self.stalls, self.now)
        untold = min([event for event in events if told is None or event.at > told], default=None)
        if untold is not None and not self.died and self.request.patient:
            late = untold.what in ABOUT
            self._run(Clock(Rule.PATIENT_NOT_INFORMED, When(untold.at), owner=untold.owner, from_due=late))
        told_or_unseen = untold is None or self.died or "Communication" in self.unseen
        if self.ended and not self._is_live() and told_or_unseen and not self.undecided:
            stage, since = Stage.CLOSED, When(self.state.at, self.state.stored)
        return self._standing(stage, since, owner, told, [untold] if untold else [])

    def _is_live(self) -> bool:
        """Whether a Task is still open, or a booking is in the future."""
        return any(
            course.live and course.status != "completed" for course in self.courses
        ) or is_booked_ahead(self.facts, self.now)

    def _standing(
        self, stage: Stage, since: When, owner: str, told: datetime | None, untold: list[Event]
    ) -> Standing:
        closed, diagnostic = stage is Stage.CLOSED, self.scoped.scope is Scope.DIAGNOSTIC
        tells = self.scoped.scope is Scope.REFERRAL and not self.request.by_patient
        wakes = [*self.wakes, self.times.ahead]
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
            counted=() if closed else _in_order(self.counted),
            not_observable=tuple(sorted(self.unseen)),
            not_claimed=tuple(sorted(self.not_claimed)),
            patient_informed=told is not None and not untold,
            last_informed=told,
            untold_since=untold[0].at if untold else None,
            untold=untold[0].what if untold else "",
            # Nobody writes to a patient about a diagnostic order.
            do_not_contact=self.facts.do_not_contact and not diagnostic,
            refused=None
            if diagnostic
            else max((at for at in self.facts.refused if at <= self.now), default=None),
            deceased=self.died.at if self.died else None,
            unknown=self._unknown(),
            guarantee=None if closed else self.guarantee,
            guarantee_name="" if closed else self.guarantee_name,
            priority=self.request.priority,
            policy=self.policy.label,
            wake=min([at for at in wakes if at is not None and at > self.now], default=None),
            zone=self.policy.calendar.zone.key,
            scope=self.scoped.scope,
            in_scope=self.scoped.reason,
            thing=_first(self.request.codes),
            written=self.request.authored,
            department=_first((*self.request.departments, *(course.owner for course in self.courses))),
            steps=tuple(shown(self.facts, self.now)) if tells else (),
        )

    def _unknown(self) -> tuple[str, ...]:
        """The states that nobody knows, without those that the policy has a use for."""
        if not self.facts.unknown:
            return ()
        used = self.policy.awaiting_information | self.policy.pause_reasons
        return tuple(code for code in self.facts.unknown if not any_named(used, (code,)))


def _death(course: Course) -> tuple[When, str]:
    """When it died, and its Task, so that the order must not matter if two died together."""
    assert course.died is not None  # a live one would have a line of its own
    return course.died, course.task.id


def _in_order(stalls: list[Stall]) -> tuple[Stall, ...]:
    if len(stalls) > 1:
        stalls = sorted(stalls, key=lambda stall: (stall.due, stall.rule, stall.task))
    return tuple(stalls)


def _first(references: Iterable[str]) -> str:
    return next(iter(references), "")
