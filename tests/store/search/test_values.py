"""Searches by values at their edges: words, case, days of the clinic, numbers, pairs, terminologies."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import pytest

from fhir_coprod.errors import BadRequest, Unsupported
from fhir_coprod.instants import to_microseconds
from fhir_coprod.store import Query, Store
from fhir_coprod.store.search.conditions import Indexed
from fhir_coprod.store.values import Range, time_meant
from tests.peers.fixtures import NewStore
from tests.store.library import ids, search
from tests.store.search.test_links import put

LOINC = "http://loinc.org"
ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
GENDERS = "http://hl7.org/fhir/ValueSet/administrative-gender"


def component(code: str, value: float) -> dict[str, Any]:
    return {"code": {"coding": [{"system": LOINC, "code": code}]}, "valueQuantity": {"value": value}}


def observation(**members: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", **members}


RESOURCES: dict[str, dict[str, Any]] = {
    "Patient/a": {
        "resourceType": "Patient",
        "active": False,
        "gender": "male",
        "name": [{"family": "Zorn Ek", "given": ["Anna Maria"]}, {"family": "Müller-Lüders"}],
        "telecom": [
            {"system": "email", "value": "Ann@Example.org"},
            {"system": "other", "value": "Room A|B"},
        ],
        "identifier": [{"value": "1912-TF12"}],
        "birthDate": "1970-01-01",
    },
    "Patient/b": {"resourceType": "Patient", "name": [{"family": "Berg"}], "birthDate": "1960-01-01"},
    "ValueSet/v": {"resourceType": "ValueSet", "url": "http://a.example/v", "version": "V1-Beta"},
    "Observation/long": observation(valueQuantity={"value": 123456789012345.67}),
    "Observation/digits": observation(valueQuantity={"value": 9007199254740993}),
    "Observation/below": observation(valueQuantity={"value": 5.4, "comparator": "<"}),
    "Observation/most": observation(valueQuantity={"value": 5.4, "comparator": "<="}),
    "Observation/above": observation(valueQuantity={"value": 5.4, "comparator": ">"}),
    "Observation/exact": observation(valueQuantity={"value": 5.4}),
    "Observation/leap": observation(effectiveDateTime="2016-12-31T23:59:60Z"),
    "Observation/tick": observation(effectiveDateTime="2016-12-31T23:59:60.5Z"),
    "Observation/pressure": observation(component=[component("8480-6", 120), component("8462-4", 80)]),
    "Observation/pulse": observation(**component("8867-4", 72), status="final"),
    "Encounter/inpatient": {"resourceType": "Encounter", "class": {"system": ACT, "code": "ACUTE"}},
    "Encounter/home": {"resourceType": "Encounter", "class": {"system": ACT, "code": "HH"}},
    # Days of a clinic in Stockholm, which is two hours ahead in May
    "ServiceRequest/midnight": {"resourceType": "ServiceRequest", "authoredOn": "2024-05-01T00:00:00+02:00"},
    "ServiceRequest/evening": {"resourceType": "ServiceRequest", "authoredOn": "2024-05-01T22:30:00Z"},
    "ServiceRequest/day": {"resourceType": "ServiceRequest", "authoredOn": "2024-05-01"},
    "Encounter/utc": {
        "resourceType": "Encounter",
        "period": {"start": "2024-05-01T00:00:00Z", "end": "2024-05-01T23:59:59Z"},
    },
    "Encounter/days": {"resourceType": "Encounter", "period": {"start": "2024-05-01", "end": "2024-05-01"}},
    "Encounter/on": {"resourceType": "Encounter", "period": {"start": "2024-05-01"}},
    "Encounter/since": {"resourceType": "Encounter", "period": {"start": "2024-05-01T00:00:00Z"}},
    "Encounter/until": {"resourceType": "Encounter", "period": {"end": "2024-04-30T23:59:59Z"}},
    "DocumentReference/new": {
        "resourceType": "DocumentReference",
        "relatesTo": [
            {"code": "replaces", "target": {"reference": "DocumentReference/old"}},
            {"code": "appends", "target": {"reference": "DocumentReference/whole"}},
        ],
    },
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def edges(request: pytest.FixtureRequest, new_store: NewStore) -> Iterator[Store]:
    with new_store(request.param) as url, Store.open(url) as store:
        for reference, data in RESOURCES.items():
            put(store, reference, data)
        yield store


PAIR = "component-code-value-quantity"
CASES = [
    # --- each word of a name (3.7); the whole of it sorts and is exact
    ("Patient?family=ek", "a"),
    ("Patient?family=Zorn", "a"),
    ("Patient?given=maria", "a"),
    ("Patient?name=maria", "a"),
    ("Patient?family=luders", "a"),
    ("Patient?family=mullerlud", "a"),
    ("Patient?family=orn", ""),
    ("Patient?family:exact=Ek", ""),
    ("Patient?family:exact=Zorn Ek", "a"),
    ("Patient?family:contains=orn", "a"),
    ("Patient?_sort=family", "b a"),
    ("Patient?_sort=-family", "a b"),
    ("Patient?_sort=-family&birthdate=gt1950", "a b"),
    # --- tokens on texts (3.6)
    ("Patient?email=ann@example.org", "a"),
    ("Patient?telecom=email|ANN@example.org", "a"),
    ("Patient?telecom=phone|ann@example.org", ""),
    (r"Patient?telecom=ROOM a\|b", "a"),
    (r"Patient?telecom=other|room A\|B", "a"),
    ("Patient?identifier=1912-tf12", ""),
    ("ValueSet?version=v1-beta", "v"),
    ("ValueSet?version:not=V1-BETA", ""),
    ("Patient?active=false", "a"),
    ("Patient?active=yes", BadRequest),
    ("Patient?active=true,2", BadRequest),
    ("Patient?deceased=maybe", BadRequest),
    # --- _sort given twice (3.10)
    ("Patient?_sort=birthdate&_sort=-family", "b a"),
    ("Patient?_sort=-family&_sort=birthdate", "a b"),
    # --- numbers and moments at their edges (3.11)
    ("Observation?value-quantity=123456789012345.67", "long"),
    ("Observation?value-quantity=9007199254740993", "digits"),
    # Of more than 15 digits a number is the nearest one that a column holds (docs/endpoint.md).
    ("Observation?value-quantity=9007199254740992", "digits"),
    ("Observation?value-quantity=5.4", "exact"),
    ("Observation?value-quantity=lt5.4", "below most"),
    ("Observation?value-quantity=le5.4", "below most exact"),
    ("Observation?value-quantity=gt5.4&value-quantity=lt100", "above pulse"),
    ("Observation?value-quantity=ne5.4&code:missing=true", "long digits below most above"),
    ("Observation?date=2016-12-31", "leap tick"),
    ("Observation?date=2017", ""),
    ("Observation?date=ge2016-12-31T23:59:59Z", "leap tick"),
    ("Observation?_lastUpdated=2024-05-01T24:00:00Z", BadRequest),
    # --- composites: both in one component
    (f"Observation?{PAIR}=8480-6$gt100", "pressure"),
    (f"Observation?{PAIR}={LOINC}|8480-6$120", "pressure"),
    (f"Observation?{PAIR}=8462-4$gt100", ""),
    (f"Observation?{PAIR}=8462-4$gt100,8462-4$lt100", "pressure"),
    (f"Observation?{PAIR}=urn:x|8462-4$80", ""),
    (f"Observation?{PAIR}=8867-4$72", ""),
    (f"Observation?{PAIR}={LOINC}|$72", BadRequest),
    (f"Observation?{PAIR}=8462-4", BadRequest),
    (f"Observation?{PAIR}:missing=true", Unsupported),
    ("Observation?code-value-quantity=8867-4$72", "pulse"),
    ("Observation?code-value-quantity=8867-4$gt72", ""),
    ("Observation?combo-code-value-quantity=8867-4$72,8480-6$120", "pulse pressure"),
    ("DocumentReference?relationship=DocumentReference/old$replaces", "new"),
    ("DocumentReference?relationship=whole$appends", "new"),
    ("DocumentReference?relationship=DocumentReference/whole$replaces", ""),
    ("MolecularSequence?chromosome-window-coordinate=1$2$3", Unsupported),
    # --- terminologies that are held
    (f"Patient?gender:in={GENDERS}", "a"),
    (f"Patient?gender:in={GENDERS}|4.0.1", "a"),
    (f"Patient?gender:not-in={GENDERS}", "b"),
    ("Patient?gender:in=http://hl7.org/fhir/ValueSet/observation-status", ""),
    ("Patient?gender:in=http://nobody.example/vs", Unsupported),
    ("Patient?gender:not-in=http://nobody.example/vs", Unsupported),
    ("Observation?code:in=http://hl7.org/fhir/ValueSet/observation-codes", Unsupported),
    (f"Encounter?class:below={ACT}|IMP", "inpatient"),
    (f"Encounter?class:below={ACT}|ACUTE", "inpatient"),
    (f"Encounter?class:above={ACT}|ACUTE", "inpatient"),
    (f"Encounter?class:above={ACT}|IMP", ""),
    ("Encounter?class:below=IMP", BadRequest),
    ("Observation?code:below=http://loinc.org|8867-4", Unsupported),
]


@pytest.mark.parametrize(("text", "expected"), CASES, ids=[text for text, _ in CASES])
def test_values_at_their_edges(edges: Store, text: str, expected: str | type[Exception]) -> None:
    if isinstance(expected, str):
        found = ids(search(edges, text))
        assert (
            found.split() == expected.split()
            if "_sort" in text
            else set(found.split()) == set(expected.split())
        )
    else:
        with pytest.raises(expected):
            search(edges, text)


DAYS = [
    # search, found in Stockholm, found in UTC
    ("ServiceRequest?authored=2024-05-01", "midnight day", "evening day"),
    ("ServiceRequest?authored=2024-05-02", "evening", ""),
    ("ServiceRequest?authored=2024-04-30", "", "midnight"),
    ("ServiceRequest?authored=ge2024-05-01", "midnight evening day", "evening day"),
    ("ServiceRequest?authored=lt2024-05-01", "", "midnight"),
    ("ServiceRequest?authored=2024-05", "midnight evening day", "evening day"),
    ("ServiceRequest?authored=2024-05-01T00:00:00", "midnight", ""),
    ("ServiceRequest?authored=2024-04-30T22:00:00Z", "midnight", "midnight"),
    ("ServiceRequest?authored=ge2024-05-01T22:30:00Z", "evening", "evening day"),
    ("ServiceRequest?authored=ne2024-05-01", "evening", "midnight"),
    ("ServiceRequest?authored=ge2024-05-01&authored=le2024-05-01", "midnight day", "evening day"),
    ("Patient?birthdate=1970-01-01", "a", "a"),
    ("Patient?birthdate=1970", "a", "a"),
    ("Encounter?date=2024-05-01", "days", "utc days"),
    ("Encounter?date=sa2024-04-30", "utc days on since", "utc days on since"),
    ("Encounter?date=gt2024-05-01", "utc on since", "on since"),
    ("Encounter?date=lt2024-05-01T01:00:00", "days on until", "utc days on since until"),
    ("Encounter?date=eb2024-05-01T01:00:00", "", "until"),
]


@pytest.mark.parametrize(("text", "there", "utc"), DAYS, ids=[text for text, _, _ in DAYS])
def test_a_day_without_a_zone_is_a_day_of_the_clinic(edges: Store, text: str, there: str, utc: str) -> None:
    for zone, expected in (("Europe/Stockholm", there), ("UTC", utc)):
        type, _, asked = text.partition("?")
        query = Query.parse(type, parse_qsl(asked), strict=True, zone=ZoneInfo(zone))
        assert ids(edges.search(query)) == expected, zone


MEANINGS: dict[str, Callable[[Range, Range], bool]] = {
    # https://hl7.org/fhir/R4/search.html#prefix, for a row and what was asked, both by the same clock
    "eq": lambda row, asked: asked.low <= row.low < asked.high and row.high <= asked.high,
    "ne": lambda row, asked: not (asked.low <= row.low and row.high <= asked.high),
    "gt": lambda row, asked: row.high > asked.high,
    "lt": lambda row, asked: row.low < asked.low,
    "ge": lambda row, asked: MEANINGS["gt"](row, asked) or MEANINGS["eq"](row, asked),
    "le": lambda row, asked: MEANINGS["lt"](row, asked) or MEANINGS["eq"](row, asked),
    "sa": lambda row, asked: row.low >= asked.high,
    "eb": lambda row, asked: row.low < asked.low and row.high <= asked.low,
}
HOURS = [f"2024-03-{day:02}T{hour:02}:00:00" for day in (9, 10, 30, 31) for hour in (0, 1, 5, 11, 23)]
WRITTEN = [*(f"{hour}Z" for hour in HOURS), *sorted({hour[:10] for hour in HOURS}), "2024-03", "2024"]
ZONES = {
    # the clocks of the first two were put forward on one of these days
    "Europe/Stockholm": ("Task", "authored-on", "authoredOn"),
    "America/New_York": ("Communication", "sent", "sent"),
    "Pacific/Auckland": ("MedicationRequest", "authoredon", "authoredOn"),
}


def by_the_clock(text: str, zone: ZoneInfo, *, of_the_zone: bool) -> Range:
    """What a date means, in microseconds by the clock of a zone or of UTC."""
    meant = time_meant(text)
    assert meant is not None
    if of_the_zone != text.endswith("Z"):
        return meant
    ends = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=end) for end in meant)
    if of_the_zone:
        return Range(*(to_microseconds(end.astimezone(zone).replace(tzinfo=UTC)) for end in ends))
    return Range(*(to_microseconds(end.replace(tzinfo=zone)) for end in ends))


@pytest.mark.parametrize("name", ZONES)
def test_days_and_times_are_found_as_a_loop_by_the_clock_finds_them(edges: Store, name: str) -> None:
    type, code, element = ZONES[name]
    zone = ZoneInfo(name)
    for number, text in enumerate(WRITTEN):
        put(edges, f"{type}/{number}", {"resourceType": type, element: text})

    def holds(written: str, asked: str) -> bool:
        by_zone = not written.endswith("Z")
        row = time_meant(written)
        assert row is not None
        return MEANINGS[asked[:2]](row, by_the_clock(asked[2:], zone, of_the_zone=by_zone))

    chance = random.Random(name)
    values = [prefix + text for prefix in MEANINGS for text in (*WRITTEN, *HOURS)]
    for asked in [*((each,) for each in values), *(chance.sample(values, 2) for _ in range(40))]:
        query = Query.parse(type, [*((code, each) for each in asked), ("_count", "100")], zone=zone)
        found = {version.id for version in edges.search(query).matches}
        assert found == {
            str(number) for number, text in enumerate(WRITTEN) if all(holds(text, each) for each in asked)
        }, asked


def test_a_day_of_the_site_is_looked_up_as_often_as_one_in_utc() -> None:
    """Not once for rows with a time and once for those without."""
    for value in ("2024-05-01", "ge2024-05-01", "le2024-05-01", "ap2024-05-01"):
        here, utc = (
            Query.parse("Task", [("authored-on", value)], zone=ZoneInfo(zone)).conditions[0]
            for zone in ("Europe/Stockholm", "UTC")
        )
        assert isinstance(here, Indexed)
        assert isinstance(utc, Indexed)
        assert len(here.scans) == len(utc.scans)


def test_the_ends_of_time_are_searched_in_any_zone(edges: Store) -> None:
    for value in ("0001-01-01", "9999-12-31", "lt0001", "gt9999", "ap9999-12-31T23:59:59Z"):
        query = Query.parse("Encounter", [("date", value)], zone=ZoneInfo("Pacific/Auckland"))
        assert edges.search(query).total is not None
