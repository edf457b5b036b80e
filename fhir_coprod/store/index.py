"""Makes the search index rows of a resource, by the R4 SearchParameter definitions.

Which table each data type goes into follows https://hl7.org/fhir/R4/search.html#table. A parameter may fill
three numbers: its own, `:text` (texts beside a code), and `:identifier` or `:of-type` (identifiers with more
detail).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Any, TypeGuard

from fhir_coprod import alike, deadline, definitions
from fhir_coprod.definitions.search import SearchParameter
from fhir_coprod.jsontext import Json
from fhir_coprod.readable import concerns, readable
from fhir_coprod.remembering import remembering_short
from fhir_coprod.store.values import FIRST, LAST, Range, cut, fold, time_meant
from fhir_coprod.validation.fhirpath import compile_typed, is_supported
from fhir_coprod.watched import STRAYS, UNREADABLE

_MEMBERS = 100  # more than any type of R4 has
IndexRows = dict[str, set[tuple[Any, ...]]]
"""Table name → rows (param, value…), without the resource's key."""

_Extract = Callable[[Json], list[tuple[str, Any]]]
_Add = Callable[["IndexRows", "_Parameter", str, Any], None]

_NOT_INDEXED = frozenset({"_id", "_lastUpdated", "phonetic"})
"""The first two are columns of table resource; the third compares by sound, which we do not do. (`quality`
has no expression either: it has a table of its own.)"""
_BLANK = {"token": ("", ""), "reference": ("", ""), "string": ("", "")}
"""The row for a value that cannot be searched for (a text without code, a display without reference), so
that `:missing` knows it is there."""


@remembering_short(8192, 128)
def number(type: str, code: str) -> int:
    """The number of a parameter in the index; `code` may end in `:text`, `:identifier` or `:of-type`.

    A digest rather than a counter: the same in every process and database, with nothing to agree on. A test
    shows that no two parameters of R4 share one.
    """
    return int.from_bytes(blake2b(f"{type}.{code}".encode(), digest_size=4).digest(), signed=True)


@dataclass(frozen=True)
class _Parameter:
    """One search parameter of one type, ready to make rows.

    number, text, identifier, of_type: the numbers that it may fill
    systems: code → system, for a plain `code` whose required binding implies the system
    members: it has no value in a resource without any of these members; empty: it may always have one
    add:    turns a value into rows
    """

    type: str
    code: str
    expression: str
    kind: str
    number: int
    text: int
    identifier: int
    of_type: int
    systems: Mapping[str, str]
    members: frozenset[str]
    add: _Add

    @cached_property
    def values(self) -> _Extract:
        """Finds its values in a resource, each with its FHIR type.

        Compiled at its first use: most of R4's parameters never meet a resource with their members.
        """
        return compile_typed(self.expression, self.type)


def rows(type: str, data: Json, *, is_sound: bool = True) -> IndexRows:
    """All index rows of one resource.

    is_sound: whether every element is known to have the form that R4 gives it; else those that do not have
    it are left out, and for a reference among them there is a row that says so (`unreadable_links`)
    """
    found: IndexRows = {table: set() for table in TABLES.values()}
    if not is_sound:
        data, unreadable = readable(data)
        found["reference"] |= unreadable_links(type, data, unreadable)
    for parameter in _parameters_in(type, tuple(data)) if len(data) <= _MEMBERS else _parameters(type):
        deadline.check()
        values = parameter.values(data)
        if not values:
            continue
        own = found[parameter.kind]
        before = len(own)
        for name, value in values:
            parameter.add(found, parameter, name, value)
        if len(own) == before and parameter.kind in _BLANK:
            own.add((parameter.number, *_BLANK[parameter.kind]))
    for code, text in alike.rows(type, data):
        found["token"].add((number(type, code), text, ""))
    if is_sound and any(not kind and _names_nothing(text) for _, text, kind in found["reference"]):
        data, unreadable = readable(data)
        found["reference"] |= unreadable_links(type, data, unreadable)
    return found


def _names_nothing(text: str) -> bool:
    """Whether a reference is valid by the letter of R4 and still leads nowhere: an id without a type."""
    return text != "" and "/" not in text and ":" not in text


