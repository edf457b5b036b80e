"""Turns the value that a search parameter finds in a resource into rows of the search index.

Which table each data type goes into follows https://hl7.org/fhir/R4/search.html#table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, nextafter
from typing import Any, TypeGuard

from fhir_coprod import definitions
from fhir_coprod.jsontext import Json
from fhir_coprod.remembering import remembering_short
from fhir_coprod.store.values import FIRST, LAST, Range, cut, fold, time_meant

IndexRows = dict[str, set[tuple[Any, ...]]]
"""Table name → rows (param, value…), without the resource's key."""
CANONICAL = "canonical"
"""The `target_type` of a reference by canonical: it leads to what has this url, and perhaps this version."""
MOST_WORDS = 10
"""In how many words of one text a search by its beginning may start."""
_WHERE_WORDS_BEGIN = 1_000
"""In how many characters these words are looked for: a text may have a million."""


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """The numbers that the rows of one parameter carry, and what its definition says of its values.

    own, text, identifier, of_type: the numbers that it may fill
    systems:  code → system, for a plain `code` whose required binding implies the system
    caseless: its values are texts, which a token compares without regard to case
    """

    own: int
    text: int
    identifier: int
    of_type: int
    systems: Mapping[str, str]
    caseless: bool


Add = Callable[[IndexRows, Numbers, str, Any], None]


def _add_token(found: IndexRows, to: Numbers, name: str, value: Any) -> None:
    if isinstance(value, str):
        text = value.lower() if to.caseless else value
        found["token"].add((to.own, cut(text), to.systems.get(value, "")))
    elif isinstance(value, bool):
        found["token"].add((to.own, "true" if value else "false", ""))
    elif not isinstance(value, dict):
        return
    elif name == "CodeableConcept" or "coding" in value:
        for coding in _dicts(value.get("coding")):
            _add_coding(found, to, coding)
        _add_text(found, to.text, value.get("text"))
    elif name == "Identifier":
        _add_identifier(found, to, value)
    elif name == "ContactPoint":
        if _is_text(value.get("value")):
            text = value["value"].lower() if to.caseless else value["value"]
            found["token"].add((to.own, cut(text), cut(_string_of(value, "system"))))
    else:
        _add_coding(found, to, value)


def _add_coding(found: IndexRows, to: Numbers, coding: Json) -> None:
    system, code = _string_of(coding, "system"), _string_of(coding, "code")
    if system or code:
        found["token"].add((to.own, cut(code), cut(system)))
    _add_text(found, to.text, coding.get("display"))


def _add_text(found: IndexRows, number: int, text: Any) -> None:
    if _is_text(text):
        found["string"].add((number, fold(text), cut(text)))


def _add_identifier(found: IndexRows, to: Numbers, identifier: Json) -> None:
    system, value = _string_of(identifier, "system"), _string_of(identifier, "value")
    if not system and not value:
        return
    found["token"].add((to.own, cut(value), cut(system)))
    kind = identifier.get("type")
    if isinstance(kind, dict):
        _add_text(found, to.text, kind.get("text"))
        for coding in _dicts(kind.get("coding")):
            of_type = f"{_string_of(coding, 'system')}|{_string_of(coding, 'code')}|{value}"
            found["token"].add((to.of_type, cut(of_type), ""))


_NAME_PARTS = ("text", "family", "given", "prefix", "suffix")
_ADDRESS_PARTS = ("text", "line", "city", "district", "state", "postalCode", "country")


def _add_string(found: IndexRows, to: Numbers, name: str, value: Any) -> None:
    if isinstance(value, dict):
        for part in _ADDRESS_PARTS if name == "Address" else _NAME_PARTS:
            held = value.get(part)
            for text in held if isinstance(held, list) else (held,):
                _add_text(found, to.own, text)
                _add_words(found, to.own, text)
    else:
        _add_text(found, to.own, value)
        if name == "string":
            _add_words(found, to.own, value)


def _add_words(found: IndexRows, number: int, text: Any) -> None:
    """The text from each later word on. Such rows have no exact form: what is sorted by has."""
    if _is_text(text) and (" " in text or "-" in text):
        for each in _later_words(text):
            found["string"].add((number, each, ""))


_WORD = re.compile(r"[^\s-]+")


@remembering_short(4096, 63)
def _later_words(text: str) -> tuple[str, ...]:
    text = text[:_WHERE_WORDS_BEGIN]
    starts = [found.start() for found in _WORD.finditer(text)][1:MOST_WORDS]
    return tuple(filter(None, (fold(text[start:]) for start in starts)))


def _add_reference(found: IndexRows, to: Numbers, name: str, value: Any) -> None:
    if isinstance(value, str):
        _add_canonical(found, to, value)
        return
    if not isinstance(value, dict):
        return
    target = value.get("reference")
    if _is_text(target) and target[0] != "#":
        its_type, its_id = split_reference(target)
        found["reference"].add((to.own, cut(its_id), its_type))
    identifier = value.get("identifier")
    if isinstance(identifier, dict):
        system, held = _string_of(identifier, "system"), _string_of(identifier, "value")
        if system or held:
            found["token"].add((to.identifier, cut(held), cut(system)))


def _add_canonical(found: IndexRows, to: Numbers, value: str) -> None:
    """As it leads to something; and as it is written and without its version, for searches by its text."""
    canonical, part, _ = value.partition("#")
    if not canonical:
        return  # contained: see `index.rows`
    found["reference"].add((to.own, cut(canonical), CANONICAL))
    if part:
        found["reference"].add((to.own, cut(value), ""))
    url, bar, _ = canonical.partition("|")
    if bar:
        found["reference"].add((to.own, cut(url), ""))


_is_type = remembering_short(512, 64)(definitions.is_resource_type)


