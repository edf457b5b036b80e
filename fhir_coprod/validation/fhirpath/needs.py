"""Which members a rule speaks of: where none of them is there, a rule may hold without being run."""

from __future__ import annotations

from collections.abc import Iterator

from fhir_coprod.validation.fhirpath.knowledge import CONSTANTS
from fhir_coprod.validation.fhirpath.model import Type
from fhir_coprod.validation.fhirpath.syntax import (
    Binary,
    Call,
    Empty,
    Expression,
    External,
    Index,
    Literal,
    Member,
    QuantityLiteral,
    Sign,
    TypeTest,
    Variable,
    parts,
)

_PER_ITEM = frozenset({"where", "select", "all", "exists", "repeat", "trace"})
"""Functions whose arguments look at the items they are called on."""


class _Anything(Exception):
    """The rule looks at more than named members of its focus."""


def keys_needed(tree: Expression, type_: Type) -> frozenset[str]:
    """JSON keys of the focus that the answer depends on; empty when it may depend on anything else."""
    if type_.is_primitive:
        return frozenset()
    keys: set[str] = set()
    try:
        for name in _first_names(tree, type_):
            element = type_.elements.get(name)
            for key, _ in element.keys if element else ():
                keys |= {key, "_" + key}
    except _Anything:
        return frozenset()
    return frozenset(keys)


def _first_names(tree: Expression, type_: Type) -> Iterator[str]:
    match tree:
        case Literal() | QuantityLiteral() | Empty():
            return
        case External(name) if name in CONSTANTS:
            return
        case Member(None | Variable("$this"), name):
            if name in type_.ancestors:
                raise _Anything
            yield name
        case Member(Member(None, own), name) if own in type_.ancestors:
            yield name
        case Member(source, _) if source is not None:
            yield from _first_names(source, type_)
        case Call(source, function, arguments):
            if source is None and function != "iif":
                raise _Anything
            if source is not None:
                yield from _first_names(source, type_)
            for argument in arguments:
                if function in _PER_ITEM:
                    if any(
                        isinstance(part, External) and part.name not in CONSTANTS for part in parts(argument)
                    ):
                        raise _Anything
                elif function not in ("ofType", "as", "is"):
                    yield from _first_names(argument, type_)
        case Index(source, index):
            yield from _first_names(source, type_)
            yield from _first_names(index, type_)
        case Sign(_, operand) | TypeTest(_, operand, _):
            yield from _first_names(operand, type_)
        case Binary(_, left, right):
            yield from _first_names(left, type_)
            yield from _first_names(right, type_)
        case _:
            raise _Anything