def unreadable_links(type: str, data: Json, unreadable: Sequence[str]) -> set[tuple[Any, ...]]:
    """Rows for the reference parameters of a resource that lead to what cannot be read in it.

    data: what can be read of it
    """
    if not unreadable:
        return set()
    known = definitions.search_parameters(type)
    lost = [
        code
        for code, parameter in known.items()
        if parameter.type == "reference"
        and any(concerns(gone, path) for path in _reference_paths(type, code) for gone in unreadable)
    ]
    if not lost:
        return set()
    patients = {("", "")}
    for code in ("patient", "subject"):
        if code in known and is_indexed(type, code):
            found = (value for _, value in extract(type, known[code], data) if isinstance(value, dict))
            named = {split_reference(str(value.get("reference", ""))) for value in found}
            patients = {(id, kind) for kind, id in named if kind == "Patient"} or patients
            if patients != {("", "")}:
                break
    return {(number(type, code + UNREADABLE), cut(id), kind) for code in lost for id, kind in patients}


@lru_cache(maxsize=4096)
def _reference_paths(type: str, code: str) -> tuple[str, ...]:
    """The paths to a parameter's references, without the type: ("context.related",)."""
    branches = definitions.search_parameters(type)[code].expression.split("|")
    found = (_PATH.match(branch.strip()) for branch in branches)
    return tuple(match[1] for match in found if match)


_PATH = re.compile(r"\(?[A-Z]\w+\.([a-z]\w*(?:\.(?!where\b|as\b|ofType\b|resolve\b)[a-z]\w*(?!\())*)")


@lru_cache(maxsize=256)
def _parameters(type: str) -> tuple[_Parameter, ...]:
    """The parameters whose values go into the index."""
    found = []
    for code, parameter in definitions.search_parameters(type).items():
        add = _ADDERS.get(parameter.type)
        if add is None or code in _NOT_INDEXED or not parameter.expression:
            continue
        if not is_supported(parameter.expression):
            continue
        _single[number(type, code)] = _has_one_value(type, parameter.expression)
        found.append(
            _Parameter(
                type,
                code,
                parameter.expression,
                TABLES[parameter.type],
                number(type, code),
                number(type, f"{code}:text"),
                number(type, f"{code}:identifier"),
                number(type, f"{code}:of-type"),
                _implied_systems(type, parameter.expression) if parameter.type == "token" else {},
                _members(type, parameter.expression),
                add,
            )
        )
    return tuple(found)


@lru_cache(maxsize=4096)
def _parameters_in(type: str, members: tuple[str, ...]) -> tuple[_Parameter, ...]:
    """The parameters that may have a value in a resource with these members; there are few such sets."""
    return tuple(
        parameter
        for parameter in _parameters(type)
        if not parameter.members or not parameter.members.isdisjoint(members)
    )


_BEGIN = re.compile(r"\(?[A-Z]\w+\.(\w+)")
_ANSWERS_ALWAYS = re.compile(r"\b(?!where|as|ofType|resolve)\w+\(|\band\b|\bor\b")
"""Functions such as exists(), which answer even when there is nothing to look at."""


def _members(type: str, expression: str) -> frozenset[str]:
    """The members that the branches of an expression begin with; none when that is unknown."""
    branches = [_BEGIN.match(branch.strip()) for branch in expression.split("|")]
    if _ANSWERS_ALWAYS.search(expression) or None in branches:
        return frozenset()
    first = {branch[1] for branch in branches if branch}
    names = set(first)
    for element in definitions.structure(type)["snapshot"]["element"]:
        path = element["path"].removeprefix(f"{type}.")
        if path.endswith("[x]") and path[:-3] in first:
            kinds = (kind["code"] for kind in element["type"])
            names |= {path[:-3] + kind[0].upper() + kind[1:] for kind in kinds}
    return frozenset(names)


def _implied_systems(type: str, expression: str) -> Mapping[str, str]:
    """Code → system, for a path to an element of type `code`: its value set names the system."""
    for element in definitions.structure(type)["snapshot"]["element"]:
        if element["path"] != expression or [kind["code"] for kind in element.get("type", ())] != ["code"]:
            continue
        binding = element.get("binding", {})
        codes = definitions.value_set(binding.get("valueSet", "")) if binding else None
        return {code: system for system, held in (codes or {}).items() for code in held}
    return {}


