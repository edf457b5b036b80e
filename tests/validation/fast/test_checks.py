"""What a check remembers: a good value is not looked at twice, a wrong one every time."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod.definitions.terminology import ValueSet
from fhir_coprod.validation.fast import checks
from fhir_coprod.validation.fast.checks import Check, No, Pass, Writer
from fhir_coprod.validation.model.content import Bound
from fhir_coprod.validation.model.scope import Scope

KEYS = ("system", "code")


def asked(check: Check, *values: Any) -> list[str]:
    """The answers to these values, one after the other."""
    answers = []
    for value in values:
        try:
            check(value, None, Pass(Scope({})))
            answers.append("yes")
        except No:
            answers.append("no")
    return answers


@pytest.mark.parametrize(
    ("values", "looks"),
    [
        ([{"code": "good"}] * 3, 1),
        ([{"code": "good"}, {"code": "good", "display": "words"}], 1),
        ([{"code": "good"}, {"code": "good", "system": "s"}], 2),
        ([{"code": "bad"}] * 3, 3),
        ([{"code": "g" * (checks.LONG - 1)}] * 3, 1),
        ([{"code": "g" * checks.LONG}] * 3, 3),
        ([{"code": 10**checks.LONG}] * 3, 1),
    ],
)
def test_a_short_good_value_is_looked_at_once(values: list[dict[str, Any]], looks: int) -> None:
    looked: list[object] = []

    def holds(value: dict[str, Any], scope: Scope) -> bool:
        looked.append(value)
        return value["code"] != "bad"

    check = checks.remembering(holds, KEYS)
    assert asked(check, *values) == ["no" if value["code"] == "bad" else "yes" for value in values]
    assert len(looked) == looks


def test_only_so_many_good_values_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MAX_REMEMBERED", 2)
    check = checks.remembering(lambda value, scope: True, KEYS)
    sizes = []
    for number in range(5):
        asked(check, {"code": f"{number}"})
        sizes.append(len(checks.remembered(check)))
    assert sizes == [1, 2, 1, 2, 1]


def test_only_so_many_codes_of_a_binding_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MAX_REMEMBERED", 2)
    codes = Looked({"": frozenset("abc")})
    check = checks.binding(Bound("required", "u:set", ValueSet(codes)), "Coding")
    looks = []
    for code in "aabbcabc":
        assert asked(check, {"system": "", "code": code}) == ["yes"]
        looks.append(codes.looks)
    assert looks == [1, 1, 2, 2, 3, 4, 5, 6]


class Looked(dict[str, frozenset[str]]):
    """Codes by system; counts how often they are looked up."""

    looks = 0

    def get(self, system: str, default: Any = None) -> Any:
        self.looks += 1
        return super().get(system, default)


def test_a_code_that_its_binding_allows_is_looked_up_once() -> None:
    codes = Looked({"u:s": frozenset(("a", "b"))})
    check = checks.binding(Bound("required", "u:set", ValueSet(codes)), "CodeableConcept")
    a, b, other = ({"coding": [{"system": "u:s", "code": code}]} for code in ("a", "b", "c"))
    assert asked(check, a, a, {**a, "text": "words"}, {"system": "u:s", "code": "a"}) == ["yes"] * 4
    assert codes.looks == 1
    assert asked(check, b, other, other) == ["yes", "no", "no"]
    assert codes.looks == 4
    assert asked(check, {"coding": [*other["coding"], *a["coding"]]}) == ["yes"], "one of two codes is enough"
    assert codes.looks == 6


@pytest.mark.parametrize(
    ("code", "right", "wrong"),
    [
        ("date", "2020-02-29", "2021-02-29"),
        ("instant", "2020-01-01T00:00:00Z", "2020-01-01"),
        ("uri", "urn:x", "u x"),
        ("id", "a-1", "a_1"),
        ("code", "a b", "a  b"),
    ],
)
def test_a_text_of_the_right_format_is_remembered(code: str, right: str, wrong: str) -> None:
    check, writer = checks.primitive(code), Writer()
    writer.check(check, "v", right)
    hot = writer.function()
    (good,) = (held for held in writer.bound.values() if isinstance(held, set))
    for one in (check, hot):
        assert asked(one, right, wrong, right) == ["yes", "no", "yes"]
        assert good == {right}


def test_what_a_type_contains_is_made_on_first_use_and_once() -> None:
    made: list[int] = []

    def make() -> Check:
        made.append(1)
        return checks.passes

    check = checks.later(make)
    assert made == []
    assert asked(check, {}, {}) == ["yes", "yes"]
    assert made == [1]
