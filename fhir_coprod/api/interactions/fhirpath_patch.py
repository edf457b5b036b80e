"""FHIRPath Patch: changes of a resource as a Parameters resource (https://hl7.org/fhir/R4/fhirpatch.html).

Each parameter `operation` has the parts `type` (add, insert, delete, replace, move) and `path`, and those of
`name`, `value`, `index`, `source` and `destination` that its type needs. They are done in order, each on what
those before have left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from fhir_coprod import deadline
from fhir_coprod.api.interactions import elements_at
from fhir_coprod.api.interactions.elements_at import Place, children_named, element_of
from fhir_coprod.errors import BadRequest, InvalidResource
from fhir_coprod.jsontext import Json
from fhir_coprod.validation.fhirpath import FhirPathError, Undecided, UnsupportedFhirPath
from fhir_coprod.validation.fhirpath.model import Element, Type, type_named
from fhir_coprod.validation.fhirpath.parser import parse as parse_path
from fhir_coprod.validation.fhirpath.syntax import Expression, Member

MAX_OPERATIONS = 1000

_NEEDS = {
    "add": ("name", "value"),
    "insert": ("value", "index"),
    "delete": (),
    "replace": ("value",),
    "move": ("source", "destination"),
}
_POSITIONS = frozenset({"index", "source", "destination"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One change. `value` is the part that carries it."""

    type: str
    path: Expression
    name: str = ""
    value: Json | None = None
    index: int = 0
    source: int = 0
    destination: int = 0


Patch = tuple[Operation, ...]


def parse(parameters: Any) -> Patch:
    """The operations of a Parameters resource. Raises BadRequest for what is none."""
    listed = parameters.get("parameter", []) if isinstance(parameters, dict) else None
    if not isinstance(listed, list):
        raise BadRequest("A FHIRPath Patch is a Parameters resource; send its operations as parameter.")
    if len(listed) > MAX_OPERATIONS:
        raise BadRequest(f"A patch takes at most {MAX_OPERATIONS} operations; split it.")
    operations: list[Operation] = []
    for number, parameter in enumerate(listed, 1):
        with _numbered(number):
            operations.append(_operation(parameter))
    return tuple(operations)


def applied(patch: Patch, resource: Json) -> Json:
    """The resource with all operations done, in place. Raises InvalidResource if one does not fit."""
    for number, operation in enumerate(patch, 1):
        deadline.check()
        with _numbered(number):
            _DONE[operation.type](operation, resource)
    return resource


@contextmanager
def _numbered(number: int) -> Iterator[None]:
    """Put the number of the operation before what goes wrong in it."""
    try:
        yield
    except (UnsupportedFhirPath, FhirPathError, Undecided):
        # Its message may quote the expression, which may hold what is known of a patient.
        raise InvalidResource(
            f"Operation {number}: its path cannot be evaluated on this resource; correct the path."
        ) from None
    except (BadRequest, InvalidResource) as error:
        raise type(error)(f"Operation {number}: {error.message}") from None


def _operation(parameter: Any) -> Operation:
    if not isinstance(parameter, dict) or parameter.get("name") != "operation":
        raise BadRequest("every parameter of a patch has the name operation; correct it.")
    parts = _parts(parameter.get("part"))
    type_ = _text(parts, "type")
    if type_ not in _NEEDS:
        raise BadRequest(f"its type must be one of {', '.join(_NEEDS)}.")
    missing = [name for name in ("path", *_NEEDS[type_]) if name not in parts]
    if missing:
        raise BadRequest(f"{type_} needs the parts path{''.join(f', {name}' for name in _NEEDS[type_])}.")
    try:
        path = parse_path(_text(parts, "path"))
    except UnsupportedFhirPath:
        raise BadRequest("its path is not FHIRPath, or too deep; correct it.") from None
    positions = {name: _position(parts[name]) for name in _POSITIONS.intersection(_NEEDS[type_])}
    name = _text(parts, "name") if "name" in _NEEDS[type_] else ""
    return Operation(type_, path, name, parts.get("value"), **positions)


def _parts(listed: Any) -> dict[str, Json]:
    """The parts of a parameter by name."""
    found: dict[str, Json] = {}
    for part in listed if isinstance(listed, list) else ():
        name = part.get("name") if isinstance(part, dict) else None
        if not isinstance(name, str):
            raise BadRequest("every part needs a name; correct the patch.")
        if name in found:
            raise BadRequest(f"it has the part {name[:64]!r} twice; keep one.")
        found[name] = part
    return found


