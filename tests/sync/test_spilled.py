"""What spills to a file behaves as what is held in memory."""

from __future__ import annotations

import resource

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_coprod.sync import spilled
from fhir_coprod.sync.reading.taking import Seen
from fhir_coprod.sync.spilled import SpilledDict, SpilledSet
from fhir_coprod.sync.staging.order import Order

NAMES = st.sampled_from(["", "a", "A", "b", "é", "\x00", "x" * 99, "\ud800", "7", "07", "a "]) | st.text()
STEPS = st.lists(st.tuples(st.sampled_from(["add", "discard", "update"]), st.lists(NAMES, max_size=6)))
ORDERS = st.none() | st.builds(Order, st.none() | st.integers(0, 10**17), st.text())


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spilled, "MOST", 3)


same_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.usefixtures("little_memory")
@same_fixture
@given(STEPS, st.sets(NAMES))
def test_a_set_in_a_file_is_a_set(steps: list[tuple[str, list[str]]], other: set[str]) -> None:
    ours, plain = SpilledSet(), set[str]()
    for what, names in steps:
        if what == "update":
            ours.update(iter(names))
            plain.update(names)
            continue
        for name in names:
            getattr(ours, what)(name)
            getattr(plain, what)(name)
        assert len(ours) == len(plain)
    assert sorted(ours, key=repr) == sorted(plain, key=repr)
    assert ours - other == plain - other
    assert other - ours == other - plain
    assert ours & other == other & ours == plain & other
    assert all((name in ours) == (name in plain) for name in other)
    ours |= other
    assert ours == plain | other
    ours -= other
    assert ours == plain - other


@pytest.mark.usefixtures("little_memory")
@same_fixture
@given(st.lists(st.tuples(NAMES, ORDERS)), st.lists(NAMES))
def test_a_mapping_in_a_file_is_a_mapping(pairs: list[tuple[str, Order | None]], gone: list[str]) -> None:
    ours, plain = Seen().orders, dict[str, Order | None]()
    for name, order in pairs:
        ours[name] = plain[name] = order
        assert len(ours) == len(plain)
    for name in gone:
        assert ours.pop(name, Order(7, "")) == plain.pop(name, Order(7, ""))
        assert ours.setdefault(name + "!", None) == plain.setdefault(name + "!", None)
    assert dict(ours) == plain
    assert SpilledSet(plain) - ours.keys() == set()


@pytest.mark.usefixtures("little_memory")
def test_what_is_not_in_a_mapping_is_told_as_a_dict_tells_it() -> None:
    ours: SpilledDict[str] = SpilledDict(str, str)
    for name in "abcdef":
        ours[name] = name
    with pytest.raises(KeyError):
        ours["g"]
    with pytest.raises(KeyError):
        del ours["g"]


def test_two_hundred_thousand_ids_take_hardly_any_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    held = SpilledSet(f"id-of-a-record-{number:09}" for number in range(200_000))
    assert len(held) == 200_000
    assert "id-of-a-record-000199999" in held
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 12_000, "kilobytes; an ordinary set takes some 24,000"
