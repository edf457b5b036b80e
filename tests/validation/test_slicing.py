"""Profiles that nobody here wrote: every way to slice, fixed values, patterns, types taken away."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod.validation.library import Library
from fhir_coprod.validation.validator import Validator
from tests.validation.slicing_package import BASE, CASES, PROFILES, claiming
from tests.validation.test_tiers import agree

Json = dict[str, Any]


@pytest.fixture(scope="module")
def validator() -> Validator:
    return Validator(Library(PROFILES))


@pytest.mark.parametrize(
    ("profile", "resource", "valid"), [c[1:] for c in CASES], ids=[f"{c[1]}: {c[0]}" for c in CASES]
)
def test_slices_are_told_apart(validator: Validator, profile: str, resource: Json, valid: bool) -> None:
    outcome = validator.check(claiming(profile, resource))
    assert bool(outcome) == valid, str(outcome)
    agree(validator, claiming(profile, resource))


@pytest.mark.parametrize(("profile", "resource", "valid"), [c[1:] for c in CASES if not c[3]])
def test_the_profile_may_be_asked_for_instead(
    validator: Validator, profile: str, resource: Json, valid: bool
) -> None:
    assert not validator.check(resource, BASE + profile)
    assert validator.check(resource)


def test_a_slice_that_cannot_be_told_apart_is_mentioned() -> None:
    profile = next(p for p in PROFILES if p["id"] == "by-pattern")
    elements = [dict(e) for e in profile["snapshot"]["element"]]
    for element in elements:
        if element["id"] == "Observation.category":
            element["slicing"] = {"rules": "open", "description": "as the reader likes"}
    vague = {**profile, "snapshot": {"element": elements}}
    validator = Validator(Library([vague]))
    resource = claiming("by-pattern", next(c[2] for c in CASES if c[1] == "by-pattern"))
    outcome = validator.check(resource)
    assert outcome
    assert [i.expression for i in outcome if i.code == "not-supported"] == ["Observation.category"]
    agree(validator, resource)
