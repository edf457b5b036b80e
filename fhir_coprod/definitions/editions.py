"""A code system in every version that is held.

Code systems and value sets of terminology.hl7.org are published apart from FHIR and grow: R4 has copies of
2019. Whatever is held of one system is put together here. R4's own copy is never lost: what R4 itself defines
stays defined, even where a later version has dropped it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fhir_coprod.definitions.terminology import concepts, is_complete
from fhir_coprod.jsontext import Json

_numbers = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})*").fullmatch


@dataclass(frozen=True, slots=True)
class Editions:
    """What is known of one code system.

    newest:  the version of the newest copy; "" when it states none
    codes:   every code of the newest copy and of R4's own; None when the newest does not list all its codes
    by_name: version → its codes, of the copies that list all of theirs
    """

    newest: str
    codes: frozenset[str] | None
    by_name: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def has(self, code: str, version: str | None = None) -> bool | None:
        """Whether the system has the code; None when that cannot be decided.

        version: the one that a coding names. It alone decides if it is held; if it is not, a code that is not
        held may still be in it, but nobody here can tell.
        """
        named = self.by_name.get(version) if version else None
        codes = self.codes if named is None else named
        return None if codes is None else code in codes


def editions(own: Json | None, copies: Sequence[Json]) -> Editions | None:
    """Put together what is held; None when that is nothing.

    own:    R4's own copy
    copies: all others, the newest first
    """
    held = [*copies, *([own] if own else [])]
    if not held:
        return None
    listed = {id(copy): _codes(copy) for copy in held if is_complete(copy)}
    codes = listed.get(id(held[0]))
    if codes is not None and own is not None:
        codes |= _codes(own)
    by_name: dict[str, frozenset[str]] = {}
    for copy in held:
        if id(copy) in listed and copy.get("version"):
            by_name.setdefault(str(copy["version"]), listed[id(copy)])
    return Editions(str(held[0].get("version") or ""), codes, by_name)


def joined(own: Json | None, copies: Sequence[Json]) -> Json | None:
    """The newest copy as a CodeSystem, with the concepts that only R4's own copy has at its end."""
    if not copies or own is None:
        return copies[0] if copies else own
    newest = copies[0]
    here = _codes(newest)
    only_there = [
        {key: value for key, value in concept.items() if key != "concept"}
        for concept in concepts(own)
        if concept["code"] not in here
    ]
    return newest | {"concept": [*newest.get("concept", ()), *only_there]} if only_there else newest


def newest_first(copies: Iterable[Json]) -> list[Json]:
    """Resources of one canonical, the newest version first; of equals the first stays first."""
    ordered: list[Json] = []
    for copy in copies:
        place = next((i for i, other in enumerate(ordered) if is_newer(copy, other)), len(ordered))
        ordered.insert(place, copy)
    return ordered


def is_newer(one: Json, other: Json) -> bool:
    """Whether a resource is a later version than another: by numbers (10.0 after 9.1), else by its date."""
    versions = [_numbers(str(resource.get("version") or "")) for resource in (one, other)]
    if versions[0] and versions[1]:
        return _parts(versions[0][0]) > _parts(versions[1][0])
    dates = [str(resource.get("date") or "")[:10] for resource in (one, other)]
    return all(dates) and dates[0] > dates[1]


def _parts(version: str) -> tuple[int, ...]:
    parts = [int(part) for part in version.split(".")]
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def _codes(code_system: Json) -> frozenset[str]:
    return frozenset(concept["code"] for concept in concepts(code_system))
