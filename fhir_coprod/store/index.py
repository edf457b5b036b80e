"""From a resource to its rows in the search index, by the R4 SearchParameter definitions.

What each data type puts into which table follows https://hl7.org/fhir/R4/search.html#table. A parameter may
fill three numbers: its own, `:text` (texts beside a code), and `:identifier` or `:of-type` (identifiers
that say more).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, TypeGuard

from fhir_coprod import definitions
from fhir_coprod.definitions.search import SearchParameter
from fhir_coprod.jsontext import Json
from fhir_coprod.store.values import FIRST, LAST, cut, fold, moment
from fhir_coprod.validation.fhirpath import UnsupportedFhirPath, compile_typed

IndexRows = Mapping[str, set[tuple[Any, ...]]]
"""Table name → rows (param, value…), without the resource's key."""

_Extract = Callable[[Json], list[tuple[str, Any]]]
_Row = tuple[Any, ...]
_Rows = Iterator[tuple[str, _Row]]

_NOT_INDEXED = frozenset({"_id", "_lastUpdated", "phonetic"})
"""The first two are columns of table resource; nothing here compares by sound."""
_BLANK = {"token": ("", ""), "reference": ("", ""), "string": ("", "")}
"""Stands for a value that cannot be searched for (a text without code, a display without reference), so that
`:missing` knows it is there."""


@lru_cache(maxsize=8192)
def number(type: str, code: str) -> int:
    """The number of a parameter in the index; `code` may end in `:text`, `:identifier` or `:of-type`.

    A digest rather than a counter: the same in every process and database, with nothing to agree on. A test
    shows that no two parameters of R4 share one.
    """
    return int.from_bytes(blake2b(f"{type}.{code}".encode(), digest_size=4).digest(), signed=True)


def rows(type: str, data: Json) -> IndexRows:
    """All index rows of one resource."""
    found: dict[str, set[_Row]] = {}
    for param, kind, make, extract in _plan(type):
        values = extract(data)
        if not values:
            continue
        searchable = False
        for name, value in values:
            for table, row in make(type, param, name, value):
                found.setdefault(table, set()).add(row)
                searchable = searchable or table == kind
        if not searchable and kind in _BLANK:
            found.setdefault(kind, set()).add((number(type, param), *_BLANK[kind]))
    return found


_Make = Callable[[str, str, str, Any], _Rows]


@lru_cache(maxsize=256)
def _plan(type: str) -> tuple[tuple[str, str, _Make, _Extract], ...]:
    """What to look at in a resource of one type: code, table, how values become rows, where they stand."""
    plan = []
    for code, parameter in definitions.search_parameters(type).items():
        make = _MAKERS.get(parameter.type)
        if make is None or code in _NOT_INDEXED or not parameter.expression:
            continue
        try:
            plan.append((code, parameter.type, make, compile_typed(parameter.expression, type)))
        except UnsupportedFhirPath:
            continue
    return tuple(plan)


@lru_cache(maxsize=4096)
def is_indexed(type: str, code: str) -> bool:
    """Whether values of this parameter are in the index."""
    return any(code == planned for planned, _, _, _ in _plan(type))


def extract(type: str, parameter: SearchParameter, data: Json) -> list[tuple[str, Any]]:
    """The values of one parameter in one resource, each with its FHIR type."""
    return compile_typed(parameter.expression, type)(data)


# --------------------------------------------------------------------------- from a data type to its rows


def _token(type: str, code: str, name: str, value: Any) -> _Rows:
    param = number(type, code)
    if isinstance(value, bool):
        yield "token", (param, "true" if value else "false", "")
    elif isinstance(value, str):
        yield "token", (param, cut(value), "")
    elif not isinstance(value, dict):
        return
    elif name == "CodeableConcept" or "coding" in value:
        for coding in _dicts(value.get("coding")):
            yield from _coding(type, code, coding)
        yield from _text(type, code, value.get("text"))
    elif name == "Identifier":
        yield from _identifier(type, code, value)
    elif name == "ContactPoint":
        if _is_text(value.get("value")):
            yield "token", (param, cut(value["value"]), cut(_string_of(value, "system")))
    else:
        yield from _coding(type, code, value)


def _coding(type: str, code: str, coding: Json) -> _Rows:
    system, value = _string_of(coding, "system"), _string_of(coding, "code")
    if system or value:
        yield "token", (number(type, code), cut(value), cut(system))
    yield from _text(type, code, coding.get("display"))


def _text(type: str, code: str, text: Any) -> _Rows:
    if _is_text(text):
        yield "string", (number(type, f"{code}:text"), fold(text), cut(text))


def _identifier(type: str, code: str, identifier: Json) -> _Rows:
    system, value = _string_of(identifier, "system"), _string_of(identifier, "value")
    if not system and not value:
        return
    yield "token", (number(type, code), cut(value), cut(system))
    kind = identifier.get("type")
    if isinstance(kind, dict):
        yield from _text(type, code, kind.get("text"))
        for coding in _dicts(kind.get("coding")):
            of_type = f"{_string_of(coding, 'system')}|{_string_of(coding, 'code')}|{value}"
            yield "token", (number(type, f"{code}:of-type"), cut(of_type), "")