def split_reference(text: str) -> tuple[str, str]:
    """(type, id) of a relative reference, whether or not it names a version; ("", the text) of any other."""
    parts = text.split("/")
    if len(parts) == 4 and parts[2] == "_history":
        parts = parts[:2]
    if len(parts) == 2 and _is_type(parts[0]):
        return parts[0], parts[1]
    return "", text


def _add_date(found: IndexRows, to: Numbers, name: str, value: Any) -> None:
    if isinstance(value, str):
        when = time_meant(value)
        if when:
            found["date"].add((to.own, when.low, when.high))
    elif not isinstance(value, dict):
        return
    else:
        parts = _timing(value) if "event" in value or "repeat" in value else [_period(value)]
        known = [part for part in parts if part is not None]
        if known:
            low, high = min(part.low for part in known), max(part.high for part in known)
            if _are_days(low, high) and _has_time(value):
                high -= 1  # so that it is not taken for days without a time zone
            found["date"].add((to.own, low, high))


DAY = 86_400_000_000


def _are_days(low: int, high: int) -> bool:
    """Whether a row means days without a time zone: each end is a whole day, or open. (`search/dates.py`)"""
    return (low % DAY == 0 or low == FIRST) and (high % DAY == 0 or high == LAST)


def _has_time(value: Any) -> bool:
    """Whether a Period or Timing says a time of day anywhere, and with it a time zone."""
    if isinstance(value, dict):
        return any(_has_time(held) for held in value.values())
    if isinstance(value, list):
        return any(_has_time(held) for held in value)
    return isinstance(value, str) and value[10:11] == "T" and time_meant(value) is not None


def _period(value: Json) -> Range | None:
    start = time_meant(_string_of(value, "start"))
    end = time_meant(_string_of(value, "end"))
    if start is None and end is None:
        return None
    return Range(start.low if start else FIRST, end.high if end else LAST)


def _timing(value: Json) -> list[Range | None]:
    """For a Timing only the outer limits matter (https://hl7.org/fhir/R4/search.html#date)."""
    events = value.get("event")
    parts = (
        [time_meant(event) for event in events if isinstance(event, str)] if isinstance(events, list) else []
    )
    repeat = value.get("repeat")
    bounds = repeat.get("boundsPeriod") if isinstance(repeat, dict) else None
    return [*parts, _period(bounds)] if isinstance(bounds, dict) else [*parts]


def _add_number(found: IndexRows, to: Numbers, name: str, value: Any) -> None:
    if _is_number(value):
        found["number"].add((to.own, _double(value), _double(value)))
    elif isinstance(value, dict):
        found["number"].add((to.own, *_ends(value)))


def _add_quantity(found: IndexRows, to: Numbers, name: str, value: Any) -> None:
    if not isinstance(value, dict):
        return
    if "low" in value or "high" in value:
        unit = value.get("low") or value.get("high")
        if isinstance(unit, dict):
            found["quantity"].add((to.own, *_ends(value), *_unit(unit)))
    elif _is_number(value.get("value")):
        unit = _unit(value)
        if "currency" in value:
            unit = ("urn:iso:std:iso:4217", _string_of(value, "currency"), "")
        found["quantity"].add((to.own, *_meant(value), *unit))


def _meant(quantity: Json) -> tuple[float, float]:
    """What a quantity may be: its value, or with a comparator all that is below or above it."""
    value = _double(quantity["value"])
    match quantity.get("comparator"):
        case "<":
            return -_END, nextafter(value, -inf)
        case "<=":
            return -_END, value
        case ">":
            return nextafter(value, inf), _END
        case ">=":
            return value, _END
    return value, value


def _double(value: float) -> float:
    """A number as a column holds it; JSON's whole numbers may be longer than that."""
    return float(max(-_FARTHEST, min(_FARTHEST, value)))


def _ends(value: Json) -> tuple[float, float]:
    """The ends of a Range; a missing end is farther away than any number."""
    low, high = _value_of(value.get("low")), _value_of(value.get("high"))
    return (-_END if low is None else low, _END if high is None else high)


_FARTHEST = 1e307
"""PostgreSQL cannot compute the length of a range when that is larger than any number."""
_END = 2 * _FARTHEST
"""An open end. It is no infinity, because JSON has none, and a cursor holds the last value of its page."""


def _value_of(quantity: Any) -> float | None:
    value = quantity.get("value") if isinstance(quantity, dict) else None
    return _double(value) if _is_number(value) else None


def _unit(quantity: Json) -> tuple[str, str, str]:
    return (
        cut(_string_of(quantity, "system")),
        cut(_string_of(quantity, "code")),
        cut(_string_of(quantity, "unit")),
    )


def _add_uri(found: IndexRows, to: Numbers, name: str, value: Any) -> None:
    if _is_text(value):
        found["uri"].add((to.own, cut(value)))


def _add_position(found: IndexRows, to: Numbers, name: str, value: Any) -> None:
    """For Location.near: see `search/near.py`."""
    if isinstance(value, dict):
        latitude, longitude = value.get("latitude"), value.get("longitude")
        if _is_number(latitude) and _is_number(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180:
            found["number"].add((to.own, _double(latitude), _double(longitude)))


ADDERS: Mapping[str, Add] = {
    "token": _add_token,
    "string": _add_string,
    "reference": _add_reference,
    "date": _add_date,
    "number": _add_number,
    "quantity": _add_quantity,
    "uri": _add_uri,
    "special": _add_position,
}
TABLES = {kind: kind for kind in ADDERS} | {"special": "number"}
"""Where each type of parameter keeps its values."""


def _dicts(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _string_of(value: Json, name: str) -> str:
    held = value.get(name)
    return held if isinstance(held, str) else ""


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and value != ""


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
