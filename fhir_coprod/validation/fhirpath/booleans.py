"""Writes FHIRPath tests as Python for `generator`: true when the expression is True, or when it is False."""

from __future__ import annotations

from decimal import Decimal

from fhir_coprod.validation.fhirpath.closures.compiler import compiled
from fhir_coprod.validation.fhirpath.generator import (
    Block,
    Item,
    Source,
    Unsuited,
    begins_with_type,
    element_owner,
    plain_element,
)
from fhir_coprod.validation.fhirpath.knowledge import CONSTANTS
from fhir_coprod.validation.fhirpath.model import Element, Type, resource_type, type_named
from fhir_coprod.validation.fhirpath.nodes import EMPTY, Env, Node, Scope, as_truth
from fhir_coprod.validation.fhirpath.patterns import matcher
from fhir_coprod.validation.fhirpath.syntax import (
    Binary,
    Call,
    Expression,
    External,
    Literal,
    Member,
    TypeTest,
    Variable,
)

_NUMBERS = ("Integer", "Decimal")


def test(source: Source, tree: Expression, item: Item, wanted: bool) -> str:
    """The test of one expression; it calls the expression's closure when it cannot be written as source."""
    before = len(source.functions), source.size
    try:
        source.spend()
        return _written(source, tree, item, wanted)
    except Unsuited:
        del source.functions[before[0] :]
        source.size = before[1]
        return _by_closure(source, tree, item, wanted)


def _by_closure(source: Source, tree: Expression, item: Item, wanted: bool) -> str:
    if item.type.is_primitive and not item.beside:
        raise Unsuited
    run = compiled(tree)
    declared = item.type

    def ask(value: object, env: Env, beside: object) -> bool | None:
        type_ = declared if declared.is_primitive else resource_type(value) or declared
        node = Node(value, type_, beside if isinstance(beside, dict) else None)
        return as_truth(run(Scope(env, [node], EMPTY)))

    return f"({source.constant(ask)}({item.var}, env, {item.beside or None}) is {wanted})"


def _written(source: Source, tree: Expression, item: Item, wanted: bool) -> str:
    def say(part: Expression, as_wanted: bool) -> str:
        return test(source, part, item, as_wanted)

    match tree:
        case Literal("Boolean", value):
            return str(value is wanted)
        case Binary("and", left, right):
            return f"({say(left, wanted)} {'and' if wanted else 'or'} {say(right, wanted)})"
        case Binary("or", left, right):
            return f"({say(left, wanted)} {'or' if wanted else 'and'} {say(right, wanted)})"
        case Binary("implies", left, right):
            joint = "or" if wanted else "and"
            return f"({say(left, not wanted)} {joint} {say(right, wanted)})"
        case Binary("xor" | "=" | "!=" as operator, left, right) if _is_definite(left) and _is_definite(
            right
        ):
            differ = (operator != "=") is wanted
            return f"(({say(left, True)}) {'is not' if differ else 'is'} ({say(right, True)}))"
        case Binary("xor" | "=" | "!=" as operator, left, right) if operator == "xor" or (
            _is_boolean(left) and _is_boolean(right)
        ):
            differ = (operator != "=") is wanted
            both = f"{say(left, True)} and {say(right, not differ)}"
            return f"({both} or {say(left, False)} and {say(right, differ)})"
        case Binary("=" | "!=" as operator, left, right):
            return _equality(source, left, right, item, wanted if operator == "=" else not wanted)
        case Binary("<" | "<=" | ">" | ">=" as operator, left, right):
            return _comparison(source, operator, left, right, item, wanted)
        case Binary("in", left, right):
            return _among(source, left, right, item, wanted)
        case TypeTest("is", operand, name):
            return _is_type(source, operand, name, item, wanted)
        case Call(negated, "not", ()) if negated is not None:
            return say(negated, not wanted)
        case Call():
            return _call(source, tree, item, wanted)
        case Member() | Variable("$this"):
            value, type_ = scalar(source, tree, item)
            if type_.system == "Boolean":
                return f"({value} is {wanted})"
    raise Unsuited


def _is_definite(tree: Expression) -> bool:
    """Whether the expression is a Boolean that is never unknown, and that `test` writes as a bool."""
    match tree:
        case Call(_, "exists" | "empty" | "hasValue" | "isDistinct", _) | Literal("Boolean"):
            return True
        case Call(Call() as inner, "not", ()) | Call(Binary() as inner, "not", ()):
            return _is_definite(inner)
        case Binary("and" | "or" | "implies" | "xor", left, right):
            return _is_definite(left) and _is_definite(right)
        case Binary("<" | "<=" | ">" | ">=" | "=" | "!=", left, right):
            return _is_count(left) and _is_count(right)
    return False


