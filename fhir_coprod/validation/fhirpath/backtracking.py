"""Regular expressions that RE2 does not have: with look-ahead, as in national rules for person numbers.

Python's own engine goes back and tries again, and on some texts it does so without end. So the most steps
that a pattern may take on a text of a given length are counted from the pattern beforehand, and where they
are too many, the text is not given to it. Nothing depends on the clock.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

from fhir_coprod.validation.fhirpath.errors import Undecided

MOST_STEPS = 2_000_000
"""Steps of one search; tenths of a second."""
LONGEST = 100_000
"""Longest text, in characters."""
TOO_LONG = "its regular expression takes too many steps on a text of this length"
_FLAGS = re.DOTALL | re.ASCII
_SETS = re.compile(r"\[\[|&&|--|\|\||~~")

_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT)
_BEGINNING = (op.AT_BEGINNING, op.AT_BEGINNING_STRING)


class _Work(NamedTuple):
    """In how many ways a part can match from one place on, and how many steps it takes to try them all."""

    ways: int
    steps: int


_ONE = _Work(1, 1)
_ENDLESS = _Work(MOST_STEPS + 1, MOST_STEPS + 1)


def matcher(source: str, *, whole: bool) -> Callable[[str], bool]:
    """Whether a text holds a match, or is one, as a function. Raises re.error for a malformed pattern.

    The function raises Undecided for a text too long for the pattern.
    """
    if _SETS.search(source):
        raise re.error("sets of characters within sets mean other things in Python")
    compiled = re.compile(source, _FLAGS)
    search = compiled.fullmatch if whole else compiled.search
    tree = list(_parser.parse(source, _FLAGS))
    lengths = range(LONGEST + 1)
    longest = bisect_right(lengths, MOST_STEPS, key=lambda length: _most_steps(tree, length, whole=whole)) - 1

    def matches(text: str) -> bool:
        if len(text) > longest:
            raise Undecided(TOO_LONG)
        return search(text) is not None

    return matches


def _most_steps(tree: list[Any], length: int, *, whole: bool) -> int:
    """The most steps on a text of this length: from each place on, unless only the beginning will do."""
    is_anchored = whole or (bool(tree) and tree[0] in [(op.AT, place) for place in _BEGINNING])
    steps = _sequence(tree, length).steps
    return length + (steps if is_anchored else steps * (length + 1))


def _sequence(items: Iterable[Any], length: int) -> _Work:
    """Each part is tried again for each of the ways in which those before it match."""
    ways, steps = 1, 1
    for kind, held in items:
        part = _part(kind, held, length)
        steps += ways * part.steps
        ways *= part.ways
        if steps > MOST_STEPS or ways > MOST_STEPS:
            return _ENDLESS
    return _Work(ways, steps)


def _part(kind: Any, held: Any, length: int) -> _Work:
    if kind in _REPEATS:
        return _repeat(held[0], held[1], held[2], length)
    if kind is op.POSSESSIVE_REPEAT:
        return _Work(1, _repeat(held[0], held[1], held[2], length).steps)
    if kind is op.SUBPATTERN:
        return _sequence(held[-1], length)
    if kind is op.ATOMIC_GROUP:
        return _Work(1, _sequence(held, length).steps)
    if kind in (op.ASSERT, op.ASSERT_NOT):
        return _Work(1, _sequence(held[1], length).steps)
    if kind is op.BRANCH:
        return _either([_sequence(branch, length) for branch in held[1]])
    if kind is op.GROUPREF_EXISTS:
        return _either([_sequence(branch, length) for branch in held[1:] if branch is not None])
    return _Work(1, length + 1) if kind is op.GROUPREF else _ONE


def _either(branches: list[_Work]) -> _Work:
    return _Work(sum(each.ways for each in branches), sum(each.steps for each in branches))


def _repeat(least: int, most: Any, body: Iterable[Any], length: int) -> _Work:
    """One way for each number of times, if the part that is repeated matches in one way only."""
    once = _sequence(body, length)
    most = max(int(least), min(int(most), length))
    if once.ways <= 1:
        return _Work(most - int(least) + 1, (most + 1) * once.steps)
    if most.bit_length() > 20 or most * once.ways.bit_length() > 64:
        return _ENDLESS
    ways = sum(once.ways**times for times in range(int(least), most + 1))
    return _Work(ways, once.steps * sum(once.ways**times for times in range(most + 1)))
