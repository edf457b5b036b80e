"""Dates and times of partial precision: "2020-03" is neither before nor after "2020-03-14"."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from fhir_coprod.remembering import remembering_short

_DATE_TIME = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?"
    r"(?:T(?:(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d+)?))?)?)?(Z|[+-]\d\d:\d\d)?)?",
    re.ASCII,
)
_TIME = re.compile(r"(\d\d)(?::(\d\d)(?::(\d\d(?:\.\d+)?))?)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Moment:
    """Year, month, day, hour, minute and second, as far as they are known; seconds may have a fraction.

    A time of day has the same parts without the first three.
    """

    parts: tuple[int | Decimal, ...]
    zone: bool
    """Whether an offset was given; the parts are then in UTC, if they are known to the minute."""


@remembering_short(8192, 64)
def moment(text: str) -> Moment | None:
    """A FHIR date, dateTime or instant; None when the text is not one or names a day that does not exist."""
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return None
    *fields, zone = match.groups()
    parts = _known(fields)
    try:
        at = _calendar([int(part) for part in parts])
        if zone and zone != "Z" and len(parts) >= 5:
            offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[4:6]))
            at = at - offset if zone[0] == "+" else at + offset
            utc: tuple[int | Decimal, ...] = (at.year, at.month, at.day, at.hour, at.minute)
            parts = utc + parts[5:]
    except (ValueError, OverflowError):
        return None
    return Moment(parts, zone is not None)


@remembering_short(1024, 64)
def time_of_day(text: str) -> Moment | None:
    """A FHIR time; None when the text is not one."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    parts = _known(match.groups())
    limits = (24, 60, 61)
    return Moment(parts, zone=False) if all(p < m for p, m in zip(parts, limits, strict=False)) else None


def _known(fields: list[str | None] | tuple[str | None, ...]) -> tuple[int | Decimal, ...]:
    texts = [text for text in fields if text is not None]
    return tuple(Decimal(text) if "." in text else int(text) for text in texts)


def order(a: Moment, b: Moment) -> int | None:
    """-1, 0 or 1; None when the given precision does not tell."""
    if a.zone != b.zone and len(a.parts) > 3 and len(b.parts) > 3:
        return _order_across_zones(a, b)
    for left, right in zip(a.parts, b.parts, strict=False):
        if left != right:
            return -1 if left < right else 1
    return 0 if len(a.parts) == len(b.parts) else None


def _order_across_zones(a: Moment, b: Moment) -> int | None:
    """A time without offset may lie anywhere from UTC-14 to UTC+14; if they differ by more, that decides."""
    first, second = _as_datetime(a), _as_datetime(b)
    if abs(first - second) <= timedelta(hours=15):
        return None
    return -1 if first < second else 1


def _as_datetime(at: Moment) -> datetime:
    return _calendar([int(part) for part in at.parts])


def _calendar(known: list[int]) -> datetime:
    """The first moment that the known parts allow, as if in UTC; a leap second counts as the second before.

    Raises ValueError for a day that does not exist.
    """
    year, month, day, hour, minute, second = (*known, *(0, 1, 1, 0, 0, 0)[len(known) :])
    return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)


def shifted(text: str, amount: Decimal, unit: str) -> str | None:
    """A date or dateTime moved by a calendar duration, in the same precision; None when that is meaningless.

    A month or year later is the same day of the month, or the last day of a shorter month.
    """
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        return None
    fields = match.groups()
    given = [field for field in fields[:6] if field is not None]
    try:
        at = _calendar([int(Decimal(field)) for field in given])
        fraction = given[5].partition(".")[2] if len(given) == 6 else ""
        if unit in ("year", "month"):
            months = int(amount) * (12 if unit == "year" else 1) + at.year * 12 + at.month - 1
            year, month = divmod(months, 12)
            at = at.replace(year=year, month=month + 1, day=min(at.day, monthrange(year, month + 1)[1]))
        else:
            at += _duration(amount, unit, len(given))
    except (ValueError, OverflowError):
        return None
    shown = at.strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    out = shown[: (4, 7, 10, 13, 16, 19)[len(given) - 1]]
    if len(given) == 6 and fraction:
        out += f".{at.microsecond:06d}"[: len(fraction) + 1] if unit == "millisecond" else f".{fraction}"
    return out + "T" * ("T" in text and len(given) <= 3) + (fields[6] or "")


def shifted_time(text: str, amount: Decimal, unit: str) -> str | None:
    """A time of day moved by hours, minutes or seconds, in the same precision; midnight is no end.

    None when that is meaningless.
    """
    if unit not in ("hour", "minute", "second", "millisecond") or time_of_day(text) is None:
        return None
    moved = shifted(f"2000-01-01T{text}", amount, unit)
    return None if moved is None else moved.partition("T")[2]


UNITS = ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
"""What dates and times are moved by."""
_SECONDS = {"week": 604_800, "day": 86_400, "hour": 3_600, "minute": 60, "second": 1}


def _duration(amount: Decimal, unit: str, precision: int) -> timedelta:
    if unit == "millisecond":
        whole = timedelta(milliseconds=int(amount))
    else:
        whole = timedelta(seconds=int(amount) * _SECONDS[unit])
    # A date known to the month moves by whole months of 30 days, and one known to the year by years of 365.
    if precision == 1:
        return timedelta(days=365 * int(whole.days / 365))
    if precision == 2:
        return timedelta(days=30 * int(whole.days / 30))
    return whole
