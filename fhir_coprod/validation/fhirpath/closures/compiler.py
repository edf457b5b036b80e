"""Compiles a syntax tree to nested closures over collections of nodes: every construct, in its full meaning.

`booleans` has a faster way for the patterns of most invariants; what it cannot express is done here.
"""

from __future__ import annotations

from collections.abc import Callable

from fhir_coprod.validation.fhirpath import knowledge, patterns, quantity, references
from fhir_coprod.validation.fhirpath.closures import collections, logic
from fhir_coprod.validation.fhirpath.errors import Undecided, UnsupportedFhirPath
from fhir_coprod.validation.fhirpath.members import Known, Members, distinct
from fhir_coprod.validation.fhirpath.model import (
    BOOLEAN,
    DATE,
    DATE_TIME,
    DECIMAL,
    INTEGER,
    QUANTITY,
    STRING,
    TIME,
    Type,
    is_type,
)
from fhir_coprod.validation.fhirpath.nodes import (
    EMPTY,
    FALSE,
    TRUE,
    Compiled,
    Node,
    Nodes,
    Scope,
    as_truth,
    children_named,
    equal_collections,
    equivalent_collections,
    one,
    root,
    string,
    truth,
)
from fhir_coprod.validation.fhirpath.once import once
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
)

MAX_REPEAT = 1_000_000
"""Most items that `repeat()` gathers: a loop may have no end."""


_LITERAL_TYPES: dict[str, Type] = {
    "Boolean": BOOLEAN,
    "String": STRING,
    "Integer": INTEGER,
    "Decimal": DECIMAL,
    "Date": DATE,
    "DateTime": DATE_TIME,
    "Time": TIME,
}


def compiled(tree: Expression) -> Compiled:
    """The closure of an expression. Raises UnsupportedFhirPath for what cannot be decided here."""
    return once(tree, _compiled(tree))


def _compiled(tree: Expression) -> Compiled:
    match tree:
        case Literal(kind, value):
            constant = [Node(value, _LITERAL_TYPES[kind])]
            return lambda scope: constant
        case QuantityLiteral(value, unit, calendar):
            amount = [Node(quantity.make(value, unit, calendar=calendar), QUANTITY)]
            return lambda scope: amount
        case Empty():
            return lambda scope: EMPTY
        case Variable(name):
            return _variable(name)
        case External(name):
            return _external(name)
        case Member(source, name):
            return _member(source, name)
        case Call():
            return _call(tree)
        case Index(source, index):
            return _indexed(compiled(source), compiled(index))
        case Sign(operator, operand):
            of = compiled(operand)
            return of if operator == "+" else lambda scope: collections.negated(of(scope))
        case TypeTest(operator, operand, name):
            return _type_test(operator, operand, name)
        case Binary(operator, left, right):
            if operator in ("in", "contains"):
                return _membership(*((left, right) if operator == "in" else (right, left)))
            return _binary(operator, compiled(left), compiled(right))


def _this(scope: Scope) -> Nodes:
    return scope.this


def _source(tree: Expression | None) -> Compiled:
    return _this if tree is None else compiled(tree)


def _variable(name: str) -> Compiled:
    if name == "$this":
        return _this
    if name == "$index":
        return lambda scope: [Node(scope.index, INTEGER)]
    return lambda scope: scope.total


def _external(name: str) -> Compiled:
    if name == "resource":
        return lambda scope: [root(scope.env.resource)]
    if name == "rootResource":
        return lambda scope: [root(scope.env.root_resource or scope.env.resource)]
    if name == "context":
        return lambda scope: scope.context
    constant = string(knowledge.constant(name))
    return lambda scope: constant


def _member(source: Expression | None, name: str) -> Compiled:
    if source is None and name[:1].isupper():
        return _type_or_member(name)
    of = _source(source)

    def step(scope: Scope) -> Nodes:
        out: Nodes = []
        for node in of(scope):
            children_named(node, name, out)
        return out

    return step


def _type_or_member(name: str) -> Compiled:
    """A path may begin with the type of its context: `Patient.name` is `name` on a Patient, else nothing."""

    def begin(scope: Scope) -> Nodes:
        out: Nodes = []
        for node in scope.this:
            if name in node.type.ancestors:
                out.append(node)
            else:
                children_named(node, name, out)
        return out

    return begin


def _indexed(of: Compiled, index: Compiled) -> Compiled:
    def item(scope: Scope) -> Nodes:
        at = one(index(scope))
        if at is None or not isinstance(at.value, int) or at.value < 0:
            return EMPTY
        return of(scope)[at.value : at.value + 1]

    return item


def type_name(tree: Expression) -> str:
    """A type given as an argument: `Patient`, `FHIR.Patient`, `'Patient'`."""
    match tree:
        case Member(None, name):
            return name
        case Member(Member(None, space), name):
            return f"{space}.{name}"
        case Literal("String", name):
            return str(name)
    raise UnsupportedFhirPath("FHIRPath: is(), as() and ofType() take the name of a type.")


