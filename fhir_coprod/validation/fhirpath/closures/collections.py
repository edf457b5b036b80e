"""FHIRPath functions on collections, and arithmetic (FHIRPath 2.0 §5.1 to §5.7, §6.6)."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from functools import cmp_to_key
from typing import Any

from fhir_coprod.validation.fhirpath import boundaries, quantity, strings, temporal
from fhir_coprod.validation.fhirpath.errors import FhirPathError
from fhir_coprod.validation.fhirpath.members import Known, distinct
from fhir_coprod.validation.fhirpath.model import DECIMAL, INTEGER, QUANTITY, STRING, TYPE_INFO, Type
from fhir_coprod.validation.fhirpath.nodes import (
    EMPTY,
    FALSE,
    TRUE,
    Node,
    Nodes,
    as_quantity,
    as_truth,
    children,
    children_named,
    descendants,
    integer,
    one,
    truth,
)

Function = Callable[[Nodes, list[Nodes]], Nodes]
"""Takes the items it is called on, and its arguments' values."""


def _extension(items: Nodes, args: list[Nodes]) -> Nodes:
    url = strings.text(args[0])
    out: Nodes = []
    for node in items:
        found: Nodes = []
        children_named(node, "extension", found)
        out += [item for item in found if isinstance(item.value, dict) and item.value.get("url") == url]
    return out


def _has_value(items: Nodes, args: list[Nodes]) -> Nodes:
    return truth(len(items) == 1 and items[0].type.is_primitive and items[0].value is not None)


def _get_value(items: Nodes, args: list[Nodes]) -> Nodes:
    if _has_value(items, args) is FALSE:
        return EMPTY
    node = items[0]
    return [Node(node.value, node.type)]


def _subset(items: Nodes, others: Known) -> Nodes:
    return truth(all(node in others for node in items))


def _superset(items: Nodes, others: Nodes) -> Nodes:
    return _subset(others, Known(items))


def _skip(items: Nodes, args: list[Nodes]) -> Nodes:
    count = strings.number_argument(args[0])
    return EMPTY if count is None else items[max(count, 0) :]


def _take(items: Nodes, args: list[Nodes]) -> Nodes:
    count = strings.number_argument(args[0])
    return EMPTY if count is None else items[: max(count, 0)]


def _single(items: Nodes, args: list[Nodes]) -> Nodes:
    one(items)
    return items


def _intersect(items: Nodes, others: Known) -> Nodes:
    return distinct([node for node in items if node in others])


def _exclude(items: Nodes, others: Known) -> Nodes:
    return [node for node in items if node not in others]


def _not(items: Nodes, args: list[Nodes]) -> Nodes:
    found = as_truth(items)
    return truth(None if found is None else not found)


def _all_children(items: Nodes, args: list[Nodes]) -> Nodes:
    return [child for node in items for child in children(node)]


def numbers(items: Nodes) -> Decimal | None:
    """The only item as a number."""
    node = one(items)
    return None if node is None else quantity.number(node.value)


def numeric(value: Decimal) -> Nodes:
    """A decimal as a collection."""
    return [Node(value, DECIMAL)]


def _whole(how: Callable[[Decimal], int]) -> Function:
    def function(items: Nodes, args: list[Nodes]) -> Nodes:
        value = numbers(items)
        return EMPTY if value is None else integer(how(value))

    return function


def _real(how: Callable[[float], float]) -> Function:
    def function(items: Nodes, args: list[Nodes]) -> Nodes:
        value = numbers(items)
        if value is None:
            return EMPTY
        try:
            return numeric(Decimal(repr(how(float(value)))))
        except (ValueError, ArithmeticError):
            return EMPTY

    return function


def _abs(items: Nodes, args: list[Nodes]) -> Nodes:
    node = one(items)
    if node is None:
        return EMPTY
    if node.type.system == "Quantity" and isinstance(node.value, dict):
        value = quantity.number(node.value.get("value"))
        return EMPTY if value is None else [Node({**node.value, "value": abs(value)}, node.type)]
    value = quantity.number(node.value)
    return EMPTY if value is None else [Node(abs(node.value), node.type)]


