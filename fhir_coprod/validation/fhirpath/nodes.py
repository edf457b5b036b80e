"""Nodes, the items of FHIRPath collections: their children, and when two of them are equal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fhir_coprod.jsontext import Json
from fhir_coprod.validation.fhirpath import quantity, temporal
from fhir_coprod.validation.fhirpath.errors import FhirPathError, Undecided
from fhir_coprod.validation.fhirpath.model import BOOLEAN, INTEGER, STRING, Type, resource_type, type_named


class Node:
    """One item: its JSON value, its type, and, for a primitive, its object under `_name`."""

    __slots__ = ("beside", "type", "value")

    def __init__(self, value: Any, type: Type, beside: Json | None = None) -> None:
        self.value = value
        self.type = type
        self.beside = beside

    def __repr__(self) -> str:
        return f"Node({self.type.name})"


Nodes = list[Node]

TRUE: Nodes = [Node(True, BOOLEAN)]
FALSE: Nodes = [Node(False, BOOLEAN)]
EMPTY: Nodes = []
"""Shared results: nobody ever changes a list of nodes that came from elsewhere."""


@dataclass(slots=True)
class Env:
    """What an expression can see besides its focus."""

    resource: Json
    """%resource: the innermost resource that holds the focus, which may be a contained one."""
    root_resource: Json | None = None
    """%rootResource: the resource that contains %resource; None when that is itself."""
    bundle: Json | None = None
    """The Bundle around it, searched by `resolve()`."""
    resolve: Callable[[str], Json | None] | None = None
    """What `resolve()` calls instead of searching `bundle`: returns the resource a reference points at."""
    now: datetime | None = None
    """The time for `now()` and `today()`; taken from the clock when first needed."""
    container: Env | None = None
    """The environment of %rootResource, if that is another: it looks contained ones up for all of them."""
    around: Env | None = None
    """The environment of `bundle`, if it has one: it looks its entries up for all of them."""
    contained: dict[str, Any] | None = field(default=None, init=False, repr=False)
    """The contained resources by id, once `resolve()` has looked."""
    entries: dict[str, Any] | None = field(default=None, init=False, repr=False)
    """The entries of this resource, if it is a Bundle, by address, once `resolve()` has looked."""
    memory: dict[object, Any] = field(default_factory=dict, init=False, repr=False)
    """What is the same for every item and was worked out already: see `once`."""

    def moment(self) -> datetime:
        """The same moment throughout one evaluation."""
        if self.now is None:
            self.now = datetime.now(UTC)
        return self.now


class Scope:
    """The current values of `$this`, `$index`, `$total` and `%context`, and the environment."""

    __slots__ = ("context", "env", "index", "this", "total")

    def __init__(self, env: Env, this: Nodes, context: Nodes, index: int = 0, total: Nodes = EMPTY) -> None:
        self.env = env
        self.this = this
        self.context = context
        self.index = index
        self.total = total


Compiled = Callable[[Scope], Nodes]
"""An expression, ready to run."""


def truth(found: bool | None) -> Nodes:
    """A three-valued answer as a collection."""
    return EMPTY if found is None else TRUE if found else FALSE


def string(value: str) -> Nodes:
    """A string as a collection."""
    return [Node(value, STRING)]


def integer(value: int) -> Nodes:
    """An integer as a collection."""
    return [Node(value, INTEGER)]


def as_truth(items: Nodes) -> bool | None:
    """A collection used as a Boolean: empty is unknown, a single item that is no Boolean is true."""
    if not items:
        return None
    if len(items) > 1:
        raise FhirPathError("FHIRPath: one true or false is needed, several items are there.")
    value = items[0].value
    if value is True or value is False:
        return bool(value)
    return True if value is not None or items[0].type.system != "Boolean" else None


def one(items: Nodes) -> Node | None:
    """The only item; None when there is none. Raises FhirPathError when there are several."""
    if len(items) > 1:
        raise FhirPathError("FHIRPath: one item is needed, several are there.")
    return items[0] if items else None


def root(value: Any, type: Type | None = None) -> Node:
    """The node of a resource, or of a value whose type the caller gives."""
    return Node(value, resource_type(value) or type or type_named("Element"))


def children_named(node: Node, name: str, out: Nodes) -> None:
    """Add the children of that name to `out`."""
    type_ = node.type
    if type_.is_primitive:
        if node.beside is not None:
            _append(node.beside, type_, name, out)
        return
    if isinstance(node.value, dict):
        _append(node.value, type_, name, out)


def _append(owner: Json, type_: Type, name: str, out: Nodes) -> None:
    element = type_.elements.get(name)
    if element is None:
        return
    for key, code in element.keys:
        value = owner.get(key)
        beside = owner.get("_" + key)
        if value is not None or beside is not None:
            add(value, beside, type_named(code), out)


def add(value: Any, beside: Any, type_: Type, out: Nodes) -> None:
    """Add what one JSON member holds: a single item, or each item of its list."""
    if isinstance(value, list):
        extra = beside if isinstance(beside, list) else []
        for index, item in enumerate(value):
            by_it = extra[index] if index < len(extra) else None
            if item is not None or by_it is not None:
                out.append(_node(item, by_it, type_))
    elif isinstance(beside, list):
        out.extend(_node(None, by_it, type_) for by_it in beside if by_it is not None)
    else:
        out.append(_node(value, beside, type_))


def _node(value: Any, beside: Any, type_: Type) -> Node:
    if type_.is_primitive:
        return Node(value, type_, beside if isinstance(beside, dict) else None)
    if type_.is_resource:
        type_ = resource_type(value) or type_
    return Node(value, type_)


def children(node: Node) -> Nodes:
    """All children, in the order of the JSON."""
    owner = node.beside if node.type.is_primitive else node.value
    if not isinstance(owner, dict):
        return []
    out: Nodes = []
    known = node.type.by_key
    for key, value in owner.items():
        if key[:1] == "_":
            if key[1:] not in owner and (found := known.get(key[1:])):
                add(None, value, type_named(found[1]), out)
        elif found := known.get(key):
            add(value, owner.get("_" + key), type_named(found[1]), out)
    return out


def descendants(items: Nodes) -> Nodes:
    """Children, their children, and so on."""
    out: Nodes = []
    level = items
    while level:
        level = [child for node in level for child in children(node)]
        out += level
    return out


MOST_EQUIVALENT = 1_000
"""Longest collections whose items are compared one by one for `~`."""

_NUMBERS = ("Integer", "Decimal")
_DATES = ("Date", "DateTime")


def equal(a: Node, b: Node) -> bool | None:
    """`=` of two items; None when partial dates or units leave it open."""
    left, right = a.value, b.value
    kind, other = a.type.system, b.type.system
    if kind and other:
        if left is None or right is None:
            # One has no value, so it does not equal the other (as in HL7's validator).
            return left is right and same_json(a.beside, b.beside)
        if kind == "String" and other == "String":
            return bool(left == right)
        if kind in _NUMBERS and other in _NUMBERS:
            return quantity.number(left) == quantity.number(right)
        if kind in _DATES and other in _DATES:
            return _same_moment(temporal.moment(str(left)), temporal.moment(str(right)), left == right)
        if kind == "Time" and other == "Time":
            return _same_moment(
                temporal.time_of_day(str(left)), temporal.time_of_day(str(right)), left == right
            )
        if kind == "Quantity" or other == "Quantity":
            return _same_quantity(a, b)
        if isinstance(left, str) == isinstance(right, str):
            return same_json(left, right)
        return "String" in (kind, other) and _text(left) == _text(right)
    if kind or other:
        return False
    return same_json(left, right)


def _text(value: Any) -> str:
    """A value as text, to compare with a quoted constant, as HL7's validator does."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _same_moment(a: temporal.Moment | None, b: temporal.Moment | None, same_text: bool) -> bool | None:
    if a is None or b is None:
        return same_text
    found = temporal.order(a, b)
    return None if found is None else found == 0