def _text(parts: dict[str, Json], name: str) -> str:
    part = parts.get(name, {})
    text = next((part[key] for key in ("valueString", "valueCode") if isinstance(part.get(key), str)), "")
    if not text:
        raise BadRequest(f"its part {name} must be a text (valueString or valueCode).")
    return text


def _position(part: Json) -> int:
    keys = ("valueInteger", "valueUnsignedInt", "valuePositiveInt")
    number = next((part[key] for key in keys if key in part), None)
    if type(number) is not int or number < 0:
        raise BadRequest(f"its part {part['name']} must be a whole number from 0 (valueInteger).")
    return number


# What each type of operation does.


def _add(operation: Operation, resource: Json) -> None:
    place = _only(operation, resource)
    if place is None:
        raise InvalidResource(f"{_NONE}, so there is nothing to add to.")
    element = element_of(place, operation.name)
    key, value, beside = _content(operation.value or {}, element)
    if element.is_list:
        items = _items(_body(place), key)
        _put_items(_body(place), key, [*items, (value, beside)])
        return
    if children_named(place, operation.name):
        raise InvalidResource(f"there is a {element.name} already; replace it, or delete it first.")
    _put(_body(place), key, value, beside)


def _insert(operation: Operation, resource: Json) -> None:
    place, element = _list(operation, resource)
    key, value, beside = _content(operation.value or {}, element)
    items = _items(_body(place), key)
    if operation.index > len(items):
        raise InvalidResource(f"its index is beyond the list, which has {len(items)} elements.")
    items.insert(operation.index, (value, beside))
    _put_items(_body(place), key, items)


def _move(operation: Operation, resource: Json) -> None:
    place, element = _list(operation, resource)
    key = element.keys[0][0]
    items = _items(_body(place), key)
    if max(operation.source, operation.destination) >= len(items):
        raise InvalidResource(
            f"its source or destination is beyond the list, which has {len(items)} elements."
        )
    items.insert(operation.destination, items.pop(operation.source))
    _put_items(_body(place), key, items)


def _delete(operation: Operation, resource: Json) -> None:
    place = _only(operation, resource)
    if place is not None:
        _take_away(place)


def _replace(operation: Operation, resource: Json) -> None:
    place = _only(operation, resource)
    if place is None:
        raise InvalidResource(f"{_NONE}, so there is nothing to replace; add it.")
    if place.holder is None or place.parent is None:
        raise InvalidResource("it would replace the whole resource; send an update instead.")
    key, value, beside = _content(operation.value or {}, _element(place))
    if place.index is None:
        for old in (place.key, f"_{place.key}"):
            place.holder.pop(old, None)
        _put(place.holder, key, value, beside)
    else:
        items = _items(place.holder, key)
        items[place.index] = (value, beside)
        _put_items(place.holder, key, items)


_DONE: dict[str, Callable[[Operation, Json], None]] = {
    "add": _add,
    "insert": _insert,
    "delete": _delete,
    "replace": _replace,
    "move": _move,
}
_NONE = "its path leads to no element"


def _only(operation: Operation, resource: Json) -> Place | None:
    """The one element of the path; None if there is none."""
    places = elements_at.found(operation.path, resource)
    if len(places) > 1:
        raise InvalidResource(f"its path leads to {len(places)} elements; make it lead to one.")
    return places[0] if places else None


def _list(operation: Operation, resource: Json) -> tuple[Place, Element]:
    """The list that a path names, also an empty one: the element it belongs to, and which child it is."""
    match operation.path:
        case Member(source, name):
            owners = elements_at.found(source, resource) if source else [elements_at.whole(resource)]
            if len(owners) != 1:
                raise InvalidResource(
                    f"its path leads to lists of {len(owners)} elements; make it lead to one."
                )
            element = element_of(owners[0], name)
            if element.is_list:
                return owners[0], element
    raise InvalidResource("its path must end with the name of a list, such as Patient.identifier.")


def _element(place: Place) -> Element:
    """What the definition of its parent says of an element; of a choice, all types it may have."""
    if place.parent is None:
        raise AssertionError("only the resource itself has no parent")
    elements = place.parent.type.elements.values()
    return max(
        (each for each in elements if any(key == place.key for key, _ in each.keys)),
        key=lambda each: len(each.keys),
    )