def _round(items: Nodes, args: list[Nodes]) -> Nodes:
    value = numbers(items)
    places = strings.number_argument(args[0]) if args else 0
    if value is None or places is None:
        return EMPTY
    try:
        return numeric(round(value, min(max(places, 0), 28)))
    except ArithmeticError:
        return EMPTY


def _log(items: Nodes, args: list[Nodes]) -> Nodes:
    value, base = numbers(items), numbers(args[0])
    if value is None or base is None or value <= 0 or base <= 0 or base == 1:
        return EMPTY
    return numeric(Decimal(repr(math.log(value, base))))


def _power(items: Nodes, args: list[Nodes]) -> Nodes:
    base, exponent = numbers(items), numbers(args[0])
    if base is None or exponent is None or abs(exponent) > 1000:
        return EMPTY
    try:
        return numeric(base**exponent)
    except ArithmeticError:
        return EMPTY


def _sum(items: Nodes, args: list[Nodes]) -> Nodes:
    total: Nodes = items[:1]
    for node in items[1:]:
        total = arithmetic("+", total, [node])
    return total


def _booleans(items: Nodes) -> list[bool]:
    """Raises FhirPathError for what is neither true nor false; an element without a value does not count."""
    values = [node.value for node in items if node.value is not None]
    if not all(isinstance(value, bool) for value in values):
        raise FhirPathError("FHIRPath: allTrue() and its like take what is true or false only.")
    return values


def _types(items: Nodes, args: list[Nodes]) -> Nodes:
    """`type()`: namespace and name of each item's type."""
    return [Node(_type_info(node.type), TYPE_INFO) for node in items]


def _type_info(type_: Type) -> dict[str, str]:
    if type_.name.startswith("System."):
        return {"namespace": "System", "name": type_.fhir}
    return {"namespace": "FHIR", "name": type_.name}


def _comparable(items: Nodes, args: list[Nodes]) -> Nodes:
    node, other = one(items), one(args[0])
    if node is None or other is None:
        return EMPTY
    first, second = as_quantity(node), as_quantity(other)
    return truth(first is not None and second is not None and quantity.comparable(first, second))


FUNCTIONS: dict[str, tuple[int, int, Function]] = {
    # name: fewest arguments, most arguments, what it does
    "empty": (0, 0, lambda items, args: FALSE if items else TRUE),
    "not": (0, 0, _not),
    "count": (0, 0, lambda items, args: integer(len(items))),
    "allTrue": (0, 0, lambda items, args: truth(all(_booleans(items)))),
    "anyTrue": (0, 0, lambda items, args: truth(any(_booleans(items)))),
    "allFalse": (0, 0, lambda items, args: truth(not any(_booleans(items)))),
    "anyFalse": (0, 0, lambda items, args: truth(not all(_booleans(items)))),
    "distinct": (0, 0, lambda items, args: distinct(items)),
    "isDistinct": (0, 0, lambda items, args: truth(len(distinct(items)) == len(items))),
    "single": (0, 0, _single),
    "first": (0, 0, lambda items, args: items[:1]),
    "last": (0, 0, lambda items, args: items[-1:]),
    "tail": (0, 0, lambda items, args: items[1:]),
    "skip": (1, 1, _skip),
    "take": (1, 1, _take),
    "union": (1, 1, lambda items, args: distinct([*items, *args[0]])),
    "combine": (1, 1, lambda items, args: [*items, *args[0]]),
    "children": (0, 0, _all_children),
    "descendants": (0, 0, lambda items, args: descendants(items)),
    "extension": (1, 1, _extension),
    "hasValue": (0, 0, _has_value),
    "getValue": (0, 0, _get_value),
    "sum": (0, 0, _sum),
    "abs": (0, 0, _abs),
    "ceiling": (0, 0, _whole(math.ceil)),
    "floor": (0, 0, _whole(math.floor)),
    "truncate": (0, 0, _whole(math.trunc)),
    "round": (0, 1, _round),
    "sqrt": (0, 0, _real(math.sqrt)),
    "exp": (0, 0, _real(math.exp)),
    "ln": (0, 0, _real(math.log)),
    "log": (1, 1, _log),
    "power": (1, 1, _power),
    "matches": (1, 1, strings.matches),
    "matchesFull": (1, 1, strings.matches_full),
    "replaceMatches": (2, 2, strings.replace_matches),
    "contains": (1, 1, strings.contains),
    "startsWith": (1, 1, strings.starts_with),
    "endsWith": (1, 1, strings.ends_with),
    "indexOf": (1, 1, strings.index_of),
    "lastIndexOf": (1, 1, strings.last_index_of),
    "substring": (1, 2, strings.substring),
    "length": (0, 0, strings.length),
    "upper": (0, 0, strings.upper),
    "lower": (0, 0, strings.lower),
    "trim": (0, 0, strings.trim),
    "replace": (2, 2, strings.replace),
    "toChars": (0, 0, strings.to_chars),
    "split": (1, 1, strings.split),
    "join": (0, 1, strings.join),
    "encode": (1, 1, strings.encode),
    "decode": (1, 1, strings.decode),
    "escape": (1, 1, strings.escape),
    "unescape": (1, 1, strings.unescape),
    "type": (0, 0, _types),
    "comparable": (1, 1, _comparable),
    "precision": (0, 0, boundaries.precision),
    "lowBoundary": (0, 1, boundaries.low_boundary),
    "highBoundary": (0, 1, boundaries.high_boundary),
}
"""Functions whose arguments are plain values; those that evaluate an argument per item are in `compiler`."""

