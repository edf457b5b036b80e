"""Groups the JSON members of a resource by element, so that an element is merged as a whole.

`startDate`, `_startDate` and `startCodeableConcept` are one element: of a choice
(https://hl7.org/fhir/R4/formats.html#choice) a resource has only one. Taking members one by one from two
texts could write both.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from fhir_coprod import definitions

Members = Mapping[str, bytes]
"""JSON member → its text."""


def grouped(type: str, members: Members) -> dict[str, dict[str, bytes]]:
    """Element (`status`, `start[x]`) → the members it is written as, in their order."""
    found: dict[str, dict[str, bytes]] = {}
    for key, value in members.items():
        found.setdefault(element_of(type, key), {})[key] = value
    return found


def element_of(type: str, member: str) -> str:
    """The element of `type` that a top-level JSON member belongs to."""
    name = member.removeprefix("_")
    return _choices(type).get(name, name)


@cache
def _choices(type: str) -> Mapping[str, str]:
    """deceasedBoolean → deceased[x], for all choice elements of the resource type."""
    found: dict[str, str] = {}
    for element in definitions.structure(type)["snapshot"]["element"]:
        name = element["path"].removeprefix(f"{type}.")
        if name.endswith("[x]") and "." not in name:
            stem = name.removesuffix("[x]")
            for kind in element["type"]:
                found[f"{stem}{kind['code'][0].upper()}{kind['code'][1:]}"] = name
    return found
