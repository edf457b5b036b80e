"""Looking items up by hash gives the answers that comparing them one by one gives."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_coprod import definitions
from fhir_coprod.validation.fhirpath import Env, FhirPathError, Undecided, compile_invariant
from fhir_coprod.validation.fhirpath.members import MOST_COMPARED, Members
from fhir_coprod.validation.fhirpath.model import type_named
from fhir_coprod.validation.fhirpath.nodes import Node, equal
from tests.validation.fhirpath_data import rules

_TYPES = (
    *("string", "code", "boolean", "integer", "decimal", "date", "dateTime", "time", "Coding", "Quantity"),
    *("System.String", "System.Quantity"),
)
_VALUES: tuple[Any, ...] = (
    *(
        "a",
        "A",
        "1",
        "1.0",
        "true",
        "2020",
        "2020-03",
        "2020-03-01",
        "2020-03-01T10:20:30Z",
        "10:20",
        "10:20:30",
    ),
    *("2020-03-01T11:20:30+01:00", "2020-03-01T10:20:30.0Z", "2020-03-01T10:20:30", "10:20:30.0", "2020T"),
    *(None, True, False, 0, 1, 1.0, 2.5, 2020, [], [1], [True], {}, {"a": 1}, {"a": True}, {"a": [1.0]}),
    *(
        {"value": 1, "unit": "1"},
        {"value": 1},
        {"value": 1000, "code": "g", "system": "http://unitsofmeasure.org"},
    ),
    *(
        {"value": 1, "code": "kg", "system": "http://unitsofmeasure.org"},
        {"value": "x"},
        {"value": 1, "code": []},
    ),
)
_NODES = st.builds(
    Node,
    st.sampled_from(_VALUES),
    st.sampled_from([type_named(name) for name in _TYPES]),
    st.sampled_from([None, {"id": "x"}, {"id": "y"}]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_NODES, max_size=6), _NODES)
def test_an_item_is_a_member_exactly_if_it_equals_one(items: list[Node], wanted: Node) -> None:
    try:
        expected = any(equal(item, wanted) is True for item in items)
    except TypeError:
        return  # a value of such a form that it cannot be compared at all
    assert (wanted in Members(items)) is expected


def test_what_has_no_key_is_undecided_after_so_many_comparisons() -> None:
    quantity = type_named("Quantity")
    number = round(MOST_COMPARED**0.5) + 1
    known = Members([Node({"value": index}, quantity) for index in range(number)])
    asked = (Node({"value": -1 - index}, quantity) for index in range(number))
    with pytest.raises(Undecided):
        assert not any(node in known for node in asked)


class _Forgetful(dict[Hashable, Any]):
    """Keeps nothing: everything is worked out for each item, as often as the rule asks."""

    def __setitem__(self, key: Hashable, value: Any) -> None:
        pass


@pytest.mark.parametrize(
    "name", ["StructureDefinition", "ImplementationGuide", "Observation", "Bundle", "CareTeam"]
)
def test_a_rule_says_the_same_whether_it_remembers_or_not(name: str) -> None:
    compiled = [
        (path, key, compile_invariant(expression, path, key))
        for path, key, expression in rules(name)
        if "[x]" not in path
    ]
    for resource in _examples(name):
        for path, key, rule in compiled:
            forgetful = Env(resource)
            forgetful.memory = _Forgetful()
            remembering = Env(resource)
            for value in _at(resource, path.split(".")[1:]):
                for _ in range(2):
                    assert _answer(rule, value, remembering) == _answer(rule, value, forgetful), (key, value)


def _examples(name: str) -> list[dict[str, Any]]:
    return [
        {"resourceType": name, **made}
        for text in ("x", "Patient", "Patient.name", "Patient.name.given")
        for made in (
            {"kind": "resource", "type": text, "differential": {"element": _elements(text)}},
            {"kind": "logical", "type": "Patient", "snapshot": {"element": _elements(text)}},
            {
                "definition": {"grouping": [{"id": "a"}, {"id": "b"}], "resource": _grouped(text)},
                "fhirVersion": ["a", text],
            },
            {"definition": {"resource": _grouped("b")}, "fhirVersion": ["4.0.1"]},
            {
                "code": {"coding": [{"code": text}, {"code": "b"}]},
                "valueInteger": 1,
                "component": _coded(text),
            },
            {"type": "collection", "entry": [{"fullUrl": text}, {"fullUrl": "b"}]},
            {"contained": [{"resourceType": "Practitioner", "id": text}], "participant": _members(text)},
        )
    ]


def _elements(text: str) -> list[dict[str, Any]]:
    return [{"path": path} for path in ("Patient", text, "Patient.name", f"{text}.given")]


def _grouped(text: str) -> list[dict[str, Any]]:
    return [
        {"groupingId": text, "fhirVersion": [text]},
        {"groupingId": "a", "fhirVersion": ["a"]},
        {"groupingId": 1},
    ]


def _coded(text: str) -> list[dict[str, Any]]:
    return [{"code": {"coding": [{"code": code}]}} for code in (text, "c")]


def _members(text: str) -> list[dict[str, Any]]:
    return [{"member": {"reference": f"#{id}"}, "onBehalfOf": {}} for id in (text, "other")]


def _at(value: Any, steps: list[str]) -> list[Any]:
    """The values at the end of a path."""
    if not steps:
        return [value]
    held = value.get(steps[0]) if isinstance(value, dict) else None
    return [
        found
        for item in (held if isinstance(held, list) else [held])
        if item
        for found in _at(item, steps[1:])
    ]


def _answer(rule: Any, value: Any, env: Env) -> object:
    try:
        return rule(value, env)
    except (FhirPathError, TypeError) as error:
        return type(error)


def test_each_type_above_is_one_of_r4() -> None:
    assert all(name.startswith("System.") or definitions.has_structure(name) for name in _TYPES)
