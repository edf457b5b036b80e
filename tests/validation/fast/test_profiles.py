"""Profiles made by hand: to which slice a value belongs."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_coprod.validation.fast.checks import Check
from fhir_coprod.validation.fast.profiles import overlay
from fhir_coprod.validation.model.content import Content, Field, Model, Slice
from fhir_coprod.validation.model.scope import Scope
from fhir_coprod.validation.validator import default
from tests.validation.fast.test_checks import asked

NAMES = ("a", "b", "c")


class Sliced:
    """A profile of Basic with at most one extension of each name; counts how often a slice is asked."""

    def __init__(self, *, by_url: bool) -> None:
        self.asked = 0
        self.by_url = by_url

    def check(self) -> Check:
        extension = self._extensions(max=9, slices=tuple(map(self._slice, NAMES)))
        content = Content("Basic", "Basic", fields={"extension": extension})
        return overlay(default().fast, Model("u:p", "p", "Basic", "resource", False, content))

    def _slice(self, name: str) -> Slice:
        def matches(value: Any, code: str, scope: Scope) -> bool:
            self.asked += 1
            return bool(value["url"] == f"u:{name}")

        return Slice(name, matches, self._extensions(max=1), f"u:{name}" if self.by_url else "")

    def _extensions(self, **limits: Any) -> Field:
        return Field("extension", "Basic.extension", (("extension", "Extension"),), True, **limits)


def basic(*names: str) -> dict[str, Any]:
    return {"resourceType": "Basic", "extension": [{"url": f"u:{name}"} for name in names]}


@pytest.mark.parametrize("by_url", [True, False])
def test_each_value_belongs_to_one_slice(by_url: bool) -> None:
    check = Sliced(by_url=by_url).check()
    answers = asked(check, basic("c", "x", "a", "b", "x"), basic("b", "x", "b"), basic("x", "x"))
    assert answers == ["yes", "no", "yes"]


def test_no_slice_is_asked_whether_it_matches_where_the_url_tells() -> None:
    by_url, by_asking = Sliced(by_url=True), Sliced(by_url=False)
    for one in (by_url, by_asking):
        asked(one.check(), basic(*NAMES))
    assert by_url.asked == 0
    # Each value is asked of each slice: one that fits two is an error.
    assert by_asking.asked == len(NAMES) ** 2
