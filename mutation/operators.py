"""Makes the mutants of a source text: edits at the places that the syntax tree gives.

An edit never changes the number of lines, so that every other line keeps its number. Left out are the parts
that no test should care about (docstrings, annotations, `__all__`, log lines, the text of errors, `__repr__`,
code that only type checkers read), and the parts where a change can mostly not be observed: batch sizes and
time limits at the top of a module or class, decorators, `strict` of zip, the last `continue` of a loop, and
computing again what a memory already has (`x = memory.get(key)`, then `if x is None: x = memory[key] = …`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

COMPARED: dict[type[ast.cmpop], tuple[str, tuple[tuple[str, str], ...]]] = {
    ast.Lt: (r"<", (("boundary", "<="), ("compare", ">="))),
    ast.LtE: (r"<=", (("boundary", "<"), ("compare", ">"))),
    ast.Gt: (r">", (("boundary", ">="), ("compare", "<="))),
    ast.GtE: (r">=", (("boundary", ">"), ("compare", "<"))),
    ast.Eq: (r"==", (("compare", "!="),)),
    ast.NotEq: (r"!=", (("compare", "=="),)),
    ast.Is: (r"is", (("compare", "is not"),)),
    ast.IsNot: (r"is\s+not", (("compare", "is"),)),
    ast.In: (r"in", (("compare", "not in"),)),
    ast.NotIn: (r"not\s+in", (("compare", "in"),)),
}
COUNTED: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.BitOr: ("|", "&"),
    ast.BitAnd: ("&", "|"),
}
TURNED = {"min": "max", "max": "min", "any": "all", "all": "any"}
LOGGED = frozenset({"debug", "info", "warning", "error", "exception", "critical", "log"})
LOGGERS = frozenset({"log", "_log", "logger", "_logger", "logging"})
UNSEEN = frozenset({"__repr__", "__str__", "__rich__"})
_Placed = ast.expr | ast.stmt
SIZE = 20
"""A number of at least this, alone at the top of a module or class, is a batch size or a time limit."""


@dataclass(frozen=True)
class Edit:
    """Replaces bytes `start` to `end` with `new`; a test must run one of `lines` to notice it.

    `within` are the lines of the innermost statement, `names` what a statement at the top of a module or
    class assigns (None inside a function), `body` the lines of the function whose default is changed.
    """

    operator: str
    start: int
    end: int
    new: str
    lines: tuple[int, ...]
    within: tuple[int, ...] = ()
    names: tuple[str, ...] | None = None
    body: tuple[int, ...] = ()


def edits(source: bytes) -> list[Edit]:
    """All edits of a text, in order of place."""
    found = _Finder(source)
    found.block(ast.parse(source).body)
    return sorted(found.edits, key=lambda edit: (edit.start, edit.end, edit.operator, edit.new))


def apply(source: bytes, edit: Edit) -> bytes:
    """The text with one edit made."""
    return source[: edit.start] + edit.new.encode() + source[edit.end :]


class _Finder:
    def __init__(self, source: bytes) -> None:
        self.source = source
        self.edits: list[Edit] = []
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.names: tuple[str, ...] | None = ()
        self.statement: tuple[int, ...] = ()
        self.defaults: tuple[int, ...] = ()
        self.test = False
        """Mutate an expression that is only tested for truth."""
        self.remembered = False
        """The statement makes what a memory does not have yet."""

    # ------------------------------------------------------------------ places

    def start(self, node: _Placed) -> int:
        return self.starts[node.lineno - 1] + node.col_offset

    def end(self, node: _Placed) -> int:
        return self.starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)

    def text(self, node: _Placed) -> str:
        return self.source[self.start(node) : self.end(node)].decode()

    def add(self, operator: str, node: _Placed, start: int, end: int, new: str) -> None:
        lines = _lines(node)
        self.edits.append(Edit(operator, start, end, new, lines, self.statement, self.names, self.defaults))

    def replace(self, operator: str, node: _Placed, new: str) -> None:
        self.add(operator, node, self.start(node), self.end(node), new)

    def between(self, left: _Placed, right: _Placed, word: str) -> tuple[int, int] | None:
        """Where an operator stands between its operands, apart from comments and brackets."""
        begin = self.end(left)
        gap = re.sub(rb"#[^\n]*", lambda found: b" " * len(found[0]), self.source[begin : self.start(right)])
        found = re.search(word.encode(), gap)
        return (begin + found.start(), begin + found.end()) if found else None

    # ------------------------------------------------------------------ statements

    def block(self, body: list[ast.stmt], *, last: bool = True) -> None:
        """`last`: nothing comes after this block in its function, or in its loop."""
        for number, statement in enumerate(body):
            kept, self.statement = self.statement, _own_lines(statement)
            self.remembered = number > 0 and _remembers(body[number - 1], statement)
            self.one(statement, last=last and number == len(body) - 1)
            self.statement = kept

    def one(self, node: ast.stmt, *, last: bool) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                self.function(node)
            case ast.ClassDef():
                kept, self.names = self.names, ()
                self.block(node.body)
                self.names = kept
            case ast.If():
                if "TYPE_CHECKING" in ast.unparse(node.test) or "__name__" in ast.unparse(node.test):
                    return
                self.condition(node.test, forced=("False",) if self.remembered else ("True", "False"))
                self.block(node.body, last=last)
                self.block(node.orelse, last=last)
            case ast.While():
                self.condition(node.test, forced=("False",))
                self.block(node.body)
                self.block(node.orelse, last=last)
            case ast.For() | ast.AsyncFor():
                self.expression(node.iter)
                self.block(node.body)
                self.block(node.orelse, last=last)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    self.expression(item.context_expr)
                self.block(node.body, last=last)
            case ast.Try() | ast.TryStar():
                self.block(node.body, last=last and not node.orelse)
                for handler in node.handlers:
                    self.block(handler.body, last=last)
                self.block(node.orelse, last=last)
                self.block(node.finalbody, last=last)
            case ast.Match():
                self.expression(node.subject)
                for each in node.cases:
                    if each.guard is not None:
                        self.condition(each.guard)
                    self.block(each.body, last=last)
            case _:
                self.simple(node, last=last)

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if node.name in UNSEEN:
            return
        kept = self.names, self.defaults, self.test
        first = next((each for each in node.body if not _is_text(each)), node.body[0])
        self.test = False
        if self.names is not None:
            self.defaults = tuple(range(first.lineno, (node.end_lineno or first.lineno) + 1))
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None:
                self.expression(default)
        self.names, self.defaults = None, ()
        self.block(node.body)
        self.names, self.defaults, self.test = kept

    def simple(self, node: ast.stmt, *, last: bool) -> None:
        match node:
            case ast.Expr(value=ast.Call() | ast.Await(value=ast.Call())):
                if _logs(node.value):
                    return
                self.replace("statement", node, "pass")
                self.expression(node.value)
            case ast.Raise():
                self.replace("statement", node, "pass")
            case ast.Continue() | ast.Break():
                if not (last and isinstance(node, ast.Continue)):
                    self.replace("statement", node, "pass")
            case ast.Return(value=None):
                if not last:
                    self.replace("statement", node, "pass")
            case ast.Return(value=value) if value is not None:
                if not _is_nothing(value):
                    self.replace("return", value, "None")
                self.expression(value)
            case ast.AugAssign():
                self.counted(node, node.op, node.target, node.value, "=")
                self.expression(node.value)
            case ast.Assign() | ast.AnnAssign() if node.value is not None:
                self.assigned(node, node.value)
            case ast.Expr():
                self.expression(node.value)
            case _:
                pass  # imports, assertions, deletions: nothing to change, or not worth it

    def assigned(self, node: ast.Assign | ast.AnnAssign, value: ast.expr) -> None:
        if self.names is None:
            self.expression(value)
            return
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = tuple(
            each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)
        )
        if any(name in ("__all__", "__slots__") for name in names) or _is_size(value) or _is_type(value):
            return
        self.names = names
        self.expression(value)
        self.names = ()

    # ------------------------------------------------------------------ expressions

    def condition(self, node: ast.expr, forced: tuple[str, ...] = ("True", "False")) -> None:
        if not isinstance(node, ast.Constant) and not _names_something(node):
            for value in forced:
                self.replace("condition", node, value)
        kept, self.test = self.test, True
        self.expression(node)
        self.test = kept

    def expression(self, node: ast.expr) -> None:
        match node:
            case ast.JoinedStr():
                return  # its positions are only right from Python 3.12 on
            case ast.Compare():
                self.compared(node)
            case ast.BoolOp():
                self.joined(node)
                for value in node.values:
                    self.expression(value)
                return
            case ast.UnaryOp(op=ast.Not()):
                self.add("not", node, self.start(node), self.start(node) + 3, "")
                kept, self.test = self.test, True
                self.expression(node.operand)
                self.test = kept
                return
            case ast.BinOp():
                self.counted(node, node.op, node.left, node.right)
            case ast.IfExp():
                self.condition(node.test)
                self.expression(node.body)
                self.expression(node.orelse)
                return
            case ast.Constant():
                self.constant(node)
            case ast.Call():
                self.called(node)
                return
            case ast.Lambda():
                self.expression(node.body)
                return
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                for part in (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,):
                    self.plain(part)
                for each in node.generators:
                    self.plain(each.iter)
                    for test in each.ifs:
                        self.condition(test, forced=("True",))
                return
            case _:
                pass
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.plain(child)

    def plain(self, node: ast.expr) -> None:
        """Mutate an expression whose value is used directly."""
        kept, self.test = self.test, False
        self.expression(node)
        self.test = kept

    def compared(self, node: ast.Compare) -> None:
        left = node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            word, others = COMPARED[type(op)]
            place = self.between(left, right, word)
            for operator, other in others:
                if place:
                    self.add(operator, node, *place, other)
            left = right

    def joined(self, node: ast.BoolOp) -> None:
        word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            place = self.between(left, right, rf"\b{word}\b")
            if place:
                self.add("and/or", node, *place, other)
        if word == "or" and len(node.values) == 2 and not self.test:
            self.replace("fallback", node, f"({self.text(node.values[0])})")

    def counted(
        self, node: _Placed, op: ast.operator, left: ast.expr, right: ast.expr, tail: str = ""
    ) -> None:
        if type(op) not in COUNTED or _is_textual(left) or _is_textual(right):
            return
        if isinstance(op, ast.BitOr) and self.names is not None:
            return  # a union of types
        old, new = COUNTED[type(op)]
        place = self.between(left, right, re.escape(old + tail))
        if place:
            self.add("arithmetic", node, *place, new + tail)

    def constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.replace("constant", node, str(not node.value))
        elif isinstance(node.value, int | float):
            self.replace("constant", node, repr(node.value + 1))

    def called(self, node: ast.Call) -> None:
        match node.func:
            case ast.Name(id=name) if name in TURNED:
                self.replace("function", node.func, TURNED[name])
            case ast.Name(id="isinstance" | "issubclass" | "cast" | "TypeVar" | "NewType" | "getLogger"):
                if node.func.id == "cast" and len(node.args) == 2:
                    self.plain(node.args[1])
                elif node.args and node.func.id.startswith("is"):
                    self.plain(node.args[0])
                return
            case ast.Attribute(attr="get" | "pop") if len(node.args) == 2 and not node.keywords:
                self.add("default", node, self.end(node.args[0]), self.end(node.args[1]), "")
            case _:
                pass
        self.plain(node.func)
        for argument in node.args:
            self.plain(argument)
        for keyword in node.keywords:
            if not (keyword.arg == "strict" and ast.unparse(node.func) == "zip"):
                self.plain(keyword.value)


def _lines(node: _Placed) -> tuple[int, ...]:
    return tuple(range(node.lineno, (node.end_lineno or node.lineno) + 1))


def _own_lines(node: ast.stmt) -> tuple[int, ...]:
    """Lines of a statement without those of the statements inside it."""
    body = getattr(node, "body", None)
    if isinstance(body, list) and body:
        return tuple(range(node.lineno, max(node.lineno + 1, body[0].lineno)))
    return _lines(node)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _remembers(before: ast.stmt, node: ast.stmt) -> bool:
    """Whether it is `if x is None: x = memory[key] = …` after `x = memory.get(key)`."""
    match before, node:
        case (
            ast.Assign(
                targets=[ast.Name(id=name)], value=ast.Call(func=ast.Attribute(memory, "get"), args=[key])
            ),
            ast.If(
                test=ast.Compare(ast.Name(id=tested), [ast.Is()], [ast.Constant(None)]),
                body=[*_, last],
                orelse=[],
            ),
        ):
            place = f"{ast.unparse(memory)}[{ast.unparse(key)}]"
            return (
                tested == name
                and isinstance(last, ast.Assign)
                and {name, place} == {ast.unparse(target) for target in last.targets}
            )
        case _:
            return False


def _is_textual(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr | ast.List | ast.Tuple) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    )


def _is_nothing(node: ast.expr) -> bool:
    """Whether a truth test cannot tell the value from None: False, an empty list, an empty text."""
    if isinstance(node, ast.Constant):
        return not node.value
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return not node.elts
    return isinstance(node, ast.Dict) and not node.keys


def _is_size(node: ast.expr) -> bool:
    """Whether it is a number, or computed from numbers alone, that is not small."""
    if any(
        not isinstance(each, ast.Constant | ast.BinOp | ast.UnaryOp | ast.operator | ast.unaryop)
        for each in ast.walk(node)
    ):
        return False
    numbers = [each.value for each in ast.walk(node) if isinstance(each, ast.Constant)]
    return all(type(each) in (int, float) for each in numbers) and max(numbers) >= SIZE  # type: ignore[type-var,operator]


def _is_type(node: ast.expr) -> bool:
    """Whether it is `A | B` or `Callable[…]` at the top of a module: a name for a type."""
    return (isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)) or isinstance(node, ast.Subscript)


def _names_something(node: ast.expr) -> bool:
    return any(isinstance(each, ast.NamedExpr) for each in ast.walk(node))


def _logs(node: ast.expr) -> bool:
    call = node.value if isinstance(node, ast.Await) else node
    function = call.func if isinstance(call, ast.Call) else None
    return (
        isinstance(function, ast.Attribute)
        and function.attr in LOGGED
        and isinstance(function.value, ast.Name)
        and function.value.id.lower() in LOGGERS
    )


def names_used(source: bytes) -> Iterator[tuple[str, int]]:
    """Every name, attribute and keyword in a text, with its line."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name):
                yield name, node.lineno
            case ast.keyword(arg=str(name)):
                yield name, node.value.lineno
            case _:
                pass
