"""Reads records whose form nobody can rely on: what has the form that R4 gives it, and what cannot be read.

An element has a value, is absent, or is unreadable: a list where one value belongs, a text where an object
belongs, an empty object, a date that is none, a reference that names nothing. `readable` leaves out what is
unreadable and says where it was, so that whoever reads on meets only values, and can tell "not there" from
"cannot be seen". It raises nothing, whatever JSON a record holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from threading import Lock
from types import GenericAlias
from typing import Annotated, Any, NamedTuple

import msgspec

from fhir_coprod import definitions, jsontext
from fhir_coprod.jsontext import Json
from fhir_coprod.validation.model import formats


class Readable(NamedTuple):
    """What can be read of a record.

    data:       the record without its unreadable elements; the same object if all can be read
    unreadable: their paths without type and indices, such as "focus" or "output.valueReference"
    """

    data: Json
    unreadable: tuple[str, ...]


class Element(NamedTuple):
    """What R4 says about the form of one element."""

    is_list: bool
    kind: str
    """A primitive type, a complex type, the path of a backbone element, or "Resource"."""


_NUMBERS = {"decimal": (int, float), "integer": (int,), "positiveInt": (int,), "unsignedInt": (int,)}
_EMPTY = re.compile(rb"\{\s*\}")
_TIMES = ("date", "dateTime", "instant", "time")
_REFERENCE = r"(?:[A-Za-z]+[/?:].|#|[A-Za-z][A-Za-z0-9+.-]*:.)"


def readable(data: Json, text: bytes = b"") -> Readable:
    """What can be read of a resource of R4; of anything else all of it.

    text: its JSON, if the caller has it; otherwise it is written again to look for empty objects
    """
    type = data.get("resourceType")
    if not definitions.is_resource_type(type):
        return Readable(data, ())
    if _converts(data, _ready(str(type))) and not _EMPTY.search(text or jsontext.encode(data)):
        return Readable(data, ())
    found: list[str] = []
    kept = _object(data, str(type), "", found)
    return Readable(kept, tuple(dict.fromkeys(found)))


def concerns(unreadable: str, element: str) -> bool:
    """Whether an unreadable element is this one, a part of it, or holds it."""
    return f"{unreadable}.".startswith(f"{element}.") or f"{element}.".startswith(f"{unreadable}.")


# --- element by element ---------------------------------------------------------------------------


def _object(value: Json, type: str, at: str, found: list[str]) -> Json:
    elements = elements_of(type)
    kept: Json = {}
    for name, held in value.items():
        element = elements.get(name)
        if element is None:
            kept[name] = held  # not of R4, or the extensions of a primitive
            continue
        place = f"{at}.{name}" if at else name
        if element.is_list:
            if not isinstance(held, list) or not held:
                found.append(place)
                continue
            beside = f"_{name}" in value  # then null only says that the value is absent
            items = [
                _value(item, element.kind, place, found) for item in held if item is not None or not beside
            ]
            if left := [item for item in items if item is not None]:
                kept[name] = left
        elif (read := _value(held, element.kind, place, found)) is not None:
            kept[name] = read
    return kept


def _value(value: Any, kind: str, at: str, found: list[str]) -> Any:
    """The value without what is unreadable in it; None if it is unreadable itself."""
    if kind[0].islower():
        if _is_primitive(value, kind):
            return value
    elif isinstance(value, dict) and value:
        if kind == "Resource":
            return value
        return _object(value, kind, at, found) or None
    found.append(at)
    return None


def _is_primitive(value: Any, kind: str) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in _NUMBERS:
        return isinstance(value, _NUMBERS[kind]) and not isinstance(value, bool)
    if kind in _TIMES:
        return formats.ACCEPTS[kind](value)
    if not isinstance(value, str) or not value:
        return False
    return kind != "reference" or re.match(_REFERENCE, value) is not None


# --- what R4 says ---------------------------------------------------------------------------------


@cache
def elements_of(path: str) -> Mapping[str, Element]:
    """The elements of a type, or of a backbone element (`Task.output`), by their names in JSON."""
    type = path.partition(".")[0]
    snapshot = definitions.structure(type)["snapshot"]["element"]
    parents = {element["path"].rpartition(".")[0] for element in snapshot}
    found: dict[str, Element] = {}
    for element in snapshot:
        own: str = element["path"]
        parent, _, name = own.rpartition(".")
        if parent != path:
            continue
        is_list = element.get("max") != "1"
        if reference := element.get("contentReference"):
            found[name] = Element(is_list, reference.rpartition("#")[2])
        elif own in parents:
            found[name] = Element(is_list, own)
        else:
            for kind in element.get("type", ()):
                code = kind["code"].rpartition(".")[2]
                code = "string" if kind["code"].startswith("http") else code
                if own == "Reference.reference":
                    code = "reference"
                key = name.removesuffix("[x]") + code[0].upper() + code[1:] if name.endswith("[x]") else name
                found[key] = Element(is_list, code)
    return found


# --- the quick yes --------------------------------------------------------------------------------

_DEEPEST = 5
"""Levels that the quick yes looks at; a type may hold itself (an Identifier has an assigner)."""
_MONTH = r"(?:0[1-9]|1[0-2])"
_DAY = rf"(?:{_MONTH}-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?"
_TIME = rf"{_CLOCK}(?:Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9])"
_QUICK: Mapping[str, str] = {
    "date": rf"^[1-9][0-9]{{3}}(?:-{_DAY}|-{_MONTH})?\Z",
    "dateTime": rf"^[1-9][0-9]{{3}}(?:-{_DAY}(?:T{_TIME})?|-{_MONTH})?\Z",
    "instant": rf"^[1-9][0-9]{{3}}-{_DAY}T{_TIME}\Z",
    "time": rf"^{_CLOCK}\Z",
    "reference": f"^{_REFERENCE}",
}
"""Forms of texts, by type. Some are stricter than R4's: a leap day gets the second look. Any other text has a
character."""


def _converts(data: Json, form: Any) -> bool:
    """Whether the values fit a form; found in compiled code."""
    try:
        msgspec.convert(data, form)
    except msgspec.ValidationError:
        return False
    return True


_MAKING = Lock()


@cache
def _ready(kind: str) -> Any:
    """The form of a whole type.

    msgspec works out what a struct holds when it is first used, and if two threads do that at once the
    process crashes. So it is used here before anybody else has it.
    """
    with _MAKING:
        form = _form(kind, _DEEPEST)
        _converts({}, form)
    return form


@cache
def _form(kind: str, depth: int) -> Any:
    """A type, or a backbone element, in the terms of msgspec."""
    if kind == "boolean":
        return bool
    if kind in _NUMBERS:
        return float if kind == "decimal" else int
    if kind[0].islower():
        form = _QUICK.get(kind)
        return Annotated[str, msgspec.Meta(pattern=form) if form else msgspec.Meta(min_length=1)]
    if kind in ("Resource", "Extension") or not depth:
        return dict
    elements = elements_of(kind)
    # R4's names may be words of Python, such as Task.for: here they are numbered.
    names = {f"f{number}": name for number, name in enumerate(elements)}
    fields = [(field, _perhaps(elements[name], depth - 1), msgspec.UNSET) for field, name in names.items()]
    return msgspec.defstruct(re.sub(r"\W", "_", kind), fields, rename=names, gc=False)


def _perhaps(element: Element, depth: int) -> Any:
    """The form of an element that may be absent."""
    form = _form(element.kind, depth)
    if element.is_list:
        form = Annotated[GenericAlias(list, (form,)), msgspec.Meta(min_length=1)]
    return form | msgspec.UnsetType
