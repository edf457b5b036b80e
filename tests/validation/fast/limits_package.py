"""Somebody else's package, written for the tests: profiles that count, bound, fix and order.

CASES: (what it is about, profile, resource, whether it is valid)
"""

from __future__ import annotations

from typing import Any

from tests.validation.slicing_package import NARRATIVE, concept, derive, slicing

Json = dict[str, Any]
HL7 = "http://hl7.org/fhir/StructureDefinition/"


def _category(code: str, **more: Any) -> Json:
    return {
        "id": f"Observation.category:{code}",
        "min": 0,
        "max": "*",
        "patternCodeableConcept": concept(code),
        **more,
    }


PROFILES: list[Json] = [
    derive(
        "counted",
        "Patient",
        {"id": "Patient.name", "min": 2, "max": "3"},
        {"id": "Patient.name.given", "min": 2, "max": "3"},
        {"id": "Patient.photo", "max": "0"},
        {"id": "Patient.gender", "min": 1},
        {"id": "Patient.maritalStatus", "max": "0"},
    ),
    derive(
        "bounded",
        "Patient",
        {"id": "Patient.multipleBirth[x]", "minValueInteger": 1, "maxValueInteger": 9},
        {"id": "Patient.language", "maxLength": 3},
        {"id": "Patient.telecom.rank", "maxValuePositiveInt": 3},
        {
            "id": "Patient.managingOrganization",
            "type": [
                {
                    "code": "Reference",
                    "targetProfile": [HL7 + "Organization"],
                    "aggregation": ["contained"],
                }
            ],
        },
    ),
    derive(
        "stated",
        "Patient",
        {"id": "Patient.gender", "fixedCode": "other"},
        {"id": "Patient.birthDate", "patternDate": "1980"},
        {
            "id": "Patient.managingOrganization",
            "type": [{"code": "Reference", "targetProfile": [HL7 + "Organization"]}],
            "patternReference": {"display": "Ward"},
        },
        {"id": "Patient.deceased[x]", "min": 1, "type": [{"code": "boolean"}]},
    ),
    derive(
        "ordered",
        "Observation",
        {"id": "Observation.category", "slicing": slicing("pattern $this", ordered=True)},
        _category("first"),
        _category("second"),
    ),
    derive(
        "rest-at-end",
        "Observation",
        {
            "id": "Observation.category",
            "slicing": slicing("pattern $this", rules="openAtEnd", ordered=True),
        },
        _category("first"),
        _category("second"),
    ),
    derive(
        "needed-within",
        "Observation",
        {"id": "Observation.category", "slicing": slicing("pattern $this")},
        _category("first", min=1),
    ),
    derive(
        "ruled",
        "Patient",
        {
            "id": "Patient",
            "constraint": [
                {"key": "t-1", "severity": "error", "human": "x", "expression": "gender.exists()"},
                {"key": "t-2", "severity": "warning", "human": "x", "expression": "birthDate.exists()"},
                {"key": "t-3", "severity": "error", "human": "x", "expression": "name.count() < 3"},
                {"key": "t-4", "severity": "warning", "human": "x", "expression": "name.count() < 2"},
            ],
        },
        {
            "id": "Patient.birthDate",
            "constraint": [
                {"key": "t-5", "severity": "error", "human": "x", "expression": "toString().length() = 4"}
            ],
        },
    ),
]


def _patient(**members: Any) -> Json:
    return {"resourceType": "Patient", "text": NARRATIVE, **members}


def _observation(*codes: str) -> Json:
    categories = {"category": [concept(code) for code in codes]} if codes else {}
    return {
        "resourceType": "Observation",
        "text": NARRATIVE,
        "status": "final",
        "code": {"text": "Walk"},
        **categories,
    }


def _named(*given: int, **more: Any) -> Json:
    names = [{"given": [f"G{number}" for number in range(count)]} for count in given]
    return _patient(name=names, gender="other", **more)


ABSENT = {"extension": [{"url": HL7 + "data-absent-reason", "valueCode": "unknown"}]}
STATED = {"gender": "other", "birthDate": "1980", "deceasedBoolean": False}

