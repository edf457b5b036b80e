"""Finds referrals that are sent back and forth between departments: A → B → A. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from fhir_coprod.watch.rules.task import Course, When


class Stay(NamedTuple):
    """A time that a referral spent with one owner."""

    since: datetime
    departments: tuple[str, ...]
    """The owner and the organisation behind it."""
    left: bool
    """Whether the stay is over."""


def bounced(courses: list[Course]) -> When | None:
    """Since when it bounces: two rejections, or A→B→A, and no acceptance after that; None if it does not."""
    turns = sorted([when for course in courses for when in course.rejections])
    if not turns and sum([len(course.owners) for course in courses]) < 3:
        return None  # the usual case, and the rest is expensive
    turns = turns[1:]
    back = there_and_back(courses)
    if back is not None:
        turns = sorted([*turns, back])
    accepted = [course.accepted or course.completed for course in courses]
    last_yes = max((when.at for when in accepted if when), default=None)
    return next((turn for turn in turns if last_yes is None or turn.at > last_yes), None)


def there_and_back(courses: list[Course]) -> When | None:
    """The latest time at which a referral came back to a department after another one had it."""
    stays: list[Stay] = []
    for course in courses:
        for at, _, departments in course.owners:
            if departments:
                last = course.owners[-1][0] == at
                since = course.sent if at == course.owners[0][0] else at
                stays.append(Stay(since, departments, not last or not course.live))
    back = came_back(sorted(stays, key=lambda stay: stay.since))
    return When(back) if back else None


def came_back(stays: Iterable[Stay]) -> datetime | None:
    """The latest time at which a referral returned to a department, from its stays in order of time."""
    back: datetime | None = None
    first_left: dict[str, int] = {}  # by department, which of the stays there was left first
    last_left: dict[tuple[str, ...], int] = {}  # by departments, which of the stays there was left last
    for number, (since, here, left) in enumerate(stays):
        first = min((first_left[one] for one in here if one in first_left), default=number)
        if any(second > first and set(here).isdisjoint(there) for there, second in last_left.items()):
            back = since
        if left:
            last_left[here] = number
            for one in here:
                first_left.setdefault(one, number)
    return back
