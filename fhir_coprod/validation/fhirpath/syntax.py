"""The shape of a parsed FHIRPath expression (FHIRPath 2.0, https://hl7.org/fhirpath/N1/).

A `source` of None means the path starts at the current context, `$this`.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal as OneOf

LiteralKind = OneOf["Boolean", "String", "Integer", "Decimal", "Date", "DateTime", "Time"]


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant; date and time constants keep their text, without the leading `@` and `T` of a time."""

    kind: LiteralKind
    value: bool | str | int | Decimal


@dataclass(frozen=True, slots=True)
class QuantityLiteral:
    """`4 'mg'` or `3 days`; `calendar` tells that the unit is a word and not a UCUM code."""

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
    """`%resource` and its like, without the percent sign."""

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
