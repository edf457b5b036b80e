"""Finds out which members an invariant looks at, so that it only runs when its answer is still open.

`start.empty() or end.empty() or start <= end` always holds for an object with neither member; the answer of
`value.exists() or dataAbsentReason.exists()` depends only on which members are present, not on their values.
"""

from __future__ import annotations

from fhir_coprod.validation.fhirpath.parser import parse
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

_OWN_FOCUS = frozenset({"where", "all", "select", "exists", "any", "repeat", "aggregate"})
"""Functions whose arguments are evaluated on the items before the dot."""
_CONSTANTS = frozenset({"ucum", "sct", "loinc"})
_PRESENCE = frozenset({"and", "or", "xor", "implies", "=", "!="})


class _Outside(Exception):
    """The expression looks at more than the members of its focus."""


def members(expression: str) -> frozenset[str] | None:
    """The members of the focus that decide the expression; None when it also looks at something else."""
    found: set[str] = set()
    try:
        _gather(parse(expression), found, own=True)
    except _Outside:
        return None
    return frozenset(found)


def _gather(tree: Expression | None, found: set[str], *, own: bool) -> None:
    """Collect the members; `own` is False inside an argument whose focus is not the rule's."""
    match tree:
        case None:
            if own:
                raise _Outside
        case Member(None, name):
            if own:
                found.add(name)
        case Member(source, _):
            _gather(source, found, own=own)
        case Call(source, name, arguments):
            _gather(source, found, own=own)
            for argument in arguments:
                _gather(argument, found, own=own and name not in _OWN_FOCUS)
        case Index(source, index):
            _gather(source, found, own=own)
            _gather(index, found, own=own)
        case Sign(_, operand) | TypeTest(_, operand, _):
            _gather(operand, found, own=own)
        case Binary(_, left, right):
            _gather(left, found, own=own)
            _gather(right, found, own=own)
        case Variable("$this"):
            if own:
                raise _Outside
        case External(name):
            if name not in _CONSTANTS:
                raise _Outside
        case _:
            pass


def is_presence(expression: str) -> bool:
    """Whether the answer depends only on which members are present."""
    return _presence(parse(expression))


def _presence(tree: Expression) -> bool:
    match tree:
        case Call(Member(None, _), "exists" | "empty", ()):
            return True
        case Call(source, "not", ()) if source is not None:
            return _presence(source)
        case Binary(operator, left, right):
            return operator in _PRESENCE and _presence(left) and _presence(right)
    return False
