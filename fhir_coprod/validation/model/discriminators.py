"""Decides which slice a value belongs to (https://hl7.org/fhir/R4/profiling.html#discriminator)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from fhir_coprod.definitions import is_resource_type
from fhir_coprod.definitions.terminology import ValueSet, bare
from fhir_coprod.jsontext import Json
from fhir_coprod.validation.model.lookup import Lookup
from fhir_coprod.validation.model.scope import Scope
from fhir_coprod.validation.model.structure import ABSENT, Binding, Discriminator, Element
from fhir_coprod.validation.model.values import equal, has_pattern, is_member

Test = Callable[[object, str, Scope], bool]
"""(value, its type, its scope) → whether it belongs to the slice."""
Values = Callable[[object, str, Scope], list[tuple[object, str]]]

_STEP = re.compile(
    r"\.?(?:(resolve)\(\)|ofType\(([A-Za-z0-9]+)\)|extension\(['\"]([^'\"]+)['\"]\)|(\$this)|([A-Za-z][A-Za-z0-9]*)(?:\[x\])?)"
)
_TYPE = "type"
FHIR = "http://hl7.org/fhir/StructureDefinition/"


class Undecidable(Exception):
    """The discriminator gives nothing that could be tested."""


def matcher(sliced: Element, part: Element, lookup: Lookup) -> Test | None:
    """The test for one slice; None when its discriminators do not settle it."""
    slicing = sliced.slicing
    if slicing is None or not slicing.discriminators:
        if sliced.choice and part.types:
            codes = frozenset(reference.code for reference in part.types)
            return lambda value, type_, scope: type_ in codes
        return None
    try:
        tests = [_test(discriminator, part, lookup) for discriminator in slicing.discriminators]
    except Undecidable:
        return None
    if len(tests) == 1:
        return tests[0]
    return lambda value, type_, scope: all(test(value, type_, scope) for test in tests)


def url_of(sliced: Element, part: Element, lookup: Lookup) -> str:
    """The url of a slice that only its url tells apart; "" for any other slice."""
    slicing = sliced.slicing
    if sliced.name not in ("extension", "modifierExtension") or slicing is None:
        return ""
    if [(d.type, d.path) for d in slicing.discriminators] != [("value", "url")]:
        return ""
    try:
        declared = _child(part, "url", lookup)
    except Undecidable:
        return ""
    return declared.fixed if declared is not None and isinstance(declared.fixed, str) else ""


def is_certain(sliced: Element, part: Element, lookup: Lookup) -> bool:
    """Whether the test of a slice never says yes for want of the codes."""
    for discriminator in sliced.slicing.discriminators if sliced.slicing is not None else ():
        try:
            declared = _declared(part, list(_steps(discriminator.path)), lookup)
        except Undecidable:
            return False
        binding = None if declared is None else _deciding_binding(declared)
        codes = None if binding is None else lookup.value_set(binding.value_set)
        if codes is not None and not codes.enumerable:
            return False
    return True


def _deciding_binding(declared: Element) -> Binding | None:
    """The binding that tells a slice apart; None when something else does."""
    if declared.max == 0 or declared.fixed is not ABSENT or declared.pattern is not ABSENT:
        return None
    binding = declared.binding
    return binding if binding is not None and binding.strength == "required" else None


def _test(discriminator: Discriminator, part: Element, lookup: Lookup) -> Test:
    steps = list(_steps(discriminator.path))
    declared = _declared(part, steps, lookup)
    values = _values(steps, declared)
    if discriminator.type == _TYPE:
        return _any(values, _type_test(part if not steps else declared, steps, lookup))
    if declared is None:
        raise Undecidable
    if discriminator.type == "profile":
        return _any(values, _profile_test(declared, steps, lookup))
    if discriminator.type == "exists":
        return _existence(values, declared)
    return _value_test(values, declared, lookup)


def _profile_test(declared: Element, steps: list[tuple[str, str]], lookup: Lookup) -> Test:
    """Test by the profiles of the element; the definition of a type is one for its own resources."""
    resolved = bool(steps) and steps[-1][0] == "resolve"
    profiles = tuple(
        p
        for reference in declared.types
        for p in (reference.targets if resolved else reference.profiles or _of_type(reference.code))
    )
    if not profiles or any(lookup.structure(profile) is None for profile in profiles):
        raise Undecidable

    def test(value: object, type_: str, scope: Scope) -> bool:
        inner = scope.of(value)
        return any(lookup.conforms(value, p, inner) for p in profiles)

    return test


def _of_type(code: str) -> tuple[str, ...]:
    """The definition of a resource type, as a profile."""
    return (f"{FHIR}{code}",) if is_resource_type(code) else ()


def _value_test(values: Values, declared: Element, lookup: Lookup) -> Test:
    fixed, pattern = declared.fixed, declared.pattern
    if declared.max == 0:
        return _existence(values, declared)
    if fixed is not ABSENT:
        return _any(values, lambda value, type_, scope: equal(value, fixed))
    if pattern is not ABSENT:
        return _any(values, lambda value, type_, scope: has_pattern(value, pattern))
    binding = _deciding_binding(declared)
    if binding is not None:
        codes = lookup.value_set(binding.value_set)
        if codes is None:
            raise Undecidable
        allowed: ValueSet = codes
        return _any(values, lambda value, type_, scope: is_member(value, type_, allowed) is not False)
    nested = _nested_pattern(declared)
    if nested is not ABSENT:
        return _any(values, lambda value, type_, scope: has_pattern(value, nested))
    return _existence(values, declared)


def _nested_pattern(declared: Element) -> object:
    """The fixed and pattern values of an element's children as one pattern; ABSENT when there are none."""
    parts: dict[str, object] = {}
    for child in declared.children.values():
        stated = child.fixed if child.fixed is not ABSENT else child.pattern
        if stated is ABSENT and child.min > 0:
            stated = _nested_pattern(child)
        if stated is not ABSENT and not child.choice:
            parts[child.name] = [stated] if child.repeats else stated
    return parts or ABSENT