def _type_test(operator: str, operand: Expression, name: str) -> Compiled:
    if not is_type(name):
        raise UnsupportedFhirPath(f"FHIRPath: there is no type {name} here.")
    if operator == "as":
        return _of_type(compiled(operand), name)
    match operand:
        case Call(source, "resolve", ()):
            return references.target_is(_source(source), name)
    of = compiled(operand)

    def test(scope: Scope) -> Nodes:
        node = one(of(scope))
        return EMPTY if node is None else truth(name in node.type.ancestors)

    return test


def _of_type(of: Compiled, name: str) -> Compiled:
    return lambda scope: [node for node in of(scope) if name in node.type.ancestors]


def _call(call: Call) -> Compiled:
    special = _SPECIAL.get(call.name)
    if special is not None:
        fewest, most, build = special
        _check_arguments(call, fewest, most)
        return build(call)
    if call.name in collections.AMONG:
        _check_arguments(call, 1, 1)
        return _among(call.name, _source(call.source), call.arguments[0])
    known = collections.FUNCTIONS.get(call.name)
    if known is None:
        raise UnsupportedFhirPath(f"FHIRPath: the function {call.name}() is not known here.")
    fewest, most, function = known
    _check_arguments(call, fewest, most)
    if call.name in ("matches", "matchesFull", "replaceMatches"):
        match call.arguments[0]:
            case Literal("String", source):
                patterns.check(str(source), replacing=call.name == "replaceMatches")
    of = _source(call.source)
    arguments = [compiled(argument) for argument in call.arguments]
    if not arguments:
        no_arguments: list[Nodes] = []
        return lambda scope: function(of(scope), no_arguments)
    return lambda scope: function(of(scope), [argument(scope) for argument in arguments])


def _among(name: str, of: Compiled, others: Expression) -> Compiled:
    """`intersect` and its like: the others are made ready to look into once, if they stay the same."""
    function, prepare = collections.AMONG[name]
    found = compiled(others)
    prepared = once(others, lambda scope: prepare(found(scope)))
    return lambda scope: function(of(scope), prepared(scope))


def _check_arguments(call: Call, fewest: int, most: int) -> None:
    if not fewest <= len(call.arguments) <= most:
        wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
        raise UnsupportedFhirPath(
            f"FHIRPath: {call.name}() takes {wanted} arguments, {len(call.arguments)} are given."
        )


def _exists(call: Call) -> Compiled:
    of = _where(call) if call.arguments else _source(call.source)
    return lambda scope: TRUE if of(scope) else FALSE


def _where(call: Call) -> Compiled:
    of, criterion = _source(call.source), compiled(call.arguments[0])

    def where(scope: Scope) -> Nodes:
        inner = Scope(scope.env, EMPTY, scope.context, 0, scope.total)
        out: Nodes = []
        for index, node in enumerate(of(scope)):
            inner.this, inner.index = [node], index
            if as_truth(criterion(inner)):
                out.append(node)
        return out

    return where


def _all(call: Call) -> Compiled:
    of, criterion = _source(call.source), compiled(call.arguments[0])

    def all_(scope: Scope) -> Nodes:
        inner = Scope(scope.env, EMPTY, scope.context, 0, scope.total)
        for index, node in enumerate(of(scope)):
            inner.this, inner.index = [node], index
            if not as_truth(criterion(inner)):
                return FALSE
        return TRUE

    return all_


def _select(call: Call) -> Compiled:
    of, projection = _source(call.source), compiled(call.arguments[0])

    def select(scope: Scope) -> Nodes:
        inner = Scope(scope.env, EMPTY, scope.context, 0, scope.total)
        out: Nodes = []
        for index, node in enumerate(of(scope)):
            inner.this, inner.index = [node], index
            out += projection(inner)
        return out

    return select


def _repeat(call: Call) -> Compiled:
    of, projection = _source(call.source), compiled(call.arguments[0])

    def repeat(scope: Scope) -> Nodes:
        inner = Scope(scope.env, EMPTY, scope.context, 0, scope.total)
        out: Nodes = []
        seen: set[int] = set()
        known = Known()
        level = of(scope)
        while level:
            found: Nodes = []
            for node in level:
                inner.this = [node]
                found += projection(inner)
            level = []
            for node in found:
                if isinstance(node.value, dict):
                    fresh = id(node.value) not in seen
                    seen.add(id(node.value))
                else:
                    fresh = node not in known
                    known.add(node)
                if fresh:
                    out.append(node)
                    level.append(node)
            if len(out) > MAX_REPEAT:
                raise Undecided(f"repeat() finds more than {MAX_REPEAT:,} items")
        return out

    return repeat


def _aggregate(call: Call) -> Compiled:
    of, step = _source(call.source), compiled(call.arguments[0])
    start = compiled(call.arguments[1]) if len(call.arguments) > 1 else (lambda scope: EMPTY)

    def aggregate(scope: Scope) -> Nodes:
        inner = Scope(scope.env, EMPTY, scope.context, 0, start(scope))
        for index, node in enumerate(of(scope)):
            inner.this, inner.index = [node], index
            inner.total = step(inner)
        return inner.total

    return aggregate


