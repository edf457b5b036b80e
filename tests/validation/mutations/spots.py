"""Where a resource can be broken, and the list of the ways to do it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from fhir_coprod.validation.model.content import Content, Field
from fhir_coprod.validation.model.library import Library

Json = dict[str, Any]


@dataclass(slots=True)
class Spot:
    """One value in a resource, and what the definition of its type says of it."""

    owner: Json
    key: str
    index: int | None
    """Position in the list under `key`; None where there is no list."""
    type: str
    field: Field
    at: str

    @property
    def value(self) -> Any:
        held = self.owner[self.key]
        return held if self.index is None else held[self.index]

    @value.setter
    def value(self, new: Any) -> None:
        if self.index is None:
            self.owner[self.key] = new
        else:
            self.owner[self.key][self.index] = new

    @property
    def content(self) -> Content | None:
        return self.field.by_type.get(self.type)


def spots(library: Library, resource: Json, at: str = "") -> Iterator[Spot]:
    """Every value in a resource that its type knows, outermost first."""
    model = library.type_model(str(resource.get("resourceType")))
    if model is not None:
        yield from _below(library, model.content, resource, at or str(resource["resourceType"]))


def _below(library: Library, content: Content, owner: Json, at: str) -> Iterator[Spot]:
    for key in list(owner):
        known = content.keys.get(key)
        if known is None:
            continue
        field, code = known
        held = owner[key]
        for index, value in enumerate(held) if isinstance(held, list) else ((None, held),):
            place = f"{at}.{field.name}" + ("" if index is None else f"[{index}]")
            yield Spot(owner, key, index, code, field, place)
            if isinstance(value, dict):
                if "resourceType" in value:
                    yield from spots(library, value, place)
                    continue
                inner = field.by_type.get(code)
                if inner is not None and not inner.datatype:
                    yield from _below(library, inner, value, place)
                elif (own := library.type_model(code)) is not None:
                    yield from _below(library, own.content, value, place)


Mutation = Callable[[list[Spot], Json, Random], bool]
"""(spots, the resource, chance) → whether something was changed."""

MUTATIONS: dict[str, Mutation] = {}


def mutation(function: Mutation) -> Mutation:
    MUTATIONS[function.__name__] = function
    return function


def mutate(library: Library, resource: Json, kind: str, random: Random) -> Json | None:
    """A broken copy; None when the resource has no place for that mutation."""
    mutant = copy.deepcopy(resource)
    return mutant if MUTATIONS[kind](list(spots(library, mutant)), mutant, random) else None


def pick(found: list[Spot], random: Random, *types: str) -> Spot | None:
    fitting = [spot for spot in found if not types or spot.type in types]
    return random.choice(fitting) if fitting else None


def replace(found: list[Spot], random: Random, new: Any, *types: str) -> bool:
    spot = pick(found, random, *types)
    if spot is None:
        return False
    spot.value = copy.deepcopy(new)
    return True


def objects(found: list[Spot]) -> list[Spot]:
    return [spot for spot in found if isinstance(spot.value, dict)]