FORMAT = 2
"""Raise this number whenever `rows` makes different rows from the same definitions."""
_OWN_FORMAT = dict.fromkeys(("ServiceRequest", *(type for type, _ in STRAYS)), 1)
"""The same for what a single type has beside its search parameters: its marks (`alike.py`), and rows for
references that lead nowhere."""


@lru_cache(maxsize=256)
def fingerprint(type: str) -> str:
    """Changes when the index rows of this type would come out differently (see `reindex.py`)."""
    known = definitions.search_parameters(type).values()
    asked = repr(
        [
            FORMAT,
            sorted((p.code, p.type, p.expression) for p in known if p.code != "quality"),
            *([_OWN_FORMAT[type]] if type in _OWN_FORMAT else ()),
        ]
    )
    return blake2b(asked.encode(), digest_size=12).hexdigest()


@remembering_short(4096, 128)
def is_indexed(type: str, code: str) -> bool:
    """Whether values of this parameter are in the index."""
    return any(code == parameter.code for parameter in _parameters(type))


_CAST = re.compile(r"\(?([\w.]+?)(?: as \w+\)|\.as\(\w+\)|\.ofType\(\w+\))?")
_single: dict[int, bool] = {}


def is_single(param: int) -> bool:
    """Whether a resource has at most one value for the parameter of this number."""
    return _single.get(param, False)


def _has_one_value(type: str, expression: str) -> bool:
    """Whether the expression is one path (perhaps cast to several types) on which nothing repeats."""
    matches = [_CAST.fullmatch(branch.strip()) for branch in expression.split("|")]
    paths = {match[1] if match else "" for match in matches}
    if len(paths) != 1:
        return False
    most = {
        element["path"].removesuffix("[x]"): element["max"]
        for element in definitions.structure(type)["snapshot"]["element"]
    }
    steps = paths.pop().split(".")
    prefixes = (".".join(steps[:length]) for length in range(2, len(steps) + 1))
    return len(steps) > 1 and all(most.get(prefix) == "1" for prefix in prefixes)


def extract(type: str, parameter: SearchParameter, data: Json) -> list[tuple[str, Any]]:
    """The values of one parameter in one resource, each with its FHIR type."""
    return compile_typed(parameter.expression, type)(data)


# --------------------------------------------------------------------------- from a data type to its rows


def _add_token(found: IndexRows, to: _Parameter, name: str, value: Any) -> None:
    if isinstance(value, str):
        found["token"].add((to.number, cut(value), to.systems.get(value, "")))
    elif isinstance(value, bool):
        found["token"].add((to.number, "true" if value else "false", ""))
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
            found["token"].add((to.number, cut(value["value"]), cut(_string_of(value, "system"))))
    else:
        _add_coding(found, to, value)


def _add_coding(found: IndexRows, to: _Parameter, coding: Json) -> None:
    system, code = _string_of(coding, "system"), _string_of(coding, "code")
    if system or code:
        found["token"].add((to.number, cut(code), cut(system)))
    _add_text(found, to.text, coding.get("display"))


def _add_text(found: IndexRows, number: int, text: Any) -> None:
    if _is_text(text):
        found["string"].add((number, fold(text), cut(text)))


def _add_identifier(found: IndexRows, to: _Parameter, identifier: Json) -> None:
    system, value = _string_of(identifier, "system"), _string_of(identifier, "value")
    if not system and not value:
        return
    found["token"].add((to.number, cut(value), cut(system)))
    kind = identifier.get("type")
    if isinstance(kind, dict):
        _add_text(found, to.text, kind.get("text"))
        for coding in _dicts(kind.get("coding")):
            of_type = f"{_string_of(coding, 'system')}|{_string_of(coding, 'code')}|{value}"
            found["token"].add((to.of_type, cut(of_type), ""))


_NAME_PARTS = ("text", "family", "given", "prefix", "suffix")
_ADDRESS_PARTS = ("text", "line", "city", "district", "state", "postalCode", "country")


def _add_string(found: IndexRows, to: _Parameter, name: str, value: Any) -> None:
    if isinstance(value, dict):
        for part in _ADDRESS_PARTS if name == "Address" else _NAME_PARTS:
            held = value.get(part)
            for text in held if isinstance(held, list) else (held,):
                _add_text(found, to.number, text)
    else:
        _add_text(found, to.number, value)