def _iif(call: Call) -> Compiled:
    of = _source(call.source)
    criterion, yes = compiled(call.arguments[0]), compiled(call.arguments[1])
    match call.arguments[0]:
        case Literal(kind) if kind != "Boolean":
            raise UnsupportedFhirPath("FHIRPath: iif() needs a condition that is true or false.")
    no = compiled(call.arguments[2]) if len(call.arguments) > 2 else (lambda scope: EMPTY)

    def iif(scope: Scope) -> Nodes:
        # `x.iif(empty(), …)` asks whether there is an item; of several nobody knows which is meant.
        items = of(scope)
        one(items)
        inner = Scope(scope.env, items, scope.context, scope.index, scope.total)
        return yes(inner) if as_truth(criterion(inner)) else no(inner)

    return iif


def _trace(call: Call) -> Compiled:
    """`trace()` passes its items through; it logs nothing, since they may be a patient's."""
    for argument in call.arguments:
        compiled(argument)
    return _source(call.source)


def _is(call: Call) -> Compiled:
    return _type_test("is", call.source or Variable("$this"), type_name(call.arguments[0]))


def _as(call: Call) -> Compiled:
    return _type_test("as", call.source or Variable("$this"), type_name(call.arguments[0]))


def _sort(call: Call) -> Compiled:
    """`sort()`: by the items themselves, or by each argument in turn; a minus before one turns its order.

    Items without a value to sort by come first. Raises FhirPathError for values that have no order.
    """
    of = _source(call.source)
    keys: list[tuple[Compiled, int]] = []
    for argument in call.arguments or (Variable("$this"),):
        match argument:
            case Sign("-", operand):
                keys.append((compiled(operand), -1))
            case _:
                keys.append((compiled(argument), 1))

    def sort(scope: Scope) -> Nodes:
        inner = Scope(scope.env, EMPTY, scope.context, 0, scope.total)
        ranked: list[tuple[Node, list[Node | None]]] = []
        for index, node in enumerate(of(scope)):
            inner.this, inner.index = [node], index
            ranked.append((node, [one(key(inner)) for key, _ in keys]))
        return collections.ranked(ranked, [way for _, way in keys])

    return sort


def _knowing(build: Callable[[Call, Compiled], Compiled]) -> Callable[[Call], Compiled]:
    return lambda call: build(call, _source(call.source))


_SPECIAL: dict[str, tuple[int, int, Callable[[Call], Compiled]]] = {
    "exists": (0, 1, _exists),
    "where": (1, 1, _where),
    "all": (1, 1, _all),
    "select": (1, 1, _select),
    "repeat": (1, 1, _repeat),
    "aggregate": (1, 2, _aggregate),
    "sort": (0, 9, _sort),
    "iif": (2, 3, _iif),
    "trace": (1, 2, _trace),
    "resolve": (0, 0, _knowing(knowledge.resolve)),
    "is": (1, 1, _is),
    "as": (1, 1, _as),
    "ofType": (1, 1, _as),
    "htmlChecks": (0, 0, _knowing(knowledge.html_checks)),
    "htmlChecks2": (0, 0, _knowing(knowledge.html_checks)),
    "now": (0, 0, _knowing(knowledge.moment)),
    "today": (0, 0, _knowing(knowledge.moment)),
    "timeOfDay": (0, 0, _knowing(knowledge.moment)),
    "memberOf": (1, 1, _knowing(knowledge.member_of)),
    "conformsTo": (1, 1, _knowing(knowledge.conforms_to)),
}


def _binary(operator: str, left: Compiled, right: Compiled) -> Compiled:
    match operator:
        case "and" | "or" | "xor" | "implies":
            return logic.operation(operator, left, right)
        case "=":
            return lambda scope: truth(equal_collections(left(scope), right(scope)))
        case "!=":
            return lambda scope: truth(_negation(equal_collections(left(scope), right(scope))))
        case "~":
            return lambda scope: truth(equivalent_collections(left(scope), right(scope)))
        case "!~":
            return lambda scope: truth(not equivalent_collections(left(scope), right(scope)))
        case "<" | ">" | "<=" | ">=":
            return lambda scope: collections.compare(operator, left(scope), right(scope))
        case "|":
            return lambda scope: distinct([*left(scope), *right(scope)])
        case "&":
            return lambda scope: collections.concatenate(left(scope), right(scope))
    return lambda scope: collections.arithmetic(operator, left(scope), right(scope))


def _negation(found: bool | None) -> bool | None:
    return None if found is None else not found


def _membership(item: Expression, items: Expression) -> Compiled:
    """`item in items`."""
    of, among = compiled(item), compiled(items)
    members = once(items, lambda scope: Members(among(scope)))

    def is_in(scope: Scope) -> Nodes:
        # The specification wants one item on the left; HL7's validator tests each, and R4's tim-9 needs that.
        nodes = of(scope)
        if not nodes:
            return EMPTY
        known = members(scope)
        return truth(all(node in known for node in nodes))

    return is_in
