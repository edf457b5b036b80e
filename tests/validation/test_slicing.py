"""Profiles that nobody here wrote: every way to slice, fixed values, patterns, types taken away."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fhir_coprod.validation.validator import Validator
from tests.validation.breaks import breaks
from tests.validation.fast.test_tiers import agree
from tests.validation.slicing_package import BASE, CASES, PROFILES, claiming

Json = dict[str, Any]


@pytest.fixture(scope="module")
def validator() -> Validator:
    return Validator(PROFILES)


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


@pytest.mark.parametrize(
    ("profile", "resource"), [c[1:3] for c in CASES if c[3]], ids=[f"{c[1]}: {c[0]}" for c in CASES if c[3]]
)
def test_each_required_rule_that_is_broken_is_told_at_its_place(
    validator: Validator, profile: str, resource: Json
) -> None:
    whole = claiming(profile, resource)
    for number in range(len(breaks(validator.library, whole, BASE + profile))):
        mutant = copy.deepcopy(whole)
        broken = breaks(validator.library, mutant, BASE + profile)[number]
        broken.apply()
        told = {issue.expression for issue in validator.explain(mutant).errors}
        assert broken.at in told, f"{broken.rule} at {broken.at}; told: {sorted(told)}"
        assert agree(validator, mutant) == "no"


def test_rules_of_slices_and_fixed_values_are_among_those_that_are_broken(validator: Validator) -> None:
    cases = [(BASE + c[1], claiming(c[1], c[2])) for c in CASES if c[3]]
    rules = {b.rule for profile, resource in cases for b in breaks(validator.library, resource, profile)}
    asked = {"slice required by the profile", "child of a slice", "number in the profile", "fixed value"}
    assert asked <= rules, asked - rules


def test_a_slice_that_cannot_be_told_apart_is_mentioned() -> None:
    profile = next(p for p in PROFILES if p["id"] == "by-pattern")
    elements = [dict(e) for e in profile["snapshot"]["element"]]
    for element in elements:
        if element["id"] == "Observation.category":
            element["slicing"] = {"rules": "open", "description": "as the reader likes"}
    vague = {**profile, "snapshot": {"element": elements}}
    validator = Validator([vague])
    resource = claiming("by-pattern", next(c[2] for c in CASES if c[1] == "by-pattern"))
    outcome = validator.check(resource)
    assert outcome
    assert [i.expression for i in outcome if i.code == "not-supported"] == ["Observation.category"]
    agree(validator, resource)
