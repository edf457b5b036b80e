"""Collections in which items are looked up by hash, so that a rule that asks of each item whether it is in a
list takes as long as the list, not its square.

`Members` answers exactly as `equal` does, item by item; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from fhir_coprod.validation.fhirpath import quantity, temporal
from fhir_coprod.validation.fhirpath.errors import Undecided
from fhir_coprod.validation.fhirpath.nodes import Node, Nodes, equal

MOST_COMPARED = 100_000
"""Comparisons of one item with another, in one collection, after which a rule counts as undecided. Only what
has no key is compared so: quantities, and values of different types in one collection."""

_GROUPS = {"Integer": "number", "Decimal": "number", "Date": "date", "DateTime": "date"}
"""Types whose values may equal each other's, so that they share keys; any other type is for itself."""


class _Group:
    """Items of one type: those with a key, and those that can only be compared."""

    __slots__ = ("all", "keyless", "keys")

    def __init__(self) -> None:
        self.all: Nodes = []
        self.keys: set[Hashable] = set()
        self.keyless: Nodes = []


class Members:
    """Items, to ask whether one of them equals another."""

    def __init__(self, items: Sequence[Node] = ()) -> None:
        self._groups: dict[str, _Group] = {}
        self._compared = 0
        for node in items:
            self.add(node)

    def add(self, node: Node) -> None:
        name = _group_of(node)
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Group()
        group.all.append(node)
        key = _key(name, node)
        if key is None:
            group.keyless.append(node)
        else:
            group.keys.add(key)

    def __contains__(self, node: Node) -> bool:
        """Whether one of them equals it. Raises Undecided after too many comparisons."""
        name = _group_of(node)
        for other, group in self._groups.items():
            key = _key(name, node) if other == name else None
            if key is not None and key in group.keys:
                return True
            if self._holds(group.all if key is None else group.keyless, node):
                return True
        return False

    def _holds(self, items: Nodes, node: Node) -> bool:
        self._compared += len(items)
        if self._compared > MOST_COMPARED:
            raise Undecided("it compares too many values one by one")
        return any(equal(item, node) is True for item in items)


def _group_of(node: Node) -> str:
    kind = node.type.system
    return _GROUPS.get(kind, kind)


def _key(group: str, node: Node) -> Hashable:
    """A key that two items of the group share exactly if they are equal; None if there is none."""
    value = node.value
    try:
        if not group:
            return "json", frozen(value)
        if value is None:
            return "absent", frozen(node.beside)
        match group:
            case "String":
                hash(value)
                return "value", value
            case "number":
                return "value", quantity.number(value)
            case "date":
                return _moment(temporal.moment(str(value)), value)
            case "Time":
                return _moment(temporal.time_of_day(str(value)), value)
            case "Boolean":
                return "json", frozen(value)
    except TypeError:
        return None
    return None


def _moment(found: temporal.Moment | None, value: Any) -> Hashable:
    if found is None:
        hash(value)
        return "value", value
    return "moment", found.parts, found.zone and len(found.parts) > 3


def frozen(value: Any) -> Hashable:
    """JSON as a key: the same for values that `same_json` finds equal."""
    if isinstance(value, dict):
        return frozenset((key, frozen(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return ("list", *map(frozen, value))
    return ("Boolean", value) if isinstance(value, bool) else value


def _identity(node: Node) -> Hashable:
    """A key that is the same for equal items; None where equality is more complicated (dates, quantities)."""
    kind, value = node.type.system, node.value
    if value is None:
        return None
    if kind == "String" or (kind == "Boolean" and isinstance(value, bool)):
        return kind, value
    if kind in ("Integer", "Decimal"):
        return "number", quantity.number(value)
    return None if kind else frozen(value)


class Known:
    """Items that were met, to see which are new: those of different types never count as the same."""

    def __init__(self, items: Sequence[Node] = ()) -> None:
        self._keys: set[Hashable] = set()
        self._rest = Members()
        for node in items:
            self.add(node)

    def add(self, node: Node) -> None:
        key = _identity(node)
        if key is None:
            self._rest.add(node)
        else:
            self._keys.add(key)

    def __contains__(self, node: Node) -> bool:
        key = _identity(node)
        return key in self._keys if key is not None else node in self._rest


def distinct(items: Sequence[Node]) -> Nodes:
    """Each item once, in order."""
    out: Nodes = []
    seen = Known()
    for node in items:
        if node not in seen:
            seen.add(node)
            out.append(node)
    return out
