"""Works out once what is the same for every item: in `element.all(path.startsWith(%resource.type))`, what
`%resource.type` leads to.

An expression that looks at none of `$this`, `$index` and `$total` has one answer for all items that a rule
goes through, and if it does not look at %context either, one for all elements of the resource. It is kept in
the environment. Without this, a rule that asks of each element something about all others would take time
that grows with their square.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from fhir_coprod.validation.fhirpath.nodes import Env, Nodes, Scope
from fhir_coprod.validation.fhirpath.syntax import (
    Binary,
    Call,
    Expression,
    External,
    Index,
    Literal,
    Member,
    QuantityLiteral,
    Sign,
    TypeTest,
    Variable,
)

_Found = TypeVar("_Found")

_ITEM = frozenset({"$this", "$index", "$total"})
_SAME = frozenset[str]()
_EACH = frozenset({"where", "all", "exists", "select", "repeat", "sort"})
"""Functions that evaluate their argument once for each item."""
_NAMING = frozenset({"is", "as", "ofType", "trace"})
"""Functions whose arguments are names, or are not looked at."""


def looks_at(tree: Expression) -> frozenset[str]:
    """Which of `$this`, `$index`, `$total` and `%context` decide what the expression leads to."""
    match tree:
        case Variable(name):
            return frozenset({name})
        case External("context"):
            return frozenset({"%context"})
        case Member(source, _):
            return _source(source)
        case Call():
            return _source(tree.source) | _arguments(tree)
        case Index(source, index):
            return looks_at(source) | looks_at(index)
        case Sign(_, operand) | TypeTest(_, operand, _):
            return looks_at(operand)
        case Binary(_, left, right):
            return looks_at(left) | looks_at(right)
    return _SAME


def _source(tree: Expression | None) -> frozenset[str]:
    return frozenset({"$this"}) if tree is None else looks_at(tree)


def _arguments(call: Call) -> frozenset[str]:
    if call.name in _NAMING:
        return _SAME
    found = [looks_at(argument) for argument in call.arguments]
    if call.name in _EACH:
        found = [names - {"$this", "$index"} for names in found]
    elif call.name == "aggregate":
        found[:1] = [names - _ITEM for names in found[:1]]
    elif call.name == "iif":
        found = [names - {"$this"} for names in found]
    return _SAME.union(*found)


def is_same_for_all(tree: Expression) -> bool:
    """Whether the expression leads to the same for each item, and it is worth remembering what."""
    match tree:
        case Literal() | QuantityLiteral() | External():
            return False
    return _ITEM.isdisjoint(looks_at(tree))


def once(tree: Expression, run: Callable[[Scope], _Found]) -> Callable[[Scope], _Found]:
    """`run`, which depends on this expression only, asked once if the answer is the same for all items."""
    if not is_same_for_all(tree):
        return run
    in_context = "%context" in looks_at(tree)
    key = object()

    def remembered(scope: Scope) -> _Found:
        context: Nodes | None = scope.context if in_context else None
        held = scope.env.memory.get(key)
        if held is None or held[0] is not context:
            held = scope.env.memory[key] = (context, run(scope))
        found: _Found = held[1]
        return found

    return remembered


def once_in(env: Env, key: object, find: Callable[..., Any]) -> Any:
    """The same for generated code: what `find` finds in an environment."""
    try:
        return env.memory[key]
    except KeyError:
        found = env.memory[key] = find(None, env, None)
        return found
