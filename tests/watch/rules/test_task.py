"""What became of a Task, from its status and the words beside it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fhir_coprod.watch.record.model import RequestState, Task, TaskState
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.task import WITHDRAWN, Course, active_since, follow

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize("status", ["rejected", "failed", "cancelled"])
@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("cancelled-by-requester", {"rejected": "cancelled", "failed": "cancelled"}),
        ("cancelled-by-patient", dict.fromkeys(("rejected", "failed", "cancelled"), WITHDRAWN)),
        ("cancelled-by-department", {"cancelled": "rejected"}),
        ("forwarded", {}),
    ],
)
@pytest.mark.parametrize("beside", ["says", "because"])
def test_who_ended_a_task_counts_whether_its_business_status_or_its_reason_says_so(
    status: str, word: str, meant: dict[str, str], beside: str
) -> None:
    assert ended_as(status, word, beside).status == meant.get(status, status)


def ended_as(status: str, word: str, beside: str) -> Course:
    """A Task that was accepted, with this status and word a day later."""
    says, because = ((word,), ()) if beside == "says" else ((), (word,))
    states = (
        TaskState(MONDAY, "accepted", owner="Organization/ortho"),
        TaskState(MONDAY + DAY, status, owner="Organization/ortho", says=says, because=because),
    )
    course = follow(Task("t", states), policies.load("default"), MONDAY + 2 * DAY)
    assert course is not None
    return course


@pytest.mark.parametrize(
    ("status", "beside"), [("rejected", "says"), ("rejected", "because"), ("in-progress", "says")]
)
def test_a_task_that_was_sent_on_is_over_and_nobody_rejected_it(status: str, beside: str) -> None:
    course = ended_as(status, "forwarded", beside)
    assert (course.status, course.rejections) == ("rejected", [])
    assert course.died is not None
    assert course.events[-1].what == "changed"


@pytest.mark.parametrize(
    "word", ["cancelled-by-requester", "cancelled-by-patient", "cancelled-by-department"]
)
def test_a_reason_ends_no_task_that_goes_on(word: str) -> None:
    """A reason may be left from an earlier status; the business status is the present one."""
    states = (TaskState(MONDAY, "accepted", owner="Organization/ortho", because=(word,)),)
    course = follow(Task("t", states), policies.load("default"), MONDAY + DAY)
    assert course is not None
    assert course.status == "accepted"


@pytest.mark.parametrize(
    ("statuses", "day", "since"),
    [
        (("active",), 9, 0),
        (("active", "active", "active"), 9, 0),
        (("draft", "active", "active"), 9, 1),
        (("active", "on-hold", "active", "active"), 9, 2),
        (("active", "on-hold", "active", "active"), 0, 0),
        (("active", "active", "on-hold", "active"), 1, 0),
        (("active", "on-hold"), 9, None),
        (("draft", "a status of tomorrow"), 9, 1),
    ],
)
def test_a_request_is_active_since_the_first_of_its_last_active_states(
    statuses: tuple[str, ...], day: int, since: int | None
) -> None:
    states = [RequestState(MONDAY + number * DAY, status) for number, status in enumerate(statuses)]
    found = active_since(states, MONDAY + day * DAY)
    assert (found.at if found else None) == (None if since is None else MONDAY + since * DAY)
