"""The two tiers against each other, on resources made from definitions and on broken ones."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from fhir_coprod import definitions, jsontext
from fhir_coprod.outcome import Outcome
from fhir_coprod.validation.validator import Validator, default
from tests.validation.breaks import breaks
from tests.validation.completions import complete
from tests.validation.generator import Generator
from tests.validation.mutations import MUTATIONS, mutate, spots

Json = dict[str, Any]

PROFILES = tuple(
    s["url"] for s in definitions.own_resources("StructureDefinition") if s.get("kind") == "resource"
)
MAKEABLE = tuple(
    name
    for name in definitions.resource_types()
    # Their rules (percentages, unique ids, paths of elements) are beyond making by chance.
    if name
    not in ("StructureDefinition", "CapabilityStatement", "TerminologyCapabilities", "MolecularSequence")
)


def relaxed(examples: int) -> settings:
    """Generating a resource takes longer than hypothesis likes, and nothing of it is worth keeping."""
    return settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )


def make(validator: Validator, of: str, seed: int, richness: float) -> Json:
    """A resource of a type or of a profile."""
    generator = Generator(validator.library, Random(f"{of}{seed}"), richness=richness)
    structure = validator.library.structure(of)
    assert structure is not None
    if structure.profile:
        return complete(of, generator.resource(structure.type, of))
    return generator.resource(of)


def explained(outcome: Outcome) -> str:
    """The explaining tier's findings in the words of the fast one."""
    if outcome.errors:
        return "no"
    if not outcome.issues:
        return "yes"
    bare = all("(dom-6)" in issue.message and "." not in issue.expression for issue in outcome)
    return "yes, without narrative" if bare else "yes, with something to tell"


def fast(validator: Validator, resource: Json) -> str:
    state = validator.passes(resource)
    if state is None:
        return "no"
    if state.soft or state.remarks:
        return "yes, with something to tell"
    return "yes, without narrative" if state.bare else "yes"


def agree(validator: Validator, resource: Json) -> str:
    outcome = validator.explain(resource)
    assert fast(validator, resource) == explained(outcome), str(outcome)
    skipping = validator.explain(resource, skipping=True)
    assert skipping.issues == outcome.issues
    checked = validator.check(resource).issues
    assert len(set(checked)) == len(checked)
    assert set(checked) == set(outcome.issues)
    return explained(outcome)


@relaxed(120)
@given(of=st.sampled_from(MAKEABLE + PROFILES * 2), seed=st.integers(0, 10**6), richness=st.floats(0.1, 0.7))
@example(of="ClaimResponse", seed=1, richness=0.25)
def test_what_a_definition_describes_passes(of: str, seed: int, richness: float) -> None:
    validator = default()
    resource = make(validator, of, seed, richness)
    outcome = validator.explain(resource)
    # What chance cannot make: values that several elements' rules tie together.
    told = [issue for issue in outcome.errors if issue.code != "invariant"]
    assert not told, "\n".join(map(str, told))
    agree(validator, resource)


@relaxed(250)
@given(
    of=st.sampled_from(MAKEABLE + PROFILES * 2),
    kind=st.sampled_from(sorted(MUTATIONS)),
    seed=st.integers(0, 10**6),
)
@example(of="Patient", kind="drop_child", seed=0)
def test_both_tiers_agree_on_mutants(of: str, kind: str, seed: int) -> None:
    validator = default()
    mutant = mutate(validator.library, make(validator, of, seed, 0.4), kind, Random(seed))
    if mutant is not None:
        agree(validator, mutant)


NEVER_VALID = (
    "list_for_single",
    "single_for_list",
    "empty_list",
    "empty_object",
    "empty_string",
    "null_item",
    "number_for_text",
    "text_for_number",
    "text_for_boolean",
    "text_for_object",
    "object_for_text",
    "unknown_resource_type",
    "day_not_in_calendar",
    "slashed_date",
    "time_without_zone",
    "hour_24",
    "bad_id",
    "spaces_in_code",
    "space_in_uri",
    "bad_oid",
    "bad_base64",
    "zero_positive",
    "below_zero",
    "huge_integer",
    "fraction_for_integer",
    "unknown_member",
    "second_choice",
    "wrong_choice_type",
    "wrong_code",
    "wrong_coding_of_a_version",
    "id_alone",
    "dangling_local_reference",
    "contained_unused",
    "contained_wrong_target",
    "extension_without_value",
    "extension_without_url",
    "extension_with_both",
    "extension_relative_url",
    "extension_wrong_type",
    "extension_wrong_place",
    "extension_value_changed",
    "reversed_period",
    "code_without_system",
    "relative_identifier_system",
    "narrative_with_script",
    "narrative_without_namespace",
    "narrative_empty",
    "narrative_not_xml",
    "attachment_without_type",
)


