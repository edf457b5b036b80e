"""Finds steps of an expression that lead nowhere on any data: otherwise a misspelt element is just empty.

FHIRPath calls this strict evaluation. It does not look into what a function gives whose type is only known
when it runs (`resolve()`, `children()`).
"""

from __future__ import annotations

from collections.abc import Iterable

from fhir_coprod import definitions
from fhir_coprod.validation.fhirpath.errors import UnsupportedFhirPath
from fhir_coprod.validation.fhirpath.model import BOOLEAN, Element, Type, type_named
from fhir_coprod.validation.fhirpath.syntax import (
    Binary,
    Call,
    Expression,
    External,
    Index,
    Member,
    Sign,
    TypeTest,
    Variable,
)

Types = frozenset[Type]
"""The types that items may have; empty if that is not known."""

_UNKNOWN: Types = frozenset()
_SAME = frozenset({"where", "first", "last", "tail", "skip", "take", "single", "distinct", "trace", "sort"})
"""Functions that give some of the items they are called on."""
_OF_EACH = frozenset({"where", "all", "exists", "sort"})
"""Functions whose argument is evaluated on each item."""
_ORDERED = frozenset({"first", "last", "tail", "skip", "take"})
_UNORDERED = frozenset({"children", "descendants"})


def check_steps(tree: Expression, base: str) -> None:
    """Raise UnsupportedFhirPath for a step that no item can take, or a position where there is no order.

    base: the type of the context, or an element path.
    """
    type_ = type_named(base)
    _Checker(frozenset({type_})).types(tree, frozenset({type_}))


class _Checker:
    def __init__(self, resource: Types) -> None:
        self._resource = resource

    def types(self, tree: Expression | None, this: Types) -> Types:
        """What items the expression may lead to from `this`."""
        match tree:
            case None | Variable("$this"):
                return this
            case External("resource" | "context" | "rootResource"):
                return self._resource
            case Member(None, name) if name[:1].isupper() and (begun := _named(this, name)):
                return begun
            case Member(source, name):
                return _children(self.types(source, this), name)
            case Index(source, index):
                _refuse_unordered(source, "[…]")
                self.types(index, this)
                return self.types(source, this)
            case Call():
                return self._call(tree, this)
            case TypeTest(operator, operand, name):
                self.types(operand, this)
                return frozenset({BOOLEAN}) if operator == "is" else _one(name)
            case Sign(_, operand):
                return self.types(operand, this)
            case Binary(operator, left, right):
                either = self.types(left, this), self.types(right, this)
                return either[0] | either[1] if operator == "|" and all(either) else _UNKNOWN
        return _UNKNOWN

    def _call(self, call: Call, this: Types) -> Types:
        if call.name in ("ofType", "as", "is"):
            self.types(call.source, this)
            return _argument(call)
        source = self.types(call.source, this)
        if call.name in _ORDERED and call.source is not None:
            _refuse_unordered(call.source, f"{call.name}()")
        if call.name in ("select", "repeat"):
            found = self.types(call.arguments[0], source) if call.arguments else _UNKNOWN
            return found if call.name == "select" else _UNKNOWN
        for argument in call.arguments if call.name not in ("aggregate", "iif") else ():
            self.types(argument, source if call.name in _OF_EACH else this)
        if call.name in _SAME:
            return source
        return frozenset({type_named("Extension")}) if call.name == "extension" else _UNKNOWN


def _named(types: Types, name: str) -> Types:
    return frozenset(type_ for type_ in types if name in type_.ancestors)


def _children(types: Types, name: str) -> Types:
    if not types or any(_is_open(type_) for type_ in types):
        return _UNKNOWN
    elements = [found for type_ in types if (found := own_element(type_, name))]
    if not elements:
        raise UnsupportedFhirPath(f"FHIRPath: {_listed(types)} has no element {name}.")
    return frozenset(type_named(code) for element in elements for _, code in element.keys)


def own_element(type_: Type, name: str) -> Element | None:
    """A child by its name in FHIRPath, which for a choice is `value`, not `valueQuantity`."""
    found = type_.elements.get(name)
    if found is None or found.name != name:
        return None
    is_alias = any(
        name == key and other.name != name for other in type_.elements.values() for key, _ in other.keys
    )
    return None if is_alias else found


def _is_open(type_: Type) -> bool:
    """Whether items may be of a type derived from it, with more children."""
    return type_.name in ("Resource", "DomainResource", "Element", "BackboneElement")


def _listed(types: Iterable[Type]) -> str:
    return " or ".join(sorted(type_.name for type_ in types))


def _one(name: str) -> Types:
    plain = name.removeprefix("FHIR.")
    return frozenset({type_named(plain)}) if definitions.has_structure(plain) else _UNKNOWN


def _argument(call: Call) -> Types:
    if call.name == "is":
        return frozenset({BOOLEAN})
    match call.arguments:
        case (Member(None, name),):
            return _one(name)
        case (Member(Member(None, space), name),):
            return _one(f"{space}.{name}")
    return _UNKNOWN


def _refuse_unordered(source: Expression, what: str) -> None:
    match source:
        case Call(_, name) if name in _UNORDERED:
            raise UnsupportedFhirPath(
                f"FHIRPath: the items of {name}() have no order, so {what} says nothing."
            )
