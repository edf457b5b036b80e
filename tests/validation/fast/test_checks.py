"""What a check remembers: a good value is not looked at twice, a wrong one every time."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod.validation.fast import checks
from fhir_coprod.validation.fast.checks import Check, No, Pass
from fhir_coprod.validation.model.scope import Scope

KEYS = ("system", "code")


def asked(check: Check, *values: dict[str, Any]) -> list[str]:
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


def test_what_a_type_contains_is_made_on_first_use_and_once() -> None:
    made: list[int] = []

    def make() -> Check:
        made.append(1)
        return checks.passes

    check = checks.later(make)
    assert made == []
    assert asked(check, {}, {}) == ["yes", "yes"]
    assert made == [1]
