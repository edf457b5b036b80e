"""Converts aware datetimes to FHIR instants as text, and to the integers that tables hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, overload

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_MICROSECOND: Final = timedelta(microseconds=1)


@overload
def instant(at: datetime) -> str: ...


@overload
def instant(at: datetime | None) -> str | None: ...


def instant(at: datetime | None) -> str | None:
    """A FHIR instant in UTC: 2026-03-02T09:00:00Z; with milliseconds only if there are any."""
    if at is None:
        return None
    return _text(at, "milliseconds" if at.microsecond else "seconds")


def last_updated(at: datetime) -> str:
    """An instant as in `meta.lastUpdated`: always with milliseconds, so that texts sort by time."""
    return _text(at, "milliseconds")


def sortable(instant: object) -> str:
    """An instant that somebody else wrote, as UTC text that sorts by time; "" for anything else."""
    if not isinstance(instant, str):
        return ""
    try:
        at = datetime.fromisoformat(instant)
    except ValueError:
        return ""
    if at.tzinfo is None or not 1000 <= at.year < 9999:  # no instant; or its text does not sort
        return ""
    return _text(at, "microseconds")


def _text(at: datetime, precision: str) -> str:
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def to_milliseconds(at: datetime) -> int:
    """Milliseconds since 1970 UTC, rounded down."""
    return (at - EPOCH) // _MILLISECOND


def from_milliseconds(value: int) -> datetime:
    """The aware UTC time from milliseconds since 1970."""
    return EPOCH + timedelta(milliseconds=value)


def to_microseconds(at: datetime) -> int:
    """Microseconds since 1970 UTC."""
    return (at - EPOCH) // _MICROSECOND


def now() -> datetime:
    """The time by the clock of this machine, aware UTC, whole milliseconds."""
    return from_milliseconds(to_milliseconds(datetime.now(UTC)))


def spoken_age(age: timedelta) -> str:
    """How long ago, in words: a minute, 5 minutes, 3 hours, 12 days."""
    minutes = round(age.total_seconds() / 60)
    if minutes < 120:
        return "a minute" if minutes <= 1 else f"{minutes} minutes"
    hours = round(minutes / 60)
    return f"{hours} hours" if hours < 48 else f"{round(hours / 24)} days"