def _is_boolean(tree: Expression) -> bool:
    """Whether the outermost operator makes the expression a Boolean or unknown."""
    match tree:
        case Binary("and" | "or" | "implies" | "xor" | "=" | "!=" | "<" | "<=" | ">" | ">=" | "in"):
            return True
        case Call(_, "not", ()) | TypeTest("is"):
            return True
    return _is_definite(tree)


def _call(source: Source, call: Call, item: Item, wanted: bool) -> str:
    match call:
        case Call(of, "exists", ()):
            return exists(source, of, item, wanted)
        case Call(of, "exists", (criterion,)):
            return exists(source, Call(of, "where", (criterion,)), item, wanted)
        case Call(of, "empty", ()):
            return exists(source, of, item, not wanted)
        case Call(of, "all", (criterion,)):
            return _all(source, of, criterion, item, wanted)
        case Call(of, "hasValue", ()):
            value, type_ = scalar(source, of, item)
            if not type_.is_primitive:
                return str(not wanted)
            return f"({value} is {'not ' if wanted else ''}None)"
        case Call(of, "isDistinct", ()) if of is not None:
            values, type_ = source.gather(of, item)
            if type_.system == "String":
                return f"(all_distinct({values}) is {wanted})"
        case Call(Call(of, "select", (part,)), "allFalse", ()) if _is_boolean(part):
            return exists(source, Call(of, "where", (part,)), item, not wanted)
        case Call(Call(of, "select", (part,)), "allTrue", ()) if _is_boolean(part):
            return exists(source, Call(of, "where", (Call(part, "not", ()),)), item, not wanted)
        case Call(of, "startsWith" | "endsWith" | "contains" | "matches" as name, (Literal("String", text),)):
            return _text_test(source, of, name, str(text), item, wanted)
        case Call(None, "iif", (criterion, yes, no)):
            when = test(source, criterion, item, True)
            return f"({test(source, yes, item, wanted)} if {when} else {test(source, no, item, wanted)})"
        case Call(of, "trace") if of is not None:
            return test(source, of, item, wanted)
    raise Unsuited


def exists(source: Source, of: Expression | None, item: Item, wanted: bool) -> str:
    """The test whether there is an item."""
    negation = "" if wanted else "not "
    match of:
        case None | Variable("$this"):
            return str(wanted)
        case Call(inner, "trace"):
            return exists(source, inner, item, wanted)
        case Binary("|", left, right):
            joint = "or" if wanted else "and"
            return f"({exists(source, left, item, wanted)} {joint} {exists(source, right, item, wanted)})"
    element = plain_element(of, item)
    if element is not None:
        return f"({negation}{_has(source, element, item.var)})"
    chain = _chain(source, of, item)
    if chain is not None and not chain[1].is_list:
        return f"({negation}{_has(source, chain[1], chain[0])})"
    return f"({negation}{source.any_of(of, item)})"


def _has(source: Source, element: Element, owner: str) -> str:
    keys = [key for key, _ in element.keys]
    keys += ["_" + key for key, code in element.keys if type_named(code).is_primitive]
    if len(keys) <= 2:
        return "(" + " or ".join(f"{key!r} in {owner}" for key in keys) + ")"
    return f"(not {source.constant(frozenset(keys))}.isdisjoint({owner}))"


def _chain(source: Source, tree: Expression | None, item: Item) -> tuple[str, Element] | None:
    """For a path of single elements without choices: an expression for the last one's owner, and that one."""
    element = plain_element(tree, item)
    if element is not None:
        return item.var, element
    match tree:
        case Member(External("resource"), name) if source.resource is not None:
            element = source.resource.elements.get(name)
            return None if element is None else ("env.resource", element)
        case Member(Member() as before, name):
            found = _chain(source, before, item)
            if found is None or found[1].is_list or len(found[1].keys) != 1:
                return None
            owner, element = found
            key, code = element.keys[0]
            child = type_named(code)
            if child.is_primitive:
                return None
            last = element_owner(Item("", child), name).elements.get(name)
            return None if last is None else (f"{owner}.get({key!r}, NOTHING)", last)
    return None


