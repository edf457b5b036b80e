"""Conditions on what a resource contains, made of those on resources that stand alone.

R4 search (https://hl7.org/fhir/R4/search.html), 3.1.1.5.5, has chained conditions evaluated inside of
contained resources, too. What is contained has the same rows as if it stood alone, but under numbers of its
place (`index.place`), and with the key of the resource that contains it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fhir_coprod.store import index
from fhir_coprod.store.search.conditions import (
    Any_,
    Both,
    Chained,
    ChainedByUrl,
    Condition,
    Indexed,
    Not,
    Present,
    Sql,
    any_of,
)
from fhir_coprod.store.search.standpoint import Standpoint


def inside(scope: Standpoint, condition: Condition, type: str, place: str) -> Condition | None:
    """The condition on resources of a type, as one on those that contain such a resource at the place.

    None if nothing contained can meet it: it has no `_id`, nothing but its own resource refers to it, and the
    index goes only so deep.
    """
    moved = _Move(scope, type, place).moved(condition)
    if moved is None or moved.is_listable:
        return moved
    there = scope.number(place, index.HERE)
    return Both(Indexed("token", there, (Sql("code = ''"),), equal=True), moved)


class _Move:
    """From the numbers of a type to those of a place."""

    def __init__(self, scope: Standpoint, type: str, place: str) -> None:
        self.scope = scope
        self.type = type
        self.place = place

    def moved(self, condition: Condition) -> Condition | None:
        match condition:
            case Indexed() | Chained():
                params = self._params((condition.param, *condition.more))
                return replace(condition, param=params[0], more=params[1:]) if params else None
            case Present() | ChainedByUrl():
                params = self._params((condition.param,))
                return replace(condition, param=params[0]) if params else None
            case Not(inner):
                moved = self.moved(inner)
                return None if moved is None else Not(moved)
            case Both(one, other):
                first, second = self.moved(one), self.moved(other)
                return None if first is None or second is None else Both(first, second)
            case Any_(conditions):
                ways = [way for way in map(self.moved, conditions) if way is not None]
                return any_of(ways) if ways else None
        return None

    def _params(self, params: Iterable[int]) -> tuple[int, ...]:
        found = []
        for param in params:
            place, code = self.scope.effort.names[param]
            there = self.place + place.removeprefix(self.type)
            links, _, _ = there.partition("=")  # behind it stands a code, which may hold any character
            if links.count("#") <= index.DEEPEST:
                found.append(self.scope.number(there, code))
        return tuple(found)
