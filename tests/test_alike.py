"""Which orders of a patient are for the same thing, as the index knows it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_coprod import alike

KNEE = {"coding": [{"system": "urn:codes", "code": "knee"}], "text": "Please see"}


def order(**says: Any) -> dict[str, Any]:
    return {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/p"},
        "code": KNEE,
        "authoredOn": "2026-03-02T09:00:00Z",
        **says,
    }


def marks(**says: Any) -> list[str]:
    return alike.dated_marks(order(**says))


def test_the_same_thing_has_the_same_code_or_where_neither_has_one_the_same_text() -> None:
    assert alike.thing(KNEE) == ("urn:codes|knee",)
    assert alike.thing({"text": " Please\n SEE "}) == alike.thing({"text": "please see"}) == ("|please see",)
    assert alike.thing({"coding": [{"display": "Knee"}]}) == alike.thing({}) == alike.thing(None) == ()


@pytest.mark.parametrize(
    "says",
    [
        {"subject": {"reference": "Patient/q"}},
        {"code": {"coding": [{"system": "urn:codes", "code": "heart"}]}},
        {"code": {"text": "Please see"}},
        {"authoredOn": "2026-04-02"},
        {"authoredOn": "not a date"},
    ],
)
def test_another_patient_thing_or_month_has_another_mark(says: dict[str, Any]) -> None:
    assert set(marks(**says)).isdisjoint(marks())


@pytest.mark.parametrize(
    "says",
    [
        {"category": [{"coding": [{"system": "http://snomed.info/sct", "code": "108252007"}]}]},
        {"intent": "filler-order"},
        {"intent": "proposal", "requester": {"reference": "RelatedPerson/r"}},
        {"subject": {"identifier": {"value": "1"}}},
        {"code": {}},
    ],
)
def test_what_is_repeated_on_purpose_or_names_too_little_has_no_twin(says: dict[str, Any]) -> None:
    assert marks(**says) == []
    assert "alike" not in {name for name, _ in alike.rows("ServiceRequest", order(**says))}


def test_a_patient_s_request_is_found_by_what_it_asks_for_and_by_its_requisition() -> None:
    asks = order(
        intent="proposal",
        requester={"reference": "Patient/p"},
        requisition={"system": "urn:r", "value": "7"},
        supportingInfo=[{"reference": "ServiceRequest/x/_history/2"}],
    )
    found = set(alike.rows("ServiceRequest", asks))
    assert {value for name, value in found if name == "asking"} == {*alike.marks(asks), *alike.grouped(asks)}
    assert ("supports", "ServiceRequest/x") in found
    assert list(alike.rows("Task", asks)) == []


EPOCH = datetime(1970, 1, 1, 9, tzinfo=UTC)


@given(
    st.integers(-44_000, 102_000),
    st.timedeltas(timedelta(0), timedelta(days=alike.FURTHEST_APART)),
    st.sampled_from(("day", "time", "ahead")),
)
def test_an_older_order_within_the_window_is_looked_for_in_its_month(
    day: int, apart: timedelta, form: str
) -> None:
    at = EPOCH + timedelta(days=day)
    ahead = timezone(timedelta(hours=14))
    said = {"day": f"{at:%Y-%m-%d}", "time": at.isoformat(), "ahead": at.astimezone(ahead).isoformat()}
    month = alike.month_of({"authoredOn": said[form]})
    assert month
    later = at + apart
    if at.year > 1900 and later.year < 2200:
        assert month in alike.months_around(later, before=alike.FURTHEST_APART)
        told = alike.month_of({"authoredOn": later.isoformat()})
        assert f"x|{told}" in alike.later_marks(f"x|{month}")


def test_times_that_cannot_be_have_no_month() -> None:
    for text in ("", "2026-13", "2026-02-30", "2026-03-02T09:00:00", 7, None):
        assert alike.month_of({"authoredOn": text}) == ""
    assert alike.month_of({"authoredOn": "2026"}) == "2026-01"
    assert alike.month_of({"authoredOn": "0001-01-01T00:00:00+14:00"}) == "1900-01"
    assert alike.month_of({"authoredOn": "9999-12-31T23:59:59-12:00"}) == "2200-01"
    assert alike.later_marks("x|") == []
