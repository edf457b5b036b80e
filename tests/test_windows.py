"""The hours within which an EHR may be read: over midnight, and in the nights when clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_coprod.windows import Window

STOCKHOLM = ZoneInfo("Europe/Stockholm")
NIGHT = Window.read("22:00-05:00")
MINUTE = timedelta(minutes=1)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=STOCKHOLM)


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-03-02T21:59", False),
        ("2026-03-02T22:00", True),
        ("2026-03-03T00:00", True),
        ("2026-03-03T04:59", True),
        ("2026-03-03T05:00", False),
    ],
)
def test_a_window_over_midnight_is_open_on_both_sides_of_it(at: str, is_open: bool) -> None:
    assert NIGHT.is_open(local(at), STOCKHOLM) == is_open
    assert NIGHT.is_open(local(at).astimezone(UTC), STOCKHOLM) == is_open


def test_a_night_in_which_clocks_go_forward_is_an_hour_shorter_and_back_an_hour_longer() -> None:
    for day, seconds in (("2026-03-28", 6 * 3600), ("2026-10-24", 8 * 3600), ("2026-06-01", 7 * 3600)):
        opened = local(f"{day}T22:00").astimezone(UTC)
        assert (NIGHT.changes(opened, STOCKHOLM) - opened).total_seconds() == seconds, day


def test_a_window_that_ends_in_the_hour_that_is_left_out_ends_when_the_clock_passes_it() -> None:
    short = Window.read("01:00-02:30")
    closes = short.changes(local("2026-03-29T01:10").astimezone(UTC), STOCKHOLM)
    assert closes == datetime(2026, 3, 29, 1, 0, tzinfo=UTC), "the wall shows 03:00"


@pytest.mark.parametrize("text", ["", "22-05", "24:00-05:00", "22:00-22:00", "22:00-05:60", "22:00–05:00"])
def test_what_is_no_window_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="such as 22:00-05:00"):
        Window.read(text)


TIMES = st.times().map(lambda at: f"{at:%H:%M}")
ZONES = st.sampled_from(["Europe/Stockholm", "America/St_Johns", "Pacific/Chatham", "UTC"]).map(ZoneInfo)
MOMENTS = st.integers(0, 60 * 24 * 3650).map(lambda n: datetime(2020, 1, 1, tzinfo=UTC) + n * MINUTE)


@given(start=TIMES, end=TIMES, now=MOMENTS, zone=ZONES)
def test_a_window_changes_exactly_when_it_is_said_to(
    start: str, end: str, now: datetime, zone: ZoneInfo
) -> None:
    if start == end:
        return
    window = Window.read(f"{start}-{end}")
    changes = window.changes(now, zone)
    assert now < changes
    assert window.is_open(changes, zone) != window.is_open(now, zone)
    assert window.is_open(changes - MINUTE / 2, zone) == window.is_open(now, zone)
    assert str(window) == f"{start}-{end}"


def test_midnight_as_an_end_may_be_written_both_ways() -> None:
    assert Window.read("22:00-24:00") == Window.read("22:00-00:00")
    evening = Window.read("22:00-24:00")
    assert evening.is_open(local("2026-03-02T23:59"), STOCKHOLM)
    assert not evening.is_open(local("2026-03-03T00:00"), STOCKHOLM)
    with pytest.raises(ValueError, match="such as"):
        Window.read("24:00-05:00")
