"""The demo's hospital: real FHIR, but for the one record that is meant to be broken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fhir_coprod import validate
from fhir_coprod.demo.hospital import DEPARTMENTS, departments

NOW = datetime(2026, 11, 23, 8, tzinfo=UTC)


@pytest.mark.parametrize("name", DEPARTMENTS)
def test_records_are_valid_but_for_the_broken_one(name: str) -> None:
    refused = {r["id"] for r in departments(NOW)[name] if not validate(r)}
    assert refused == ({"im-broken"} if name == "imaging" else set())


def test_departments_share_no_id() -> None:
    held = [{(r["resourceType"], r["id"]) for r in records} for records in departments(NOW).values()]
    assert sum(len(keys) for keys in held) == len(set().union(*held))


@pytest.mark.parametrize("days", range(7))
def test_nothing_but_a_booking_lies_ahead_whatever_day_the_demo_runs(days: int) -> None:
    now = NOW + timedelta(days=days)
    for records in departments(now).values():
        for record in records:
            for key in ("authoredOn", "lastModified", "created", "sent"):
                if key in record:
                    assert datetime.fromisoformat(record[key]) < now