# The JSON of an element: its value, and for a primitive the member `_name`.


def _body(place: Place) -> Json:
    """The object that holds the children of an element; it is made for a primitive that has none yet."""
    if isinstance(place.body, dict):
        return place.body
    if not place.type.is_primitive or place.holder is None:
        raise InvalidResource("its path leads to what is no element; read the resource again.")
    body: Json = {}
    if place.index is None:
        place.holder[f"_{place.key}"] = body
    else:
        items = _items(place.holder, place.key)
        items[place.index] = (items[place.index][0], body)
        _put_items(place.holder, place.key, items)
    return body


def _items(body: Json, key: str) -> list[tuple[Any, Any]]:
    """A list of elements: each value with its item of the member `_name`."""
    values, besides = body.get(key), body.get(f"_{key}")
    return list(
        zip_longest(values if isinstance(values, list) else (), besides if isinstance(besides, list) else ())
    )


def _put_items(body: Json, key: str, items: list[tuple[Any, Any]]) -> None:
    values, besides = [value for value, _ in items], [beside for _, beside in items]
    _put(body, key, *(each if any(one is not None for one in each) else None for each in (values, besides)))


def _put(body: Json, key: str, value: Any, beside: Any) -> None:
    for name, each in ((key, value), (f"_{key}", beside)):
        if each is None:
            body.pop(name, None)
        else:
            body[name] = each


def _take_away(place: Place) -> None:
    """Delete an element, and whatever is empty without it."""
    holder = place.holder
    if holder is None or place.parent is None:
        raise InvalidResource("it would delete the whole resource; send a DELETE instead.")
    if place.index is None:
        _put(holder, place.key, None, None)
    else:
        items = _items(holder, place.key)
        del items[place.index]
        _put_items(holder, place.key, items)
    if holder:
        return
    above = place.parent
    if above.holder is None:
        return
    if above.type.is_primitive and above.value is not None:
        _drop_beside(above)
    else:
        _take_away(above)


def _drop_beside(place: Place) -> None:
    if place.holder is None:
        return
    if place.index is None:
        place.holder.pop(f"_{place.key}", None)
    else:
        items = _items(place.holder, place.key)
        items[place.index] = (items[place.index][0], None)
        _put_items(place.holder, place.key, items)


def _content(part: Json, element: Element) -> tuple[str, Any, Any]:
    """The JSON key, the value and the member `_name` of the element that a part describes.

    A later operation may change it, and the store may run the patch again: so they are copies.
    """
    key, code = element.keys[0]
    if "part" in part:
        return key, _backbone(part["part"], type_named(code)), None
    if "resource" in part:
        return key, deepcopy(part["resource"]), None
    suffixes = {name.removeprefix("_")[5:] for name in part if name.removeprefix("_").startswith("value")}
    if len(suffixes) != 1 or not (suffix := suffixes.pop()):
        raise BadRequest("its value needs one value[x], such as valueString, or parts of its own.")
    if len(element.keys) > 1:
        key = _of_choice(element, suffix)
    return key, deepcopy(part.get(f"value{suffix}")), deepcopy(part.get(f"_value{suffix}"))


def _of_choice(element: Element, suffix: str) -> str:
    """The JSON key of a choice for the type in the name of a value: `valueQuantity` for `Quantity`."""
    wanted = element.name + suffix
    if all(key != wanted for key, _ in element.keys):
        raise InvalidResource(f"{element.name} cannot be of the type {suffix[:64]}.")
    return wanted


def _backbone(listed: Any, type_: Type) -> Json:
    """An element that has no type of its own, such as a contact: its children as parts."""
    body: Json = {}
    for part in listed if isinstance(listed, list) else ():
        name = part.get("name") if isinstance(part, dict) else None
        if not isinstance(name, str):
            raise BadRequest("every part of its value needs a name.")
        element = element_of(Place(body, None, type_), name)
        key, value, beside = _content(part, element)
        if element.is_list:
            _put_items(body, key, [*_items(body, key), (value, beside)])
        elif key in body or f"_{key}" in body:
            raise BadRequest(f"its value has {name[:64]!r} twice; it can be there once.")
        else:
            _put(body, key, value, beside)
    if not body:
        raise BadRequest("its value is empty; give it parts, or a value[x].")
    return body
