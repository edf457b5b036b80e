"""Parses FHIRPath text into a syntax tree: a regular expression for tokens, then precedence climbing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from fhir_coprod.validation.fhirpath.errors import UnsupportedFhirPath
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
    depth,
)

MAX_LENGTH = 50_000
"""Longest expression that is read; the longest in R4 has 3,200 characters."""

MAX_NESTING = 80
"""Deepest nesting of parentheses, arguments and steps' operands; R4 stays under 10."""

_UNITS = ("year", "month", "week", "day", "hour", "minute", "second", "millisecond")
MAX_DEPTH = 100
"""Longest chain of steps and operators, so that no recursion over a tree runs deep; R4's longest has 36."""

MAX_DIGITS = 40

CALENDAR_UNITS = frozenset(_UNITS) | {f"{unit}s" for unit in _UNITS}

_TOKEN = re.compile(
    r"""
    (?P<space>   \s+ | //[^\n]* | /\*.*?\*/ )
  | (?P<time>    @T\d{2}(?::\d{2}(?::\d{2}(?:\.\d+)?)?)? )
  | (?P<datetime>@\d{4}(?:-\d{2}(?:-\d{2})?)?
                 T(?:\d{2}(?::\d{2}(?::\d{2}(?:\.\d+)?)?)?)?(?:Z|[+-]\d{2}:\d{2})? )
  | (?P<date>    @\d{4}(?:-\d{2}(?:-\d{2})?)? )
  | (?P<number>  \d+(?:\.\d+)? )
  | (?P<string>  '(?:[^'\\]|\\.)*' )
  | (?P<quoted>  `(?:[^`\\]|\\.)*` | "(?:[^"\\]|\\.)*" )
  | (?P<external>%(?:[A-Za-z_][A-Za-z0-9_-]*|`(?:[^`\\]|\\.)*`|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*") )
  | (?P<variable>\$(?:this|index|total)\b )
  | (?P<name>    [A-Za-z_][A-Za-z0-9_]* )
  | (?P<symbol>  <=|>=|!=|!~|[-+*/&|=~<>().,\[\]{}] )
    """,
    re.VERBOSE | re.DOTALL,
)

_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "f": "\f"}

