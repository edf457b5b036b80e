"""Which FHIR types the elements have that a search parameter looks at, as far as its expression tells."""

from __future__ import annotations

import re
from functools import lru_cache

from fhir_coprod import definitions
from fhir_coprod.definitions.search import branches
from fhir_coprod.jsontext import Json

_WHERE = re.compile(r"\.where\((?:[^()]|\([^()]*\))*\)")
_PATH = re.compile(r"\(?([A-Z]\w+(?:\.\w+)*?)(?: as (\w+)|\.(?:as|ofType)\((\w+)\))?\)?")
_BOOLEAN = re.compile(r"\.exists\(\)| and | != ")


@lru_cache(4096)
def kinds(type: str, expression: str) -> frozenset[str]:
    """The types of all elements that the expression may give for a resource type; empty when unknown."""
    found: set[str] = set()
    for branch in branches(expression):
        if _BOOLEAN.search(branch):
            found.add("boolean")
            continue
        match = _PATH.fullmatch(_WHERE.sub("", branch))
        if match is None:
            return frozenset()
        cast = match[2] or match[3]
        own = {cast} if cast else _at(match[1].split("."))
        if not own:
            return frozenset()
        found |= own
    return frozenset(found)


def _at(steps: list[str]) -> set[str]:
    """The types of the element at a path, through data types and what repeats the content of another."""
    structure, path, here = steps[0], steps[0], {steps[0]}
    for step in steps[1:]:
        elements = _elements(structure)
        element = elements.get(f"{path}.{step}") or elements.get(f"{path}.{step}[x]")
        if element is None:
            if len(here) != 1:
                return set()
            structure = path = next(iter(here))
            elements = _elements(structure)
            element = elements.get(f"{path}.{step}") or elements.get(f"{path}.{step}[x]")
        if element is None:
            return set()
        path = element.get("contentReference", f"#{element['path']}").lstrip("#")
        here = {kind["code"] for kind in element.get("type", ())}
    return here


@lru_cache(256)
def _elements(name: str) -> dict[str, Json]:
    if not definitions.has_structure(name):
        return {}
    return {element["path"]: element for element in definitions.structure(name)["snapshot"]["element"]}