CASES: list[tuple[str, str, Json, bool]] = [
    ("two names", "counted", _named(2, 2), True),
    ("three names", "counted", _named(2, 3, 2), True),
    ("one name", "counted", _named(2), False),
    ("four names", "counted", _named(2, 2, 2, 2), False),
    ("one given name", "counted", _named(1, 2), False),
    ("four given names", "counted", _named(2, 4), False),
    ("a photo", "counted", _named(2, 2, photo=[{"title": "x"}]), False),
    ("a forbidden single value", "counted", _named(2, 2, maritalStatus=concept("x")), False),
    ("nothing", "counted", _patient(), False),
    ("a needed element is missing", "counted", _patient(name=[{"given": ["a", "b"]}] * 2), False),
    (
        "a needed element whose value is only an extension",
        "counted",
        {k: v for k, v in _named(2, 2).items() if k != "gender"} | {"_gender": ABSENT},
        True,
    ),
    (
        "a given name that is only an extension counts",
        "counted",
        _patient(
            gender="other",
            name=[{"given": ["a", None], "_given": [None, ABSENT]}, {"_given": [ABSENT, ABSENT]}],
        ),
        True,
    ),
    (
        "four given names of which two are only extensions",
        "counted",
        _patient(
            gender="other",
            name=[
                {"given": ["a", "b", None, None], "_given": [None, None, ABSENT, ABSENT]},
                {"given": ["a", "b"]},
            ],
        ),
        False,
    ),
    (
        "two given names, of which one stands in the second list only",
        "counted",
        _patient(
            gender="other",
            name=[{"given": ["a"], "_given": [None, ABSENT]}, {"given": ["a", "b"]}],
        ),
        True,
    ),
    (
        "four given names, of which one stands in the second list only",
        "counted",
        _patient(
            gender="other",
            name=[
                {"given": ["a", "b", "c"], "_given": [None, None, None, ABSENT]},
                {"given": ["a", "b"]},
            ],
        ),
        False,
    ),
    ("the least", "bounded", _patient(multipleBirthInteger=1), True),
    ("the most", "bounded", _patient(multipleBirthInteger=9), True),
    ("less than the least", "bounded", _patient(multipleBirthInteger=0), False),
    ("more than the most", "bounded", _patient(multipleBirthInteger=10), False),
    ("no longer than it may be", "bounded", _patient(language="deu"), True),
    ("too long", "bounded", _patient(language="de-DE"), False),
    ("the most where no least is set", "bounded", _patient(telecom=[{"rank": 3}]), True),
    ("more than that", "bounded", _patient(telecom=[{"rank": 4}]), False),
    (
        "a reference into the resource where only such may be",
        "bounded",
        _patient(
            contained=[{"resourceType": "Organization", "id": "o", "name": "Ward"}],
            managingOrganization={"reference": "#o"},
        ),
        True,
    ),
    (
        "a reference elsewhere where only such into the resource may be",
        "bounded",
        _patient(managingOrganization={"reference": "Organization/1"}),
        False,
    ),
    ("all as stated", "stated", _patient(**STATED), True),
    ("another code", "stated", _patient(**STATED | {"gender": "male"}), False),
    ("another day", "stated", _patient(**STATED | {"birthDate": "1981"}), False),
    (
        "a fixed value and an extension beside",
        "stated",
        _patient(**STATED, _birthDate=ABSENT),
        True,
    ),
    (
        "only an extension where a value is fixed",
        "stated",
        {k: v for k, v in _patient(**STATED).items() if k != "gender"} | {"_gender": ABSENT},
        False,
    ),
    ("with the pattern", "stated", _patient(**STATED, managingOrganization={"display": "Ward"}), True),
    ("without it", "stated", _patient(**STATED, managingOrganization={"display": "Hall"}), False),
    (
        "a target of the type",
        "stated",
        _patient(**STATED, managingOrganization={"display": "Ward", "reference": "Organization/1"}),
        True,
    ),
    ("no value of the choice", "stated", _patient(gender="other", birthDate="1980"), False),
    (
        "a value of another type",
        "stated",
        _patient(gender="other", birthDate="1980", deceasedDateTime="2020"),
        False,
    ),
    ("in order, with others between", "ordered", _observation("x", "first", "y", "second", "z"), True),
    ("two of each, in order", "ordered", _observation("first", "first", "second", "second"), True),
    ("out of order, with others between", "ordered", _observation("second", "x", "first"), False),
    ("others at the end", "rest-at-end", _observation("first", "second", "x", "y"), True),
    ("only others", "rest-at-end", _observation("x", "y"), True),
    ("another between", "rest-at-end", _observation("first", "x", "second"), False),
    ("another first", "rest-at-end", _observation("x", "first"), False),
    ("a needed slice", "needed-within", _observation("first", "x"), True),
    ("without the needed slice", "needed-within", _observation("x"), False),
    ("without any value", "needed-within", _observation(), False),
    ("both rules kept", "ruled", _patient(gender="other", birthDate="1980", name=[{"text": "x"}]), True),
    ("a rule about presence", "ruled", _patient(birthDate="1980"), False),
    ("a rule about presence that only warns", "ruled", _patient(gender="other"), True),
    ("a rule about values", "ruled", _named(1, 1, 1, birthDate="1980"), False),
    ("a rule about values that only warns", "ruled", _named(1, 1, birthDate="1980"), True),
    ("a rule of a primitive", "ruled", _patient(gender="other", birthDate="1980-01-01"), False),
]
