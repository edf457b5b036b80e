"""Writes FHIRPath expressions as Python source: loops over plain JSON instead of collections of nodes.

An invariant becomes functions of a few lines, and elements of a known type need no nodes:

    detail.empty() or reference.empty()  →  not ("detail" in o) or not ("reference" in o)

Three-valued logic needs no third value: each expression is written as the test that it is true, or as the
test that it is false, and unknown is neither. If a part cannot be written as source (`Unsuited`), the source
calls the closure of that part, which `closures.compiler` makes.

The source relies on what the structure check has checked (a list where there must be one, no null). On data
that break this it may raise, and the caller then asks the closures. Names and constants are written with
repr(): no text of an expression becomes code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from fhir_coprod.validation.fhirpath.model import STRING, Element, Type, type_named
from fhir_coprod.validation.fhirpath.once import is_same_for_all
from fhir_coprod.validation.fhirpath.syntax import (
    Binary,
    Call,
    Expression,
    External,
    Index,
    Literal,
    Member,
    TypeTest,
    Variable,
)

MAX_LINES = 300
"""Longest source of one expression; for a longer one, the closures take over."""

MAX_EFFORT = 3_000
"""Most steps and tests to try for one expression: choices of choices and nested `xor` multiply."""

MAX_DEPTH = 12
"""Deepest nesting of blocks (Python itself stops at 20 loops)."""


class Unsuited(Exception):
    """This (sub-)expression cannot be written as source."""


@dataclass(frozen=True, slots=True)
class Item:
    """An item at one point in the source."""

    var: str
    """The variable that holds its value."""
    type: Type
    beside: str = ""
    """For a primitive, an expression for its object under `_name`; "" when the source cannot reach that."""

    @property
    def dynamic(self) -> bool:
        """Whether this is a resource whose type is only known at run time."""
        return self.type.is_resource and self.type.name in ("Resource", "DomainResource")


class Block:
    """Lines at one depth of indentation."""

    def __init__(self, source: Source, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise Unsuited
        self.source = source
        self.depth = depth
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        self.source.size += 1
        if self.source.size > MAX_LINES:
            raise Unsuited
        self.lines.append("    " * self.depth + line)

    def under(self, header: str, fill: Callable[[Block], None]) -> None:
        """Add a header with a block below it; add nothing if the block stays empty."""
        inner = Block(self.source, self.depth + 1)
        fill(inner)
        if inner.lines:
            self.add(header)
            self.lines += inner.lines


Body = Callable[[Item, Block], None]
"""Writes the code that handles an item."""


class TestWriter(Protocol):
    """Writes the tests inside a walk: the module `booleans`."""

    def test(self, source: Source, tree: Expression, item: Item, wanted: bool, /) -> str: ...

    def scalar(self, source: Source, tree: Expression, item: Item, /) -> tuple[str, Type]: ...


class Source:
    """The functions that one expression becomes."""

    def __init__(self, resource: Type | None, tests: TestWriter) -> None:
        """tests: walks contain tests and tests contain walks, so `programs` hands one module to the other."""
        self._tests = tests
        self.resource = resource
        """The type of %resource, where it is known."""
        self.functions: list[str] = []
        self.constants: dict[str, Any] = {}
        self.size = 0
        self.count = 0
        self.effort = 0

    def spend(self) -> None:
        """Count one step or test. Raises Unsuited after too many."""
        self.effort += 1
        if self.effort > MAX_EFFORT:
            raise Unsuited

    def fresh(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def constant(self, value: Any) -> str:
        name = self.fresh("K")
        self.constants[name] = value
        return name

    def function(self, item: Item, first: str, fill: Callable[[Item, Block], None], last: str) -> str:
        """Write a function of an item; return the expression that calls it for this item."""
        name = self.fresh("f")
        block = Block(self, 1)
        if first:
            block.add(first)
        fill(Item("o", item.type, "beside" if item.beside else ""), block)
        block.add(last)
        self.functions.append("\n".join((f"def {name}(o, env, beside):", *block.lines)))
        return f"{name}({item.var}, env, {item.beside or None})"

    def text(self) -> str:
        return "\n\n".join(self.functions)

    # Collections: a walk to each item.

    def walk(self, tree: Expression | None, item: Item, block: Block, body: Body) -> None:
        """Write the loops that lead from `item` to each item of `tree`, with `body` inside."""
        match tree:
            case None | Variable("$this"):
                body(item, block)
            case Member(None, name) if begins_with_type(name, item):
                body(item, block)
            case Member(source, name):
                self.walk(source, item, block, lambda it, at: self.step(it, name, at, body))
            case Call():
                self._walk_call(tree, item, block, body)
            case TypeTest("as", operand, name):
                self.walk(operand, item, block, lambda it, at: self._of_type(it, name, at, body))
            case Index(source, Literal("Integer", int(index))):
                self._part(source, f"[{index}:{index + 1}]", item, block, body)
            case Binary("&", left, right):
                body(Item(f"({self.text_of(left, item)} + {self.text_of(right, item)})", STRING), block)
            case External("resource") if self.resource is not None:
                body(Item("env.resource", self.resource), block)
            case External("rootResource"):
                body(Item("(env.root_resource or env.resource)", type_named("Resource")), block)
            case _:
                raise Unsuited

    def _walk_call(self, call: Call, item: Item, block: Block, body: Body) -> None:
        match call:
            case Call(source, "where", (criterion,)):

                def filtered(it: Item, at: Block) -> None:
                    it = self._named(it, at)
                    at.under(f"if {self.test(criterion, it, True)}:", lambda inner: body(it, inner))

                self.walk(source, item, block, filtered)
            case Call(source, "select", (projection,)):
                self.walk(source, item, block, lambda it, at: self.walk(projection, it, at, body))
            case Call(source, "ofType" | "as", (argument,)):
                name = _type_argument(argument)
                self.walk(source, item, block, lambda it, at: self._of_type(it, name, at, body))
            case Call(source, "extension", (Literal("String", url),)):

                def of_url(it: Item, at: Block) -> None:
                    at.under(f"if {it.var}.get('url') == {url!r}:", lambda inner: body(it, inner))

                self.walk(Member(source, "extension"), item, block, of_url)
            case Call(source, "trace"):
                self.walk(source, item, block, body)
            case Call(source, "first", ()):
                self._part(source, "[:1]", item, block, body)
            case Call(source, "last", ()):
                self._part(source, "[-1:]", item, block, body)
            case Call(source, "tail", ()):
                self._part(source, "[1:]", item, block, body)
            case _:
                raise Unsuited

    def _named(self, item: Item, block: Block) -> Item:
        """The same item in a plain variable."""
        if item.var.isidentifier():
            return item
        var = self.fresh("v")
        block.add(f"{var} = {item.var}")
        return Item(var, item.type, item.beside)

    def _part(self, tree: Expression | None, part: str, item: Item, block: Block, body: Body) -> None:
        values, type_ = self.gather(tree, item)
        var = self.fresh("v")
        block.under(f"for {var} in {values}{part}:", lambda at: body(Item(var, type_), at))

    def _of_type(self, item: Item, name: str, block: Block, body: Body) -> None:
        if item.dynamic:
            type_ = type_named(name)
            if not type_.is_resource or type_.name in ("Resource", "DomainResource"):
                raise Unsuited
            item = self._named(item, block)
            wanted = Item(item.var, type_)
            block.under(f"if {item.var}.get('resourceType') == {name!r}:", lambda at: body(wanted, at))
        elif name in item.type.ancestors:
            body(item, block)

    def step(self, item: Item, name: str, block: Block, body: Body) -> None:
        """Write the step from an item to its children of that name."""
        if item.type.is_primitive:
            if not item.beside:
                raise Unsuited
            var = self.fresh("v")
            block.add(f"{var} = {item.beside}")
            block.under(f"if {var} is not None:", lambda at: self._children(var, item.type, name, at, body))
        else:
            item = self._named(item, block)
            self._children(item.var, element_owner(item, name), name, block, body)

    def _children(self, owner: str, type_: Type, name: str, block: Block, body: Body) -> None:
        element = type_.elements.get(name)
        if element is None:
            return
        for key, code in element.keys:
            self.spend()
            child = type_named(code)
            write = self._each if element.is_list else self._only
            write(owner, key, child, block, body)

    def _each(self, owner: str, key: str, child: Type, block: Block, body: Body) -> None:
        var = self.fresh("v")
        values = f"{owner}.get({key!r}) or ()"
        if child.is_primitive:
            values = f"({values} if {'_' + key!r} not in {owner} else items({owner}, {key!r}))"
        block.under(f"for {var} in {values}:", lambda at: body(Item(var, child), at))

    def _only(self, owner: str, key: str, child: Type, block: Block, body: Body) -> None:
        var = self.fresh("v")
        there = f"({var} := {owner}.get({key!r})) is not None"
        beside = ""
        if child.is_primitive:
            there += f" or {'_' + key!r} in {owner}"
            beside = f"{owner}.get({'_' + key!r})"
        block.under(f"if {there}:", lambda at: body(Item(var, child, beside), at))

    def _once(self, tree: Expression | None, call: str) -> str:
        """The call of a function, or what it found before if `tree` leads to the same for all items."""
        if tree is None or not is_same_for_all(tree):
            return call
        return f"once_in(env, {self.constant(object())}, {call.partition('(')[0]})"

    def gather(self, tree: Expression | None, item: Item) -> tuple[str, Type]:
        """An expression for the list of values of `tree`, which must all be of one type."""
        types: dict[str, Type] = {}

        def fill(start: Item, block: Block) -> None:
            def keep(it: Item, at: Block) -> None:
                types[it.type.name] = it.type
                at.add(f"out.append({it.var})")

            self.walk(tree, start, block, keep)

        call = self.function(item, "out = []", fill, "return out")
        if len({type_.system or type_.name for type_ in types.values()}) != 1:
            raise Unsuited
        return self._once(tree, call), next(iter(types.values()))

    def text_of(self, tree: Expression, item: Item) -> str:
        """An expression for the text of a single string, "" when there is none."""
        match tree:
            case Literal("String", text):
                return repr(text)
        value, type_ = self._tests.scalar(self, tree, item)
        if type_.system != "String":
            raise Unsuited
        return f"({value} or '')"

    def count_of(self, tree: Expression | None, item: Item) -> str:
        """An expression for the number of items."""

        def fill(start: Item, block: Block) -> None:
            self.walk(tree, start, block, lambda it, at: at.add("n += 1"))

        return self._once(tree, self.function(item, "n = 0", fill, "return n"))

    def any_of(self, tree: Expression | None, item: Item) -> str:
        """An expression that is true when there is an item."""

        def fill(start: Item, block: Block) -> None:
            self.walk(tree, start, block, lambda it, at: at.add("return True"))

        return self._once(tree, self.function(item, "", fill, "return False"))

    def test(self, tree: Expression, item: Item, wanted: bool) -> str:
        """An expression that is true when `tree` is `wanted`, and false when it is not, or is unknown."""
        return self._tests.test(self, tree, item, wanted)


def element_owner(item: Item, name: str) -> Type:
    """The type to look a child up in. Raises Unsuited when the type is only known at run time."""
    if not item.dynamic:
        return item.type
    type_ = type_named("DomainResource")
    if name not in type_.elements:
        raise Unsuited
    return type_


def _type_argument(tree: Expression) -> str:
    match tree:
        case Member(None, name):
            return name
        case Member(Member(None, "FHIR"), name):
            return name
    raise Unsuited


def begins_with_type(name: str, item: Item) -> bool:
    """Whether the first name of a path is the type of its context."""
    return name[:1].isupper() and name in item.type.ancestors


def plain_element(tree: Expression | None, item: Item) -> Element | None:
    """The element, if `tree` is one step from the item: `code`, `$this.code`, `Type.code`."""
    match tree:
        case Member(None, name) if not begins_with_type(name, item):
            pass
        case Member(Variable("$this"), name):
            pass
        case Member(Member(None, own), name) if begins_with_type(own, item):
            pass
        case _:
            return None
    if item.type.is_primitive:
        return None
    return element_owner(item, name).elements.get(name)