@pytest.mark.parametrize("kind", NEVER_VALID)
def test_a_broken_rule_is_always_found(kind: str) -> None:
    validator = default()
    found = 0
    for seed in range(400):
        of = Random(f"{kind}{seed}").choice(MAKEABLE + PROFILES)
        mutant = mutate(validator.library, make(validator, of, seed, 0.4), kind, Random(seed))
        if mutant is not None:
            outcome = validator.explain(mutant)
            assert not outcome, f"{of} {seed}: {jsontext.encode(mutant).decode()}"
            assert fast(validator, mutant) == "no"
            found += 1
        if found == 6:
            return
    assert found


def test_a_code_that_may_be_younger_than_ours_is_wrong_only_where_the_list_is_closed() -> None:
    validator = default()
    seen: set[str] = set()
    for seed in range(60):
        whole = make(validator, Random(f"younger{seed}").choice(MAKEABLE + PROFILES), seed, 0.4)
        before = {issue.expression for issue in validator.explain(whole).errors}
        mutant = mutate(validator.library, whole, "wrong_coding", Random(seed))
        if mutant is not None:
            told = [i for i in validator.explain(mutant).errors if i.expression not in before]
            closed = ("required value set", "may be extended to", "slice", "must", "(")
            assert all(any(word in issue.message for word in closed) for issue in told), told
            seen.add(agree(validator, mutant))
    assert seen >= {"no", "yes, with something to tell"}


def test_an_id_beside_any_value_changes_no_verdict() -> None:
    validator = default()
    for seed in range(60):
        whole = make(validator, Random(f"id{seed}").choice(MAKEABLE + PROFILES), seed, 0.4)
        mutant = mutate(validator.library, whole, "id_beside", Random(seed))
        if mutant is not None:
            assert agree(validator, mutant) == agree(validator, whole), jsontext.encode(mutant).decode()


@relaxed(100)
@given(of=st.sampled_from(PROFILES), seed=st.integers(0, 10**6), richness=st.floats(0.1, 0.7))
def test_what_is_made_from_a_profile_of_ours_passes(of: str, seed: int, richness: float) -> None:
    validator = default()
    outcome = validator.explain(make(validator, of, seed, richness))
    # Once in thousands, chance does not meet a rule of R4 that ties several elements of a data type together.
    assume(all("(coprod-" in issue.message for issue in outcome.errors if issue.code == "invariant"))
    assert outcome, str(outcome)


@relaxed(200)
@given(
    of=st.sampled_from(MAKEABLE + PROFILES * 3),
    seed=st.integers(0, 10**6),
    richness=st.floats(0.1, 0.6),
    data=st.data(),
)
def test_any_required_rule_that_is_broken_is_told_at_its_place(
    of: str, seed: int, richness: float, data: st.DataObject
) -> None:
    validator = default()
    resource = make(validator, of, seed, richness)
    before = {(issue.expression, issue.message) for issue in validator.explain(resource).errors}
    known = breaks(validator.library, resource, of)
    assume(known)  # empty Parameters have nothing to break
    choice = data.draw(st.sampled_from(known), label="rule")
    choice.apply()
    after = validator.explain(resource).errors
    told = {issue.expression for issue in after if (issue.expression, issue.message) not in before}
    assert choice.at in told, f"{choice.rule} at {choice.at}; told: {sorted(told)}"
    assert agree(validator, resource) == "no"


def test_the_kinds_of_required_rules_are_all_among_those_that_are_broken() -> None:
    validator = default()
    made = (make(validator, of, seed, 0.5) for of in PROFILES for seed in range(3))
    kinds = {one.rule for resource in made for one in breaks(validator.library, resource, _profile(resource))}
    # Of slices, ours ask little: see test_slicing.
    assert kinds == {
        *("required element", "one value only", "JSON type", "object", "known members", "required binding"),
        *("required binding, by system", "reference target", "element required by the profile"),
        *("slice required by the profile", "number in the profile", "pattern"),
    }


def _profile(resource: Json) -> str:
    claimed: str = resource["meta"]["profile"][0]
    return claimed


@relaxed(150)
@given(
    seed=st.integers(0, 10**6),
    junk=st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=8)
        | st.sampled_from(["resourceType", "#", "urn:oid:", "Patient/1", "\u0000", "http://x|1"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.text(max_size=3)
                | st.sampled_from(["id", "extension", "url", "coding", "_x", "contained", "resourceType"]),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    ),
    key=st.text(max_size=4)
    | st.sampled_from(["contained", "meta", "text", "extension", "_status", "subject"]),
)
def test_junk_anywhere_gets_an_answer(seed: int, junk: Any, key: str) -> None:
    validator = default()
    random = Random(seed)
    resource = make(validator, random.choice(MAKEABLE + PROFILES), seed % 50, 0.3)
    places = list(spots(validator.library, resource))
    if places and random.random() < 0.7:
        random.choice(places).value = junk
    else:
        resource[key] = junk
    agree(validator, resource)
