"""Profiles on what holds other resources: contained ones, entries of a Bundle, parameters."""

from __future__ import annotations

import pytest

from fhir_coprod.jsontext import Json
from fhir_coprod.validation.validator import Validator
from tests.definitions.test_snapshots import OF, profile
from tests.validation.fast.test_tiers import agree
from tests.validation.small import observation, patient

BASE = "http://hl7.org/fhir/StructureDefinition/"
NUMBER = "urn:uuid:17a80a8d-4cf1-4deb-a1fd-2db1130e5f7"


def around(context: str, resource: str, root: str) -> Json:
    """A rule about FHIRPath's variables."""
    names = {"context": context, "resource": resource, "rootResource": root}
    told = " and ".join(f"%{variable}.type().name = '{type_}'" for variable, type_ in names.items())
    return {
        "constraint": [{"key": f"at-{context}", "severity": "error", "human": told, "expression": told}],
    }


def holding(name: str, code: str, *profiles: str) -> Json:
    """A profile of Bundle that asks something of every resource in it."""
    asked = [url if ":" in url else OF + url for url in profiles]
    of = {"path": "Bundle.entry.resource", "type": [{"code": code, "profile": asked}]}
    return profile(name, "Bundle", of)


PROFILES = [
    profile(
        "variables",
        "Patient",
        {
            "path": "Patient.contained",
            "type": [{"code": "Practitioner"}],
            **around("Practitioner", "Patient", "Patient"),
        },
        {"path": "Patient.contained.name", **around("HumanName", "Practitioner", "Patient")},
        {"path": "Patient.generalPractitioner", **around("Reference", "Patient", "Patient")},
    ),
    profile(
        "named",
        "Patient",
        {"path": "Patient", **around("Patient", "Patient", "Patient")},
        {"path": "Patient.name", "min": 1},
    ),
    profile(
        "of-named",
        "Observation",
        {"path": "Observation.subject", "type": [{"code": "Reference", "targetProfile": [OF + "named"]}]},
    ),
    holding("of-any", "Resource", "named"),
    holding("of-patients", "Patient", "named"),
    holding("of-two", "Resource", "named", "of-named"),
    holding("of-base", "Resource", BASE + "Patient"),
    holding("of-unknown", "Resource", "named", "?"),
]
NAMED, NAMELESS = patient(name=[{"family": "Berg"}]), patient(active=True)
MEASURED = observation(subject={"reference": f"{NUMBER}0"})


def claiming(name: str, resource: Json) -> Json:
    return {**resource, "meta": {"profile": [OF + name]}}


def bundle(name: str, *resources: Json) -> Json:
    entries = [{"fullUrl": f"{NUMBER}{at}", "resource": one} for at, one in enumerate(resources)]
    return claiming(name, {"resourceType": "Bundle", "type": "collection", "entry": entries})


def cared_for(name: str) -> Json:
    practitioner = {"resourceType": "Practitioner", "id": "p", "name": [{"text": name}]}
    return patient(contained=[practitioner], generalPractitioner=[{"reference": "#p"}])


CASES: list[tuple[str, Json, bool]] = [
    ("what is inside a contained resource sees that one", claiming("variables", cared_for("x")), True),
    ("a profile of any resource holds", bundle("of-any", NAMED), True),
    ("a profile of any resource is broken", bundle("of-any", NAMELESS), False),
    ("a profile of any resource is for another type", bundle("of-any", MEASURED), False),
    ("a profile of one type holds", bundle("of-patients", NAMED), True),
    ("a profile of one type is broken", bundle("of-patients", NAMELESS), False),
    ("one of two profiles holds for each", bundle("of-two", NAMED, MEASURED), True),
    ("none of two profiles holds", bundle("of-two", NAMELESS), False),
    ("a reference leads to a neighbour that does not fit", bundle("of-two", NAMELESS, MEASURED), False),
    ("a base definition holds", bundle("of-base", NAMELESS), True),
    ("a base definition is that of another type", bundle("of-base", MEASURED), False),
    ("a known profile holds, another is unknown", bundle("of-unknown", NAMED), True),
    ("a known profile is broken, another is unknown", bundle("of-unknown", NAMELESS), True),
]


@pytest.fixture(scope="module")
def validator() -> Validator:
    return Validator(PROFILES)


@pytest.mark.parametrize(("resource", "valid"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_resource_inside_another_is_judged_as_itself(
    validator: Validator, resource: Json, valid: bool
) -> None:
    outcome = validator.explain(resource)
    assert bool(outcome) == valid, str(outcome)
    agree(validator, resource)


def test_only_what_no_known_profile_settles_is_named_as_unchecked(validator: Validator) -> None:
    told = [
        [issue for issue in validator.explain(bundle("of-unknown", one)) if "not checked" in issue.message]
        for one in (NAMED, NAMELESS)
    ]
    assert [len(each) for each in told] == [0, 1]
