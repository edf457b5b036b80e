"""Dates that stand for always and never: no record's date stops the watch, nor hides another referral."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_coprod.settings import Settings
from fhir_coprod.store import Store
from fhir_coprod.watch import assess
from fhir_coprod.watch.alerts.resources import detail
from fhir_coprod.watch.live.present import look
from fhir_coprod.watch.record.around import Held, Surroundings
from fhir_coprod.watch.record.compose import compose
from fhir_coprod.watch.record.fhir import FIRST, LAST, last_moment, moment
from fhir_coprod.watch.rules import policies
from fhir_coprod.watch.rules.calendar import SiteCalendar, Span
from fhir_coprod.watch.rules.department import draw
from fhir_coprod.watch.worklist.unwatched import what_cannot_be_watched
from tests.watch.hospital import DAY, MONDAY, Hospital

LATE = MONDAY + 9 * DAY
STORED = datetime(2026, 3, 2, 9, tzinfo=UTC)

years = st.one_of(st.sampled_from((1, 2, 1899, 1900, 2199, 2200, 9998, 9999)), st.integers(1, 9999))
days = st.builds(
    lambda year, month, day: f"{year:04}-{month:02}-{day:02}", years, st.integers(1, 12), st.integers(1, 28)
)
offsets = st.sampled_from(("Z", "+14:00", "-12:00", "+01:00"))
times = st.sampled_from(("T00:00:00", "T23:59:59", "T23:59:59.999999", "T23:59:60", "T12:30:00.123456789"))
instants = st.builds("".join, st.tuples(days, times, offsets))
dates = st.one_of(days, days.map(lambda day: day[:4]), days.map(lambda day: day[:7]), instants)
zones = st.sampled_from(("UTC", "Europe/Stockholm", "Pacific/Kiritimati", "Pacific/Pago_Pago"))


@settings(max_examples=150, deadline=None)
@given(dates, zones)
def test_every_fhir_date_is_a_time_within_reach(text: str, zone: str) -> None:
    first, last = moment(text, ZoneInfo(zone)), last_moment(text, ZoneInfo(zone))
    assert first is not None
    assert last is not None
    assert FIRST <= first <= LAST
    assert first <= last


def test_within_reach_a_time_is_read_as_it_stands() -> None:
    assert moment("2026-03-02T09:00:00+01:00", ZoneInfo("UTC")) == datetime(2026, 3, 2, 8, tzinfo=UTC)
    assert moment("9999-12-31", ZoneInfo("UTC")) == LAST
    assert moment("0001-01-01", ZoneInfo("Asia/Tokyo")) == FIRST


@settings(max_examples=60, deadline=None)
@given(
    st.datetimes(timezones=st.just(UTC)),
    st.sampled_from((Span(3660, "wd"), Span(25620, "d"), Span(3660, "h"), Span(0, "d"))),
    st.sampled_from(("", "SE", "CN")),
)
def test_every_deadline_is_a_time(start: datetime, span: Span, country: str) -> None:
    if start >= FIRST:
        due = SiteCalendar(ZoneInfo("Europe/Stockholm"), country).due(start, span, [(FIRST, LAST)])
        assert due.astimezone(ZoneInfo("Pacific/Kiritimati"))


def records(date: Any) -> list[tuple[str, dict[str, Any]]]:
    """One of each kind around a referral, every date drawn."""
    about = [{"reference": "ServiceRequest/r"}]
    return [
        (
            "Task/t",
            {
                "status": date(("requested", "on-hold", "accepted", "rejected", "completed")),
                "focus": about[0],
                "authoredOn": date(),
                "lastModified": date(),
                "restriction": {"period": {"start": date(), "end": date()}},
                "owner": {"reference": "Organization/o"},
            },
        ),
        (
            "Appointment/a",
            {
                "status": date(("booked", "noshow", "cancelled", "fulfilled", "pending")),
                "created": date(),
                "start": date(),
                **date(({}, {"end": date()}, {"minutesDuration": 2**31 - 1})),
                "basedOn": about,
            },
        ),
        (
            "Encounter/e",
            {
                "status": date(("finished", "in-progress", "planned")),
                "period": {"start": date(), "end": date()},
                "basedOn": about,
            },
        ),
        (
            "DiagnosticReport/d",
            {"status": date(("final", "registered")), "issued": date(), "basedOn": about},
        ),
        (
            "Communication/c",
            {
                "status": "completed",
                "sent": date(),
                "recipient": [{"reference": "Patient/p"}],
                "about": about,
            },
        ),
    ]


@settings(max_examples=250, deadline=None)
@given(st.data(), zones, st.sampled_from(("default", "se-vardgaranti")), st.sampled_from(("routine", "stat")))
def test_no_date_in_any_element_stops_the_watch(data: Any, zone: str, name: str, priority: str) -> None:
    def date(among: Any = None) -> Any:
        return data.draw(dates if among is None else st.sampled_from(among))

    kept = data.draw(st.sets(st.sampled_from(("Task", "Appointment", "Encounter", "DiagnosticReport"))))
    request = {
        "resourceType": "ServiceRequest",
        "status": "active",
        "intent": "order",
        "priority": priority,
        "subject": {"reference": "Patient/p"},
        "authoredOn": date(),
    }
    related = [
        Held(reference, ((STORED, {"resourceType": reference.partition("/")[0], **resource}),))
        for reference, resource in records(date)
        if reference.partition("/")[0] in (*kept, "Communication")
    ]
    known = compose(
        Held("ServiceRequest/r", ((STORED, request),)), related, around=Surroundings(ZoneInfo(zone))
    )
    policy = policies.load(name)
    now = data.draw(st.one_of(st.just(LATE), st.datetimes(timezones=st.just(UTC))))
    standing = assess(known, policy, now)
    assert standing.to_json()
    for stall in standing.stalls:
        assert detail(standing, stall, {})
        assert policy.act_by(stall.severity, standing.priority, LATE)


@pytest.mark.parametrize("now", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_any_time_may_be_asked_about(store: Store, now: datetime) -> None:
    Hospital(store).refer()
    look(store, policies.load("default"), now, Settings())


def test_open_ended_dates_are_swept_with_the_others(store: Store) -> None:
    hospital = Hospital(store)
    hospital.refer("fine")
    hospital.refer("odd")
    hospital.task("odd", "on-hold", MONDAY, restriction={"period": {"end": "9999-12-31"}})
    hospital.put(
        {
            "resourceType": "Appointment",
            "id": "never",
            "status": "booked",
            "created": "0001-01-01",
            "start": "9999-12-31T23:00:00Z",
            "end": "9999-12-31T23:59:59Z",
            "basedOn": [{"reference": "ServiceRequest/odd"}],
            "participant": [],
        }
    )
    standings = hospital.sweep(LATE)
    assert {standing.referral for standing in standings} == {"ServiceRequest/fine", "ServiceRequest/odd"}
    assert not any(standing.not_assessed for standing in standings)


@pytest.mark.parametrize(
    "place", ["fhir_coprod.watch.rules.assess.draw", "fhir_coprod.watch.facts.reader.compose"]
)
def test_one_that_cannot_be_assessed_is_told_of_and_stops_no_other(
    store: Store, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """No record is known to do this any more, so the fault is put in by hand."""
    hospital = Hospital(store)
    hospital.refer("fine")
    hospital.refer("odd")
    hospital.sweep(LATE)
    before = hospital.followups("requested")
    assert len(before) == 2
    whole = draw if place.endswith("draw") else compose

    def tripping(first: Any, *rest: Any, **named: Any) -> Any:
        if "ServiceRequest/odd" in (getattr(first, "reference", ""), getattr(first, "request", first)):
            raise OverflowError("Anna Berg was born on 9999-12-31")
        if getattr(getattr(first, "request", None), "id", "") == "ServiceRequest/odd":
            raise OverflowError("Anna Berg was born on 9999-12-31")
        return whole(first, *rest, **named)

    monkeypatch.setattr(place, tripping)
    hospital.task("odd", "requested", MONDAY, description="a new word, so that it is looked at")
    now = LATE + timedelta(hours=1)
    for standings in (hospital.sweep(now), look(store, hospital.policy, now, hospital.settings)):
        assert [s.referral for s in standings if s.is_stalled] == ["ServiceRequest/fine"]
        (said,) = what_cannot_be_watched(store, hospital.policy, hospital.settings, standings, now)
        assert said.sentence.startswith("1 referral could not be assessed")
        assert "ServiceRequest/odd: OverflowError" in said.sentence
        assert "Anna" not in said.sentence
    assert hospital.followups("requested") == before
