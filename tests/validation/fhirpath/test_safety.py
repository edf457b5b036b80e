"""Expressions and data from strangers: bounded time, no code from text, no crash."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_coprod.validation.fhirpath import (
    Env,
    FhirPathError,
    UnsupportedFhirPath,
    compile_invariant,
    compile_typed,
)
from fhir_coprod.validation.fhirpath.parser import parse
from tests.validation.fhirpath_data import rules, values

TYPES = ("Patient", "Observation", "Bundle", "Questionnaire", "CarePlan", "StructureDefinition", "Task")


def test_regular_expression_from_the_data_may_be_malformed() -> None:
    with pytest.raises(FhirPathError):
        compile_invariant("'a'.matches(family)", "HumanName")({"family": "("}, Env({}))


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5_000 + "1",
        "-" * 5_000 + "1",
        "a.where(" * 200,
        "a[" * 5_000,
        "1+" * 30_000,
        "1+" * 5_000 + "1",
        "a." * 9_000 + "a",
    ],
)
def test_deep_or_long_expression_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedFhirPath):
        parse(text)


@pytest.mark.parametrize(
    "nasty",
    [
        "'; import os; '",
        '"',
        "\\",
        "{x}",
        "%s",
        "\n",
        "\u2028",
        "'''",
        '"""',
        "# comment",
        "\x00",
        "é\U0001f600",
    ],
)
def test_text_of_an_expression_never_becomes_code(nasty: str) -> None:
    escaped = "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in nasty)
    for rule in (
        f"family = '{escaped}'",
        f"family in ('{escaped}' | 'other')",
        f"family.startsWith('{escaped}') and family.contains('{escaped}')",
        f"given.where($this = '{escaped}').exists()",
        f"extension('{escaped}').empty() and family & '' = '{escaped}'",
    ):
        value = {"family": nasty, "given": [nasty]}
        assert compile_invariant(rule, "HumanName")(value, Env({}))


def test_names_of_elements_never_become_code() -> None:
    assert values("`x'] or __import__('os')`", "Patient", {"resourceType": "Patient"}) == []
    assert compile_typed("name.`y\\`); raise SystemExit`", "Patient")({"resourceType": "Patient"}) == []


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "contained",
                    "name",
                    "status",
                    "entry",
                    "resource",
                    "item",
                    "type",
                    "code",
                    "coding",
                    "value",
                    "extension",
                    "url",
                    "valueString",
                    "_status",
                    "linkId",
                    "element",
                    "snapshot",
                    "path",
                    "reference",
                    "resourceType",
                    "id",
                    "activity",
                    "detail",
                    "component",
                    "differential",
                    "fullUrl",
                    "text",
                    "div",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(TYPES), value=_JSON)
def test_rules_survive_data_of_any_shape(name: str, value: Any) -> None:
    """The structure check has already said what is wrong; a rule only must not crash on it."""
    resource = value if isinstance(value, dict) else {"resourceType": name, "name": value}
    for path, key, expression in rules(name):
        if path.count(".") == 0:
            try:
                answer = compile_invariant(expression, name, key)(resource, Env(resource))
            except FhirPathError:
                continue
            assert answer in (True, False)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab.()[]'\"`%$+-*/|&=<>! ,@0T:{}\\wherexistand", max_size=40))
def test_any_text_is_an_expression_or_is_refused(text: str) -> None:
    try:
        values(text, "Patient", {"resourceType": "Patient", "name": [{"family": "a"}]})
    except (UnsupportedFhirPath, FhirPathError):
        return


@pytest.mark.parametrize(
    "expression",
    [
        " xor ".join(["(active = true)"] * 60),
        "(" * 60 + "active" + " = (active = true))" * 60,
        "extension" + ".value.extension" * 12 + ".nonsense.exists()",
        "extension.where(" * 12 + "value.exists()" + ")" * 12 + ".exists()",
    ],
)
def test_expression_that_multiplies_is_compiled_in_bounded_time(expression: str) -> None:
    patient = {"resourceType": "Patient", "active": True}
    started = time.perf_counter()
    compile_invariant(expression, "Patient")(patient, Env(patient))
    assert time.perf_counter() - started < 5


def test_large_collections_take_linear_time() -> None:
    codings = [{"system": "s", "code": str(number)} for number in range(20_000)]
    observation = {"resourceType": "Observation", "code": {"coding": codings}, "valueInteger": 1}
    observation["component"] = [{"code": {"coding": codings}}]
    rule = compile_invariant(
        "value.empty() or component.code.where(coding.intersect(%resource.code.coding).exists()).empty()",
        "Observation",
    )
    started = time.perf_counter()
    assert not rule(observation, Env(observation))
    assert time.perf_counter() - started < 5


def test_bundle_is_indexed_once_for_resolve() -> None:
    entries: list[Any] = [
        {"fullUrl": f"urn:uuid:{number}", "resource": {"resourceType": "Patient", "id": str(number)}}
        for number in range(5_000)
    ]
    entries += [
        {"resource": {"resourceType": "Observation", "subject": {"reference": f"urn:uuid:{number}"}}}
        for number in range(5_000)
    ]
    bundle = {"resourceType": "Bundle", "entry": entries}
    path = "entry.resource.ofType(Observation).subject.where(resolve() is Patient)"
    started = time.perf_counter()
    assert len(values(path, "Bundle", bundle)) == 5_000
    assert time.perf_counter() - started < 5
