"""The syntax tree of a parsed FHIRPath expression (FHIRPath 2.0, https://hl7.org/fhirpath/N1/).

A `source` of None means that the path starts at the current context, `$this`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any
from typing import Literal as OneOf

LiteralKind = OneOf["Boolean", "String", "Integer", "Decimal", "Date", "DateTime", "Time"]


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant; date and time constants keep their text, without the leading `@` and `T` of a time."""

    kind: LiteralKind
    value: bool | str | int | Decimal


@dataclass(frozen=True, slots=True)
class QuantityLiteral:
    """`4 'mg'` or `3 days`; `calendar` is True when the unit is a word, not a UCUM code."""

    value: Decimal
    unit: str
    calendar: bool


@dataclass(frozen=True, slots=True)
class Empty:
    """The empty collection `{}`."""


@dataclass(frozen=True, slots=True)
class Variable:
    """`$this`, `$index` or `$total`."""

    name: OneOf["$this", "$index", "$total"]


@dataclass(frozen=True, slots=True)
class External:
    """`%resource` and similar, without the percent sign."""

    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """`source.name`, a step to child elements."""

    source: Expression | None
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """`source.name(arguments)`."""

    source: Expression | None
    name: str
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """`source[index]`."""

    source: Expression
    index: Expression


@dataclass(frozen=True, slots=True)
class Sign:
    """Unary plus or minus."""

    operator: OneOf["+", "-"]
    operand: Expression


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands and an operator other than `is` and `as`."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class TypeTest:
    """`operand is type` or `operand as type`; the type may be qualified, as in `FHIR.Patient`."""

    operator: OneOf["is", "as"]
    operand: Expression
    type: str


Expression = (
    Literal | QuantityLiteral | Empty | Variable | External | Member | Call | Index | Sign | Binary | TypeTest
)


def _below(tree: Expression) -> Iterator[Expression]:
    for field in fields(tree):
        value: Any = getattr(tree, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Expression):
                yield part


def parts(tree: Expression) -> Iterator[Expression]:
    """An expression and all its sub-expressions."""
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        yield part
        waiting += _below(part)


def depth(tree: Expression) -> int:
    """How deep expressions are nested in one another."""
    levels = 0
    level = [tree]
    while level:
        levels += 1
        level = [part for outer in level for part in _below(outer)]
    return levels