def _add_reference(found: IndexRows, to: _Parameter, name: str, value: Any) -> None:
    if isinstance(value, str):
        found["reference"].add((to.number, cut(value), ""))
        url, bar, _ = value.partition("|")
        if bar:
            found["reference"].add((to.number, cut(url), ""))
        return
    if not isinstance(value, dict):
        return
    target = value.get("reference")
    if _is_text(target) and target[0] != "#":
        its_type, its_id = split_reference(target)
        found["reference"].add((to.number, cut(its_id), its_type))
    identifier = value.get("identifier")
    if isinstance(identifier, dict):
        system, held = _string_of(identifier, "system"), _string_of(identifier, "value")
        if system or held:
            found["token"].add((to.identifier, cut(held), cut(system)))


_is_type = remembering_short(512, 64)(definitions.is_resource_type)


def split_reference(text: str) -> tuple[str, str]:
    """(type, id) of a relative reference, whether or not it names a version; ("", the text) of any other."""
    parts = text.split("/")
    if len(parts) == 4 and parts[2] == "_history":
        parts = parts[:2]
    if len(parts) == 2 and _is_type(parts[0]):
        return parts[0], parts[1]
    return "", text


def _add_date(found: IndexRows, to: _Parameter, name: str, value: Any) -> None:
    if isinstance(value, str):
        when = time_meant(value)
        if when:
            found["date"].add((to.number, when.low, when.high))
    elif not isinstance(value, dict):
        return
    else:
        parts = _timing(value) if "event" in value or "repeat" in value else [_period(value)]
        known = [part for part in parts if part is not None]
        if known:
            low, high = min(part.low for part in known), max(part.high for part in known)
            found["date"].add((to.number, low, high))


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


def _add_number(found: IndexRows, to: _Parameter, name: str, value: Any) -> None:
    if _is_number(value):
        found["number"].add((to.number, _double(value), _double(value)))
    elif isinstance(value, dict):
        found["number"].add((to.number, *_ends(value)))


def _add_quantity(found: IndexRows, to: _Parameter, name: str, value: Any) -> None:
    if not isinstance(value, dict):
        return
    if "low" in value or "high" in value:
        unit = value.get("low") or value.get("high")
        if isinstance(unit, dict):
            found["quantity"].add((to.number, *_ends(value), *_unit(unit)))
    elif _is_number(value.get("value")):
        held = _double(value["value"])
        unit = _unit(value)
        if "currency" in value:
            unit = ("urn:iso:std:iso:4217", _string_of(value, "currency"), "")
        found["quantity"].add((to.number, held, held, *unit))


def _double(value: float) -> float:
    """A number as a column holds it; JSON's whole numbers may be longer than that."""
    return float(max(-_FARTHEST, min(_FARTHEST, value)))


def _ends(value: Json) -> tuple[float, float]:
    """The ends of a Range; a missing end is as far away as a number can be."""
    low, high = _value_of(value.get("low")), _value_of(value.get("high"))
    return (float("-inf") if low is None else low, float("inf") if high is None else high)


_FARTHEST = 1e307
"""PostgreSQL cannot compute the length of a range when that is larger than any number."""


def _value_of(quantity: Any) -> float | None:
    value = quantity.get("value") if isinstance(quantity, dict) else None
    return _double(value) if _is_number(value) else None


def _unit(quantity: Json) -> tuple[str, str, str]:
    return (
        cut(_string_of(quantity, "system")),
        cut(_string_of(quantity, "code")),
        cut(_string_of(quantity, "unit")),
    )


def _add_uri(found: IndexRows, to: _Parameter, name: str, value: Any) -> None:
    if _is_text(value):
        found["uri"].add((to.number, cut(value)))


def _add_position(found: IndexRows, to: _Parameter, name: str, value: Any) -> None:
    """For Location.near: see `search/near.py`."""
    if isinstance(value, dict):
        latitude, longitude = value.get("latitude"), value.get("longitude")
        if _is_number(latitude) and _is_number(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180:
            found["number"].add((to.number, _double(latitude), _double(longitude)))


_ADDERS: Mapping[str, _Add] = {
    "token": _add_token,
    "string": _add_string,
    "reference": _add_reference,
    "date": _add_date,
    "number": _add_number,
    "quantity": _add_quantity,
    "uri": _add_uri,
    "special": _add_position,
}
TABLES = {kind: kind for kind in _ADDERS} | {"special": "number"}
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