def _same_quantity(a: Node, b: Node) -> bool | None:
    left, right = as_quantity(a), as_quantity(b)
    if left is None or right is None:
        return False
    found = quantity.order(left, right)
    return None if found is None else found == 0


def as_quantity(node: Node) -> Json | None:
    """A quantity, or a number as a quantity without unit."""
    if node.type.system == "Quantity":
        return node.value if isinstance(node.value, dict) else None
    value = quantity.number(node.value)
    return None if value is None or node.type.system not in _NUMBERS else quantity.make(value, "1")


def same_json(a: Any, b: Any) -> bool:
    """Deep equality in which true is not 1."""
    if a is b:
        return True
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same_json(value, b[key]) for key, value in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same_json(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return bool(a == b)


def equal_collections(a: Sequence[Node], b: Sequence[Node]) -> bool | None:
    """`=` of two collections: unknown when one is empty, otherwise item by item in order."""
    if not a or not b:
        return None
    if len(a) != len(b):
        return False
    found: bool | None = True
    for left, right in zip(a, b, strict=True):
        same = equal(left, right)
        if same is False:
            return False
        found = found and same
    return found


def equivalent(a: Node, b: Node) -> bool:
    """`~` of two items: ignores case and spaces, numbers to the lesser precision, dates of equal one."""
    left, right = a.value, b.value
    kind, other = a.type.system, b.type.system
    if _is_text(a) and _is_text(b):
        return _common_form(a) == _common_form(b)
    if kind in _NUMBERS and other in _NUMBERS:
        first, second = quantity.number(left), quantity.number(right)
        if first is None or second is None:
            return first is second
        return quantity.about_equal(first, second)
    if "Quantity" in (kind, other):
        one_, two = as_quantity(a), as_quantity(b)
        return one_ is not None and two is not None and quantity.equivalent(one_, two)
    if kind or other:
        return equal(a, b) is True
    return _equivalent_json(a, b)


def _is_text(node: Node) -> bool:
    return node.type.system == "String" and isinstance(node.value, str)


def _common_form(node: Node) -> str:
    return " ".join(node.value.casefold().split())


def _equivalent_json(a: Node, b: Node) -> bool:
    if a.type.fhir == "Coding" and b.type.fhir == "Coding":
        keys = ("system", "code", "version")
        return all(a.value.get(key) == b.value.get(key) for key in keys)
    if a.type.fhir == "CodeableConcept" and b.type.fhir == "CodeableConcept":
        left: Nodes = []
        right: Nodes = []
        children_named(a, "coding", left)
        children_named(b, "coding", right)
        return any(equivalent(x, y) for x in left for y in right)
    return equivalent_collections(
        [child for child in children(a) if child.type.fhir != "id"],
        [child for child in children(b) if child.type.fhir != "id"],
    )


def equivalent_collections(a: Sequence[Node], b: Sequence[Node]) -> bool:
    """`~` of two collections: the same items in any order.

    Raises Undecided for long ones: only texts have a common form to compare, anything else is compared one by
    one.
    """
    if len(a) != len(b):
        return False
    if all(map(_is_text, a)) and all(map(_is_text, b)):
        return Counter(map(_common_form, a)) == Counter(map(_common_form, b))
    if len(a) > MOST_EQUIVALENT:
        raise Undecided(f"it compares more than {MOST_EQUIVALENT} values in any order")
    rest = list(b)
    for node in a:
        match = next((index for index, other in enumerate(rest) if equivalent(node, other)), None)
        if match is None:
            return False
        del rest[match]
    return True
