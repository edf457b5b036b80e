"""FHIRPath functions on strings, and conversions to and from strings (FHIRPath 2.0 §5.5, §5.6)."""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from fhir_coprod.validation.fhirpath import patterns, quantity, temporal
from fhir_coprod.validation.fhirpath.errors import FhirPathError, UnsupportedFhirPath
from fhir_coprod.validation.fhirpath.model import (
    BOOLEAN,
    DATE,
    DATE_TIME,
    DECIMAL,
    INTEGER,
    QUANTITY,
    STRING,
    TIME,
)
from fhir_coprod.validation.fhirpath.nodes import EMPTY, Node, Nodes, integer, one, string, truth
from fhir_coprod.validation.fhirpath.parser import CALENDAR_UNITS


def text_of(node: Node) -> str | None:
    """A primitive as text; None when it has no value or is not a primitive."""
    value = node.value
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int):
        return format(Decimal(value), "f")
    if isinstance(value, Decimal):
        return format(value, "f")
    if node.type.system == "Quantity" and isinstance(value, dict):
        return quantity.text(value)
    return None


def text(items: Nodes) -> str | None:
    """The only item as text. Raises FhirPathError when there are several."""
    node = one(items)
    return None if node is None else text_of(node)


def number_argument(items: Nodes) -> int | None:
    """An argument that must be a whole number."""
    node = one(items)
    return node.value if node is not None and isinstance(node.value, int) else None


def _tested(test: Callable[[str, str], bool]) -> Callable[[Nodes, list[Nodes]], Nodes]:
    """Make a function of a test on a text. An item without a value gives False, as in HL7's validator."""

    def function(items: Nodes, args: list[Nodes]) -> Nodes:
        node, part = one(items), text(args[0])
        if node is None or part is None:
            return EMPTY
        if not node.type.is_primitive:
            raise FhirPathError(f"FHIRPath: {node.type.fhir} is no text; name one of its elements.")
        value = text_of(node)
        return truth(value is not None and test(value, part))

    return function


matches = _tested(lambda value, source: patterns.found(source, value))
matches_full = _tested(lambda value, source: patterns.found(source, value, whole=True))
contains = _tested(lambda value, part: part in value)
starts_with = _tested(lambda value, part: value.startswith(part))
ends_with = _tested(lambda value, part: value.endswith(part))


def replace_matches(items: Nodes, args: list[Nodes]) -> Nodes:
    value, source, by = text(items), text(args[0]), text(args[1])
    if value is None or source is None or by is None:
        return EMPTY
    if not source:
        return string(value)
    try:
        return string(patterns.replaced(source, value, by))
    except UnsupportedFhirPath as error:
        raise FhirPathError(error.message) from None


def index_of(items: Nodes, args: list[Nodes]) -> Nodes:
    value, part = text(items), text(args[0])
    return EMPTY if value is None or part is None else integer(value.find(part))


def last_index_of(items: Nodes, args: list[Nodes]) -> Nodes:
    value, part = text(items), text(args[0])
    return EMPTY if value is None or part is None else integer(value.rfind(part))


def substring(items: Nodes, args: list[Nodes]) -> Nodes:
    value, start = text(items), number_argument(args[0])
    if value is None or start is None or not 0 <= start < len(value):
        return EMPTY
    length = number_argument(args[1]) if len(args) > 1 else None
    return string(value[start:] if length is None else value[start : start + max(length, 0)])


def length(items: Nodes, args: list[Nodes]) -> Nodes:
    value = text(items)
    return EMPTY if value is None else integer(len(value))


def upper(items: Nodes, args: list[Nodes]) -> Nodes:
    value = text(items)
    return EMPTY if value is None else string(value.upper())


def lower(items: Nodes, args: list[Nodes]) -> Nodes:
    value = text(items)
    return EMPTY if value is None else string(value.lower())


def trim(items: Nodes, args: list[Nodes]) -> Nodes:
    value = text(items)
    return EMPTY if value is None else string(value.strip())


def replace(items: Nodes, args: list[Nodes]) -> Nodes:
    value, old, new = text(items), text(args[0]), text(args[1])
    return EMPTY if value is None or old is None or new is None else string(value.replace(old, new))


def to_chars(items: Nodes, args: list[Nodes]) -> Nodes:
    return [Node(character, STRING) for character in text(items) or ""]


def split(items: Nodes, args: list[Nodes]) -> Nodes:
    value, by = text(items), text(args[0])
    if value is None or by is None:
        return EMPTY
    return [Node(part, STRING) for part in (value.split(by) if by else list(value))]


def join(items: Nodes, args: list[Nodes]) -> Nodes:
    by = text(args[0]) if args else ""
    texts = [part for node in items if (part := text_of(node)) is not None]
    return EMPTY if by is None or not texts else string(by.join(texts))


def encode(items: Nodes, args: list[Nodes]) -> Nodes:
    value, kind = text(items), text(args[0])
    if value is None or kind is None:
        return EMPTY
    raw = value.encode("utf-8", "surrogatepass")
    match kind:
        case "hex":
            return string(raw.hex())
        case "base64":
            return string(base64.b64encode(raw).decode())
        case "urlbase64":
            return string(base64.urlsafe_b64encode(raw).decode())
    return EMPTY


