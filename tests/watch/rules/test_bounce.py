"""There and back: a referral that returns to a department it had left for another one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_coprod.watch.record.model import Task, TaskState
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.bounce import Stay, came_back, there_and_back
from fhir_coprod.watch.rules.task import When, follow

START = datetime(2026, 1, 1, tzinfo=UTC)
DEPARTMENTS = st.lists(st.sampled_from("abc"), min_size=1, max_size=2, unique=True).map(tuple)
STAYS = st.lists(st.tuples(DEPARTMENTS, st.booleans()), max_size=9).map(
    lambda found: [
        Stay(START + timedelta(days=number), departments, left)
        for number, (departments, left) in enumerate(found)
    ]
)


@given(STAYS)
def test_it_came_back_when_it_left_a_department_for_another_and_is_there_again(stays: list[Stay]) -> None:
    """As the rule says it: two were left; the first shares a department with the third, the second none."""
    times = [
        third.since
        for three, third in enumerate(stays)
        for two, second in enumerate(stays[:three])
        for first in stays[:two]
        if first.left
        and second.left
        and not set(first.departments).isdisjoint(third.departments)
        and set(second.departments).isdisjoint(third.departments)
    ]
    assert came_back(stays) == max(times, default=None)


def test_a_referral_sent_to_and_fro_ten_thousand_times_is_looked_at_once_through() -> None:
    stays = [Stay(START + timedelta(hours=n), ("a",) if n % 2 else ("b",), True) for n in range(10_000)]
    assert came_back(stays) == stays[-1].since


@pytest.mark.parametrize(("between", "bounces"), [("b", True), ("", False), ("a", False)])
def test_a_task_that_nobody_owned_for_a_while_was_not_with_another_department(
    between: str, bounces: bool
) -> None:
    owners = ("a", between, "a")
    times = [START + timedelta(days=number) for number in range(3)]
    states = tuple(
        TaskState(at, "requested", owner=owner, departments=(owner,) if owner else ())
        for at, owner in zip(times, owners, strict=True)
    )
    course = follow(Task("t", states), policies.load("default"), times[-1] + timedelta(days=1))
    assert course is not None
    assert there_and_back([course]) == (When(times[-1]) if bounces else None)