def _existence(values: Values, declared: Element) -> Test:
    if declared.max == 0:
        return lambda value, type_, scope: not values(value, type_, scope)
    if declared.min > 0:
        return lambda value, type_, scope: bool(values(value, type_, scope))
    raise Undecidable


def _type_test(declared: Element | None, steps: list[tuple[str, str]], lookup: Lookup) -> Test:
    """Test by the declared types; after resolve(), by the types of the references' targets."""
    if declared is None or not declared.types:
        raise Undecidable
    if steps and steps[-1][0] == "resolve":
        targets = [target for reference in declared.types for target in reference.targets]
        codes = frozenset(lookup.resource_type_of(target) for target in targets)
    else:
        codes = frozenset(reference.code for reference in declared.types)
    if not codes:
        raise Undecidable
    return lambda value, type_, scope: type_ in codes


def _any(values: Values, test: Test) -> Test:
    return lambda value, type_, scope: any(test(v, t, scope) for v, t in values(value, type_, scope))


def _steps(path: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise Undecidable
        at = step.end()
        resolve, of_type, extension, _, name = step.groups()
        if resolve:
            yield "resolve", ""
        elif of_type:
            yield "ofType", of_type
        elif extension:
            yield "extension", extension
        elif name:
            yield "child", name


def _declared(part: Element, steps: list[tuple[str, str]], lookup: Lookup) -> Element | None:
    """The element at the end of the path, in the definition of the slice."""
    element: Element | None = part
    for kind, name in steps:
        if element is None:
            return None
        if kind == "child":
            element = _child(element, name, lookup)
        elif kind == "extension":
            element = _extension(element, name, lookup)
    return element


def _child(element: Element, name: str, lookup: Lookup) -> Element | None:
    found = element.children.get(name)
    if found is None:
        # The slice or member for one type of a choice: valueCode for value.
        typed = [
            c for key, c in element.children.items() if key.startswith(name) and key[len(name)].isupper()
        ]
        found = typed[0] if len(typed) == 1 and not typed[0].choice else None
    if found is not None:
        return found.slices[0] if found.choice and len(found.slices) == 1 else found
    for reference in element.types:
        for url in (*reference.profiles, reference.code):
            structure = lookup.structure(url)
            if structure is not None and name in structure.root.children:
                return structure.root.children[name]
            if structure is None and url in reference.profiles:
                return _of_unknown(element, reference.code, url, name)
    return None


def _of_unknown(element: Element, code: str, profile: str, name: str) -> Element:
    """What a profile that is not held says of a member: of an extension's url, that it is its own canonical.

    Raises Undecidable for any other member.
    """
    if code != "Extension" or name != "url" or len(element.types) != 1 or len(element.types[0].profiles) != 1:
        raise Undecidable
    return Element(f"{element.id}.url", f"{element.path}.url", "url", 1, 1, fixed=bare(profile))


def _extension(element: Element, url: str, lookup: Lookup) -> Element | None:
    extensions = _child(element, "extension", lookup)
    for part in extensions.slices if extensions else ():
        named = _child(part, "url", lookup)
        if named is not None and named.fixed == url:
            return part
    return extensions


def _values(steps: list[tuple[str, str]], declared: Element | None) -> Values:
    """A function that walks a value along the path; it finds several values where members repeat."""

    def values(value: object, type_: str, scope: Scope) -> list[tuple[object, str]]:
        found: list[tuple[object, str]] = [(value, type_)]
        for kind, name in steps:
            if kind == "child":
                found = [child for v, _ in found for child in _children(v, name)]
            elif kind == "extension":
                found = [
                    (e, "Extension")
                    for v, _ in found
                    for e, _ in _children(v, "extension")
                    if isinstance(e, dict) and e.get("url") == name
                ]
            elif kind == "ofType":
                found = [(v, t) for v, t in found if t in (name, "")]
            else:
                found = [target for v, _ in found for target in _resolved(v, scope)]
        return found

    return values


def _children(value: object, name: str) -> Iterator[tuple[object, str]]:
    if not isinstance(value, dict):
        return
    if name in value:
        held = value[name]
        for item in held if isinstance(held, list) else (held,):
            named = item.get("resourceType") if isinstance(item, dict) else None
            yield item, named if isinstance(named, str) else ""
        return
    size = len(name)
    for key, held in value.items():
        if key.startswith(name) and key[size : size + 1].isupper():
            code = key[size:]
            # Primitive types have a capital letter in the key only.
            yield held, code if isinstance(held, dict) else code[:1].lower() + code[1:]


def _resolved(value: object, scope: Scope) -> Iterator[tuple[object, str]]:
    if not isinstance(value, dict):
        return
    reference: Json = value
    literal = reference.get("reference")
    target = scope.resolve(literal) if isinstance(literal, str) else None
    named = scope.target_types(reference)
    if target is not None or named:
        yield (target if target is not None else {}), named[0] if named else ""
