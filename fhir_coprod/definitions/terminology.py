"""Value sets and code systems as sets of codes: decides membership without a terminology server, if it can.

A ValueSet.compose (https://hl7.org/fhir/R4/valueset-definitions.html) is reduced to three things: the codes
that we can list, the systems from which it takes codes that we cannot list (SNOMED CT, LOINC, UCUM,
languages), and whether that is everything we know about it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from fhir_coprod.jsontext import Json


@dataclass(frozen=True, slots=True)
class ValueSet:
    """What a value set allows.

    codes:        system → listed codes
    open_systems: systems of which it takes codes that we do not hold; membership there is undecidable offline
    known:        False when it refers to something we do not have at all: then no code can be ruled out
    """

    codes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    open_systems: frozenset[str] = frozenset()
    known: bool = True

    @property
    def enumerable(self) -> bool:
        """True when every code that belongs to it is listed in `codes`."""
        return self.known and not self.open_systems

    def allows(self, system: str, code: str) -> bool | None:
        """Whether the code belongs to it; None when that cannot be decided offline."""
        if code in self.codes.get(system, ()):
            return True
        if not self.known or system in self.open_systems:
            return None
        return False

    def allows_code(self, code: str) -> bool | None:
        """The same for an element of type `code`, which has no system."""
        if any(code in codes for codes in self.codes.values()):
            return True
        return False if self.enumerable else None


FindValueSet = Callable[[str], "ValueSet | None"]
FindCodeSystem = Callable[[str], "Json | None"]

UNKNOWN = ValueSet(known=False)


def bare(canonical: str) -> str:
    """A canonical without its |version."""
    return canonical.partition("|")[0]


def expand(value_set: Json, find_value_set: FindValueSet, find_code_system: FindCodeSystem) -> ValueSet:
    """The codes of a ValueSet resource.

    find_value_set, find_code_system: look up by canonical (no version) what it refers to; None = not held.
    An expansion is only used if there is no compose, since it may be one page of the whole.
    """
    compose = value_set.get("compose")
    if not compose:
        return _from_expansion(value_set.get("expansion"))
    result = ValueSet()
    for rule in compose.get("include", ()):
        result = union(result, _rule(rule, find_value_set, find_code_system))
    for rule in compose.get("exclude", ()):
        result = _without(result, _rule(rule, find_value_set, find_code_system))
    return result


def concepts(code_system: Json) -> Iterator[Json]:
    """Every concept of a CodeSystem, nested ones too."""
    below: list[Json] = list(code_system.get("concept", ()))
    while below:
        concept = below.pop()
        yield concept
        below += concept.get("concept", ())


def is_complete(code_system: Json) -> bool:
    """Whether the CodeSystem lists all its codes."""
    return bool(code_system.get("content") == "complete")


def _from_expansion(expansion: Json | None) -> ValueSet:
    if not expansion or expansion.get("total", 0) > len(expansion.get("contains", ())):
        return UNKNOWN
    codes: dict[str, set[str]] = {}
    below: list[Json] = list(expansion.get("contains", ()))
    while below:
        entry = below.pop()
        below += entry.get("contains", ())
        if "code" in entry and not entry.get("abstract"):
            codes.setdefault(entry.get("system", ""), set()).add(entry["code"])
    return ValueSet({system: frozenset(found) for system, found in codes.items()})


def _rule(rule: Json, find_value_set: FindValueSet, find_code_system: FindCodeSystem) -> ValueSet:
    """One include or exclude: the codes it takes from its system, within all the value sets it names."""
    result: ValueSet | None = None
    system = rule.get("system")
    if system:
        result = _of_system(system, rule, find_code_system)
    for canonical in rule.get("valueSet", ()):
        imported = find_value_set(bare(canonical)) or UNKNOWN
        result = imported if result is None else _intersection(result, imported)
    return UNKNOWN if result is None else result


def _of_system(system: str, rule: Json, find_code_system: FindCodeSystem) -> ValueSet:
    if "concept" in rule:
        return ValueSet({system: frozenset(concept["code"] for concept in rule["concept"])})
    code_system = find_code_system(system)
    if code_system is None or not is_complete(code_system):
        return ValueSet(open_systems=frozenset([system]))
    codes = frozenset(concept["code"] for concept in concepts(code_system))
    for condition in rule.get("filter", ()):
        chosen = _filtered(code_system, condition)
        if chosen is None:
            return ValueSet(open_systems=frozenset([system]))
        codes &= chosen
    return ValueSet({system: codes})


def _filtered(code_system: Json, condition: Json) -> frozenset[str] | None:
    """The codes that match one compose.include.filter; None when we cannot tell."""
    operator, name, value = condition["op"], condition["property"], condition["value"]
    everything = {concept["code"] for concept in concepts(code_system)}
    if name in ("concept", "code") and operator in ("is-a", "descendent-of", "is-not-a"):
        if value not in everything:
            return None
        below = _descendants(code_system, value)
        if operator == "descendent-of":
            return frozenset(below)
        return frozenset(below | {value} if operator == "is-a" else everything - below - {value})
    if name == "code" and operator == "regex":
        return frozenset(code for code in everything if re.fullmatch(value, code))
    if operator in ("=", "in", "exists"):
        wanted = {value} if operator == "=" else set(value.split(","))
        chosen: set[str] = set()
        seen = False
        for concept in concepts(code_system):
            values = [_property_value(p) for p in concept.get("property", ()) if p.get("code") == name]
            seen = seen or bool(values)
            held = bool(values) == (value == "true") if operator == "exists" else bool(wanted & set(values))
            if held:
                chosen.add(concept["code"])
        return frozenset(chosen) if seen else None
    return None


def _property_value(declared: Json) -> str:
    if isinstance(coded := declared.get("valueCode"), str):
        return coded
    value = next((v for k, v in declared.items() if k.startswith("value")), "")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _descendants(code_system: Json, ancestor: str) -> set[str]:
    children: dict[str, set[str]] = {}
    for parent, child in _pairs(code_system):
        children.setdefault(parent, set()).add(child)
    return _reached(children, ancestor)


def _pairs(code_system: Json) -> Iterator[tuple[str, str]]:
    """Parent and child, by nesting and by the properties that name parents or children."""
    for concept in concepts(code_system):
        code = concept["code"]
        for child in concept.get("concept", ()):
            yield code, child["code"]
        for declared in concept.get("property", ()):
            name = declared.get("code")
            if name in ("parent", "subsumedBy"):
                yield _property_value(declared), code
            elif name == "child":
                yield code, _property_value(declared)


def _reached(steps: Mapping[str, set[str]], code: str) -> set[str]:
    found: set[str] = set()
    waiting = list(steps.get(code, ()))
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += steps.get(each, ())
    return found


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """The codes of a code system, and which stand directly below and above which."""

    codes: frozenset[str]
    children: Mapping[str, set[str]]
    parents: Mapping[str, set[str]]

    def below(self, code: str) -> frozenset[str] | None:
        """The code and all below it; None if the system has no such code."""
        return frozenset({code, *_reached(self.children, code)}) if code in self.codes else None

    def above(self, code: str) -> frozenset[str] | None:
        """The code and all above it; None if the system has no such code."""
        return frozenset({code, *_reached(self.parents, code)}) if code in self.codes else None


def hierarchy(code_system: Json) -> Hierarchy:
    """That of a CodeSystem resource."""
    children: dict[str, set[str]] = {}
    parents: dict[str, set[str]] = {}
    for parent, child in _pairs(code_system):
        children.setdefault(parent, set()).add(child)
        parents.setdefault(child, set()).add(parent)
    return Hierarchy(frozenset(concept["code"] for concept in concepts(code_system)), children, parents)


def union(one: ValueSet, other: ValueSet) -> ValueSet:
    """What at least one of two value sets allows."""
    codes = dict(one.codes)
    for system, more in other.codes.items():
        codes[system] = codes.get(system, frozenset()) | more
    return ValueSet(codes, one.open_systems | other.open_systems, one.known and other.known)


def _without(one: ValueSet, excluded: ValueSet) -> ValueSet:
    codes = {system: held - excluded.codes.get(system, frozenset()) for system, held in one.codes.items()}
    # An exclusion that we cannot list makes the codes of its system doubtful, not forbidden.
    doubtful = excluded.open_systems & codes.keys()
    return ValueSet(
        {system: held for system, held in codes.items() if held and system not in doubtful},
        one.open_systems | doubtful,
        one.known and excluded.known,
    )


def _intersection(one: ValueSet, other: ValueSet) -> ValueSet:
    codes: dict[str, frozenset[str]] = {}
    for system in one.codes.keys() | other.codes.keys():
        left, right = one.codes.get(system), other.codes.get(system)
        if left is not None and right is not None:
            held = left & right
        elif left is not None:
            held = left if system in other.open_systems or not other.known else frozenset()
        else:
            held = (right or frozenset()) if system in one.open_systems or not one.known else frozenset()
        if held:
            codes[system] = held
    return ValueSet(codes, one.open_systems & other.open_systems, one.known and other.known)