# Binding strength, weakest first (FHIRPath 2.0 §6.8).
_STRENGTH = {
    "implies": 1,
    "or": 2,
    "xor": 2,
    "and": 3,
    "in": 4,
    "contains": 4,
    "=": 5,
    "!=": 5,
    "~": 5,
    "!~": 5,
    "<": 6,
    ">": 6,
    "<=": 6,
    ">=": 6,
    "|": 7,
    "is": 8,
    "as": 8,
    "+": 9,
    "-": 9,
    "&": 9,
    "*": 10,
    "/": 10,
    "div": 10,
    "mod": 10,
}


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """The tree of an expression. Raises UnsupportedFhirPath with the position of what it cannot read."""
    if len(text) > MAX_LENGTH:
        raise UnsupportedFhirPath(
            f"The FHIRPath expression is longer than {MAX_LENGTH} characters; split it."
        )
    tree = _Parser(text).whole()
    if depth(tree) > MAX_DEPTH:
        raise UnsupportedFhirPath(f"The FHIRPath expression chains more than {MAX_DEPTH} steps; split it.")
    return tree


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise UnsupportedFhirPath(
                f"FHIRPath: unexpected {text[at]!r} at character {at + 1} of {_shown(text)}."
            )
        kind = str(match.lastgroup)
        if kind != "space":
            yield _Token(kind, match.group(), at)
        at = match.end()
    yield _Token("end", "", len(text))


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _unescape(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        code = match[1]
        if len(code) == 5:
            return chr(int(code[1:], 16))
        return _ESCAPED.get(code, code)

    return _ESCAPE.sub(character, text) if "\\" in text else text


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(_tokens(text))
        self.at = 0
        self.nesting = 0

    def whole(self) -> Expression:
        tree = self.expression(0)
        if self.peek.kind != "end":
            raise self.unexpected()
        return tree

    @property
    def peek(self) -> _Token:
        return self.tokens[self.at]

    def next(self) -> _Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def accept(self, symbol: str) -> bool:
        token = self.peek
        if token.kind == "symbol" and token.text == symbol:
            self.at += 1
            return True
        return False

    def expect(self, symbol: str) -> None:
        if not self.accept(symbol):
            raise self.unexpected(f"; expected {symbol!r}")

    def unexpected(self, hint: str = "") -> UnsupportedFhirPath:
        token = self.peek
        what = repr(token.text) if token.text else "end"
        return UnsupportedFhirPath(
            f"FHIRPath: unexpected {what} at character {token.at + 1} of {_shown(self.text)}{hint}."
        )

    def expression(self, strength: int) -> Expression:
        """An expression whose operators bind tighter than `strength`."""
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise UnsupportedFhirPath(f"The FHIRPath expression nests deeper than {MAX_NESTING} levels.")
        left = self.prefixed()
        while True:
            token = self.peek
            found = _STRENGTH.get(token.text, 0) if token.kind in ("name", "symbol") else 0
            if found <= strength:
                break
            self.next()
            if token.text == "is":
                left = TypeTest("is", left, self.type_name())
            elif token.text == "as":
                left = TypeTest("as", left, self.type_name())
            else:
                left = Binary(token.text, left, self.expression(found))
        self.nesting -= 1
        return left

    def prefixed(self) -> Expression:
        if self.peek.kind == "symbol" and self.peek.text in ("+", "-"):
            sign = self.next().text
            operand = self.path()
            return Sign("-" if sign == "-" else "+", operand)
        return self.path()

    def path(self) -> Expression:
        tree = self.term()
        while True:
            if self.accept("."):
                tree = self.step(tree)
            elif self.accept("["):
                tree = Index(tree, self.expression(0))
                self.expect("]")
            else:
                return tree

    def step(self, source: Expression | None) -> Expression:
        """A member or a function call; words that are operators elsewhere are names here."""
        token = self.next()
        if token.kind == "variable" and source is not None:
            # `a.$this` is `a`: HL7's own R4 expressions never use it, some guides do.
            return source
        if token.kind not in ("name", "quoted"):
            self.at -= 1
            raise self.unexpected("; expected a name")
        name = _unescape(token.text[1:-1]) if token.kind == "quoted" else token.text
        if not self.accept("("):
            return Member(source, name)
        arguments: list[Expression] = []
        if not self.accept(")"):
            arguments.append(self.expression(0))
            while self.accept(","):
                arguments.append(self.expression(0))
            self.expect(")")
        return Call(source, name, tuple(arguments))

    def term(self) -> Expression:
        token = self.peek
        if token.kind in ("name", "quoted"):
            if token.text in ("true", "false") and token.kind == "name":
                self.next()
                return Literal("Boolean", token.text == "true")
            return self.step(None)
        self.next()
        match token.kind:
            case "string":
                return Literal("String", _unescape(token.text[1:-1]))
            case "number":
                return self.number(token.text)
            case "date":
                return Literal("Date", token.text[1:])
            case "datetime":
                return Literal("DateTime", token.text[1:])
            case "time":
                return Literal("Time", token.text[2:])
            case "variable":
                return Variable(token.text)  # type: ignore[arg-type]
            case "external":
                name = token.text[1:]
                return External(_unescape(name[1:-1]) if name[0] in "`'\"" else name)
        if token.text == "(":
            inner = self.expression(0)
            self.expect(")")
            return inner
        if token.text == "{":
            self.expect("}")
            return Empty()
        self.at -= 1
        raise self.unexpected()

    def number(self, text: str) -> Expression:
        if len(text) > MAX_DIGITS:
            raise UnsupportedFhirPath(f"FHIRPath: a number has at most {MAX_DIGITS} digits.")
        unit = self.peek
        if unit.kind == "string":
            self.next()
            return QuantityLiteral(Decimal(text), _unescape(unit.text[1:-1]), calendar=False)
        if unit.kind == "name" and unit.text in CALENDAR_UNITS:
            self.next()
            return QuantityLiteral(Decimal(text), unit.text.removesuffix("s"), calendar=True)
        if "." in text:
            return Literal("Decimal", Decimal(text))
        return Literal("Integer", int(text))

    def type_name(self) -> str:
        parts = [self.next()]
        while self.accept("."):
            parts.append(self.next())
        if any(part.kind not in ("name", "quoted") for part in parts):
            self.at -= 1
            raise self.unexpected("; expected a type")
        return ".".join(part.text.strip('`"') for part in parts)
