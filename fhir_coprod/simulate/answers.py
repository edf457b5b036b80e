"""Simulates the end of a referral: the visit is over, and the answer is written, returned and read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from fhir_coprod.simulate import rates
from fhir_coprod.simulate.hospital import Department
from fhir_coprod.simulate.promises import after_promise, too_late
from fhir_coprod.simulate.waits import Waits

REVIEW = {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "approve"}]}


class Ending(NamedTuple):
    """How one department's part ended."""

    outcome: str
    """returned (sent back), given up, answered, or stuck: nobody ever does the next step."""
    at: datetime
    task: str
    result: str = ""
    answered: datetime | None = None
    """When the answer reached the one who asked."""
    completed: datetime | None = None
    """When the department ended its Task."""


class Answers(Waits):
    """One referral, from the visit to being closed."""

    # -- the answer --------------------------------------------------------------------------------------

    def seen(
        self,
        to: Department,
        task: str,
        appointment: str,
        start: datetime,
        end: datetime,
        recorded: datetime,
    ) -> Ending:
        """The patient was there: an answer is owed, and the one who asked must get it."""
        records, chance = self.records, self.chance
        if recorded == end:
            visit = records.encounter(start, to, appointment, start, None)
            records.change(visit, end, status="finished", period=records.period(start, end))
        else:
            visit = records.encounter(recorded, to, appointment, start, end)
        if chance.random() < 0.7:
            records.change(appointment, recorded, status="fulfilled")
        if chance.random() < 0.5:
            records.move(task, recorded, status="in-progress")
        final = self.step("results-missing", end, rates.FORGOTTEN["results-missing"])
        if final is not None and final <= recorded:
            final = recorded + timedelta(minutes=30)
        self.owed("results-missing", end, final, to, task, visible=recorded)
        if chance.random() < 0.2:
            early = recorded + timedelta(minutes=20)
            if final is None or early < final:
                result = records.result(early, to, "preliminary", visit)
                if final is not None:
                    records.finish_result(result, final)
            elif final is not None:
                result = records.result(final, to, "final", visit)
        elif final is not None:
            result = records.result(final, to, "final", visit)
        if final is None:
            return Ending("stuck", end, task)
        self.tell_of(final, to)
        return self._returned(to, task, result, final)

    def _returned(self, to: Department, task: str, result: str, final: datetime) -> Ending:
        records, chance = self.records, self.chance
        at_once = chance.random() < 0.5
        if at_once:
            back: datetime | None = final + timedelta(minutes=10)
        else:
            back = self.step("report-not-returned", final, rates.FORGOTTEN["report-not-returned"] * 2)
        self.owed("report-not-returned", final, back, to, task)
        if back is None:
            records.move(task, final, status="completed")
            return Ending("stuck", final, task, result, completed=final)
        completed: datetime | None = back
        if to.returns_by_message:
            about = [result, self.reference]
            records.message(back, to, self.by.doctor, about, "report-to-requester", "The answer is enclosed.")
            if chance.random() < rates.FORGOTTEN["half-closed"]:
                completed = None
            else:
                completed = back + timedelta(minutes=1)
                records.move(task, completed, status="completed")
        else:
            output = [{"type": {"text": "answer"}, "valueReference": {"reference": result}}]
            records.move(task, back, status="completed", output=output)
        return Ending("answered", back, task, result, back, completed)

    # -- closing -----------------------------------------------------------------------------------------

    def close(self, parts: Sequence[tuple[Department, Ending]]) -> None:
        """The requester reads each answer, and ends the referral when every department has answered."""
        chance, records = self.chance, self.records
        answers = [(department, part, part.answered) for department, part in parts if part.answered]
        whole = len(answers) == len(parts)
        ends_it = whole and len(parts) == 1 and chance.random() < 0.5
        reviews: list[datetime | None] = []
        for _, part, answered in answers:
            read = self.step("not-reviewed", answered, rates.FORGOTTEN["not-reviewed"])
            reviews.append(read)
            self.owed("not-reviewed", answered, read, self.by, part.task)
            if read is not None and not ends_it:
                records.side_task(read, self.by, self.by.doctor, REVIEW, "completed")
        known = [read for read in reviews if read is not None]
        done: datetime | None = None
        if whole and len(known) == len(reviews):
            done = max(known) + timedelta(minutes=2)
            if not ends_it:
                done = self.soon(max(known), 3)
                if chance.random() < rates.FORGOTTEN["half-closed"]:
                    done = self.step("half-closed", max(known), 1.0)
        completed = [part.completed for _, part in parts if part.completed]
        for department, part, answered in answers:
            review_due = too_late("not-reviewed", answered, self.priority)
            due = after_promise("half-closed", review_due, review_due, self.priority)
            if len(completed) == len(parts):
                visible = max(completed)
                self.owed("half-closed", review_due, done, self.by, part.task, due=due, visible=visible)
            elif part.completed is None and done is not None:
                since = max(done, review_due)
                if done > review_due:
                    due = too_late("half-closed", done, self.priority)
                ended = self.step("half-closed", since, 0.4)
                self.owed("half-closed", since, ended, department, part.task, due=due)
                if ended and not self.is_gone(department, ended):
                    records.move(part.task, ended, status="completed")
        if done is not None:
            self.end("completed", done)
