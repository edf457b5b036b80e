"""Finds the elements that a path of a FHIRPath Patch leads to, as places in the JSON that can be changed.

A path is made of steps to elements, `[0]`, `where()`, `first()`, `last()`, `tail()`, `skip()`, `take()`,
`single()`, `ofType()`, `as` and `extension()`. Inside `where()` any FHIRPath may stand. Other functions give
values that stand nowhere, or may leave the resource (`resolve()`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from fhir_coprod import deadline
from fhir_coprod.errors import InvalidResource
from fhir_coprod.jsontext import Json
from fhir_coprod.validation.fhirpath import Env
from fhir_coprod.validation.fhirpath.closures.compiler import compiled, type_name
from fhir_coprod.validation.fhirpath.model import Element, Type, resource_type, type_named
from fhir_coprod.validation.fhirpath.nodes import Node, Scope, as_truth
from fhir_coprod.validation.fhirpath.syntax import (
    Call,
    Expression,
    Index,
    Literal,
    Member,
    TypeTest,
    Variable,
)


@dataclass(frozen=True, slots=True)
class Place:
    """One element.

    holder: the JSON object that it is a member of; None for the resource itself
    index: in its list; None if it is no list
    parent: the element that it is a child of
    """

    value: Any
    beside: Any
    type: Type
    holder: Json | None = None
    key: str = ""
    index: int | None = None
    parent: Place | None = None

    @property
    def body(self) -> Any:
        """The JSON object that holds its children; for a primitive, the member `_name`."""
        return self.beside if self.type.is_primitive else self.value

    @property
    def node(self) -> Node:
        return Node(self.value, self.type, self.beside if isinstance(self.beside, dict) else None)


def whole(resource: Json) -> Place:
    """The resource as an element."""
    return Place(resource, None, resource_type(resource) or type_named("Resource"))


def found(tree: Expression, resource: Json) -> list[Place]:
    """The elements that a path leads to.

    Raises InvalidResource for a path of other steps, and for one to an element that R4 does not have.
    """
    return _Finder(resource).places(tree, [whole(resource)])


def element_of(place: Place, name: str) -> Element:
    """A child of an element by its name: `value`, or, if somebody writes so, `valueQuantity`.

    Raises InvalidResource if it has none of that name.
    """
    element = place.type.elements.get(name)
    if element is None:
        raise InvalidResource(f"{place.type.name} has no element {name[:64]!r}; correct the patch.")
    return element


class _Finder:
    def __init__(self, resource: Json) -> None:
        self._env = Env(resource)
        self._root = whole(resource)

    def places(self, tree: Expression | None, focus: list[Place]) -> list[Place]:
        match tree:
            case None | Variable("$this"):
                return focus
            case Member(None, name) if name[:1].isupper() and all(name in p.type.ancestors for p in focus):
                return focus
            case Member(source, name):
                return [
                    child for place in self.places(source, focus) for child in children_named(place, name)
                ]
            case Index(source, Literal("Integer", int(index))):
                return self.places(source, focus)[index : index + 1]
            case TypeTest("as", operand, name):
                return _of_type(self.places(operand, focus), name)
            case Call(source, name, arguments):
                part = _PARTS.get(name)
                if part is not None and not arguments:
                    return part(self.places(source, focus))
                if len(arguments) == 1:
                    return self._part(name, arguments[0], self.places(source, focus))
        raise InvalidResource(
            "A path of a patch is made of elements, [0], where(), first(), last(), single(), ofType() and "
            "extension(); write it with these."
        )

    def _part(self, name: str, argument: Expression, places: list[Place]) -> list[Place]:
        match name, argument:
            case "where", _:
                return self._where(argument, places)
            case (("as" | "ofType"), _):
                return _of_type(places, type_name(argument))
            case "skip", Literal("Integer", int(count)):
                return places[count:]
            case "take", Literal("Integer", int(count)):
                return places[:count]
            case "extension", Literal("String", url):
                extensions = [child for place in places for child in children_named(place, "extension")]
                return [each for each in extensions if each.value and each.value.get("url") == url]
        return self.places(Call(None, name, ()), places)

    def _where(self, criterion: Expression, places: list[Place]) -> list[Place]:
        run = compiled(criterion)
        kept: list[Place] = []
        for index, place in enumerate(places):
            deadline.check()
            if as_truth(run(Scope(self._env, [place.node], [self._root.node], index))):
                kept.append(place)
        return kept


def _single(places: list[Place]) -> list[Place]:
    if len(places) > 1:
        raise InvalidResource("single() in the path meets several elements; make the path lead to one.")
    return places


_PARTS: dict[str, Callable[[list[Place]], list[Place]]] = {
    "first": lambda places: places[:1],
    "last": lambda places: places[-1:],
    "tail": lambda places: places[1:],
    "single": _single,
}


def _of_type(places: list[Place], name: str) -> list[Place]:
    return [place for place in places if name in place.type.ancestors]


def children_named(place: Place, name: str) -> list[Place]:
    """The children of that name; none if the element is left out."""
    element = element_of(place, name)
    body = place.body
    if not isinstance(body, dict):
        return []
    out: list[Place] = []
    for key, code in element.keys:
        value, beside = body.get(key), body.get("_" + key)
        type_ = type_named(code)
        if isinstance(value, list) or isinstance(beside, list):
            pairs = zip_longest(_listed(value), _listed(beside))
            out += (_child(place, body, key, index, type_, *pair) for index, pair in enumerate(pairs))
        elif value is not None or beside is not None:
            out.append(_child(place, body, key, None, type_, value, beside))
    return out


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _child(
    parent: Place, body: Json, key: str, index: int | None, type_: Type, value: Any, beside: Any
) -> Place:
    if type_.is_resource:
        type_ = resource_type(value) or type_
    return Place(value, beside, type_, body, key, index, parent)
