"""Makes records dirty, each kind as field reports tell of it. Pure: chance comes in as random numbers.

A dirty record is the clean one with one thing wrong in it. Type and id stay: they say whose fault it is.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from evidence.foreign.ways import Json
from fhir_coprod import definitions

Path = tuple[str | int, ...]


class Dirty(NamedTuple):
    """A record as it arrives, and what was done to it."""

    clean: Json
    raw: bytes
    kind: str

    @property
    def name(self) -> str:
        return f"{self.clean['resourceType']}/{self.clean['id']}"


NOWHERE = "gone-4711"
NO_DATES = (
    "2026-02-30",
    "2026-13-01T09:00:00Z",
    "0001-01-01T00:00:00Z",
    "3026-07-01",
    "31.07.2026",
    "2026-07-01T9:00",
)
WRONG_VALUES: Sequence[Any] = (None, "", "text", 0, -1.5, True, [], {}, [[]], [None], {"a": 1}, ["text"])


def _places(value: Any, at: Path = ()) -> Iterator[Path]:
    if at:
        yield at
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in inner:
        if at or key not in ("resourceType", "id", "meta"):
            yield from _places(held, (*at, key))


def _at(record: Any, place: Path) -> Any:
    for key in place:
        record = record[key]
    return record


def _put(record: Json, place: Path, value: Any) -> Json:
    changed = copy.deepcopy(record)
    _at(changed, place[:-1])[place[-1]] = value
    return changed


def _some(record: Json, chosen: random.Random, wanted: Callable[[Path, Any], bool]) -> Path | None:
    """A place that is wanted; None if there is none."""
    found = [place for place in _places(record) if wanted(place, _at(record, place))]
    return chosen.choice(found) if found else None


def wrong_code(record: Json, chosen: random.Random) -> Json | None:
    """A code that its system does not have, in its place or as the status."""
    place = _some(
        record,
        chosen,
        lambda at, v: isinstance(v, str) and at[-1] in ("code", "status", "intent", "priority"),
    )
    return None if place is None else _put(record, place, chosen.choice(("QX-77", "activ", "Unknown code")))


def wrong_target(record: Json, chosen: random.Random) -> Json | None:
    """A reference to nothing, to a type that R4 does not allow in that place, or to another referral."""
    place = _some(record, chosen, lambda at, v: isinstance(v, str) and at[-1] == "reference" and "/" in v)
    if place is None:
        return None
    type, _, id = _at(record, place).partition("/")
    other = chosen.choice(
        (f"{type}/{NOWHERE}", f"Medication/{id}", f"{type}/planted-{chosen.randrange(200):03d}")
    )
    return _put(record, place, other)


def wrong_date(record: Json, chosen: random.Random) -> Json | None:
    """A day that no calendar has, one for "never", or one in another form."""
    place = _some(record, chosen, lambda at, v: isinstance(v, str) and len(v) >= 10 and v[:2] in ("19", "20"))
    return None if place is None else _put(record, place, chosen.choice(NO_DATES))


def without_required(record: Json, chosen: random.Random) -> Json | None:
    """One element less that R4 asks for."""
    required = [name for name in _required(record["resourceType"]) if name in record]
    if not required:
        return None
    gone = chosen.choice(required)
    return {key: value for key, value in record.items() if key != gone}


def _required(type: str) -> list[str]:
    snapshot = definitions.structure(type)["snapshot"]["element"]
    return [
        element["path"].partition(".")[2]
        for element in snapshot
        if element["path"].count(".") == 1 and element.get("min", 0) and not element["path"].endswith("[x]")
    ]


def foreign_extension(record: Json, chosen: random.Random) -> Json | None:
    """An extension that nobody here knows, on the record or on one of its elements."""
    extension = {"url": "https://vendor.example/fhir/flag", "valueString": "x"}
    place = _some(record, chosen, lambda at, v: isinstance(v, dict) and bool(v))
    if place is None or chosen.random() < 0.5:
        return {**record, "extension": [*record.get("extension", ()), extension]}
    held = _at(record, place)
    return _put(record, place, {**held, "extension": [*held.get("extension", ()), extension]})


def foreign_modifier(record: Json, chosen: random.Random) -> Json | None:
    """A modifierExtension that nobody here knows: it may turn the meaning around."""
    return {**record, "modifierExtension": [{"url": "https://vendor.example/fhir/not", "valueBoolean": True}]}


def newer_code(record: Json, chosen: random.Random) -> Json | None:
    """A code that HL7's or another code system has only got since."""
    place = _some(record, chosen, lambda at, v: isinstance(v, dict) and "system" in v and "code" in v)
    if place is None:
        return None
    return _put(record, place, {**_at(record, place), "code": "added-in-2031", "display": "Added in 2031"})


def wrong_value(record: Json, chosen: random.Random) -> Json | None:
    """Something else where a value belongs: a list, a text, a number, nothing."""
    place = _some(record, chosen, lambda at, v: True)
    return None if place is None else _put(record, place, copy.deepcopy(chosen.choice(WRONG_VALUES)))


KINDS: Mapping[str, Callable[[Json, random.Random], Json | None]] = {
    "wrong code": wrong_code,
    "wrong target": wrong_target,
    "impossible date": wrong_date,
    "required element missing": without_required,
    "foreign extension": foreign_extension,
    "foreign modifierExtension": foreign_modifier,
    "code newer than here": newer_code,
    "wrong type of value": wrong_value,
}
CUT = "cut off"
"""The record ends in the middle: nobody can read it."""


def spoil(record: Json, kind: str, chosen: random.Random) -> Dirty | None:
    """The record made dirty in this way; None if there is nothing in it to be spoilt so."""
    raw = json.dumps(record, ensure_ascii=False).encode()
    if kind == CUT:
        return Dirty(record, raw[: len(raw) * 2 // 3], kind)
    changed = KINDS[kind](record, chosen)
    return None if changed is None else Dirty(record, json.dumps(changed, ensure_ascii=False).encode(), kind)


def spoilt(
    records: Sequence[Json], share: float, seed: int, kinds: Sequence[str] = (*KINDS, CUT)
) -> dict[str, Dirty]:
    """This share of the records made dirty, by name; the kinds take turns."""
    chosen = random.Random(seed)
    found: dict[str, Dirty] = {}
    for number, record in enumerate(chosen.sample(list(records), round(share * len(records)))):
        for turn in range(len(kinds)):
            dirty = spoil(record, kinds[(number + turn) % len(kinds)], chosen)
            if dirty is not None:
                found[dirty.name] = dirty
                break
    return found
