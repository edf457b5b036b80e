"""Turns an expression into a function that runs: generated code where possible, otherwise closures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fhir_coprod.jsontext import Json
from fhir_coprod.validation import generated
from fhir_coprod.validation.fhirpath import booleans, references, runtime
from fhir_coprod.validation.fhirpath.generator import Block, Item, Source, Unsuited
from fhir_coprod.validation.fhirpath.model import Type, type_named
from fhir_coprod.validation.fhirpath.nodes import Env
from fhir_coprod.validation.fhirpath.once import once_in
from fhir_coprod.validation.fhirpath.syntax import Binary, Expression, External, Variable, parts

Rule = Callable[..., bool]
Values = Callable[[Json], list[tuple[str, Any]]]

BROKEN_SHAPE = (AttributeError, TypeError, KeyError)
"""What generated code raises when data have the wrong structure; the closures then give the answer."""

_HELPERS: dict[str, Any] = {
    "BROKEN_SHAPE": BROKEN_SHAPE,
    "Env": Env,
    "NOTHING": runtime.NOTHING,
    "items": runtime.items,
    "single": runtime.single,
    "is_value": runtime.is_value,
    "is_among": runtime.is_among,
    "same": runtime.same,
    "all_distinct": runtime.all_distinct,
    "date_order": runtime.date_order,
    "unique": runtime.unique,
    "runtime_name": runtime.runtime_name,
    "target_is": references.value_target_is,
    "once_in": once_in,
}


def rule(tree: Expression, type_: Type, by_closures: Rule) -> Rule:
    """Whether a value of the type obeys the rule: `(focus, env, beside=None)`."""
    source = rule_source(tree, type_)
    return by_closures if source is None else _loaded(source, by_closures)


def values(tree: Expression, type_: Type, by_closures: Values) -> Values:
    """The type name and value of each item that the path leads to."""
    source = values_source(tree, type_)
    return by_closures if source is None else _loaded(source, by_closures)


def _loaded(source: Source, by_closures: Callable[..., Any]) -> Callable[..., Any]:
    """The `main` of a source, ready to call."""
    namespace = {
        "__builtins__": {"len": len},
        "by_closures": by_closures,
        **_HELPERS,
        **source.constants,
    }
    # The text holds names made up here and constants written by repr(), never text of the expression itself.
    return generated.load(source.text(), "fhirpath", "main", namespace)


def rule_source(tree: Expression, type_: Type) -> Source | None:
    """The source whose `main` says whether the rule holds; None when only the closures can say."""
    return _source(tree, type_, _write_rule)


def values_source(tree: Expression, type_: Type) -> Source | None:
    """The source whose `main` lists (type name, value); None when only the closures can."""
    return _source(tree, type_, _write_values)


def _source(
    tree: Expression, type_: Type, write: Callable[[Source, Expression, Item], None]
) -> Source | None:
    if any(_needs_scope(part) for part in parts(tree)):
        return None
    root = type_.name.partition(".")[0]
    owner = type_named(root) if not root.startswith("System") else type_
    concrete = owner.is_resource and owner.name not in ("Resource", "DomainResource")
    source = Source(owner if concrete else None, booleans)
    try:
        write(source, tree, Item("o", type_, "beside" if type_.is_primitive else ""))
    except Unsuited:
        return None
    return source


def _needs_scope(part: Expression) -> bool:
    """Whether it refers to a position in a collection, or to the start of the evaluation."""
    return part in (Variable("$index"), Variable("$total"), External("context"))


def _write_rule(source: Source, tree: Expression, item: Item) -> None:
    test = source.test(tree, item, True)
    source.functions.append(
        "def main(o, env, beside=None):\n"
        "    try:\n"
        f"        return {test}\n"
        "    except BROKEN_SHAPE:\n"
        "        return by_closures(o, env, beside)"
    )


def _write_values(source: Source, tree: Expression, item: Item) -> None:
    block = Block(source, 2)

    def keep(it: Item, at: Block) -> None:
        name = repr(it.type.fhir)
        if it.dynamic:
            at.add(f"out.append((runtime_name({it.var}, {name}), {it.var}))")
        elif it.type.is_primitive:
            at.under(f"if {it.var} is not None:", lambda inner: inner.add(f"out.append(({name}, {it.var}))"))
        else:
            at.add(f"out.append(({name}, {it.var}))")

    def each_side(part: Expression) -> None:
        match part:
            case Binary("|", left, right):
                each_side(left)
                each_side(right)
            case _:
                source.walk(part, item, block, keep)

    each_side(tree)
    is_union = isinstance(tree, Binary) and tree.operator == "|"
    if not block.lines:
        block.add("pass")
    source.functions.append(
        "\n".join(
            (
                "def main(o):",
                "    out = []",
                "    env = Env(o)" if any("env" in line for line in block.lines) else "    env = None",
                "    beside = None",
                "    try:",
                *block.lines,
                "    except BROKEN_SHAPE:",
                "        return by_closures(o)",
                "    return unique(out)" if is_union else "    return out",
            )
        )
    )
