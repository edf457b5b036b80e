"""What holds of every referral, however strange."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_coprod.watch import Facts, Stall, Standing, assess
from fhir_coprod.watch.alerts import reconcile, resources
from fhir_coprod.watch.record.around import Held, Surroundings
from fhir_coprod.watch.record.compose import compose
from fhir_coprod.watch.record.model import (
    Appointment,
    AppointmentState,
    Blind,
    Message,
    Request,
    RequestState,
    Result,
    SideTask,
    Task,
    TaskState,
    Visit,
)
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.codes import ABOUT, Rule
from tests.watch.plots import BEGIN, END, GP, SPAN, plots
from tests.watch.stored import all_stories
from tests.watch.story import BEHIND, Story

POLICY = policies.load("default")
SWEDEN = policies.load("se-vardgaranti")
POLICIES = st.sampled_from((POLICY, SWEDEN))
nows = st.integers(24 * 4, 24 * (SPAN + 60)).map(lambda hours: BEGIN + timedelta(hours=hours))
later = st.integers(3, 24 * 200).map(lambda hours: END + timedelta(hours=hours))
"""After the end of every appointment and visit that begins by END."""


def key(stall: Stall) -> tuple[str, str, datetime]:
    return (stall.rule, stall.task, stall.since)


@settings(max_examples=100, deadline=None)
@given(plots(), later, later, POLICIES)
def test_time_only_makes_a_standing_worse(
    facts: Facts, one: datetime, other: datetime, policy: policies.Policy
) -> None:
    early, late = min(one, other), max(one, other)
    before, after = assess(facts, policy, early), assess(facts, policy, late)
    assert after.stage == before.stage
    assert {key(stall) for stall in before.stalls} <= {key(stall) for stall in after.stalls}
    gravity = {"low": 0, "moderate": 1, "high": 2}
    graver = {key(stall): gravity[stall.severity] for stall in after.stalls}
    assert all(graver[key(stall)] >= gravity[stall.severity] for stall in before.stalls)
    assert after.patient_informed <= before.patient_informed


def verdict(standing: Standing) -> Standing:
    """All that is said, without the times that are `now` itself while something goes on."""
    return msgspec.structs.replace(standing, wake=None, last_informed=None, due=None)


@settings(max_examples=250, deadline=None)
@given(plots(ahead=True), nows, POLICIES, st.floats(0, 0.999))
def test_nothing_changes_before_the_wake_time(
    facts: Facts, now: datetime, policy: policies.Policy, part: float
) -> None:
    standing = assess(facts, policy, now)
    assert standing.wake is None or standing.wake > now
    wake = standing.wake or now + timedelta(days=900)
    for then in (now + (wake - now) * part, wake - timedelta(microseconds=1)):
        assert verdict(assess(facts, policy, then)) == verdict(standing)


@pytest.mark.parametrize("story", all_stories(), ids=lambda story: story.title)
def test_no_written_story_changes_before_its_wake_time(story: Story) -> None:
    facts, policy, now = story.facts(), story.policy(), story.now
    assert now is not None
    for _ in range(6):
        standing = assess(facts, policy, now)
        wake = standing.wake or now + timedelta(days=900)
        before = wake - timedelta(microseconds=1)
        assert verdict(assess(facts, policy, before)) == verdict(standing)
        now = wake


@settings(max_examples=100, deadline=None)
@given(plots(ahead=True), nows, st.randoms(use_true_random=False))
def test_the_order_in_which_facts_are_listed_does_not_matter(
    facts: Facts, now: datetime, chance: random.Random
) -> None:
    kinds = ("tasks", "appointments", "visits", "results", "messages", "side_tasks", "siblings")
    shuffled = {}
    for kind in kinds:
        held = list(getattr(facts, kind))
        chance.shuffle(held)
        shuffled[kind] = tuple(held)
    other = msgspec.structs.replace(facts, **shuffled)
    one, two = assess(facts, POLICY, now), assess(other, POLICY, now)
    assert one == two


OWN_TIMES = [
    story
    for story in all_stories()
    if not story.blind and all("stored" not in detail for _, detail in story.expected.stalls)
]


@pytest.mark.parametrize("story", OWN_TIMES[::3], ids=lambda story: story.title)
def test_the_order_of_arrival_does_not_matter(story: Story) -> None:
    """Task versions that carry their own time may arrive in any order, and everything at any time."""
    assert story.now is not None
    assert story.request is not None
    expected = assess(story.facts(), story.policy(), story.now)
    chance = random.Random(story.title)
    related = list(story.related)
    for _ in range(5):
        chance.shuffle(related)
        arrived = [_shuffled(held, chance) if held.type == "Task" else held for held in related]
        facts = compose(
            story.request,
            arrived,
            story.siblings,
            ("RelatedPerson/daughter",),
            around=Surroundings(story.zone, BEHIND),
            patient=story.patient,
        )
        facts = msgspec.structs.replace(facts, practice=tuple(story.practice))
        assert assess(facts, story.policy(), story.now) == expected


def _shuffled(held: Held, chance: random.Random) -> Held:
    if not all("lastModified" in data for _, data in held.versions):
        return held
    stored = [at for at, _ in held.versions]
    bodies = [data for _, data in held.versions]
    chance.shuffle(bodies)
    return Held(held.reference, tuple(zip(stored, bodies, strict=True)))


@settings(max_examples=100, deadline=None)
@given(plots(ahead=True), nows, st.data())
def test_facts_after_now_are_ignored(facts: Facts, now: datetime, data: st.DataObject) -> None:
    after = now + timedelta(hours=data.draw(st.integers(1, 500)))
    kind = data.draw(st.sampled_from(("visit", "result", "message", "booking", "task", "side")))
    more = _with(facts, kind, after)
    one, two = assess(more, POLICY, now), assess(facts, POLICY, now)
    assert msgspec.structs.replace(one, wake=two.wake) == two


def _with(facts: Facts, kind: str, at: datetime) -> Facts:
    end = at + timedelta(hours=1)
    if kind == "visit":
        return msgspec.structs.replace(facts, visits=(*facts.visits, Visit("Encounter/new", at, end)))
    if kind == "result":
        new = Result("DiagnosticReport/new", at)
        return msgspec.structs.replace(facts, results=(*facts.results, new))
    if kind == "message":
        told = Message(at, at, ("Patient/p", *GP))
        return msgspec.structs.replace(facts, messages=(*facts.messages, told))
    if kind == "booking":
        state = AppointmentState(at, "booked", False, end, end)
        made = Appointment("Appointment/new", at, (state,))
        return msgspec.structs.replace(facts, appointments=(*facts.appointments, made))
    if kind == "side":
        done = SideTask("Task/new", (RequestState(at, "completed"),), GP, ("ServiceRequest/r",))
        return msgspec.structs.replace(facts, side_tasks=(*facts.side_tasks, done))
    asked = Task("Task/new", (TaskState(at, "requested", False, "Organization/x", ("Organization/x",)),))
    return msgspec.structs.replace(facts, tasks=(*facts.tasks, asked))


@settings(max_examples=100, deadline=None)
@given(plots(ahead=True), nows)
def test_assessing_again_changes_nothing(facts: Facts, now: datetime) -> None:
    standing = assess(facts, POLICY, now)
    assert assess(facts, POLICY, now) == standing
    assert assess(msgspec.msgpack.decode(msgspec.msgpack.encode(facts), type=Facts), POLICY, now) == standing


TYPES = sorted({type for about in ABOUT.values() for type in about.needs})


@settings(max_examples=100, deadline=None)
@given(plots(ahead=True), nows, st.sets(st.sampled_from(TYPES)))
def test_nothing_is_claimed_from_data_that_could_not_be_seen(
    facts: Facts, now: datetime, types: set[str]
) -> None:
    blinded = msgspec.structs.replace(facts, blind=tuple(Blind(type, "ehr") for type in sorted(types)))
    standing = assess(blinded, POLICY, now)
    for stall in standing.stalls:
        assert types.isdisjoint(ABOUT[stall.rule].needs)
    assert set(standing.not_observable) <= types
    seeing = {key(stall) for stall in assess(facts, POLICY, now).stalls}
    untold = {key(stall) for stall in standing.stalls if stall.rule == Rule.PATIENT_NOT_INFORMED}
    assert {key(stall) for stall in standing.stalls} - untold <= seeing


# -- the missing fact ------------------------------------------------------------------------------------


def _task(facts: Facts, name: str, at: datetime, status: str, **more: object) -> Facts:
    """The Task gets one more state."""

    def changed(task: Task) -> Task:
        if task.id != name:
            return task
        last = [state for state in task.states if state.at <= at or state is task.states[0]][-1]
        owner = last.owner or "Organization/ortho"
        fields = {"departments": (owner,), "owner": owner, "at": at, "status": status, "reasons": (), **more}
        state = msgspec.structs.replace(last, stored=False, **fields)
        return msgspec.structs.replace(task, states=(*(s for s in task.states if s.at < at), state))

    return msgspec.structs.replace(facts, tasks=tuple(changed(task) for task in facts.tasks))


def _department(facts: Facts, name: str) -> tuple[str, ...]:
    for task in facts.tasks:
        if task.id == name:
            return task.states[-1].departments
    return ()


def _book(facts: Facts, stall: Stall, now: datetime) -> Facts:
    start = now + timedelta(hours=1)
    state = AppointmentState(now, "booked", False, start, start)
    made = Appointment("Appointment/new", now, (state,), False, (), stall.task)
    return msgspec.structs.replace(facts, appointments=(*facts.appointments, made))


def _see(facts: Facts, stall: Stall, now: datetime) -> Facts:
    visit = Visit("Encounter/new", now, None, False, False, (), stall.task)
    return msgspec.structs.replace(facts, visits=(*facts.visits, visit))


def _report(facts: Facts, stall: Stall, now: datetime) -> Facts:
    result = Result("DiagnosticReport/new", now, False, (), stall.task)
    return msgspec.structs.replace(facts, results=(*facts.results, result))


def _answer(facts: Facts, stall: Stall, now: datetime) -> Facts:
    from fhir_coprod.watch.record.model import Sibling

    written = Sibling("ServiceRequest/new", now, (RequestState(now, "active"),), based_on=(facts.request.id,))
    return msgspec.structs.replace(facts, siblings=(*facts.siblings, written))


def _end_request(facts: Facts, stall: Stall, now: datetime) -> Facts:
    states = (*(s for s in facts.request.states if s.at < now), RequestState(now, "completed"))
    return msgspec.structs.replace(facts, request=msgspec.structs.replace(facts.request, states=states))


def _half_close(facts: Facts, stall: Stall, now: datetime) -> Facts:
    """The side that is still open ends too."""
    known = [state for state in facts.request.states if state.at <= now] or facts.request.states[:1]
    if known[-1].status not in ("completed", "revoked"):
        return _end_request(facts, stall, now)
    if stall.task:
        return _task(facts, stall.task, now, "cancelled")
    cancelled = tuple(
        msgspec.structs.replace(made, states=(*made.states, AppointmentState(now, "cancelled")))
        for made in facts.appointments
    )
    return msgspec.structs.replace(facts, appointments=cancelled)


def _send(facts: Facts, stall: Stall, now: datetime) -> Facts:
    state = TaskState(now, "requested", False, "Organization/third", ("Organization/third",))
    return msgspec.structs.replace(facts, tasks=(*facts.tasks, Task("Task/new", (state,), None, GP)))


def _accept(facts: Facts, stall: Stall, now: datetime) -> Facts:
    state = TaskState(now, "accepted", False, "Organization/third", ("Organization/third",))
    return msgspec.structs.replace(facts, tasks=(*facts.tasks, Task("Task/new", (state,), None, GP)))


def _ask(facts: Facts, stall: Stall, now: datetime) -> Facts:
    question = SideTask("Task/new", (RequestState(now, "requested"),), GP, (stall.task,))
    return msgspec.structs.replace(facts, side_tasks=(*facts.side_tasks, question))


def _review_date(facts: Facts, stall: Stall, now: datetime) -> Facts:
    if not stall.task:
        states = (*(s for s in facts.request.states if s.at < now), RequestState(now, "active"))
        return msgspec.structs.replace(facts, request=msgspec.structs.replace(facts.request, states=states))
    task = next(task for task in facts.tasks if task.id == stall.task)
    if now - task.states[-1].at > timedelta(days=60):
        return _task(facts, stall.task, now, "accepted")  # no date of review holds it so long
    return _task(facts, stall.task, now, "on-hold", review=now + timedelta(days=9))


def _answer_the_request_to_cancel(facts: Facts, stall: Stall, now: datetime) -> Facts:
    """Whoever was asked to cancel answers; where only a code asked, the Task moves on without it."""
    answered = tuple(
        msgspec.structs.replace(side, states=(*side.states, RequestState(now, "rejected")))
        for side in facts.side_tasks
    )
    tasks = tuple(
        msgspec.structs.replace(
            task, states=(*task.states, msgspec.structs.replace(task.states[-1], at=now, says=()))
        )
        for task in facts.tasks
    )
    return msgspec.structs.replace(facts, side_tasks=answered, tasks=tasks)


def _withdraw_twin(facts: Facts, stall: Stall, now: datetime) -> Facts:
    ended = tuple(
        msgspec.structs.replace(twin, states=(*twin.states, RequestState(now, "revoked")))
        for twin in facts.siblings
    )
    return msgspec.structs.replace(facts, siblings=ended)


MISSING: dict[Rule, Callable[[Facts, Stall, datetime], Facts]] = {
    Rule.REQUEST_UNANSWERED: _answer,
    Rule.NOT_SENT: _send,
    Rule.UNACKNOWLEDGED: lambda facts, stall, now: _task(facts, stall.task, now, "received"),
    Rule.UNCLAIMED: lambda facts, stall, now: _task(facts, stall.task, now, "requested"),
    Rule.UNDECIDED: lambda facts, stall, now: _task(facts, stall.task, now, "accepted"),
    Rule.AWAITING_INFORMATION: _ask,
    Rule.UNSCHEDULED: _book,
    Rule.NO_SHOW_OPEN: _book,
    Rule.CANCELLED_NOT_REBOOKED: _book,
    Rule.BOOKED_TOO_LATE: _see,
    Rule.APPOINTMENT_PASSED: _see,
    Rule.RESULTS_MISSING: _report,
    Rule.REPORT_NOT_RETURNED: lambda facts, stall, now: _with(facts, "message", now),
    Rule.NOT_REVIEWED: lambda facts, stall, now: _with(facts, "side", now),
    Rule.HALF_CLOSED: _half_close,
    Rule.REJECTED_NOT_REROUTED: _send,
    Rule.BOUNCED: _accept,
    Rule.DUPLICATE: _withdraw_twin,
    Rule.ON_HOLD_WITHOUT_REVIEW: _review_date,
    Rule.NO_TRACE: _book,
    Rule.CANCELLATION_UNANSWERED: _answer_the_request_to_cancel,
    Rule.WITHDRAWAL_UNDECIDED: lambda facts, stall, now: _with(facts, "side", now),
    Rule.PATIENT_NOT_INFORMED: lambda facts, stall, now: _with(facts, "message", now),
}


@settings(max_examples=300, deadline=None)
@given(plots(ahead=True), nows, POLICIES)
def test_adding_the_missing_fact_always_resolves(
    facts: Facts, now: datetime, policy: policies.Policy
) -> None:
    for stall in assess(facts, policy, now).stalls:
        after = assess(MISSING[stall.rule](facts, stall, now), policy, now)
        still = [other for other in after.stalls if key(other) == key(stall)]
        assert not still, (stall, after.explanation)


def _stalled_stories() -> list[object]:
    return [
        pytest.param(story, id=story.title)
        for story in all_stories()
        if story.expected.stalls and story.policy_name.endswith(("default", "vardgaranti"))
    ]


@pytest.mark.parametrize("story", _stalled_stories())
def test_adding_the_missing_fact_resolves_every_written_stall(story: Story) -> None:
    assert story.now is not None
    facts = story.facts()
    facts = msgspec.structs.replace(facts, request=_as_in_plots(facts))
    for stall in assess(facts, story.policy(), story.now).stalls:
        after = assess(MISSING[stall.rule](facts, stall, story.now), story.policy(), story.now)
        assert key(stall) not in {key(other) for other in after.stalls}, after.explanation


def _as_in_plots(facts: Facts) -> Request:
    """The patient under the name that the missing facts are addressed to."""
    return msgspec.structs.replace(facts.request, patient="Patient/p")


def test_every_rule_has_a_missing_fact() -> None:
    assert set(MISSING) == set(Rule) - {Rule.DRAFT_LEFT, Rule.PATIENT_DECEASED, Rule.SILENT_TOO_LONG}


# -- alerts ----------------------------------------------------------------------------------------------


def apply(written: dict[str, dict[str, object]], writes: list[dict[str, object]]) -> None:
    for resource in writes:
        written[f"{resource['resourceType']}/{resource['id']}"] = resource


def reconciled(
    standing: Standing, written: dict[str, dict[str, object]], now: datetime
) -> list[dict[str, object]]:
    followups = [data for name, data in written.items() if name.startswith("Task/")]
    issues = {str(data["id"]): data for name, data in written.items() if name.startswith("DetectedIssue/")}
    return reconcile.reconcile(standing, followups, issues, POLICY, now)


@settings(max_examples=120, deadline=None)
@given(plots(ahead=True), st.lists(nows, min_size=1, max_size=4))
def test_alerts_say_what_the_standing_says_and_no_more(facts: Facts, moments: list[datetime]) -> None:
    written: dict[str, dict[str, object]] = {}
    for now in sorted(moments):
        standing = assess(facts, POLICY, now)
        apply(written, reconciled(standing, written, now))
        assert reconciled(standing, written, now) == []
        standing_now = [
            data["code"]["coding"][0]["code"]  # type: ignore[index]
            for name, data in written.items()
            if name.startswith("DetectedIssue/") and data["status"] == "preliminary"
        ]
        assert sorted(standing_now) == sorted(stall.rule for stall in standing.stalls)
        open_tasks = [
            data for name, data in written.items() if name.startswith("Task/") and resources.is_open(data)
        ]
        assert len(open_tasks) == (1 if standing.stalls else 0)
