"""What is remembered of texts that callers choose is bounded, however long they are."""

from __future__ import annotations

import gc
import random
import tracemalloc
import weakref
from collections.abc import Callable

import pytest

from fhir_coprod.api import formats
from fhir_coprod.remembering import Account, remembering_short
from fhir_coprod.store import entries, index
from fhir_coprod.store.values import time_meant
from fhir_coprod.validation import validate
from fhir_coprod.validation.fast.by_shape import HOT, PLANS


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
        lambda text: entries.split_reference(f"{text}/a"),
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


def test_caches_of_one_account_share_its_limit_and_are_emptied_together() -> None:
    account = Account(100_000)
    asked: list[str] = []

    def remembered(text: str) -> str:
        asked.append(text)
        return text

    first = remembering_short(10_000, 100, account)(remembered)
    second = remembering_short(10_000, 100, account)(remembered)
    held = set("abc")
    account.add(held)
    first("kept")
    first("kept")
    assert asked == ["kept"]
    for number in range(1000):
        second(str(number))
    assert not held
    assert account.taken < 100_000
    first("kept")
    assert asked.count("kept") == 2


def test_an_account_keeps_no_cache_alive() -> None:
    account = Account(1000)
    held = set("abc")
    gone = weakref.ref(held)
    account.add(held)
    del held
    gc.collect()
    assert gone() is None
    account.clear()


def test_a_sender_that_shuffles_the_keys_of_its_records_takes_no_more_than_the_plans_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PLANS, "most", 300_000)
    chance = random.Random(1)
    keys = ["active", "gender", "birthDate", "name", "telecom", "address", "language", "deceasedBoolean"]
    values = {
        "active": True,
        "gender": "other",
        "birthDate": "1970-01-01",
        "language": "de",
        "deceasedBoolean": False,
        "name": [{"text": "A"}],
        "telecom": [{"system": "phone", "value": "1"}],
        "address": [{"text": "B"}],
    }

    def send(records: int) -> None:
        for _ in range(records):
            chance.shuffle(keys)
            record = {"resourceType": "Patient", **{key: values[key] for key in keys}}
            for _ in range(HOT + 2):
                assert not validate(record).errors

    send(60)
    gc.collect()
    tracemalloc.start()
    try:
        send(20)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        send(150)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 600_000, grown
