"""Objects of a type made by hand: how often a member occurs, and what is asked only once."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod.validation.fast.by_shape import HOT, object_check
from fhir_coprod.validation.fast.checks import Check
from fhir_coprod.validation.model.content import Content, Field, Rule
from fhir_coprod.validation.model.scope import Scope
from fhir_coprod.validation.model.structure import Constraint
from fhir_coprod.validation.validator import default
from tests.validation.fast.test_checks import asked


def member(name: str, *, array: bool = False, **limits: int) -> Field:
    content = Content("string", f"Thing.{name}")
    return Field(name, content.path, ((name, "string"),), array=array, by_type={"string": content}, **limits)


def of(*fields: Field, rules: tuple[Rule, ...] = ()) -> Check:
    """The check of objects with these members."""
    keys = {key: (field, code) for field in fields for key, code in field.keys}
    content = Content("Thing", "Thing", fields={f.name: f for f in fields}, keys=keys, rules=list(rules))
    return object_check(default().fast, content)


@pytest.mark.parametrize(
    ("least", "most", "right"), [(2, 3, {2, 3}), (0, 2, {1, 2}), (3, 9, {3, 4}), (1, 3, {1, 2, 3})]
)
def test_a_member_of_a_type_occurs_as_often_as_its_definition_says(
    least: int, most: int, right: set[int]
) -> None:
    check = of(member("part", array=True, min=least, max=most))
    things = [{"part": ["x"] * number} for number in (1, 2, 3, 4)]
    expected = ["yes" if number in right else "no" for number in (1, 2, 3, 4)]
    assert asked(check, *things) == expected
    asked(check, *([{"part": ["x"] * min(right)}] * HOT))
    assert asked(check, *things) == expected, "also when the check is written out"


class Ordered:
    """A rule that `start` is not after `end`; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        constraint = Constraint("x-1", "error", "Not before it begins", "start <= end")
        self.rule = Rule(constraint, self.test, frozenset(("start", "end")), remember=True)

    def test(self, value: Any, scope: Scope) -> bool:
        self.asked += 1
        start, end = value.get("start"), value.get("end")
        return start is None or end is None or start <= end


def test_a_rule_about_single_values_is_asked_once_for_equal_ones() -> None:
    ordered = Ordered()
    check = of(member("start"), member("end"), member("note"), rules=(ordered.rule,))
    thing = {"start": "1", "end": "2"}
    assert asked(check, *([thing] * (HOT + 3))) == ["yes"] * (HOT + 3)
    assert ordered.asked == 2, "once before the check is written out, and once after"
    assert asked(check, {"start": "3", "end": "2"}, {"start": "3", "end": "2"}, thing) == ["no", "no", "yes"]
    assert ordered.asked == 4


def test_a_rule_is_asked_every_time_where_one_of_the_values_has_more_beside_it() -> None:
    """An extension could have changed what the rule says."""
    ordered = Ordered()
    check = of(member("start"), member("end"), rules=(ordered.rule,))
    thing = {"start": "1", "end": "2", "_end": {"id": "e"}}
    assert asked(check, thing, thing, thing) == ["yes"] * 3
    assert ordered.asked == 3


def test_a_rule_about_one_sign_in_a_text_is_asked_where_the_sign_is_once_the_check_is_written_out() -> None:
    asked_of: list[str] = []

    def test(value: Any, scope: Scope) -> bool:
        asked_of.append(value["start"])
        return "##" not in value["start"]

    constraint = Constraint("x-2", "error", "No two of them", "")
    check = of(member("start"), rules=(Rule(constraint, test, frozenset(("start",)), signs=("start", "#")),))
    asked(check, *([{"start": "x"}] * HOT))
    asked_of.clear()
    assert asked(check, {"start": "y"}, {"start": "a#b"}, {"start": "a##b"}) == ["yes", "yes", "no"]
    assert asked_of == ["a#b", "a##b"]


def test_a_rule_about_a_list_is_asked_every_time() -> None:
    ordered = Ordered()
    check = of(member("start", array=True), member("end", array=True), rules=(ordered.rule,))
    thing = {"start": ["1"], "end": ["2"]}
    assert asked(check, thing, thing) == ["yes"] * 2
    assert ordered.asked == 2