_NAME_PARTS = ("text", "family", "given", "prefix", "suffix")
_ADDRESS_PARTS = ("text", "line", "city", "district", "state", "postalCode", "country")


def _string(type: str, code: str, name: str, value: Any) -> _Rows:
    param = number(type, code)
    if isinstance(value, str):
        if value:
            yield "string", (param, fold(value), cut(value))
    elif isinstance(value, dict):
        for part in _ADDRESS_PARTS if name == "Address" else _NAME_PARTS:
            held = value.get(part)
            for text in held if isinstance(held, list) else (held,):
                if _is_text(text):
                    yield "string", (param, fold(text), cut(text))


def _reference(type: str, code: str, name: str, value: Any) -> _Rows:
    param = number(type, code)
    if isinstance(value, str):
        yield "reference", (param, cut(value), "")
        url, bar, _ = value.partition("|")
        if bar:
            yield "reference", (param, cut(url), "")
        return
    if not isinstance(value, dict):
        return
    target = value.get("reference")
    if _is_text(target) and not target.startswith("#"):
        its_type, its_id = split_reference(target)
        yield "reference", (param, cut(its_id), its_type)
    identifier = value.get("identifier")
    if isinstance(identifier, dict):
        system, held = _string_of(identifier, "system"), _string_of(identifier, "value")
        if system or held:
            yield "token", (number(type, f"{code}:identifier"), cut(held), cut(system))


def split_reference(text: str) -> tuple[str, str]:
    """(type, id) of a relative reference, whatever version it names; ("", the text) of any other."""
    parts = text.split("/")
    if len(parts) == 4 and parts[2] == "_history":
        parts = parts[:2]
    if len(parts) == 2 and definitions.is_resource_type(parts[0]):
        return parts[0], parts[1]
    return "", text


def _date(type: str, code: str, name: str, value: Any) -> _Rows:
    param = number(type, code)
    if isinstance(value, str):
        when = moment(value)
        if when:
            yield "date", (param, when.low, when.high)
    elif isinstance(value, dict):
        if "event" in value or "repeat" in value:
            for event in value.get("event") or ():
                yield from _date(type, code, "dateTime", event)
            repeat = value.get("repeat")
            bounds = repeat.get("boundsPeriod") if isinstance(repeat, dict) else None
            if isinstance(bounds, dict):
                yield from _date(type, code, "Period", bounds)
            return
        start = moment(_string_of(value, "start"))
        end = moment(_string_of(value, "end"))
        if start or end:
            yield "date", (param, start.low if start else FIRST, end.high if end else LAST)


def _number(type: str, code: str, name: str, value: Any) -> _Rows:
    param = number(type, code)
    if _is_number(value):
        yield "number", (param, float(value), float(value))
    elif isinstance(value, dict):
        low, high = _range(value)
        if low is not None and high is not None:
            yield "number", (param, low, high)


def _quantity(type: str, code: str, name: str, value: Any) -> _Rows:
    param = number(type, code)
    if not isinstance(value, dict):
        return
    if "low" in value or "high" in value:
        low, high = _range(value)
        unit = value.get("low") or value.get("high")
        if isinstance(unit, dict) and low is not None and high is not None:
            yield "quantity", (param, low, high, *_unit(unit))
    elif _is_number(value.get("value")):
        held = float(value["value"])
        if "currency" in value:
            yield "quantity", (param, held, held, "urn:iso:std:iso:4217", _string_of(value, "currency"), "")
        else:
            yield "quantity", (param, held, held, *_unit(value))


def _range(value: Json) -> tuple[float | None, float | None]:
    """The ends of a Range; an end that is not given is as far as a number can be."""
    ends: list[float | None] = []
    for name, open_end in (("low", float("-inf")), ("high", float("inf"))):
        end = value.get(name)
        held = end.get("value") if isinstance(end, dict) else None
        ends.append(float(held) if _is_number(held) else open_end)
    return ends[0], ends[1]


def _unit(quantity: Json) -> tuple[str, str, str]:
    return (
        cut(_string_of(quantity, "system")),
        cut(_string_of(quantity, "code")),
        cut(_string_of(quantity, "unit")),
    )


def _uri(type: str, code: str, name: str, value: Any) -> _Rows:
    if _is_text(value):
        yield "uri", (number(type, code), cut(value))


_MAKERS: Mapping[str, _Make] = {
    "token": _token,
    "string": _string,
    "reference": _reference,
    "date": _date,
    "number": _number,
    "quantity": _quantity,
    "uri": _uri,
}


def _dicts(value: Any) -> Iterator[Json]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def _string_of(value: Json, name: str) -> str:
    held = value.get(name)
    return held if isinstance(held, str) else ""


def _is_text(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and value != ""


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
