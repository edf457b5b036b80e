"""Moments as FHIR and the tables write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from fhir_coprod.instants import from_milliseconds, instant, last_updated, sortable, to_milliseconds

NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)


def test_an_instant_has_milliseconds_only_where_there_are_some() -> None:
    assert instant(NINE) == "2026-03-02T09:00:00Z"
    assert instant(NINE + timedelta(milliseconds=120)) == "2026-03-02T09:00:00.120Z"
    assert instant(None) is None


def test_last_updated_always_has_milliseconds() -> None:
    assert last_updated(NINE) == "2026-03-02T09:00:00.000Z"


def test_a_time_of_another_zone_is_written_in_utc() -> None:
    stockholm = NINE.astimezone(timezone(timedelta(hours=1)))
    assert instant(stockholm) == "2026-03-02T09:00:00Z"
    assert last_updated(stockholm) == "2026-03-02T09:00:00.000Z"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-03-02T09:00:00+01:00", "2026-03-02T08:00:00.000000Z"),
        ("2026-03-02T09:00:00", ""),  # no zone: nobody knows when that is
        ("0999-03-02T09:00:00Z", ""),
        ("9999-03-02T09:00:00Z", ""),
        ("soon", ""),
        (None, ""),
    ],
)
def test_only_an_instant_that_can_be_sorted_is_a_time(written: object, expected: str) -> None:
    assert sortable(written) == expected


def test_milliseconds_lead_back_to_the_same_time_without_what_is_finer() -> None:
    at = NINE + timedelta(microseconds=1999)
    assert from_milliseconds(to_milliseconds(at)) == NINE + timedelta(milliseconds=1)
