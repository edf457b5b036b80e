"""Functions that generated FHIRPath code calls: small answers about plain JSON values.

Where a partial date, a missing value or a surplus of values may leave a test open, its answer is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhir_coprod.jsontext import Json
from fhir_coprod.validation.fhirpath import temporal
from fhir_coprod.validation.fhirpath.errors import FhirPathError
from fhir_coprod.validation.fhirpath.members import frozen
from fhir_coprod.validation.fhirpath.model import resource_type, type_named

NOTHING: Json = {}
"""Replaces an absent element, so that a step from it leads nowhere. Never changed."""


def items(owner: Json, key: str) -> list[Any]:
    """The values of a repeating primitive, with None where there is only an extension."""
    values, beside = owner.get(key) or [], owner.get("_" + key)
    extra = beside if isinstance(beside, list) else []
    longest = max(len(values), len(extra))
    pairs = zip(_padded(values, longest), _padded(extra, longest), strict=True)
    return [value for value, by_it in pairs if value is not None or by_it is not None]


def _padded(values: Sequence[Any], size: int) -> list[Any]:
    return [*values, *[None] * (size - len(values))]


def single(values: list[Any]) -> Any:
    """The only value; None when there is none. Raises FhirPathError when there are several."""
    if len(values) > 1:
        raise FhirPathError("FHIRPath: one item is needed, several are there.")
    return values[0] if values else None


def is_value(values: list[Any], constant: Any) -> bool | None:
    """`values = constant`, for values of the constant's own kind."""
    if len(values) == 1:
        return bool(values[0] == constant)
    return False if values else None


def is_among(values: list[Any], constants: frozenset[str]) -> bool | None:
    """`values in (constants)`, for strings."""
    return constants.issuperset(values) if values else None


def same(left: list[Any], right: list[Any]) -> bool | None:
    """`left = right`, for strings."""
    if not left or not right:
        return None
    if None in left and None in right:
        raise TypeError("what stands beside the values decides; the closures see it")
    return left == right


def all_distinct(values: list[Any]) -> bool:
    """`isDistinct()`, for strings."""
    if values.count(None) > 1:
        raise TypeError("what stands beside the values decides; the closures see it")
    return len(set(values)) == len(values)


def date_order(left: str | None, right: str | None) -> int | None:
    """-1, 0 or 1 for two dates; None when the given precision does not tell."""
    if left is None or right is None:
        return None
    if len(left) == len(right) and len(left) <= 10:
        return (left > right) - (left < right)
    first, second = temporal.moment(left), temporal.moment(right)
    return None if first is None or second is None else temporal.order(first, second)


def unique(values: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Values with their type names, each once: what the index keeps of a union.

    The same is only what is written alike. 1 g and 1000 mg stay apart: to compare each with each would take
    too long for some resources, and none may be refused for that.
    """
    if len(values) < 2:
        return values
    found: dict[object, tuple[str, Any]] = {}
    for name, value in values:
        found.setdefault((type_named(name).system, frozen(value)), (name, value))
    return list(found.values())


def runtime_name(value: Any, declared: str) -> str:
    """The type name of a resource in a place that allows any type."""
    type_ = resource_type(value)
    return declared if type_ is None else type_.fhir