def scalar(source: Source, tree: Expression | None, item: Item) -> tuple[str, Type]:
    """An expression for the value (or None) of a path with at most one item, and its type."""
    match tree:
        case None | Variable("$this"):
            return item.var, item.type
        case Member(None, name) if begins_with_type(name, item):
            return item.var, item.type
        case Call(inner, "trace"):
            return scalar(source, inner, item)
    found = single_value(source, tree, item)
    if found is not None:
        return found[:2]
    values, type_ = source.gather(tree, item)
    return f"single({values})", type_


def single_value(source: Source, tree: Expression | None, item: Item) -> tuple[str, Type, str] | None:
    """For a path that is single by definition: value, type, and a test (with `and`) that it is present."""
    if tree is None or tree == Variable("$this"):
        return item.var, item.type, ""
    chain = _chain(source, tree, item)
    if chain is None or chain[1].is_list or len(chain[1].keys) != 1:
        return None
    key, code = chain[1].keys[0]
    return f"{chain[0]}.get({key!r})", type_named(code), f"{_has(source, chain[1], chain[0])} and "


def _constant(tree: Expression) -> tuple[str, object] | None:
    """A constant as JSON writes it, with its system type."""
    match tree:
        case Literal("String" | "Boolean" | "Integer" as kind, value):
            return kind, value
        case Literal("Decimal", Decimal() as value):
            return "Decimal", float(value)
        case External(name) if name in CONSTANTS:
            return "String", CONSTANTS[name]
    return None


def _comparable(type_: Type, kind: str) -> bool:
    return type_.system == kind or (type_.system in _NUMBERS and kind in _NUMBERS)


def _equality(source: Source, left: Expression, right: Expression, item: Item, wanted: bool) -> str:
    constant = _constant(right)
    if constant is None:
        constant, left = _constant(left), right if _constant(left) is not None else left
    if constant is not None:
        return _equals_constant(source, left, *constant, item, wanted)
    first, one = source.gather(left, item)
    second, other = source.gather(right, item)
    if one.system == other.system == "String":
        return f"(same({first}, {second}) is {wanted})"
    raise Unsuited


def _equals_constant(
    source: Source, left: Expression, kind: str, constant: object, item: Item, wanted: bool
) -> str:
    if kind in _NUMBERS and _is_count(left):
        return f"({_count(source, left, item)} {'==' if wanted else '!='} {constant!r})"
    found = single_value(source, left, item)
    if found is not None:
        value, type_, there = found
        if not _comparable(type_, kind):
            raise Unsuited
        if wanted:
            return f"({value} {'is' if kind == 'Boolean' else '=='} {constant!r})"
        return f"({there}{value} {'is not' if kind == 'Boolean' else '!='} {constant!r})"
    chain = _chain(source, left, item)
    if chain is not None and not chain[1].is_list:
        equal = _choice_equals(chain[0], chain[1], kind, constant)
        return equal if wanted else f"({_has(source, chain[1], chain[0])} and not {equal})"
    values, type_ = source.gather(left, item)
    if not _comparable(type_, kind):
        raise Unsuited
    return f"(is_value({values}, {constant!r}) is {wanted})"


def _choice_equals(owner: str, element: Element, kind: str, constant: object) -> str:
    """`value = constant` for a choice: one test for each type that may equal the constant."""
    text = str(constant).lower() if kind == "Boolean" else str(constant)
    tests = []
    for key, code in element.keys:
        system = type_named(code).system
        value = f"{owner}.get({key!r})"
        if system == kind == "Boolean":
            tests.append(f"{value} is {constant!r}")
        elif system == kind or (system in _NUMBERS and kind in _NUMBERS):
            tests.append(f"{value} == {constant!r}")
        elif kind == "String" and (system == "Boolean" or system in _NUMBERS):
            # A text equals a number or a Boolean that is written the same way.
            if text in ("true", "false") or any(character.isdigit() for character in text):
                raise Unsuited
        elif "String" in (system, kind) and system not in ("Quantity", ""):
            tests.append(f"{value} == {text!r}")
        elif system == "Quantity" and kind in _NUMBERS:
            raise Unsuited
    return f"({' or '.join(tests) or False})"


def _is_count(tree: Expression) -> bool:
    match tree:
        case Call(_, "count", ()) | Literal("Integer"):
            return True
        case Binary("+", left, right):
            return _is_count(left) and _is_count(right)
    return False


