"""Simulates one referral step by step: what people did or forgot, and what was written down about it."""

from __future__ import annotations

from datetime import datetime, timedelta

from fhir_coprod.simulate import rates
from fhir_coprod.simulate.answers import Answers, Ending
from fhir_coprod.simulate.hospital import Department
from fhir_coprod.simulate.promises import (
    ZONE,
    decide_by,
    midnight_after,
    office,
    too_late,
    visit_promised_by,
)
from fhir_coprod.simulate.records import Stopped, ours

_DAY = timedelta(days=1)
_VISIT = timedelta(minutes=45)
INFORMATION = ours("task-kind", "information-request")
ABORT = {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "abort"}]}


class Thread(Answers):
    """One referral, from being written to being closed."""

    # -- the requester -----------------------------------------------------------------------------------

    def write(self, at: datetime, **more: object) -> datetime | None:
        """The referral is written, perhaps as a draft first; returns when it becomes active."""
        drafted = self.chance.random() < rates.DRAFTED
        self.records.referral(at, self.by, self.to, self.priority, "draft" if drafted else "active", **more)
        if not drafted:
            return at
        finished = self.step("draft-left", at, rates.FORGOTTEN["draft-left"])
        self.owed("draft-left", at, finished, self.by)
        if finished:
            self.records.change(self.reference, finished, status="active")
        return finished

    def send(self, active: datetime) -> datetime | None:
        """When it is sent to a department."""
        if self.chance.random() < 0.8:
            return active + timedelta(minutes=self.chance.randint(1, 20))
        sent = self.step("not-sent", active, rates.FORGOTTEN["not-sent"] * 5)
        self.owed("not-sent", active, sent, self.by)
        return sent

    # -- a department ------------------------------------------------------------------------------------

    def course(self, to: Department, sent: datetime, returned: float, *, first: bool = False) -> Ending:
        """One department's part, from being asked until it sends the referral back or the answer has come.

        returned: how likely it is to send it back.
        """
        chance = self.chance
        forgets = ""
        if chance.random() < rates.INACTION:
            forgets = chance.choice(("unacknowledged", "undecided", "unscheduled"))
            if forgets == "undecided" and not to.acknowledges:
                forgets = "unacknowledged"
        pooled = chance.random() < rates.POOLED
        task = self.records.task(sent, self.by, None if pooled else to, to, self.priority)
        try:
            if not pooled and chance.random() < rates.HANDED_ON:
                return self._handed_on(to, sent, task, first=first)
            return self._asked(to, sent, task, returned, forgets, pooled=pooled, first=first)
        except Stopped as gone:
            return self._stuck(gone.at, task, first)

    def _asked(
        self,
        to: Department,
        sent: datetime,
        task: str,
        returned: float,
        forgets: str,
        *,
        pooled: bool,
        first: bool,
    ) -> Ending:
        """It was asked: it takes the referral on, or sends it back."""
        chance, records = self.chance, self.records
        claimed = sent
        if pooled:
            found = self.step("unclaimed", sent, rates.FORGOTTEN["unclaimed"])
            self.owed("unclaimed", sent, found, to, task)
            if found is None:
                return self._stuck(sent, task, first)
            claimed = found
            records.move(task, claimed, owner={"reference": to.organization})
        seen = self._inaction("unacknowledged", sent, forgets)
        if seen is not None and seen <= claimed:
            seen = claimed + timedelta(minutes=5)
        self.owed("unacknowledged", sent, seen, to, task, visible=claimed)
        if seen is None:
            return self._stuck(sent, task, first)
        decided = seen
        owner = {"reference": to.organization}
        if to.acknowledges:
            records.move(task, seen, status="received")
            if first:
                self.acted = seen
            if not forgets and chance.random() < rates.AWAITING:
                answer = self._waits_for_facts(to, task, seen)
                if answer is None:
                    return self._stuck(seen, task, first)
                decided = answer
            else:
                later = self._inaction("undecided", seen, forgets)
                self.owed("undecided", seen, later, to, task)
                if later is None:
                    return self._stuck(seen, task, first)
                decided = later
        if first:
            self.acted = decided if forgets else self.acted or decided
        if forgets != "unscheduled" and chance.random() < returned:
            reason = ours("task-status-reason", chance.choice(("wrong-department", "not-indicated")))
            records.move(task, decided, status="rejected", statusReason=reason)
            self.tell_of(decided, to)
            self.attempt = self.attempt or "none"
            return Ending("returned", decided, task)
        records.move(task, decided, status="accepted", statusReason=None, owner=owner)
        self.tell_of(decided, to)
        return self._accepted(to, task, decided, forgets, first=first)

    def _stuck(self, at: datetime, task: str, first: bool) -> Ending:
        if first:
            self.attempt = self.attempt or "none"
        return Ending("stuck", at, task)

    def _inaction(self, kind: str, since: datetime, forgets: str) -> datetime | None:
        forgotten = forgets == kind
        least = timedelta(days=rates.INACTION_DAYS) if forgotten else timedelta()
        return self.step(kind, since, 1.0 if forgotten else 0.0, least)

    def _waits_for_facts(self, to: Department, task: str, received: datetime) -> datetime | None:
        """The department needs to know more: it asks somebody, or forgets to."""
        records, chance = self.records, self.chance
        marked = self.soon(received)
        self.owed("undecided", received, marked, to, task)
        records.move(
            task, marked, status="on-hold", statusReason=ours("task-status-reason", "awaiting-information")
        )
        self.tell_of(marked, to)
        asked: datetime | None = self.soon(marked)
        if chance.random() < rates.FORGOTTEN["awaiting-information"]:
            asked = self.step("awaiting-information", marked, 1.0)
        self.owed("awaiting-information", marked, asked, to, task)
        if asked is None:
            return None
        side = records.side_task(asked, to, self.by.doctor, INFORMATION, "requested")
        answered = self.soon(asked, 10)
        records.answer(side, answered)
        if self.is_gone(to, answered):
            self.owed("awaiting-information", marked, None, to, task, visible=answered)
            return None
        return answered

    def _handed_on(self, to: Department, sent: datetime, task: str, *, first: bool) -> Ending:
        """Passed to another department, which passes it back: to and fro, until somebody takes it."""
        records = self.records
        other = self.by  # the one department that is certain to be another
        away = self.soon(sent)
        back = self.soon(away)
        if self.is_gone(to, back):
            self.owed("unacknowledged", sent, None, to, task)
            return self._stuck(sent, task, first)
        records.move(task, away, owner={"reference": other.organization})
        records.move(task, back, owner={"reference": to.organization})
        taken = self.step("unacknowledged", sent, 0.3)
        if taken is not None and taken <= back:
            taken = self.soon(back)
        if taken is not None and self.is_gone(to, taken):
            taken = None
        self.owed("bounced", back, taken, self.by, due=back)
        self.owed("unacknowledged", sent, taken, to, task)
        if taken is None:
            return self._stuck(back, task, first)
        if first:
            self.acted = taken
        records.move(task, taken, status="accepted")
        self.tell_of(taken, to)
        return self._accepted(to, task, taken, "", first=first)

    def _accepted(self, to: Department, task: str, since: datetime, forgets: str, *, first: bool) -> Ending:
        """Accepted: a visit is owed."""
        chance = self.chance
        if first and not forgets and not self.steadfast and chance.random() < rates.WITHDRAWN:
            at = self.soon(since, 3)
            self.attempt = self.attempt or "none"
            lot = chance.random()
            if lot < rates.BY_PATIENT:
                return self._withdrawn(to, task, since, at)
            if lot < rates.BY_PATIENT + rates.ASKED_TO_CANCEL:
                return self._asked_to_cancel(to, task, since, at)
            self.owed("unscheduled", since, at, to, task)
            self.revoke(at, [(to, task)])
            return Ending("given up", at, task)
        resumed = None
        if not forgets and not self.steadfast and self.priority == "routine":
            lot = chance.random()
            if lot < rates.HELD + rates.PATIENT_WAITS:
                resumed = self._held(to, task, since, by_patient=lot < rates.PATIENT_WAITS)
                if resumed is None:
                    return self._stuck(since, task, first)
        booked = self.soon(resumed, 3) if resumed else self._inaction("unscheduled", since, forgets)
        due = too_late("unscheduled", since, self.priority, self.away)
        self.owed("unscheduled", since, booked, to, task, due=due, visible=resumed)
        if booked is None:
            return self._stuck(since, task, first)
        return self._visits(to, task, booked, since if not resumed else None, first=first)

    def _withdrawn(self, to: Department, task: str, since: datetime, at: datetime) -> Ending:
        """The patient says no to the department; the one who asked ends the referral, or forgets to."""
        kind = "withdrawal-undecided"
        self.owed("unscheduled", since, at, to, task)
        self.records.move(task, at, status="cancelled", statusReason=ours("task-status-reason", "withdrawn"))
        decided = self.step(kind, at, rates.FORGOTTEN[kind])
        self.owed(kind, at, decided, self.by, task, due=decide_by(at, self.priority, self.born))
        if decided is not None:
            self.end("revoked", decided)
        return Ending("given up", decided or at, task)

    def _asked_to_cancel(self, to: Department, task: str, since: datetime, at: datetime) -> Ending:
        """The one who asked wants it cancelled; the department answers, or forgets to."""
        kind = "cancellation-unanswered"
        asked = self.records.side_task(at, self.by, to.organization, ABORT, "requested")
        answered = self.step(kind, at, rates.FORGOTTEN[kind])
        self.owed(kind, at, answered, to)
        self.owed("unscheduled", since, answered, to, task)
        if answered is None:
            return Ending("stuck", at, task)
        self.records.move(asked, answered, status="completed")
        self.records.move(task, answered, status="cancelled")
        self.tell_of(answered, to)
        self.end("revoked", answered + timedelta(minutes=2))
        return Ending("given up", answered, task)

    def _held(self, to: Department, task: str, since: datetime, *, by_patient: bool) -> datetime | None:
        """Put aside for a while; returns when it goes on."""
        chance, records = self.chance, self.records
        begin = self.soon(since, 3)
        if self.is_gone(to, begin):
            self.owed("unscheduled", since, None, to, task)
            return None
        review = None
        if chance.random() < 0.7:
            review = (begin + _DAY * chance.randint(7, 30)).astimezone(ZONE).date()
        reason = "patient-choice" if by_patient else "no-capacity"
        period = {"restriction": {"period": {"end": review.isoformat()}}} if review else {}
        records.move(task, begin, status="on-hold", statusReason=ours("task-status-reason", reason), **period)
        self.tell_of(begin, to)
        start = midnight_after(review) - timedelta(microseconds=1) if review else begin
        end = self.step("on-hold-without-review", start, rates.FORGOTTEN["on-hold-without-review"])
        self.owed("on-hold-without-review", start, end, to, task)
        if end is None:
            return None
        records.move(task, end, status="accepted", statusReason=None, restriction=None)
        if by_patient:
            self.away.append((begin, end))
        return end

    # -- the visit ---------------------------------------------------------------------------------------

    def _visits(
        self, to: Department, task: str, booked: datetime, queued: datetime | None, *, first: bool
    ) -> Ending:
        """Bookings, one after the other, until the patient has been seen."""
        records, chance = self.records, self.chance
        for attempt in range(4):
            start = self._start(booked)
            if to.queues and queued is not None and attempt == 0 and chance.random() < 0.5:
                place = min(queued + timedelta(hours=1), booked)
                records.appointment(place, to, "waitlist", None)
            appointment = records.appointment(booked, to, "booked", start)
            self.tell_of(booked, to)
            known = booked
            if chance.random() < rates.MOVED and start - booked > 4 * _DAY:
                known = office(booked + (start - booked) * chance.uniform(0.1, 0.6), booked)
                moved = self._start(start, days=10)
                if self.is_gone(to, known):
                    return self._left_booked(to, task, booked, start, first=first)
                records.change(appointment, known, **records.times(moved))
                self.tell_of(known, to)
                self._late(to, task, booked, start, known)
                start = moved
            end = start + _VISIT
            lot = chance.random()
            last = attempt == 3
            if lot < rates.KEPT or last:
                if self.is_gone(to, end):
                    return self._left_booked(to, task, known, start, first=first)
                self._late(to, task, known, start, start)
                if first and attempt == 0:
                    self.attempt = self.attempt or "complete"
                return self.seen(to, task, appointment, start, end, recorded=end)
            if first and attempt == 0:
                self.attempt = self.attempt or "dated"
            if lot < rates.KEPT + rates.CANCELLED:
                after = known + (start - known) * chance.uniform(0.05, 0.95)
                again = self._cancelled(to, task, appointment, known, after, start)
            elif lot < rates.KEPT + rates.CANCELLED + rates.NO_SHOW:
                again = self._missed(to, task, appointment, known, start, end)
            else:
                recorded = self.step("appointment-passed", end, rates.FORGOTTEN["appointment-passed"])
                self.owed("appointment-passed", end, recorded, to, task)
                self._late(to, task, known, start, recorded)
                if recorded is None:
                    return self._stuck(end, task, first)
                return self.seen(to, task, appointment, start, end, recorded=max(recorded, end))
            if again is None or isinstance(again, Ending):
                return again or self._stuck(start, task, first)
            booked = again
        raise AssertionError("the fourth visit is always kept")

    def _left_booked(
        self, to: Department, task: str, known: datetime, start: datetime, *, first: bool = False
    ) -> Ending:
        """Nobody records any more what becomes of a booking."""
        self.owed("appointment-passed", start + _VISIT, None, to, task)
        self._late(to, task, known, start, None)
        return self._stuck(start, task, first)

    def _start(self, after: datetime, days: float = 0) -> datetime:
        """When the visit is planned to begin."""
        chance = self.chance
        if self.priority == "stat":
            return after + timedelta(hours=chance.uniform(1, 6))
        if self.priority == "asap":
            return after + timedelta(hours=chance.uniform(6, 72))
        if days:
            return office(after + _DAY * chance.uniform(2, days), after)
        if chance.random() < rates.LATE_BOOKING:
            after = max(after, self.authored + 91 * _DAY)
            return office(after + _DAY * chance.uniform(1, 40), after)
        wait = 8 if self.priority == "urgent" else 24
        return office(after + _DAY * min(chance.lognormvariate(0, 0.5) * wait, 75), after + _DAY)

    def _late(
        self, to: Department, task: str, booked: datetime, start: datetime, until: datetime | None
    ) -> None:
        """A booking beyond the care guarantee is a stall from the moment it is made."""
        if start >= visit_promised_by(self.authored, self.away):
            self.owed("booked-too-late", booked, until, to, task, due=booked)

    def _cancelled(
        self, to: Department, task: str, appointment: str, known: datetime, after: datetime, start: datetime
    ) -> datetime | Ending | None:
        """The visit is cancelled: a new one is booked at once, later, or never; or nobody wants one."""
        chance = self.chance
        at = office(after, known)
        if at >= start:
            at = known + (start - known) / 2
        if self.is_gone(to, at):
            return self._left_booked(to, task, known, start)
        self.records.change(appointment, at, status="cancelled", cancelationReason={"text": "Did not suit"})
        self.tell_of(at, to)
        self._late(to, task, known, start, at)
        if not self.steadfast and chance.random() < rates.GIVEN_UP:
            return self._given_up(to, task, "cancelled-not-rebooked", at)
        if chance.random() < rates.REBOOKED_AT_ONCE:
            return at + timedelta(minutes=5)
        rebooked = self.step("cancelled-not-rebooked", at, rates.FORGOTTEN["cancelled-not-rebooked"] * 2)
        self.owed("cancelled-not-rebooked", at, rebooked, to, task)
        return rebooked

    def _missed(
        self, to: Department, task: str, appointment: str, known: datetime, start: datetime, end: datetime
    ) -> datetime | Ending | None:
        """The patient did not come."""
        recorded = end + timedelta(minutes=self.chance.randint(5, 240))
        if self.is_gone(to, recorded):
            return self._left_booked(to, task, known, start)
        self.records.change(appointment, recorded, status="noshow")
        self._late(to, task, known, start, recorded)
        if not self.steadfast and self.chance.random() < rates.GIVEN_UP:
            return self._given_up(to, task, "no-show-open", end)
        rebooked = self.step("no-show-open", end, rates.FORGOTTEN["no-show-open"])
        if rebooked is not None and rebooked <= recorded:
            rebooked = recorded + timedelta(minutes=10)
        self.owed("no-show-open", end, rebooked, to, task)
        return rebooked

    def _given_up(self, to: Department, task: str, kind: str, since: datetime) -> Ending:
        """Nobody wants the visit any more: the referral is revoked, and the department's Task cancelled."""
        at = self.step(kind, since, 0.0) or since
        at = max(at, since + timedelta(hours=5))
        self.owed(kind, since, at, to, task)
        self.revoke(at, [(to, task)])
        return Ending("given up", at, task)
