"""Quantities and numbers as no clinic writes them: each gets an answer, and none is an error of ours."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_coprod.validation.fhirpath import boundaries, nodes, quantity, strings, units
from fhir_coprod.validation.fhirpath.model import DECIMAL, STRING
from fhir_coprod.validation.fhirpath.nodes import Node
from fhir_coprod.validation.model.ucum import is_unit

ODD = ["0", "-0", "1E+2000", "1E-2000", "1E+999999999", "1E-999999999", "9E+398", "1E-399", "1.5", "-7.25"]
numbers = st.one_of(
    st.sampled_from(ODD).map(Decimal),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.integers(-(10**1500), 10**1500),
)
codes = st.sampled_from(
    ["mg", "g", "1", "/min", "a", "mo", "[iU]", "Cel", "none", "m10", "10*30", "(m/s)2", "m30", "Ym30"]
)
quantities = st.builds(
    lambda value, code: {"value": value, "system": quantity.UCUM, "code": code}, numbers, codes
)


@given(quantities, quantities, st.sampled_from("+-*/"))
def test_any_two_quantities_are_compared_and_computed_with(a: dict, b: dict, operator: str) -> None:
    assert quantity.order(a, b) in (-1, 0, 1, None)
    assert quantity.equivalent(a, a)
    assert quantity.equivalent(a, b) is quantity.equivalent(b, a)
    found = quantity.computed(operator, a, b)
    assert found is None or isinstance(found["value"], Decimal)
    there = quantity.converted(a, b["code"])
    assert there is None or there["code"] == b["code"]


@given(numbers, st.integers(0, 28))
def test_a_number_lies_between_its_boundaries_as_they_are_rounded(value: Decimal | int, places: int) -> None:
    """To the last of the places asked for: by HL7's suite `0.0034.highBoundary(1)` is 0.0."""
    node, asked = [Node(value, DECIMAL)], [[Node(places, DECIMAL)]]
    low, high = boundaries.low_boundary(node, asked), boundaries.high_boundary(node, asked)
    assert bool(low) is bool(high)
    for below, above in zip(low, high, strict=True):
        within = Fraction(1, 10**places)
        assert Fraction(below.value) - within <= value <= Fraction(above.value) + within


@given(numbers, numbers)
def test_any_two_numbers_are_about_equal_or_not(a: Decimal | int, b: Decimal | int) -> None:
    assert nodes.equivalent(Node(a, DECIMAL), Node(a, DECIMAL))
    assert nodes.equivalent(Node(a, DECIMAL), Node(b, DECIMAL)) is nodes.equivalent(
        Node(b, DECIMAL), Node(a, DECIMAL)
    )


@pytest.mark.parametrize(
    ("escaped", "plain"),
    [
        ("a\\ud83d\\ude00b", "a😀b"),  # one character, written as two escapes
        ("a\\ud83d", "a�"),  # half of one, which no database would store
        ("\\u00e5\\n\\/\\x", "å\n/x"),
    ],
)
def test_json_escapes_become_characters(escaped: str, plain: str) -> None:
    found = strings.unescape([Node(escaped, STRING)], [[Node("json", STRING)]])
    assert [node.value for node in found] == [plain]


def test_what_can_be_measured_is_a_unit() -> None:
    names = {*units.BASE, *units.METRIC, *units.PLAIN, *units.ARBITRARY}
    assert all(units.measure(name) for name in names)
    assert {name for name in names if not is_unit(name)} == set()