def _count(source: Source, tree: Expression, item: Item) -> str:
    match tree:
        case Literal("Integer", value):
            return repr(value)
        case Binary("+", left, right):
            return f"({_count(source, left, item)} + {_count(source, right, item)})"
        case Call(of, "count", ()):
            element = plain_element(of, item)
            if element is not None and not element.is_list:
                return _has(source, element, item.var)
            if element is not None and not type_named(element.keys[0][1]).is_primitive:
                return f"len({item.var}.get({element.keys[0][0]!r}, ()))"
            return source.count_of(of, item)
    raise Unsuited


def _comparison(
    source: Source, operator: str, left: Expression, right: Expression, item: Item, wanted: bool
) -> str:
    if not wanted:
        operator = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}[operator]
    if _is_count(left) and _is_count(right):
        return f"({_count(source, left, item)} {operator} {_count(source, right, item)})"
    first, type_ = scalar(source, left, item)
    constant = _constant(right)
    var = source.fresh("v")
    if constant is not None and type_.system in _NUMBERS and constant[0] in _NUMBERS:
        return f"(({var} := {first}) is not None and {var} {operator} {constant[1]!r})"
    second, other = scalar(source, right, item)
    if type_.system in ("Date", "DateTime") and other.system in ("Date", "DateTime"):
        return f"(({var} := date_order({first}, {second})) is not None and {var} {operator} 0)"
    if type_.system in _NUMBERS and other.system in _NUMBERS:
        by = source.fresh("v")
        return (
            f"(({var} := {first}) is not None and ({by} := {second}) is not None and {var} {operator} {by})"
        )
    raise Unsuited


def _among(source: Source, left: Expression, right: Expression, item: Item, wanted: bool) -> str:
    """`code in ('a' | 'b')`."""
    constants: set[object] = set()

    def collect(tree: Expression) -> None:
        constant = _constant(tree)
        match tree:
            case Binary("|", first, second):
                collect(first)
                collect(second)
            case _ if constant is not None and constant[0] == "String":
                constants.add(constant[1])
            case _:
                raise Unsuited

    collect(right)
    known = source.constant(frozenset(constants))
    found = single_value(source, left, item)
    if found is not None:
        value, type_, there = found
        answer = f"({value} in {known})" if wanted else f"({there}{value} not in {known})"
    else:
        values, type_ = source.gather(left, item)
        answer = f"(is_among({values}, {known}) is {wanted})"
    if type_.system != "String":
        raise Unsuited
    return answer


def _is_type(source: Source, operand: Expression, name: str, item: Item, wanted: bool) -> str:
    match operand:
        case Call(None | Variable("$this"), "resolve", ()) if item.type.fhir == "Reference":
            return f"(target_is({item.var}, env, {name!r}) is {wanted})"
        case Member():
            chain = _chain(source, operand, item)
            if chain is not None and not chain[1].is_list:
                fits = source.any_of(Call(operand, "ofType", (Member(None, name),)), item)
                if wanted:
                    return fits
                return f"({exists(source, operand, item, True)} and not {fits})"
    raise Unsuited


def _text_test(source: Source, of: Expression | None, name: str, text: str, item: Item, wanted: bool) -> str:
    var = source.fresh("v")
    match name:
        case "startsWith":
            answer = f"{var}.startswith({text!r})"
        case "endsWith":
            answer = f"{var}.endswith({text!r})"
        case "contains":
            answer = f"{text!r} in {var}"
        case _:
            answer = f"{source.constant(matcher(text))}({var})"
    found = single_value(source, of, item)
    if found is None:
        values, type_ = source.gather(of, item)
        value, there = f"single({values})", ""
    else:
        value, type_, there = found
    if type_.system != "String" or (not wanted and found is None):
        raise Unsuited
    if wanted:
        return f"(({var} := {value}) is not None and {answer})"
    return f"({there}(({var} := {value}) is None or not {answer}))"


def _all(source: Source, of: Expression | None, criterion: Expression, item: Item, wanted: bool) -> str:
    """True when no item fails to be True."""

    def fill(start: Item, block: Block) -> None:
        def check(it: Item, at: Block) -> None:
            if not it.var.isidentifier():
                raise Unsuited
            at.add(f"if not {test(source, criterion, it, True)}:")
            at.add("    return False")

        source.walk(of, start, block, check)

    call = source.function(item, "", fill, "return True")
    return call if wanted else f"(not {call})"
