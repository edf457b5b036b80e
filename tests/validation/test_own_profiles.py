"""The three things that other validators get wrong, on our own profiles, and the examples of the package."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fhir_coprod import definitions, validate
from fhir_coprod.validation.validator import default
from tests.validation.fast.test_tiers import agree

Json = dict[str, Any]


def example(profile: str) -> Json:
    """An example of one of our profiles, free to be changed."""
    url = definitions.PROFILE + profile
    found = next(e for e in definitions.examples() if url in e.get("meta", {}).get("profile", ()))
    return copy.deepcopy(found)


@pytest.mark.parametrize("resource", definitions.examples(), ids=lambda r: f"{r['resourceType']}-{r['id']}")
def test_every_example_is_valid(resource: Json) -> None:
    outcome = validate(resource)
    assert outcome, str(outcome)
    agree(default(), resource)


def test_a_required_binding_of_a_profile_is_held() -> None:
    stall = example("stalled-referral")
    stall["code"]["coding"][0]["code"] = "rained-off"
    outcome = validate(stall)
    assert ("code-invalid", "DetectedIssue.code") in {(i.code, i.expression) for i in outcome.errors}


def test_a_status_that_r4_knows_and_the_profile_does_not_is_told() -> None:
    stall = example("stalled-referral")
    stall["status"] = "corrected"
    outcome = validate(stall)
    assert ("code-invalid", "DetectedIssue.status") in {(i.code, i.expression) for i in outcome.errors}


def test_the_children_of_a_slice_are_counted() -> None:
    goal = example("coproduction-goal")
    acceptance = "http://hl7.org/fhir/StructureDefinition/goal-acceptance"
    found = next(e for e in goal["extension"] if e["url"] == acceptance)
    assert validate(goal)
    found["extension"] = [e for e in found["extension"] if e["url"] != "status"]
    outcome = validate(goal)
    place = f"Goal.extension[{goal['extension'].index(found)}]"
    assert place in {i.expression for i in outcome.errors}


def test_a_contained_target_satisfies_the_profile_it_is_asked_for() -> None:
    plan = example("coproduction-careplan")
    goal = {k: v for k, v in example("coproduction-goal").items() if k not in ("meta", "text")}
    goal["id"] = "inside"
    plan["contained"] = [goal]
    plan["goal"] = [{"reference": "#inside"}]
    assert validate(plan), str(validate(plan))
    del goal["expressedBy"]
    outcome = validate(plan)
    assert [i.expression for i in outcome.errors] == ["CarePlan.goal[0]"]
    agree(default(), plan)


def test_a_target_in_the_same_bundle_satisfies_the_profile_it_is_asked_for() -> None:
    plan, goal = example("coproduction-careplan"), example("coproduction-goal")
    plan["goal"] = [{"reference": f"Goal/{goal['id']}"}]
    goal.pop("meta")
    base = "https://example.org/fhir"
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "entry": [{"fullUrl": f"{base}/{r['resourceType']}/{r['id']}", "resource": r} for r in (plan, goal)],
    }
    assert validate(bundle), str(validate(bundle))
    del goal["expressedBy"]
    outcome = validate(bundle)
    assert [i.expression for i in outcome.errors] == ["Bundle.entry[0].resource.goal[0]"]
    agree(default(), bundle)


def test_a_profile_that_is_asked_for_is_checked_without_being_claimed() -> None:
    plan = example("coproduction-careplan")
    plan.pop("meta")
    plan.pop("goal")
    plan |= {"intent": "plan", "status": "active"}
    assert validate(plan)
    assert not validate(plan, definitions.PROFILE + "coproduction-careplan")


def test_a_profile_for_another_type_is_told() -> None:
    outcome = validate({"resourceType": "Patient"}, definitions.PROFILE + "coproduction-careplan")
    assert not outcome


def test_the_version_of_a_claimed_profile_does_not_matter() -> None:
    plan = example("coproduction-careplan")
    plan["meta"]["profile"] = [f"{definitions.PROFILE}coproduction-careplan|9.9.9"]
    plan.pop("goal")
    plan |= {"intent": "plan", "status": "active"}
    assert not validate(plan)