AMONG: dict[str, tuple[Callable[[Nodes, Any], Nodes], Callable[[Nodes], Any]]] = {
    # name: what it does with the items and the others, and how the others are made ready for it
    "subsetOf": (_subset, Known),
    "supersetOf": (_superset, distinct),
    "intersect": (_intersect, Known),
    "exclude": (_exclude, Known),
}
"""Functions with one argument, a collection that is looked into."""


def _conversion(to: str) -> tuple[Function, Function]:
    return (lambda items, args: strings.convert(items, to)), (lambda items, args: strings.converts(items, to))


for _to in strings.CONVERSIONS:
    _convert, _converts = _conversion(_to)
    FUNCTIONS[f"to{_to}"] = (0, 0, _convert)
    FUNCTIONS[f"convertsTo{_to}"] = (0, 0, _converts)
FUNCTIONS["toQuantity"] = (0, 1, strings.to_quantity_in)
FUNCTIONS["convertsToQuantity"] = (0, 1, strings.converts_to_quantity_in)


def compare(operator: str, left: Nodes, right: Nodes) -> Nodes:
    """`<`, `<=`, `>`, `>=` for two single items of the same kind."""
    a, b = one(left), one(right)
    if a is None or b is None or a.value is None or b.value is None:
        return EMPTY
    found = order(a, b)
    if found is None:
        return EMPTY
    match operator:
        case "<":
            return truth(found < 0)
        case ">":
            return truth(found > 0)
        case "<=":
            return truth(found <= 0)
    return truth(found >= 0)


def order(a: Node, b: Node) -> int | None:
    """-1, 0 or 1; None when it is not known. Raises FhirPathError for values of two kinds."""
    kind, other = a.type.system, b.type.system
    left: Any = a.value
    right: Any = b.value
    if kind in ("Date", "DateTime") or other in ("Date", "DateTime"):
        first, second = temporal.moment(str(left)), temporal.moment(str(right))
        return None if first is None or second is None else temporal.order(first, second)
    if kind == "Time" or other == "Time":
        first, second = temporal.time_of_day(str(left)), temporal.time_of_day(str(right))
        return None if first is None or second is None else temporal.order(first, second)
    if isinstance(left, str) and isinstance(right, str):
        return (left > right) - (left < right)
    if kind == "Quantity" or other == "Quantity":
        one_, two = as_quantity(a), as_quantity(b)
        return None if one_ is None or two is None else quantity.order(one_, two)
    first_number, second_number = quantity.number(left), quantity.number(right)
    if first_number is None or second_number is None:
        raise FhirPathError(
            f"FHIRPath: {a.type.fhir} and {b.type.fhir} have no order; compare values of one kind."
        )
    return (first_number > second_number) - (first_number < second_number)


