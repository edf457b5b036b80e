"""Ids inside a resource, where each stands once: https://hl7.org/fhir/R4/element.html#id"""

from __future__ import annotations

from collections.abc import Iterator

from fhir_coprod.jsontext import Json


def repeated_ids(resource: Json) -> list[str]:
    """The ids that two elements of the resource have, or two of its contained resources."""
    contained = resource.get("contained")
    inner = contained if isinstance(contained, list) else []
    of_resources = (one.get("id") for one in inner if isinstance(one, dict))
    return [*_repeated(_of_elements(resource)), *_repeated(of_resources)]


def _is_structure(resource: Json) -> bool:
    return resource.get("resourceType") == "StructureDefinition"


def _repeated(ids: Iterator[object]) -> Iterator[str]:
    seen: set[str] = set()
    told: set[str] = set()
    for one in ids:
        if isinstance(one, str):
            if one in seen and one not in told:
                told.add(one)
                yield one
            seen.add(one)


def _of_elements(resource: Json) -> Iterator[object]:
    """The ids of all elements; resources inside have ids of their own, and ElementDefinitions have paths."""
    left_out = ("id", "snapshot", "differential") if _is_structure(resource) else ("id",)
    waiting: list[object] = [value for key, value in resource.items() if key not in left_out]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict) and "resourceType" not in value:
            waiting += value.values()
            if "id" in value:
                yield value["id"]
