"""Every way to break one required rule of one resource, and the place where that must be told.

The rules are read off the compiled models: of the type, of a profile, and of the extensions that are there.
Invariants are not among them; what breaks one depends on its words.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from fhir_coprod.validation.model.content import Content, Field
from fhir_coprod.validation.model.library import Library
from fhir_coprod.validation.model.scope import Scope
from fhir_coprod.validation.model.structure import ABSENT, MANY, PRIMITIVES
from tests.validation.mutations import Spot, spots

Json = dict[str, Any]

NUMBERS = ("integer", "positiveInt", "unsignedInt", "decimal")


@dataclass(frozen=True, slots=True)
class Break:
    """One way to break a resource.

    rule:  what is broken
    at:    the FHIRPath location that an error must name
    apply: changes the resource
    """

    rule: str
    at: str
    apply: Callable[[], None]


def breaks(library: Library, resource: Json, profile: str = "") -> list[Break]:
    """All of them, for a resource that is valid. Each may be applied once, to this very object."""
    scope = Scope(resource)
    found = list(_by_types(library, resource, scope))
    model = library.profile_model(profile) if profile else None
    if model is not None:
        found += _by_profile(model.content, resource, resource["resourceType"], scope)
    return found


# ---------------------------------------------------------------------- the definitions of types


def _by_types(library: Library, resource: Json, scope: Scope) -> Iterator[Break]:
    for spot in spots(library, resource):
        owner = spot.at.rpartition(".")[0]
        if spot.field.min > 0:
            yield Break("required element", owner, _deleting(spot.owner, spot.key))
        if spot.index is None:
            yield Break("one value only", f"{owner}.{spot.field.name}", _setting(spot, [spot.value] * 2))
        if spot.type in PRIMITIVES:
            yield Break("JSON type", spot.at, _setting(spot, _of_another_json_type(spot)))
        elif "resourceType" not in spot.value:
            yield Break("object", spot.at, _setting(spot, "text"))
            yield Break("known members", spot.at, _adding(spot.value, "surprise"))
        if spot.content is not None:
            yield from _of_value(spot.content, spot.type, spot.value, spot.at, partial(_setting, spot))
        if spot.type == "Extension":
            model = library.profile_model(spot.value["url"])
            if model is not None:
                yield from _by_profile(model.content, spot.value, spot.at, scope)


def _of_another_json_type(spot: Spot) -> Any:
    if spot.type == "boolean":
        return "true"
    return "7" if spot.type in NUMBERS else 7


# ---------------------------------------------------------------------- a profile


def _by_profile(content: Content, owner: Json, at: str, scope: Scope) -> Iterator[Break]:
    """What a profile asks of an object beyond its type."""
    for field in content.fields.values():
        if content.type == "Extension" and field.name == "url":
            continue  # another url is another extension
        for key, code in field.keys:
            if key not in owner:
                continue
            values = owner[key] if field.array else [owner[key]]
            if field.min > 0:
                yield Break("element required by the profile", at, _deleting(owner, key))
            if field.array and 0 < field.max < MANY:
                too_many = [copy.deepcopy(values[0]) for _ in range(int(field.max) + 1)]
                yield Break("number in the profile", f"{at}.{field.name}", _replacing(owner, key, too_many))
            for index, value in enumerate(values):
                place = f"{at}.{field.name}[{index}]" if field.array else f"{at}.{field.name}"
                inner = field.by_type.get(code)
                if inner is not None:
                    put = _putter(owner, key, index if field.array else None)
                    yield from _of_value(inner, code, value, place, put)
                    if isinstance(value, dict) and code != "Extension":
                        yield from _by_profile(inner, value, place, scope)
            if field.array:
                yield from _by_slices(field, owner, key, code, at, scope)


def _by_slices(field: Field, owner: Json, key: str, code: str, at: str, scope: Scope) -> Iterator[Break]:
    """Slices that must be there, and what is asked inside of each."""
    for part in field.slices:
        if part.matches is None:
            continue
        mine = [i for i, value in enumerate(owner[key]) if part.matches(value, code, scope)]
        if part.field.min > 0 and mine:
            rest = [value for i, value in enumerate(owner[key]) if i not in mine]
            change = _replacing(owner, key, rest) if rest else _deleting(owner, key)
            yield Break("slice required by the profile", at, change)
        if 0 < part.field.max < MANY and mine:
            copies = [copy.deepcopy(owner[key][mine[0]]) for _ in range(int(part.field.max) + 1)]
            yield Break("number in the profile", f"{at}.{field.name}", _replacing(owner, key, copies))
        inner = part.field.by_type.get(code)
        if inner is None or code == "Extension":
            continue
        for index in mine:
            held = owner[key][index]
            for name in (one.name for one in inner.fields.values() if one.min > 0 and one.name in held):
                without = {k: v for k, v in held.items() if k != name}
                if part.matches(without, code, scope):
                    yield Break("child of a slice", f"{at}.{field.name}[{index}]", _deleting(held, name))


# ---------------------------------------------------------------------- one value


def _of_value(
    content: Content, code: str, value: Any, at: str, put: Callable[[Any], Callable[[], None]]
) -> Iterator[Break]:
    if content.fixed is not ABSENT and isinstance(value, str):
        yield Break("fixed value", at, put(value + "x"))
    if content.pattern is not ABSENT:
        other = {"text": "something else"} if code == "CodeableConcept" else "other"
        if isinstance(value, str) or code == "CodeableConcept":
            yield Break("pattern", at, put(other))
    bound = content.bound
    if bound is not None and bound.strength == "required" and bound.codes.enumerable:
        if code == "code":
            yield Break("required binding", at, put("no-such-code"))
        elif code == "CodeableConcept" and "coding" in value:
            coding = [{**one, "code": "no-such-code"} for one in value["coding"]]
            yield Break("required binding", at, put({**value, "coding": coding}))
            foreign = [{**one, "system": "http://elsewhere.test/codes"} for one in value["coding"]]
            yield Break("required binding, by system", at, put({**value, "coding": foreign}))
        elif code == "Coding":
            yield Break("required binding", at, put({**value, "code": "no-such-code"}))
    if code == "Reference" and content.target_types:
        wrong = next(name for name in ("Slot", "Account", "Patient") if name not in content.target_types)
        yield Break("reference target", at, put({"reference": f"{wrong}/1"}))


# ---------------------------------------------------------------------- changes


def _deleting(owner: Json, key: str) -> Callable[[], None]:
    return lambda: owner.__delitem__(key)


def _replacing(owner: Json, key: str, new: Any) -> Callable[[], None]:
    return lambda: owner.__setitem__(key, new)


def _adding(owner: Json, key: str) -> Callable[[], None]:
    return lambda: owner.__setitem__(key, "x")


def _setting(spot: Spot, new: Any) -> Callable[[], None]:
    def change() -> None:
        spot.value = new

    return change


def _putter(owner: Json, key: str, index: int | None) -> Callable[[Any], Callable[[], None]]:
    return lambda new: (
        _replacing(owner, key, new) if index is None else lambda: owner[key].__setitem__(index, new)
    )
