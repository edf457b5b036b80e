"""The tests that a searched date puts on rows of table date.

A day or time that names no time zone is one of the clinic's (R4 search, 3.1.1.4.7: the server's local time).
Rows for days without a zone stand in the index as if they were in UTC, and can be told from others, because
both their ends are whole days; such a row is compared by the wall clock, any other one by the instant.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from fhir_coprod.errors import BadRequest
from fhir_coprod.instants import EPOCH, to_microseconds
from fhir_coprod.store.entries import DAY
from fhir_coprod.store.search import ranges
from fhir_coprod.store.search.ranges import Test
from fhir_coprod.store.search.standpoint import Standpoint
from fhir_coprod.store.values import FIRST, LAST, Range, time_meant

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_ZONED = re.compile(r"T.*(?:Z|[+-]\d\d:\d\d)$")
_IS_DAYS = f"((low % {DAY} = 0 OR low = {FIRST}) AND (high % {DAY} = 0 OR high = {LAST}))"


def prefixed(part: str) -> tuple[str, str]:
    """The prefix, "eq" if there is none, and the rest."""
    if part[:2] in PREFIXES:
        return part[:2], part[2:]
    return "eq", part


def meant(scope: Standpoint, code: str, prefix: str, text: str) -> tuple[Range, Range]:
    """The searched time by the clinic's wall clock, as if that were UTC, and as instants; `ap` widens both.

    Raises BadRequest when it is not a date.
    """
    # A plus sign in a query string arrives as a space; it can only have been one before a time zone.
    text = re.sub(r" (?=\d\d:\d\d$)", "+", text)
    sought = time_meant(text)
    if sought is None:
        raise BadRequest(
            f"{code}: not a date; write 2024, 2024-05, 2024-05-31 or 2024-05-31T14:00:00Z,"
            " after a prefix if any."
        )
    wall = instants = sought
    if scope.zone is not None and _ZONED.search(text):
        wall = Range(*(_on_the_wall(end, scope.zone) for end in sought))
    elif scope.zone is not None:
        instants = Range(*(_instant(end, scope.zone) for end in sought))
    if prefix == "ap":
        return _approximate(scope, wall), _approximate(scope, instants)
    return wall, instants


def tests(scope: Standpoint, code: str, part: str, *, days_only: bool) -> list[Test]:
    """Alternatives for one value of a date parameter.

    days_only: whether its elements are of type date, which has no time zone
    """
    prefix, text = prefixed(part)
    wall, instants = meant(scope, code, prefix, text)
    if days_only or wall == instants:
        return ranges.of_dates(prefix, *wall)
    pairs = zip(ranges.of_dates(prefix, *wall), ranges.of_dates(prefix, *instants), strict=True)
    return [ranges.either(_IS_DAYS, days, times) for days, times in pairs]


def _instant(wall: int, zone: ZoneInfo) -> int:
    """The instant, in microseconds, at which the clocks of a zone show this time."""
    try:
        shown = (EPOCH + timedelta(microseconds=wall)).replace(tzinfo=None)
        return wall - _offset(shown.replace(tzinfo=zone))
    except OverflowError:
        return wall  # before the year 1 or after 9999


def _on_the_wall(instant: int, zone: ZoneInfo) -> int:
    """What the clocks of a zone show at an instant, in microseconds as if it were in UTC."""
    try:
        return instant + _offset((EPOCH + timedelta(microseconds=instant)).astimezone(zone))
    except OverflowError:
        return instant


def _offset(at: datetime) -> int:
    return (at.utcoffset() or timedelta()) // timedelta(microseconds=1)


def _approximate(scope: Standpoint, sought: Range) -> Range:
    """The range, widened by a tenth of the time between it and now."""
    now = to_microseconds(scope.now or datetime.now(UTC))
    slack = max(abs(now - sought.low), abs(now - sought.high)) // 10
    return Range(sought.low - slack, sought.high + slack)
