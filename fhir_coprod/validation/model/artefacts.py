"""Checks that CodeSystems, ValueSets and other definitions are consistent: R4 implies it, HL7 checks it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fhir_coprod import definitions
from fhir_coprod.validation.model.formats import is_absolute
from fhir_coprod.validation.model.scope import Scope

SNOMED = "http://snomed.info/sct"
_HIERARCHY = frozenset({"is-a", "descendent-of", "is-not-a"})
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


def search_types_are_right(statement: object, scope: Scope) -> Iterator[tuple[str, str]]:
    """A search parameter is declared with the type that its definition has."""
    for rest_at, rest in _placed(statement, "rest"):
        for at, declared in _placed(rest, "resource"):
            held = definitions.search_parameters(str(declared.get("type")))
            by_url = {parameter.url: parameter.type for parameter in held.values()}
            for below, parameter in _placed(declared, "searchParam"):
                type_ = by_url.get(str(parameter.get("definition")).partition("|")[0])
                if (
                    type_ is not None
                    and isinstance(parameter.get("type"), str)
                    and parameter["type"] != type_
                ):
                    yield f"{rest_at}{at}{below}.type", f"The definition of this parameter has type {type_}."


def filters_name_concepts(value_set: object, scope: Scope) -> Iterator[tuple[str, str]]:
    """What a filter on SNOMED CT goes below is named by its code, which is a number."""
    compose = value_set.get("compose") if isinstance(value_set, dict) else None
    for name in ("include", "exclude"):
        for at, part in _placed(compose, name):
            for below, condition in _placed(part, "filter"):
                value = condition.get("value")
                looked_at = part.get("system") == SNOMED and condition.get("op") in _HIERARCHY
                if looked_at and isinstance(value, str) and not value.isdigit():
                    yield f".compose{at}{below}.value", "A concept of SNOMED CT is named by its code."


def properties_name_concepts(code_system: object, scope: Scope) -> Iterator[tuple[str, str]]:
    """A concept that a property names is in its code system, as far as that is another one and held whole."""
    own = code_system.get("url") if isinstance(code_system, dict) else None
    for concept_at, concept in _placed_below(code_system, "concept"):
        for at, held in _placed(concept, "property"):
            coding = held.get("valueCoding")
            system, code = map(coding.get, ("system", "code")) if isinstance(coding, dict) else (None, None)
            codes = definitions.code_system(system) if isinstance(system, str) and system != own else None
            if codes is not None and isinstance(code, str) and code not in codes:
                yield f"{concept_at}{at}.value", "Its code system has no such code; correct the property."


def maps_what_its_source_has(concept_map: object, scope: Scope) -> Iterator[tuple[str, str]]:
    """What a ConceptMap maps is in its source value set, as far as that is held and can be listed."""
    named = concept_map.get("sourceCanonical") if isinstance(concept_map, dict) else None
    source = definitions.value_set_content(named) if isinstance(named, str) else None
    for group_at, group in _placed(concept_map, "group"):
        system = group.get("source")
        for at, element in _placed(group, "element"):
            code = element.get("code")
            if source is None or not isinstance(system, str) or not isinstance(code, str):
                continue
            if source.allows(system, code) is False:
                yield f"{group_at}{at}.code", "The source value set has no such code; correct one of them."


def fits_its_base(definition: object, scope: Scope) -> Iterator[tuple[str, str]]:
    """The differential of a profile changes what its base has, and only within what the base allows."""
    if not isinstance(definition, dict) or definition.get("derivation") != "constraint":
        return
    if "differential" not in definition:
        return
    if why := definitions.misfit(definition):
        yield ".differential", f"The differential does not fit the base: {why}."


def _placed(owner: object, key: str) -> Iterator[tuple[str, dict[str, object]]]:
    """(place, object) of each object in a list."""
    held = owner.get(key) if isinstance(owner, dict) else None
    for number, one in enumerate(held if isinstance(held, list) else ()):
        if isinstance(one, dict):
            yield f".{key}[{number}]", one


def _placed_below(owner: object, key: str) -> Iterator[tuple[str, dict[str, object]]]:
    """(place, object) of each object under `key`, and under `key` of those objects in turn."""
    waiting = list(_placed(owner, key))
    while waiting:
        place, found = waiting.pop()
        yield place, found
        waiting += [(place + at, inner) for at, inner in _placed(found, key)]


def _below(owner: object, key: str) -> Iterator[dict[str, object]]:
    """Every object under `key`, and under `key` of those objects in turn."""
    waiting = list(_objects(owner.get(key) if isinstance(owner, dict) else None))
    while waiting:
        found = waiting.pop()
        yield found
        waiting += _objects(found.get(key))


def _objects(held: object) -> Iterator[dict[str, object]]:
    return (one for one in held if isinstance(one, dict)) if isinstance(held, list) else iter(())