def decode(items: Nodes, args: list[Nodes]) -> Nodes:
    value, kind = text(items), text(args[0])
    if value is None or kind is None:
        return EMPTY
    try:
        match kind:
            case "hex":
                return string(bytes.fromhex(value).decode())
            case "base64":
                return string(base64.b64decode(value, validate=True).decode())
            case "urlbase64":
                return string(base64.urlsafe_b64decode(value).decode())
    except (ValueError, binascii.Error):
        return EMPTY
    return EMPTY


_JSON_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f", "\b": "\\b"}
_JSON_UNESCAPES = {shown[1]: character for character, shown in _JSON_ESCAPES.items()}
_JSON_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)


def escape(items: Nodes, args: list[Nodes]) -> Nodes:
    value, kind = text(items), text(args[0])
    if value is None:
        return EMPTY
    match kind:
        case "html":
            return string(html.escape(value))
        case "json":
            return string("".join(_JSON_ESCAPES.get(character, character) for character in value))
    return EMPTY


def unescape(items: Nodes, args: list[Nodes]) -> Nodes:
    value, kind = text(items), text(args[0])
    if value is None:
        return EMPTY
    match kind:
        case "html":
            return string(html.unescape(value))
        case "json":
            plain = _JSON_ESCAPE.sub(_unescaped, value)
            # JSON writes a character beyond 16 bits as two escapes; half of one is no character.
            return string(plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return EMPTY


def _unescaped(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if len(code) == 5 else _JSON_UNESCAPES.get(code, code)


_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*(?:'([^']+)'|([a-z]+))?", re.ASCII)


def to_boolean(node: Node) -> Any:
    value = node.value
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        word = value.lower()
        if word in ("true", "t", "yes", "y", "1", "1.0"):
            return True
        return False if word in ("false", "f", "no", "n", "0", "0.0") else None
    if isinstance(value, (int, float, Decimal)) and value in (0, 1):
        return bool(value)
    return None


def to_integer(node: Node) -> Any:
    value = node.value
    if isinstance(value, (bool, int)):
        return int(value)
    return int(value) if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,19}", value, re.ASCII) else None


def to_decimal(node: Node) -> Any:
    value = node.value
    if isinstance(value, bool):
        return Decimal(int(value))
    if isinstance(value, str):
        try:
            return Decimal(value) if re.fullmatch(r"[+-]?\d+(\.\d+)?", value, re.ASCII) else None
        except InvalidOperation:
            return None
    return quantity.number(value)


def to_date(node: Node) -> Any:
    day = node.value.partition("T")[0] if isinstance(node.value, str) else ""
    return day if temporal.moment(day) else None


def to_date_time(node: Node) -> Any:
    return node.value if isinstance(node.value, str) and temporal.moment(node.value) else None


def to_time(node: Node) -> Any:
    return node.value if isinstance(node.value, str) and temporal.time_of_day(node.value) else None


def to_quantity(node: Node) -> Any:
    value = node.value
    if node.type.system == "Quantity":
        return value
    if isinstance(value, str):
        match = _QUANTITY.fullmatch(value)
        if match is None:
            return None
        if match[3]:
            if match[3] not in CALENDAR_UNITS:
                return None
            return quantity.make(Decimal(match[1]), match[3].removesuffix("s"), calendar=True)
        return quantity.make(Decimal(match[1]), match[2] or "1")
    decimal = to_decimal(node)
    return None if decimal is None else quantity.make(decimal, "1")


CONVERSIONS = {
    "Boolean": (to_boolean, BOOLEAN),
    "Integer": (to_integer, INTEGER),
    "Decimal": (to_decimal, DECIMAL),
    "Date": (to_date, DATE),
    "DateTime": (to_date_time, DATE_TIME),
    "Time": (to_time, TIME),
    "Quantity": (to_quantity, QUANTITY),
    "String": (text_of, STRING),
}
"""By the X of `toX()` and `convertsToX()`: the conversion, and the type it gives."""


def convert(items: Nodes, to: str) -> Nodes:
    """`toX()`: empty when the item cannot be converted."""
    how, type_ = CONVERSIONS[to]
    node = one(items)
    value = None if node is None else how(node)
    return EMPTY if value is None else [Node(value, type_)]


def converts(items: Nodes, to: str) -> Nodes:
    """`convertsToX()`."""
    return truth(bool(convert(items, to))) if items else EMPTY


def to_quantity_in(items: Nodes, args: list[Nodes]) -> Nodes:
    """`toQuantity(unit)`: empty when the item is no quantity, or of another kind than the unit."""
    found = convert(items, "Quantity")
    if not found or not args:
        return found
    unit = text(args[0])
    amount = None if unit is None else quantity.converted(found[0].value, unit)
    return EMPTY if amount is None else [Node(amount, QUANTITY)]


def converts_to_quantity_in(items: Nodes, args: list[Nodes]) -> Nodes:
    """`convertsToQuantity(unit)`."""
    return truth(bool(to_quantity_in(items, args))) if items else EMPTY
