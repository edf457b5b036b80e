"""Every concept has a profile, a valid example, and invalid ones that fail for the stated reason."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fhir_coprod import definitions, validate
from fhir_coprod.definitions import PROFILE
from tests.definitions.invalid import Invalid, cases
from tests.peers import hl7, registry

PACKAGE = Path(definitions.__file__).parents[1] / "_data" / "package"

PROFILES = sorted(
    resource["url"].removeprefix(PROFILE)
    for resource in definitions.own_resources("StructureDefinition")
    if resource["type"] != "Extension"
)
EXTENSIONS = sorted(
    resource["url"]
    for resource in definitions.own_resources("StructureDefinition")
    if resource["type"] == "Extension"
)
PROMISED = {
    "coproduction-careplan",
    "coproduction-goal",
    "coproduction-communication",
    "coproduction-servicerequest",
    "referral-task",
    "patient-task",
    "stalled-referral",
    "stall-followup",
}


def profiles_of(resource: dict[str, Any]) -> list[str]:
    return [url.removeprefix(PROFILE) for url in resource.get("meta", {}).get("profile", ())]


def urls_in(value: Any) -> Counter[str]:
    """How often each extension url stands anywhere inside."""
    if isinstance(value, list):
        return sum((urls_in(item) for item in value), Counter())
    if isinstance(value, dict):
        own = Counter(e["url"] for e in value.get("extension", ()))
        return sum((urls_in(member) for member in value.values()), own)
    return Counter()


def references_in(value: Any) -> list[str]:
    if isinstance(value, list):
        return [reference for item in value for reference in references_in(item)]
    if isinstance(value, dict):
        own = [value["reference"]] if isinstance(value.get("reference"), str) else []
        return own + [reference for member in value.values() for reference in references_in(member)]
    return []


@pytest.mark.parametrize("example", definitions.examples(), ids=lambda e: f"{e['resourceType']}/{e['id']}")
def test_example_is_valid(example: dict[str, Any]) -> None:
    outcome = validate(example)
    assert outcome, str(outcome)


def test_our_definitions_are_valid_resources() -> None:
    faults = {
        resource["url"]: str(outcome)
        for resource in definitions.own_resources()
        if not (outcome := validate(resource))
    }
    assert faults == {}


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_invalid_example_fails_where_it_says(case: Invalid) -> None:
    outcome = validate(case.resource, case.profile)
    at_place = [issue for issue in outcome.errors if issue.expression.startswith(case.expression)]
    assert at_place, f"{case.reason}\n{outcome}"
    if case.key:
        assert any(case.key in issue.message for issue in at_place), f"{case.reason}\n{outcome}"


@pytest.mark.proof
def test_hl7_accepts_every_example_and_refuses_every_invalid_one() -> None:
    registry.require(hl7.PEER)
    examples = definitions.examples()
    wrong = [case.resource for case in cases()]
    with hl7.Hl7Validator([PACKAGE]) as validator:
        verdicts = list(validator.verdicts(json.dumps(r).encode() for r in [*examples, *wrong]))
    assert [v.errors for v in verdicts[: len(examples)] if not v.ok] == []
    assert [case.name for case, v in zip(cases(), verdicts[len(examples) :], strict=True) if v.ok] == []


def test_promised_profiles_are_there() -> None:
    assert set(PROFILES) >= PROMISED


@pytest.mark.parametrize("profile", PROFILES)
def test_profile_has_examples_of_both_kinds(profile: str) -> None:
    assert any(profile in profiles_of(example) for example in definitions.examples())
    assert any(case.profile == PROFILE + profile for case in cases())


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_extension_is_used_by_an_example(extension: str) -> None:
    assert urls_in(definitions.examples())[extension]


def test_story_hangs_together() -> None:
    """Every reference of an example leads to another example."""
    known = {f"{e['resourceType']}/{e['id']}" for e in definitions.examples()}
    dangling = {
        f"{example['resourceType']}/{example['id']} -> {reference}"
        for example in definitions.examples()
        for reference in references_in(example)
        if reference not in known
    }
    assert not dangling


def test_every_invariant_has_an_invalid_example_or_is_a_warning() -> None:
    errors = {
        constraint["key"]
        for resource in definitions.own_resources("StructureDefinition")
        for element in resource["differential"]["element"]
        for constraint in element.get("constraint", ())
        if constraint["severity"] == "error"
    }
    assert {key for key in errors if key.startswith("coprod-")} <= {case.key for case in cases()}


def test_every_code_of_the_watch_is_in_the_package() -> None:
    from fhir_coprod.watch.rules.codes import Rule, Stage

    assert definitions.code_system(f"{definitions.CANONICAL}/CodeSystem/stall-rule") == set(Rule)
    assert definitions.code_system(f"{definitions.CANONICAL}/CodeSystem/referral-stage") == set(Stage)
