"""Spans and the days of a site: what counts, from when, and when it is over."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from fhir_coprod.errors import ConfigError
from fhir_coprod.watch.rules.calendar import SiteCalendar, Span

WEEKENDS = SiteCalendar(ZoneInfo("UTC"))
SWEDEN = SiteCalendar(ZoneInfo("Europe/Stockholm"), "se")
MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
NEVER = datetime(2400, 1, 1, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("5 wd", Span(5, "wd")),
        ("14d", Span(14, "d")),
        (" 18 w ", Span(126, "d")),
        ("24 h", Span(24, "h")),
        ("0 d", Span(0, "d")),
        ("3660 d", Span(3660, "d")),
    ],
)
def test_a_span_is_read(text: str, span: Span) -> None:
    assert Span.parse(text) == span


@pytest.mark.parametrize("text", ["", "5", "wd", "-1 d", "1.5 d", "3661 d", "5 days", "5 wd 3 h"])
def test_what_is_no_span_is_said(text: str) -> None:
    with pytest.raises(ConfigError, match="is no length of time"):
        Span.parse(text)


@pytest.mark.parametrize(
    ("span", "factor", "scaled", "hours"),
    [
        (Span(5, "wd"), 0.5, "3 wd", "60 h"),
        (Span(14, "d"), 0.25, "4 d", "84 h"),
        (Span(10, "h"), 0.25, "3 h", "3 h"),
        (Span(1, "wd"), 0.01, "1 wd", "1 h"),
        (Span(0, "d"), 0.5, "0 d", "0 h"),
        (Span(2, "d"), 2, "4 d", "96 h"),
    ],
)
def test_a_span_is_scaled_and_rounded_up(span: Span, factor: float, scaled: str, hours: str) -> None:
    assert str(span.times(factor)) == scaled
    assert str(span.in_hours(factor)) == hours


@pytest.mark.parametrize(
    ("day", "working", "in_sweden"),
    [
        (date(2026, 3, 2), True, True),
        (date(2026, 3, 6), True, True),
        (date(2026, 3, 7), False, False),
        (date(2026, 3, 8), False, False),
        (date(2026, 4, 3), True, False),  # Good Friday
        (date(2099, 12, 25), True, False),
        (date(2250, 12, 24), True, True),  # beyond the tables there are weekends alone
        (date(2250, 12, 28), False, False),
    ],
)
def test_a_day_is_worked_on_or_not(day: date, working: bool, in_sweden: bool) -> None:
    assert WEEKENDS.is_working(day.toordinal()) is working
    assert SWEDEN.is_working(day.toordinal()) is in_sweden


def test_a_day_is_that_of_the_site() -> None:
    late = datetime(2026, 3, 2, 23, 30, tzinfo=UTC)
    assert WEEKENDS.date(late) == date(2026, 3, 2)
    assert SWEDEN.date(late) == date(2026, 3, 3)
    assert SWEDEN.day(late) == date(2026, 3, 3).toordinal()
    assert SWEDEN.start_of(SWEDEN.day(late)) == datetime(2026, 3, 2, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("span", "due"),
    [
        ("0 d", MONDAY.replace(hour=0) + DAY),
        ("0 wd", MONDAY.replace(hour=0) + DAY),
        ("1 wd", MONDAY.replace(hour=0) + 2 * DAY),
        ("5 wd", MONDAY.replace(hour=0) + 8 * DAY),
        ("5 d", MONDAY.replace(hour=0) + 6 * DAY),
        ("5 h", MONDAY + 5 * HOUR),
    ],
)
def test_a_span_is_over_at_the_end_of_its_last_day_or_hour(span: str, due: datetime) -> None:
    for _ in range(2):  # the second time it is remembered
        assert WEEKENDS.due(MONDAY, Span.parse(span)) == due


def test_spans_of_one_number_are_not_mistaken_for_one_another() -> None:
    ends = [
        WEEKENDS.due(MONDAY, Span.parse(text)) - MONDAY.replace(hour=0) for text in ("6 wd", "6 d", "7 d")
    ]
    assert ends == [9 * DAY, 7 * DAY, 8 * DAY]
    assert WEEKENDS.due(MONDAY + DAY, Span.parse("6 d")) - MONDAY.replace(hour=0) == 8 * DAY


@pytest.mark.parametrize(
    ("begin", "until", "due"),
    [
        (MONDAY, MONDAY + 2 * DAY, 4 * DAY),  # the ends of Monday and Tuesday lie in it
        (MONDAY + DAY, MONDAY + DAY + 3 * HOUR, 3 * DAY),  # it saw no midnight
        (MONDAY.replace(hour=0) + 2 * DAY, MONDAY + 2 * DAY, 3 * DAY),  # it begins as that day ends
        (MONDAY + DAY, MONDAY.replace(hour=0) + 2 * DAY, 4 * DAY),  # it ends as that day ends
        (MONDAY - 9 * DAY, MONDAY - DAY, 3 * DAY),
        (MONDAY + 9 * DAY, MONDAY + 10 * DAY, 3 * DAY),
    ],
)
def test_a_day_that_ends_in_a_pause_does_not_count(begin: datetime, until: datetime, due: timedelta) -> None:
    assert WEEKENDS.due(MONDAY, Span(2, "d"), [(begin, until)]) == MONDAY.replace(hour=0) + due


@pytest.mark.parametrize(
    ("pauses", "hours"),
    [
        ([(2, 4)], 12),
        ([(-5, 3)], 13),  # only what lies after the start
        ([(-5, -1)], 10),
        ([(-5, 0)], 10),
        ([(9, 12)], 13),
        ([(10, 12)], 10),  # it was over by then
        ([(11, 12)], 10),
        ([(8, 9), (2, 4)], 13),
        ([(9, 20), (11, 12)], 22),  # in order of time, whatever order they are told in
        ([(11, 13), (2, 4)], 14),
    ],
)
def test_hours_of_a_pause_do_not_count(pauses: list[tuple[int, int]], hours: int) -> None:
    told = [(MONDAY + begin * HOUR, MONDAY + until * HOUR) for begin, until in pauses]
    assert WEEKENDS.due(MONDAY, Span(10, "h"), told) == MONDAY + hours * HOUR


def test_nothing_is_due_after_the_end_of_all_deadlines() -> None:
    last = NEVER - DAY
    assert WEEKENDS.due(datetime(9999, 1, 1, tzinfo=UTC), Span(1, "h")) == NEVER + HOUR
    assert WEEKENDS.due(last, Span(5, "d")) == NEVER
    assert WEEKENDS.due(last, Span(2, "h"), [(last, datetime(9999, 1, 1, tzinfo=UTC))]) == NEVER
    for_ever = [(MONDAY, datetime(9999, 1, 1, tzinfo=UTC))]
    assert WEEKENDS.due(MONDAY, Span(1, "d"), for_ever) == NEVER


def test_a_region_has_holidays_of_its_own_and_an_unknown_country_is_refused() -> None:
    epiphany = date(2026, 1, 6).toordinal()
    zone = ZoneInfo("Europe/Berlin")
    assert SiteCalendar(zone, "de").is_working(epiphany)
    assert not SiteCalendar(zone, "de", "BY").is_working(epiphany)
    for country, region in (("XX", ""), ("DE", "XX")):
        with pytest.raises(ConfigError, match="no public holidays are known"):
            SiteCalendar(zone, country, region)
