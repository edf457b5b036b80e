"""Checks that the names and codes in a mapping exist in R4 (4.0.1).

Each `…_mistake` is a sentence that says what is wrong and what to write; "" when nothing is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache

from fhir_coprod import definitions
from fhir_coprod.definitions import SearchParameter
from fhir_coprod.jsontext import Json

_R4_PARAMETERS = "http://hl7.org/fhir/SearchParameter/"
_MODIFIERS = "http://hl7.org/fhir/ValueSet/search-modifier-code"
_OF_EVERY_TYPE = frozenset(("_content", "_filter", "_has", "_list", "_query", "_sort", "_text", "_total"))
"""R4's search parameters that search no element. Left out are those that choose a part of each record or
more records to send: `_summary`, `_elements`, `_include`; and `_count`, which is `page_size` here."""
_PLAIN_PATH = re.compile(r"\w+((?:\.\w+)+)")
"""An expression that is an element's path and nothing else."""


def type_mistake(type: str) -> str:
    """About a resource type."""
    if definitions.is_resource_type(type):
        return ""
    return f"FHIR R4 has no resource type {type!r}{_instead(type, definitions.resource_types())}"


def code_mistake(system: str, code: str) -> str:
    """About a code of a code system that R4 defines."""
    known = definitions.code_system(system) or frozenset()
    return "" if code in known else f"{code!r} is no code of {system}{_instead(code, known)}"


# --- elements -------------------------------------------------------------------------------------


def element(type: str, path: str) -> Json | None:
    """The ElementDefinition of `status`, `deceased[x]`, `contact.name.family`; None when there is none.

    A choice is named as R4 defines it; anything below a choice depends on its type, and is not found.
    """
    place, held = type, _elements(type)
    found: Json | None = None
    for name in path.split("."):
        if found is not None and f"{place}.{name}" not in held:
            kinds = [kind["code"] for kind in found.get("type", ())]
            if len(kinds) != 1 or not definitions.has_structure(kinds[0]):
                return None
            place, held = kinds[0], _elements(kinds[0])
        found = held.get(f"{place}.{name}")
        if found is None:
            return None
        # Questionnaire.item.item has the definition of Questionnaire.item.
        place = found.get("contentReference", f"#{place}.{name}").removeprefix("#")
    return found


def element_mistake(type: str, path: str) -> str:
    """About an element of a resource type that exists."""
    if element(type, path) is not None:
        return ""
    names = [name.removeprefix(f"{type}.") for name in _elements(type)]
    for name in names:
        stem = name.removesuffix("[x]")
        if stem != name and path.startswith(stem) and path[len(stem) : len(stem) + 1].isupper():
            return f"{type}.{path} is one form of a choice; write {name!r}, which stands for all of them."
    return f"{type} has no element {path!r} in R4{_instead(path, names)}"


@cache
def _elements(structure: str) -> Mapping[str, Json]:
    """By path."""
    return {e["path"]: e for e in definitions.structure(structure)["snapshot"]["element"]}


# --- searches -------------------------------------------------------------------------------------


def parameter(type: str, code: str) -> SearchParameter | None:
    """R4's search parameter. Our package's own are left out: no EHR has heard of them."""
    found = definitions.search_parameters(type).get(code)
    return found if found is not None and found.url.startswith(_R4_PARAMETERS) else None


def search_mistake(type: str, name: str, value: str) -> str:
    """About one `name=value` of a search: `category`, `code:text`, `patient.identifier`."""
    head, dot, rest = name.partition(".")
    code, _, modifier = head.partition(":")
    if code in _OF_EVERY_TYPE:
        return ""
    held = parameter(type, code)
    if held is None:
        names = [known for known in definitions.search_parameters(type) if parameter(type, known)]
        return f"{type} has no search parameter {code!r} in R4{_instead(code, names)}"
    if dot:
        targets = (modifier,) if modifier else held.target
        if any(not search_mistake(target, rest, value) for target in targets if target):
            return ""
        return f"nothing that {type}.{code} refers to can be searched by {rest!r} in R4."
    allowed = definitions.value_set(_MODIFIERS) or {}
    modifiers = {known for codes in allowed.values() for known in codes} | set(held.target)
    if modifier and modifier not in modifiers:
        return f"R4 has no search modifier {modifier!r}{_instead(modifier, modifiers)}"
    return "" if modifier else _code_mistake(type, held, value)


def _code_mistake(type: str, held: SearchParameter, value: str) -> str:
    """About codes for an element that only allows R4's own codes."""
    path = _PLAIN_PATH.fullmatch(held.expression)
    searched = element(type, path[1].removeprefix(".")) if held.type == "token" and path else None
    binding = (searched or {}).get("binding", {})
    codes = definitions.value_set(binding["valueSet"]) if binding.get("strength") == "required" else None
    if codes is None:
        return ""
    every = sorted({code for held_codes in codes.values() for code in held_codes})
    for one in value.split(","):
        system, bar, code = one.rpartition("|")
        if code not in (codes.get(system, ()) if bar and system else every):
            return f"{one!r} is none of the codes of {type}.{held.code} in R4{_instead(code, every)}"
    return ""


# --- what to write instead ------------------------------------------------------------------------

_FEW = 40


def _instead(name: str, names: Iterable[str]) -> str:
    """The end of a sentence: the name that was probably meant, or all names if there are few."""
    known = sorted(names)
    near = get_close_matches(name, known, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; there is {', '.join(known)}." if len(known) <= _FEW else "."