def ranked(items: list[tuple[Node, list[Node | None]]], ways: list[int]) -> Nodes:
    """Items in the order of their keys, with 1 for the usual order by a key and -1 for the opposite.

    Without a key comes first. Raises FhirPathError for keys that have no order.
    """

    def compared(a: tuple[Node, list[Node | None]], b: tuple[Node, list[Node | None]]) -> int:
        for left, right, way in zip(a[1], b[1], ways, strict=True):
            if left is None or left.value is None or right is None or right.value is None:
                has = (left is not None and left.value is not None) - (
                    right is not None and right.value is not None
                )
                if has:
                    return has
                continue
            found = order(left, right)
            if found is None:
                raise FhirPathError("FHIRPath: sort() meets values that have no order.")
            if found:
                return found * way
        return 0

    return [node for node, _ in sorted(items, key=cmp_to_key(compared))]


def concatenate(left: Nodes, right: Nodes) -> Nodes:
    """`&`: an empty collection counts as an empty text."""
    return [Node((strings.text(left) or "") + (strings.text(right) or ""), STRING)]


def arithmetic(operator: str, left: Nodes, right: Nodes) -> Nodes:
    """`+ - * / div mod`; empty when an operand is empty, on division by zero, or when too large."""
    a, b = one(left), one(right)
    if a is None or b is None or a.value is None or b.value is None:
        return EMPTY
    if isinstance(a.value, str) and isinstance(b.value, str) and operator == "+":
        return [Node(a.value + b.value, STRING)]
    if isinstance(a.value, str) and isinstance(b.value, dict) and operator in "+-":
        return _moved(operator, a, b)
    if isinstance(a.value, dict) or isinstance(b.value, dict):
        return _quantities(operator, a, b)
    first, second = quantity.number(a.value), quantity.number(b.value)
    if first is None or second is None:
        raise FhirPathError(f"FHIRPath: {a.type.fhir} {operator} {b.type.fhir} has no meaning.")
    value = quantity.calculated(operator, first, second)
    if value is None:
        return EMPTY
    whole = isinstance(a.value, int) and isinstance(b.value, int) and operator != "/"
    return [Node(int(value), INTEGER)] if whole or operator == "div" else numeric(value)


_FROM_UCUM = {unit: word for word, unit in quantity.CALENDAR.items()}
"""UCUM's `a` and `mo` are missing: they are mean years and months, which are no whole number of days."""


def _moved(operator: str, a: Node, b: Node) -> Nodes:
    """A date, dateTime or time plus or minus a duration."""
    amount = quantity.number(b.value.get("value"))
    code = b.value.get("code", "")
    unit = _FROM_UCUM.get(code, code)
    if amount is None or a.type.system not in ("Date", "DateTime", "Time"):
        return EMPTY
    if unit not in temporal.UNITS:
        raise FhirPathError(
            f"FHIRPath: a {a.type.fhir} is moved by years, months, weeks, days, hours, minutes or seconds."
        )
    if operator == "-":
        amount = -amount
    move = temporal.shifted_time if a.type.system == "Time" else temporal.shifted
    moved = move(a.value, amount, unit)
    return EMPTY if moved is None else [Node(moved, a.type)]


def _quantities(operator: str, a: Node, b: Node) -> Nodes:
    left, right = as_quantity(a), as_quantity(b)
    if left is None or right is None:
        return EMPTY
    found = None if operator in ("div", "mod") else quantity.computed(operator, left, right)
    return EMPTY if found is None else [Node(found, QUANTITY)]


def negated(items: Nodes) -> Nodes:
    """Unary minus."""
    node = one(items)
    if node is None:
        return EMPTY
    if isinstance(node.value, dict):
        value = quantity.number(node.value.get("value"))
        return EMPTY if value is None else [Node({**node.value, "value": -value}, node.type)]
    if node.value is None:
        return EMPTY
    if quantity.number(node.value) is None:
        raise FhirPathError(f"FHIRPath: a minus before a {node.type.fhir} has no meaning.")
    return [Node(-node.value, node.type)]
