"""The waits in one referral: what was owed, when somebody did it, and what the patient was told.

Every step is a wait, from when it was owed until it was done. First it is decided whether the step was
forgotten; when it was done follows from that. Nothing is read from the records: they are written from what
happened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from random import Random

from fhir_coprod.simulate import rates
from fhir_coprod.simulate.hospital import Department
from fhir_coprod.simulate.promises import office, too_late
from fhir_coprod.simulate.records import Records
from fhir_coprod.simulate.truth import STAFF_ONLY, STORY, Happening, Stall, cut, untold

_DAY = timedelta(days=1)
_CLOSING = frozenset({"half-closed", "patient-not-informed"})


class Waits:
    """One referral: its records, and the truth about it."""

    def __init__(
        self, id: str, patient: str, by: Department, to: Department, at: datetime, chance: Random
    ) -> None:
        self.records = Records(id, patient)
        self.reference = self.records.reference
        self.patient = patient
        self.by = by
        self.to = to
        self.chance = chance
        self.priority = chance.choices(list(rates.PRIORITIES), list(rates.PRIORITIES.values()))[0]
        self.authored = at
        self.stalls: list[Stall] = []
        self.happened: list[Happening] = []
        self.away: list[tuple[datetime, datetime]] = []
        """When the patient chose to wait."""
        self.ended: datetime | None = None
        """When the ServiceRequest was completed or revoked."""
        self.steadfast = False
        """Whether nobody gives up the referral on the way."""
        self.born = date(1970, 1, 1)
        self.attempt = ""
        """How the first scheduling attempt ended: complete, dated (and no more), or none."""
        self.acted: datetime | None = None
        """The department's first sign of life."""
        self.stops: Mapping[str, datetime] = {}
        """When a department that is asked stops answering."""

    def stop(self, stops: Mapping[str, datetime]) -> None:
        """Let departments stop answering; the one that wrote this referral goes on with it."""
        self.stops = {name: at for name, at in stops.items() if name != self.by.name}
        self.records.stops = self.stops

    def is_gone(self, department: Department, at: datetime) -> bool:
        """Whether a department answers no longer."""
        return department.name in self.stops and at >= self.stops[department.name]

    # -- waiting -----------------------------------------------------------------------------------------

    def step(
        self, kind: str, since: datetime, forgotten: float, at_least: timedelta = timedelta()
    ) -> datetime | None:
        """When a step that is owed since `since` is done; None: never."""
        chance = self.chance
        due = too_late(kind, since, self.priority)
        if chance.random() < forgotten:
            if chance.random() < rates.NEVER:
                return None
            found = max(due, since + at_least)
            return office(found + _DAY * chance.expovariate(1 / rates.FOUND_DAYS), found)
        share = chance.triangular(0.02, 1, 0.25)
        if chance.random() < rates.SLOW:
            share = chance.uniform(1, 1.5)
        done = since + (due - since) * share
        return done if self.priority in ("asap", "stat") else office(done, since)

    def soon(self, since: datetime, days: float = 1) -> datetime:
        """A while later."""
        return office(since + _DAY * self.chance.uniform(0.05, days), since)

    def owed(
        self,
        kind: str,
        since: datetime,
        until: datetime | None,
        department: Department,
        task: str = "",
        *,
        due: datetime | None = None,
        visible: datetime | None = None,
    ) -> None:
        """Writes down a wait if it lasted too long.

        due:     when it becomes too late, if that is not simply the promise after `since`.
        visible: it was no stall before this time, whatever the promise, as something else was in its way.

        What a department that answers no longer would have done is never done.
        """
        if until is not None and self.is_gone(department, until):
            until = None
        stalled = due or too_late(kind, since, self.priority)
        if visible is not None and visible > stalled:
            stalled = visible
        if until is None or until > stalled:
            self.stalls.append(
                Stall(self.reference, kind, since, stalled, until, department.organization, task, STORY[kind])
            )

    def tell_of(self, at: datetime, department: Department) -> None:
        """Note that the patient must be told of this."""
        self.happened.append(Happening(at, department.name))

    def die(self, at: datetime) -> None:
        """The patient has died: what was owed until then is no longer owed; the referral is to be ended."""
        self.stalls = cut(self.stalls, at)
        if self.ended is None or self.ended > at:
            kind = "patient-deceased"
            self.stalls.append(
                Stall(self.reference, kind, at, at, self.ended, self.to.organization, "", STORY[kind])
            )

    # -- the end ------------------------------------------------------------------------------------------

    def end(self, status: str, at: datetime) -> None:
        """The requester ends the referral: what was owed until now is no longer owed."""
        self.ended = at
        self.records.change(self.reference, at, status=status)
        lasting = [stall for stall in self.stalls if stall.rule in _CLOSING]
        self.stalls = [*cut((s for s in self.stalls if s.rule not in _CLOSING), at), *lasting]
        if status == "revoked":
            self.tell_of(at, self.by)

    def revoke(self, at: datetime, open_tasks: Sequence[tuple[Department, str]]) -> None:
        """The requester revokes it; the departments end their Tasks with it, or forget to."""
        self.end("revoked", at)
        for department, task in open_tasks:
            ended = self.step("half-closed", at, rates.FORGOTTEN["half-closed"])
            self.owed("half-closed", at, ended, department, task)
            if ended and not self.is_gone(department, ended):
                self.records.move(task, ended, status="cancelled")
                self.tell_of(ended, department)

    # -- the patient -------------------------------------------------------------------------------------

    def inform(self, recipient: str, silent: bool, by_name: Mapping[str, Department]) -> None:
        """Decide who tells the patient what, and what is left unsaid; call this last."""
        chance, records = self.chance, self.records
        late = [
            Happening(stall.stalled, stall.department.partition("/")[2], stall.until, late=True)
            for stall in self.stalls
            if stall.rule not in STAFF_ONLY
        ]
        happened = sorted([*self.happened, *late], key=lambda one: (one.at, one.late))
        told: list[datetime] = []
        if not silent:
            for one in happened:
                department = by_name[one.department]
                likely = rates.TOLD_OF_DELAY if one.late else department.informs
                if chance.random() < likely:
                    at = office(one.at + _DAY * chance.uniform(0.02, 2), one.at)
                    if (one.until is None or at < one.until) and not self.is_gone(department, at):
                        told.append(at)
                        topic = "delay" if one.late else "plan"
                        records.message(
                            at, department, recipient, [self.reference], topic, "What happens now, and why."
                        )
        self.stalls += untold(self.reference, happened, told, self.priority)
