"""A sync writes much at a time while it is alone, and little while others have to wait for it."""

from __future__ import annotations

import pytest

from fhir_coprod import jsontext
from fhir_coprod.store import Store, Transaction
from fhir_coprod.sync import pace
from fhir_coprod.sync.pace import ALONE, SHARED, Pace


def create(transaction: Transaction) -> None:
    transaction.create(jsontext.from_data({"resourceType": "Basic", "code": {"text": "x"}}))


def test_it_writes_much_at_a_time_while_nobody_else_writes(store: Store) -> None:
    own = Pace(store)
    for _ in range(3):
        own.write(create)
        assert own.most() == ALONE


@pytest.mark.parametrize("when", ["before its first step", "between two steps"])
def test_it_writes_little_at_a_time_once_others_write(store: Store, when: str) -> None:
    own = Pace(store)
    if when == "between two steps":
        own.write(create)
    store.write(create)
    assert own.most() == SHARED


def test_it_also_sees_what_others_wrote_when_it_does_not_ask_before_its_step(store: Store) -> None:
    own = Pace(store)
    store.write(create)
    own.write(create)
    assert own.most() == SHARED


def test_it_expects_others_to_write_again_for_a_while_and_no_longer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Pace(store)
    store.write(create)
    assert own.most() == SHARED
    own.write(create)
    assert own.most() == SHARED
    monkeypatch.setattr(pace, "monotonic", lambda: float("inf"))
    assert own.most() == ALONE
