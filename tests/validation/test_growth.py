"""Work grows with the input, not with its square. Counted, not timed: how many functions of ours are called.

`make cost` times the same inputs, and more, by every way in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from benchmarks.cost_kinds import Kind
from benchmarks.cost_records import records
from benchmarks.cost_structures import structures
from fhir_coprod import jsontext
from fhir_coprod.store import index
from fhir_coprod.validation import validate

SMALL, TIMES = 2_000, 3
MOST = 1.6
"""How much more than three times the calls three times the input may take: n log n, and steps."""
_ABOUT_OTHERS = ("contained", "references", "care team")
_EXPLAINED = ("StructureDefinition", "ImplementationGuide", "Bundle", "contained")
KINDS = {kind.name: kind for kind in (*records(), *structures())}
ASKING = [name for name in KINDS if name[:1].isupper() or name.startswith(_ABOUT_OTHERS)]
"""Records in which a rule may ask of each element something about all others."""


def _calls(work: Callable[[], object]) -> int:
    """How many calls of functions it makes, those in C included."""
    count = 0

    def see(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    work()  # what is compiled at first use
    before = sys.getprofile()
    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def _growth(kind: Kind, change: Callable[[bytes], bytes]) -> float:
    """How many times the work grows, for each time that the input does."""
    small, large = change(kind.sized(SMALL)), change(kind.sized(SMALL * TIMES))
    calls = [_calls(partial(_validated, raw)) for raw in (small, large)]
    return calls[1] / calls[0] / (len(large) / len(small))


def _validated(raw: bytes) -> object:
    document = jsontext.parse(raw)
    index.rows(document.type, document.data, is_sound=False)
    return validate(raw)


@pytest.mark.parametrize("name", ASKING)
def test_work_grows_with_the_input(name: str) -> None:
    assert _growth(KINDS[name], lambda raw: raw) < MOST


@pytest.mark.parametrize("name", [name for name in ASKING if name.startswith(_EXPLAINED)])
def test_work_to_explain_grows_with_the_input(name: str) -> None:
    assert _growth(KINDS[name], lambda raw: raw.replace(b'{"', b'{"zz":1,"')) < MOST
