"""When a patient must be told of something, and until when there is time for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fhir_coprod.watch import assess
from fhir_coprod.watch.record.model import Facts, Message, Request, RequestState, Task, TaskState
from fhir_coprod.watch.rules import policies

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = policies.load("default")
REQUEST = Request(
    "ServiceRequest/r",
    "Patient/p",
    (RequestState(MONDAY, "active"),),
    MONDAY,
    requesters=("Organization/gp",),
    departments=("Organization/ortho",),
    between="different-departments",
)


def referral(*states: tuple[float, str], told: float) -> Facts:
    """A referral whose Task went through these states, with the day of each; told: the day of a message."""
    sent = MONDAY + told * DAY
    return Facts(
        REQUEST,
        tasks=(
            Task(
                "Task/t",
                tuple(
                    TaskState(
                        MONDAY + day * DAY,
                        status,
                        owner="Organization/ortho",
                        departments=("Organization/ortho",),
                    )
                    for day, status in states
                ),
            ),
        ),
        messages=(Message(sent, sent, ("Patient/p",)),),
    )


def rules(facts: Facts, day: float) -> set[str]:
    return {str(stall.rule) for stall in assess(facts, POLICY, MONDAY + day * DAY).stalls}


def test_what_came_due_during_a_hold_is_told_of_from_its_end_on() -> None:
    """The booking was due on 16 March; the hold ended on Monday the 30th, and three working days follow."""
    facts = referral((0, "accepted"), (1, "on-hold"), (28, "accepted"), told=2)
    assert rules(facts, 27) == set()
    assert rules(facts, 28.1) == {"unscheduled"}
    assert rules(facts, 31.5) == {"unscheduled"}
    assert rules(facts, 32) == {"unscheduled", "patient-not-informed"}


def test_without_a_hold_it_is_told_of_from_the_due_date_on() -> None:
    facts = referral((0, "accepted"), told=2)
    assert rules(facts, 15) == {"unscheduled"}
    assert rules(facts, 18) == {"unscheduled", "patient-not-informed"}


def test_a_hold_that_ended_before_the_due_date_changes_nothing() -> None:
    facts = referral((0, "accepted"), (1, "on-hold"), (5, "accepted"), told=2)
    assert rules(facts, 15) == {"unscheduled"}
    assert rules(facts, 18) == {"unscheduled", "patient-not-informed"}


def test_a_hold_that_lasts_again_keeps_it_back_again() -> None:
    facts = referral((0, "accepted"), (1, "on-hold"), (28, "accepted"), (29, "on-hold"), told=29.5)
    assert rules(facts, 40) == set()
