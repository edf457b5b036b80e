"""What the search for costs measures: inputs of any size, one kind for each way in which a record can grow.

Most kinds come from the definitions of R4: each element that repeats, in each resource and data type, grown
to so many bytes in an otherwise small resource. The others are written by hand, in `cost_records` and
`cost_structures`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from typing import Any

from benchmarks.cost_kinds import Kind, Make, basic
from benchmarks.cost_records import records, requests
from benchmarks.cost_structures import structures
from fhir_coprod import definitions
from fhir_coprod.jsontext import Json
from fhir_coprod.validation.model.structure import PRIMITIVES, Element
from fhir_coprod.validation.validator import default
from tests.validation.generator import Generator

DEEPEST = 4
"""Levels of elements below a resource that are grown."""
SKIPPED = frozenset({"contained", "extension", "modifierExtension"})
"""Elements that every type has; they are grown once, by hand."""


def kinds() -> Iterator[Kind]:
    """All of them, always the same."""
    yield from records()
    yield from structures()
    yield from requests()
    yield from of_data_types()
    yield from of_resources()


# --- from the definitions -------------------------------------------------------------------------


def of_resources() -> Iterator[Kind]:
    library = default().library
    for name in definitions.resource_types():
        structure = library.structure(name)
        if structure is not None:
            base = _maker(name).resource(name)
            for path in _repeating(structure.root, ()):
                names = (name, *(step.name for step in path))
                yield Kind(".".join(names), _grown(base, path, name), "element")


def of_data_types() -> Iterator[Kind]:
    library = default().library
    value = library.structure("Extension")
    for reference in value.root.children["value"].types if value is not None else ():
        code = reference.code
        structure = library.structure(code)
        if structure is None or code in PRIMITIVES:
            continue
        key = f"value{code[0].upper()}{code[1:]}"
        for path in _repeating(structure.root, ()):
            base = _maker(code)._object(structure.root, code, 1, 0.0)
            grown = _grown(base, path, code)
            names = (code, *(step.name for step in path))
            yield Kind(".".join(names), _carried(key, grown), "element")


def _carried(key: str, grown: Make) -> Make:
    return lambda number: basic(extension=[{"url": "http://example.org/carrier", key: grown(number)}])


def _maker(name: str) -> Generator:
    return Generator(default().library, Random(name), richness=0.0)


def _repeating(owner: Element, above: tuple[Element, ...]) -> Iterator[tuple[Element, ...]]:
    """The paths to all elements below that repeat."""
    for child in owner.children.values():
        if child.name in SKIPPED or child.max == 0:
            continue
        if child.repeats and not child.choice:
            yield (*above, child)
        if child.children and len(above) < DEEPEST - 1:
            yield from _repeating(child, (*above, child))


def _grown(base: Json, path: tuple[Element, ...], seed: str) -> Make:
    def make(number: int) -> Json:
        maker = _maker(seed)
        made = copy.deepcopy(base)
        owner = made
        for step in path[:-1]:
            owner = _below(owner, step, maker)
        last = path[-1]
        found = [_one(last, maker) for _ in range(number)]
        owner[last.name] = [value for value in found if value is not None]
        return made

    return make


def _below(owner: Json, step: Element, maker: Generator) -> Json:
    held = owner.get(step.name)
    if not held:
        held = owner[step.name] = [_one(step, maker) or {}] if step.repeats else _one(step, maker) or {}
    inner: Any = held[0] if step.repeats else held
    return inner if isinstance(inner, dict) else {}


def _one(element: Element, maker: Generator) -> Any:
    found = maker._value(element, 1, 0.0) or maker._value(element, 1, 1.0)
    return found[0][1] if found else None
