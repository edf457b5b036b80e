"""What is remembered of texts that callers choose is bounded, however long they are."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from fhir_coprod.api import formats
from fhir_coprod.remembering import remembering_short
from fhir_coprod.store import index
from fhir_coprod.store.values import time_meant


def test_short_texts_are_remembered_and_long_ones_are_not() -> None:
    asked: list[str] = []

    @remembering_short(10, 3)
    def joined(first: str, second: str) -> str:
        asked.append(first + second)
        return first + second

    for texts in (("abc", "d"), ("abc", "d"), ("abcd", "e"), ("abcd", "e"), ("a", "bcde"), ("a", "bcde")):
        assert joined(*texts) == "".join(texts)
    assert asked == ["abcd", "abcde", "abcde", "abcde", "abcde"]


@pytest.mark.parametrize(
    "asked",
    [
        lambda text: formats.negotiated(f"application/json;a={text}", ""),
        formats.takes_gzip,
        lambda text: formats.body_type(f"application/json;a={text}"),
        formats.preferences,
        time_meant,
        lambda text: index.number("Patient", text),
        lambda text: index.is_indexed("Patient", text),
        lambda text: index.split_reference(f"{text}/a"),
        lambda text: index.rows("Patient", {"resourceType": "Patient", **dict.fromkeys(text.split("b"), 1)}),
    ],
)
def test_long_texts_of_callers_leave_nothing_in_memory(asked: Callable[[str], object]) -> None:
    asked("first")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(30):
            asked(f"{number}b" * 20_000)
        assert tracemalloc.get_traced_memory()[0] - before < 300_000
    finally:
        tracemalloc.stop()
