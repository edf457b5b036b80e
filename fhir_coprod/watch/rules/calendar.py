"""Counts working days, calendar days and hours at one site, by its time zone and public holidays.

A deadline in days ends at the end of a local day (the following midnight, in UTC), whatever daylight saving
does in between. A deadline in hours counts every hour, including nights and weekends.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

import holidays

from fhir_coprod.errors import ConfigError

Unit = Literal["wd", "d", "h"]
Pause = tuple[datetime, datetime]
"""Beginning and end of a time that does not count."""

_SPAN: Final = re.compile(r"^\s*(\d+)\s*(wd|d|w|h)\s*$")
_SATURDAY: Final = 6  # date.toordinal() % 7: Sunday is 0, Saturday 6
_LONGEST: Final = 3660
_END: Final = datetime(2400, 1, 1, tzinfo=UTC)
"""No deadline is later than this; a later one counts as never."""
_HOLIDAYS_KNOWN: Final = range(date(1901, 1, 1).toordinal(), date(2199, 1, 1).toordinal())
"""Days for which the tables of public holidays are used; on other days only weekends count."""


class Span(NamedTuple):
    """A length of time to wait: 5 wd (working days), 14 d (calendar days), 24 h."""

    number: int
    unit: Unit

    @classmethod
    def parse(cls, text: str) -> Span:
        """`5 wd`, `14 d`, `18 w` (weeks, kept as days) or `24 h`; ConfigError otherwise."""
        match = _SPAN.match(text)
        if not match or int(match[1]) > _LONGEST:
            raise ConfigError(f"{text!r} is no length of time; write 5 wd, 14 d, 18 w or 24 h.")
        number, unit = int(match[1]), match[2]
        if unit == "w":
            return cls(number * 7, "d")
        return cls(number, "wd" if unit == "wd" else "d" if unit == "d" else "h")

    def times(self, factor: float) -> Span:
        """The span scaled, with fractions rounded up: at least 1, unless it was 0."""
        return Span(math.ceil(self.number * factor), self.unit)

    def in_hours(self, factor: float) -> Span:
        """The span scaled and turned into hours, 24 for each day, whether a working day or not."""
        hours = self.number if self.unit == "h" else self.number * 24
        return Span(math.ceil(hours * factor), "h")

    def __str__(self) -> str:
        return f"{self.number} {self.unit}"


class SiteCalendar:
    """The calendar of one site.

    zone:    its time zone, which says when a day begins and ends.
    country: ISO 3166-1 alpha-2; with "" only weekends count as days off.
    region:  subdivision of the country, as the `holidays` library names it.
    """

    def __init__(self, zone: ZoneInfo, country: str = "", region: str = "") -> None:
        self.zone = zone
        self.country = country
        self.region = region
        self._holidays = _holidays(country, region)
        self._due: dict[tuple[int, int, str], datetime] = {}
        self._midnights: dict[int, datetime] = {}

    def day(self, at: datetime) -> int:
        """The local day of an instant, as a proleptic ordinal."""
        return at.astimezone(self.zone).toordinal()

    def date(self, at: datetime) -> date:
        """The local date of an instant."""
        return at.astimezone(self.zone).date()

    def start_of(self, ordinal: int) -> datetime:
        """The instant (UTC) at which a local day begins."""
        midnight = self._midnights.get(ordinal)
        if midnight is None:
            local = datetime.combine(date.fromordinal(ordinal), time(), self.zone)
            midnight = self._midnights[ordinal] = local.astimezone(UTC)
        return midnight

    def is_working(self, ordinal: int) -> bool:
        """Whether the day is neither a weekend nor a public holiday."""
        return ordinal % 7 not in (0, _SATURDAY) and (
            self._holidays is None
            or ordinal not in _HOLIDAYS_KNOWN
            or date.fromordinal(ordinal) not in self._holidays
        )

    def due(self, start: datetime, span: Span, pauses: Sequence[Pause] = ()) -> datetime:
        """When `span` is over: the end of the nth local day after the day of `start`, or so many hours later.

        pauses: times that do not count; a day does not count if it ends inside one.
        """
        start = min(start, _END)
        if span.unit == "h":
            return _after_hours(start, timedelta(hours=span.number), pauses)
        day = self.day(start)
        if pauses:
            return self._after_days(day, span, pauses)
        key = (day, span.number, span.unit)
        due = self._due.get(key)
        if due is None:
            due = self._due[key] = self._after_days(day, span, ())
        return due

    def _after_days(self, day: int, span: Span, pauses: Sequence[Pause]) -> datetime:
        left = span.number
        while left > 0:
            day += 1
            if span.unit == "wd" and not self.is_working(day):
                continue
            end = self.start_of(day + 1)
            if end >= _END:
                return _END
            if any(begin < end <= until for begin, until in pauses):
                continue
            left -= 1
        return self.start_of(day + 1)


def _after_hours(start: datetime, wait: timedelta, pauses: Sequence[Pause]) -> datetime:
    due = start + wait
    for begin, until in sorted(pauses):
        begin = max(begin, start)
        if begin < due and until > begin:
            due = min(due + (until - begin), _END)
    return due


def _holidays(country: str, region: str) -> holidays.HolidayBase | None:
    if not country:
        return None
    try:
        return holidays.country_holidays(country.upper(), subdiv=region or None)
    except NotImplementedError:
        raise ConfigError(
            f"site.country {country!r} with site.region {region!r}: no public holidays are known for it; "
            "use ISO 3166 codes such as SE, or leave both empty to count weekends only."
        ) from None
