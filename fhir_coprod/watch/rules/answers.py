"""Judges the answers to a referral: what counts as a result, and whether it reached the requester and was
read.

A result is a report or a document; what the output of a finished Task names or says; advice; or a message
to the requester in place of a report.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from fhir_coprod.watch.record.model import Facts, Result
from fhir_coprod.watch.rules.codes import Rule, Stage
from fhir_coprod.watch.rules.lines import Clock, Line, home_of, outlived, requesters_of
from fhir_coprod.watch.rules.policies import Policy
from fhir_coprod.watch.rules.task import Course, When


def draw_results(lines: Sequence[Line], facts: Facts, policy: Policy, now: datetime) -> None:
    """Give each line its results: reports and documents, what a finished Task's output names or says,
    advice, and messages in place of a report."""
    done = [line for line in lines if line.course is not None and line.course.completed is not None]
    if not facts.results and not done:
        return
    requesters = requesters_of(facts)
    known = {*facts.pending}
    for result in facts.results:
        known.add(result.id)
        if result.at > now and not result.stored:
            continue
        if result.authors and requesters.issuperset(result.authors):
            continue
        line = home_of(lines, result.task, result.authors, result.at)
        if not outlived(line, result.at) and _answers(line, result, facts):
            line.results.append(result)
    for line in done:
        if line.course is not None and line.course.completed is not None:
            line.results += _said_results(line, line.course, line.course.completed, known, policy)
            line.results += _told_results(line, line.course.completed, facts, requesters, now)


_NOT_DECIDED: Final = frozenset({"requested", "ready", "received"})


def _answers(line: Line, result: Result, facts: Facts) -> bool:
    """Whether a report answers what was asked: while nobody has accepted it, one about something else is
    only work on the way (a blood test before the visit)."""
    course = line.course
    if course is None or course.status not in _NOT_DECIDED or not result.codes or result.named:
        return True
    return not facts.request.codes or not set(result.codes).isdisjoint(facts.request.codes)


def _said_results(line: Line, course: Course, done: When, known: set[str], policy: Policy) -> list[Result]:
    """The results of a finished Task that are no report or document on record: what else its output names,
    what it says, or advice. The requester has them with the Task."""
    found = [name for name in course.outputs if name not in known]
    if course.advised or (course.answers and policy.answers_in_words and not line.results):
        found.append(course.task.id)
    return [
        Result(
            name,
            done.at,
            done.stored,
            course.departments,
            course.task.id,
            named=True,
            in_hand=not course.task.request,  # else whoever is in between has it
        )
        for name in dict.fromkeys(found)
    ]


_NO_ANSWER: Final = frozenset({"receipt", "question"})
_AN_ANSWER: Final = frozenset({"result", "advice"})


def _told_results(line: Line, done: When, facts: Facts, requesters: set[str], now: datetime) -> list[Result]:
    """Messages by which the department answers in place of a report, once its Task is finished: those coded
    as result or advice, and others sent from the day on which it was, unless they are receipts or
    questions."""
    theirs = {*line.departments}
    found = []
    for message in facts.messages:
        if message.carries or message.sent > now or requesters.isdisjoint(message.recipients):
            continue
        if theirs.isdisjoint(message.senders) or not requesters.isdisjoint(message.senders):
            continue
        says = set(message.says)
        if says & _AN_ANSWER or (not says & _NO_ANSWER and message.latest >= done.at):
            at = max(message.sent, done.at) if not says & _AN_ANSWER else message.sent
            found.append(Result(message.id, at, False, message.senders, line.task, in_hand=True))
    return found


def judge_result(line: Line, facts: Facts, now: datetime) -> None:
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
    requesters = requesters_of(facts)
    if result.in_hand:
        return When(result.at, result.stored)
    for task in facts.tasks:
        if task.request:
            continue  # the output of that one goes to whoever is in between
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
    requesters = requesters_of(facts)
    done = [
        state.at
        for side in facts.side_tasks
        if not requesters.isdisjoint(side.owners)
        for state in side.states
        if state.status == "completed" and state.at <= now
    ]
    return max(done, default=None)


_OF_AN_ANSWER: Final = frozenset({Rule.REPORT_NOT_RETURNED, Rule.NOT_REVIEWED})
"""Where somebody in between wrote a second referral, these are claimed for the first one, whose requester
is owed the answer; all others for the second one, whose department can move it."""


def claimed(line: Line, facts: Facts, own: Sequence[Course]) -> list[Clock]:
    """The clocks of a line that this referral claims; see _OF_AN_ANSWER.

    own: the Tasks of this referral itself.
    """
    if facts.request.ordered_for:
        return [clock for clock in line.clocks if clock.rule not in _OF_AN_ANSWER]
    if not line.is_below or line.course is None:
        return line.clocks
    between = {course.task.id: course.owner for course in own}
    owner = next((between[above] for above in line.course.task.part_of if above in between), "")
    return [clock._replace(owner=owner) for clock in line.clocks if clock.rule in _OF_AN_ANSWER]
