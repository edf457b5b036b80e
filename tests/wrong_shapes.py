"""Makes records of wrong shapes: everything that JSON can hold, at every element of a good record."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

Json = dict[str, Any]
Place = tuple[str | int, ...]
"""Keys and indices from the record down to a value."""

WRONG: Sequence[Any] = (
    None,
    "",
    "text",
    0,
    -1.5,
    10**30,
    True,
    [],
    {},
    [[]],
    [{}],
    [None],
    [5],
    ["text"],
    {"a": 1},
    {"reference": 5},
    {"reference": ""},
    {"reference": {"reference": "Patient/p"}},
    {"reference": ["Patient/p"]},
    {"identifier": "text"},
    {"coding": {}},
    {"coding": ["text"]},
    {"coding": [{"code": {"a": []}}]},
    {"value": []},
    {"start": 5},
    {"start": "yesterday"},
    "2026-13-45",
    "0000",
)


class Wrong(NamedTuple):
    """A record with something wrong in it, and where."""

    record: Json
    place: Place


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Every value in a record, except what says which record it is."""
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in inner:
        if at or key not in ("resourceType", "id", "meta"):
            yield from places(held, (*at, key))


def wrong(record: Json) -> Iterator[Wrong]:
    """The record with each wrong value in each place, and with each value in a list, or out of one."""
    for place in places(record):
        now = _at(record, place)
        instead = [*WRONG, [now], {"value": now}]
        if isinstance(now, list) and now:
            instead.append(now[0])
        for value in instead:
            if not _same(value, now):
                yield Wrong(_with(record, place, value), place)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other


def _at(record: Any, place: Place) -> Any:
    for key in place:
        record = record[key]
    return record


def _with(record: Any, place: Place, value: Any) -> Any:
    """The record with a value in a place. It shares the rest: change none of it."""
    if not place:
        return value
    changed = copy.copy(record)
    changed[place[0]] = _with(record[place[0]], place[1:], value)
    return changed
