"""Generated code shows its lines in a traceback, and is forgotten with the function made from it."""

from __future__ import annotations

import gc
import linecache
import traceback
from collections.abc import Iterator
from typing import Any

import pytest

from fhir_coprod.validation import generated
from fhir_coprod.validation.fast.checks import Pass, Writer
from fhir_coprod.validation.fhirpath import programs
from fhir_coprod.validation.fhirpath.model import type_named
from fhir_coprod.validation.fhirpath.parser import parse


class Odd(dict[str, Any]):
    """An object that breaks in a way that nobody foresaw."""

    def get(self, key: str, default: Any = None) -> Any:
        raise ZeroDivisionError


def lines_of(caught: pytest.ExceptionInfo[BaseException], kind: str) -> list[str]:
    return [frame.line or "" for frame in traceback.extract_tb(caught.tb) if f"<{kind} " in frame.filename]


def remembered(kind: str) -> int:
    gc.collect()
    return sum(1 for file in linecache.cache if str(file).startswith(f"<{kind} "))


def never(*_: object) -> bool:
    raise AssertionError("the closures were asked")


def test_an_error_in_a_fhirpath_rule_shows_the_line_of_its_program() -> None:
    rule = programs.rule(parse("code.text = 'x'"), type_named("Task"), never)
    with pytest.raises(ZeroDivisionError) as caught:
        rule(Odd(), None)
    [*_, line] = lines_of(caught, "fhirpath")
    assert "o.get('code', NOTHING)" in line


def test_an_error_in_a_check_shows_its_line() -> None:
    def divide(value: Any, owner: Any, state: Pass) -> None:
        raise ZeroDivisionError

    writer = Writer()
    writer.check(divide, "v", None)
    with pytest.raises(ZeroDivisionError) as caught:
        writer.function()(1, 1, None)  # type: ignore[arg-type]
    assert lines_of(caught, "check") == ["g0(v, v, state)"]


@pytest.fixture
def only_what_is_new_is_collected() -> Iterator[None]:
    """What other tests have left takes a long time to look through."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("only_what_is_new_is_collected")
def test_the_source_goes_with_the_function_even_when_the_same_is_compiled_again() -> None:
    before = remembered("sample")
    kept = [generated.load("def main():\n    return 1", "sample", "main", {}) for _ in range(3)]
    assert remembered("sample") == before + 3
    for _ in range(100):
        generated.load("def main():\n    return 1", "sample", "main", {})
    assert remembered("sample") == before + 3
    assert linecache.getline(kept[0].__code__.co_filename, 2) == "    return 1"
    linecache.checkcache()  # as whatever prints a traceback does
    assert remembered("sample") == before + 3
    kept.clear()
    assert remembered("sample") == before
