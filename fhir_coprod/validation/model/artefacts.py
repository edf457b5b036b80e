"""Checks that CodeSystems, ValueSets and other definitions are consistent: R4 implies it, HL7 checks it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fhir_coprod.validation.model.formats import is_absolute
from fhir_coprod.validation.model.scope import Scope

_identifier = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch


def questions_exist(questionnaire: object, scope: Scope) -> bool:
    """Each enableWhen.question is the linkId of an item."""
    items = list(_below(questionnaire, "item"))
    known = {item["linkId"] for item in items if isinstance(item.get("linkId"), str)}
    asked = (condition.get("question") for item in items for condition in _objects(item.get("enableWhen")))
    return all(not isinstance(question, str) or question in known for question in asked)


def count_is_true(code_system: object, scope: Scope) -> bool:
    """The count of a complete CodeSystem is the number of its concepts."""
    if not isinstance(code_system, dict) or code_system.get("content") != "complete":
        return True
    count = code_system.get("count")
    return not isinstance(count, int) or count == sum(1 for _ in _below(code_system, "concept"))


def supplement_says_so(code_system: object, scope: Scope) -> bool:
    """A CodeSystem has the content `supplement` exactly when it supplements another."""
    if not isinstance(code_system, dict) or not isinstance(code_system.get("content"), str):
        return True
    is_supplement: bool = code_system["content"] == "supplement"
    return ("supplements" in code_system) == is_supplement


def absent_is_absent(code_system: object, scope: Scope) -> bool:
    """A CodeSystem whose content is `not-present` lists no concepts."""
    return (
        not isinstance(code_system, dict)
        or code_system.get("content") != "not-present"
        or "concept" not in code_system
    )


def composite_has_parts(parameter: object, scope: Scope) -> bool:
    """A SearchParameter of the type composite has at least two components."""
    if not isinstance(parameter, dict) or parameter.get("type") != "composite":
        return True
    return sum(1 for _ in _objects(parameter.get("component"))) >= 2


def systems_are_absolute(value_set: object, scope: Scope) -> bool:
    """The systems that a ValueSet includes or excludes are named by absolute URIs."""
    compose = value_set.get("compose") if isinstance(value_set, dict) else None
    if not isinstance(compose, dict):
        return True
    parts = [*_objects(compose.get("include")), *_objects(compose.get("exclude"))]
    systems = (part.get("system") for part in parts)
    # A contained code system is named as #id.
    return all(not isinstance(system, str) or system[:1] == "#" or is_absolute(system) for system in systems)


def groups_are_named(structure_map: object, scope: Scope) -> bool:
    """Groups and their inputs have names that the mapping language can refer to."""
    groups = list(_objects(structure_map.get("group") if isinstance(structure_map, dict) else None))
    named = [*groups, *(given for group in groups for given in _objects(group.get("input")))]
    names = (thing.get("name") for thing in named)
    return all(not isinstance(name, str) or _identifier(name) is not None for name in names)


def _below(owner: object, key: str) -> Iterator[dict[str, object]]:
    """Every object under `key`, and under `key` of those objects in turn."""
    waiting = list(_objects(owner.get(key) if isinstance(owner, dict) else None))
    while waiting:
        found = waiting.pop()
        yield found
        waiting += _objects(found.get(key))


def _objects(held: object) -> Iterator[dict[str, object]]:
    return (one for one in held if isinstance(one, dict)) if isinstance(held, list) else iter(())
