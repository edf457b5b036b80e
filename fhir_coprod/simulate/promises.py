"""The deadlines that the simulated hospital has promised: by when each step has to be done.

They define "too late" for the truth, which has to tell a step done late from one done in time. The numbers
are the house rules of docs/watch.md (and 90 days to a first visit, the Swedish care guarantee), repeated here
on purpose: if the watch counts differently, the figures show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from math import ceil
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

import holidays

ZONE: Final = ZoneInfo("Europe/Stockholm")
_FREE: Final = holidays.country_holidays("SE")
_DAY: Final = timedelta(days=1)
_INSTANT: Final = timedelta(microseconds=1)

WORKING_DAYS: Final = MappingProxyType(
    {
        "request-unanswered": 10,
        "not-sent": 2,
        "draft-left": 5,
        "unacknowledged": 5,
        "unclaimed": 5,
        "undecided": 5,
        "awaiting-information": 10,
        "unscheduled": 10,
        "no-show-open": 5,
        "cancelled-not-rebooked": 5,
        "appointment-passed": 1,
        "report-not-returned": 5,
        "not-reviewed": 10,
        "half-closed": 5,
        "rejected-not-rerouted": 3,
        "cancellation-unanswered": 5,
        "withdrawal-undecided": 5,
        "patient-not-informed": 3,
    }
)
DAYS: Final = MappingProxyType({"results-missing": 14, "on-hold-without-review": 30})
FIRST_VISIT_DAYS: Final = 90
_ADULT: Final = 18
_SOON: Final = 2

Away = Sequence[tuple[datetime, datetime]]
"""Periods in which the patient chose to wait; days that end in one do not count."""


@lru_cache(maxsize=4096)
def is_working(day: date) -> bool:
    """Neither weekend nor public holiday in Sweden."""
    return day.weekday() < 5 and day not in _FREE


@lru_cache(maxsize=4096)
def midnight_after(day: date) -> datetime:
    """The end of a local day."""
    return datetime.combine(day + _DAY, time(), ZONE).astimezone(UTC)


def too_late(kind: str, since: datetime, priority: str = "routine", away: Away = ()) -> datetime:
    """When a step that has been owed since `since` becomes too late."""
    number, working = (WORKING_DAYS[kind], True) if kind in WORKING_DAYS else (DAYS[kind], False)
    if priority == "stat":
        return since + timedelta(hours=12)
    if priority == "asap":
        return since + timedelta(hours=max(24, ceil(number * 24 / 4)))
    if priority == "urgent":
        number = ceil(number / 2)
    return end_of_day(since, number, working=working, away=away)


def decide_by(since: datetime, priority: str, born: date) -> datetime:
    """When it becomes too late to decide after a patient withdrew: sooner for minors and urgent referrals."""
    day = since.astimezone(ZONE).date()
    minor = (day.year - born.year, day.month, day.day) < (_ADULT, born.month, born.day)
    if priority == "urgent" or (minor and priority == "routine"):
        return end_of_day(since, _SOON, working=True)
    return too_late("withdrawal-undecided", since, priority)


def after_promise(kind: str, before: datetime, since: datetime, priority: str) -> datetime:
    """The same for a wait that begins when another promise runs out: that day still belongs to the other."""
    return too_late(kind, since if priority in ("asap", "stat") else before - _INSTANT, priority)


def visit_promised_by(authored: datetime, away: Away = ()) -> datetime:
    """The end of the last day of the care guarantee."""
    return end_of_day(authored, FIRST_VISIT_DAYS, working=False, away=away)


def end_of_day(since: datetime, number: int, *, working: bool, away: Away = ()) -> datetime:
    """The end of the nth day (or working day) after that of `since`."""
    day = since.astimezone(ZONE).date()
    while number > 0:
        day += _DAY
        if working and not is_working(day):
            continue
        if any(begin < midnight_after(day) <= end for begin, end in away):
            continue
        number -= 1
    return midnight_after(day)


def office(at: datetime, since: datetime) -> datetime:
    """The nearest time at which somebody is at work: the same day or the working day before, never before
    `since`; else the next working day."""
    local = at.astimezone(ZONE)
    day = local.date()
    while not is_working(day):
        day -= _DAY
    if day != local.date():
        local = datetime.combine(day, time(16, local.minute), ZONE)
    elif not 8 <= local.hour < 17:
        local = datetime.combine(day, time(8 if local.hour < 8 else 16, local.minute), ZONE)
    found = local.astimezone(UTC)
    if found > since:
        return found
    day = max(at, since).astimezone(ZONE).date()
    while True:
        if is_working(day):
            found = datetime.combine(day, time(8 + since.minute % 9, since.minute), ZONE).astimezone(UTC)
            if found > since:
                return found
        day += _DAY
