"""FHIRPath over plain JSON: an expression is translated once and then runs as Python.

    typed = compile_typed("Observation.value", "Observation")
    typed(observation)                               # [("Quantity", {...})]

    rule = compile_invariant("start.hasValue().not() or end.hasValue().not() or (start <= end)", "Period")
    rule(period, Env(resource=encounter))            # True

An expression that cannot be decided here raises UnsupportedFhirPath when it is compiled. One that cannot
handle its data raises FhirPathError when it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any, Protocol

from fhir_coprod import definitions
from fhir_coprod.jsontext import Json
from fhir_coprod.validation.fhirpath import programs
from fhir_coprod.validation.fhirpath.closures.compiler import compiled
from fhir_coprod.validation.fhirpath.corrections import corrected
from fhir_coprod.validation.fhirpath.errors import FhirPathError, Undecided, UnsupportedFhirPath
from fhir_coprod.validation.fhirpath.model import Type, type_named
from fhir_coprod.validation.fhirpath.nodes import Compiled, Env, Node, Nodes, Scope, as_truth, root
from fhir_coprod.validation.fhirpath.parser import parse
from fhir_coprod.validation.fhirpath.runtime import unique
from fhir_coprod.validation.fhirpath.syntax import Binary, Expression

Typed = Callable[[Json], list[tuple[str, Any]]]
"""The same, with the FHIR type before each value."""

__all__ = [
    "Env",
    "FhirPathError",
    "Invariant",
    "Typed",
    "Undecided",
    "UnsupportedFhirPath",
    "compile_invariant",
    "compile_typed",
    "is_supported",
]

_FHIR_OF_SYSTEM = {
    "System.Boolean": "boolean",
    "System.String": "string",
    "System.Integer": "integer",
    "System.Decimal": "decimal",
    "System.Date": "date",
    "System.DateTime": "dateTime",
    "System.Time": "time",
}


class Invariant(Protocol):
    """A rule on one value of a known type."""

    def __call__(self, focus: Any, env: Env, beside: Json | None = None) -> bool:
        """Whether the rule holds. `beside` is the object under `_name`, for a primitive.

        Raises FhirPathError when the rule cannot be answered for this data.
        """


def is_supported(expression: str) -> bool:
    """Whether it can be compiled: a quick answer for those who may never need the function."""
    try:
        compiled(parse(expression))
    except UnsupportedFhirPath:
        return False
    return True


def compile_typed(expression: str, base: str) -> Typed:
    """A path as a function of a resource that also gives the FHIR type of each value, as an index needs.

    Raises UnsupportedFhirPath.
    """
    return _typed(expression, base, definitions.generation())


def compile_invariant(expression: str, base: str, key: str = "") -> Invariant:
    """A rule as a yes-or-no function of a value.

    base: what the value is: a type ("Period"), or an element path ("Patient.contact"); a choice with its type
    ("Observation.effectiveDateTime", or just "dateTime").
    key: the rule's key: HL7 has corrected a few of R4's rules since.
    A rule whose answer is empty does not hold. Raises UnsupportedFhirPath.
    """
    return _invariant(expression, base, key, definitions.generation())


# Compiled again after a package was loaded: `memberOf` may now know more.


@lru_cache(maxsize=4096)
def _typed(expression: str, base: str, generation: int) -> Typed:
    tree, type_ = parse(expression), type_named(base)
    sides = [_evaluator(compiled(side), type_) for side in _sides(tree)]

    def by_closures(resource: Json) -> list[tuple[str, Any]]:
        values = [
            (_FHIR_OF_SYSTEM.get(node.type.name, node.type.fhir), _plain(node))
            for evaluate in sides
            for node in evaluate(resource)
            if node.value is not None
        ]
        return unique(values) if len(sides) > 1 else values

    return programs.values(tree, type_, by_closures)


def _sides(tree: Expression) -> list[Expression]:
    """The sides of a union, or the expression itself."""
    match tree:
        case Binary("|", left, right):
            return [*_sides(left), *_sides(right)]
    return [tree]


def _evaluator(run: Compiled, type_: Type) -> Callable[[Json], Nodes]:
    def evaluate(resource: Json) -> Nodes:
        focus = [root(resource, type_)]
        return run(Scope(Env(resource), focus, focus))

    return evaluate


def _plain(node: Node) -> Any:
    value = node.value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value


@lru_cache(maxsize=8192)
def _invariant(expression: str, base: str, key: str, generation: int) -> Invariant:
    tree, type_ = parse(corrected(expression, key)), type_named(base)
    run = compiled(tree)

    def by_closures(focus: Any, env: Env, beside: Json | None = None) -> bool:
        node = [Node(focus, type_, beside) if type_.is_primitive else root(focus, type_)]
        return as_truth(run(Scope(env, node, node))) is True

    return programs.rule(tree, type_, by_closures)
