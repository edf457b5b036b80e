"""`precision()`, `lowBoundary()` and `highBoundary()`: what a value of limited precision may really be.

The boundaries of a number are those of rounding: 1.587 may be anything from 1.5865 to 1.5875. Those of a date
or time are the first and the last moment that fit; without an offset, in the zones where it is earliest and
latest. A boundary with more digits than are asked for is cut off towards zero, and rounded away from zero, as
in HL7's engine.
"""

from __future__ import annotations

import re
from calendar import monthrange
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, localcontext
from typing import Any

from fhir_coprod.validation.fhirpath import quantity, temporal
from fhir_coprod.validation.fhirpath.errors import FhirPathError, Undecided
from fhir_coprod.validation.fhirpath.model import DECIMAL
from fhir_coprod.validation.fhirpath.nodes import EMPTY, Node, Nodes, integer, one
from fhir_coprod.validation.fhirpath.strings import number_argument

MAX_PLACES = 28

_DIGITS = {"Date": 8, "DateTime": 17, "Time": 9}
"""How many digits a full value has, which is the precision that is asked for by default."""
_STEPS = (4, 6, 8, 10, 12, 14, 17)
"""Digits of a year, of year and month, …, of milliseconds. A time of day has eight less, for the date."""
_ZONE = re.compile(r"(?<=T)([0-9:.]*)(Z|[+-]\d\d:\d\d)$", re.ASCII)
_FIRST = "00000101000000000"
_LAST = "99991231235959999"


def precision(items: Nodes, args: list[Nodes]) -> Nodes:
    """Digits after the point of a number; all digits of a date or time, without its offset."""
    node = one(items)
    if node is None or node.value is None:
        return EMPTY
    if node.type.system in _DIGITS:
        return integer(len(_digits(str(node.value), node.type.system)[0]))
    value = _exact(node, node.value, "precision")
    exponent = value.as_tuple().exponent
    return integer(max(0, -exponent) if isinstance(exponent, int) else 0)


def low_boundary(items: Nodes, args: list[Nodes]) -> Nodes:
    return _boundary(items, args, high=False)


def high_boundary(items: Nodes, args: list[Nodes]) -> Nodes:
    return _boundary(items, args, high=True)


def _boundary(items: Nodes, args: list[Nodes], *, high: bool) -> Nodes:
    node = one(items)
    if node is None or node.value is None:
        return EMPTY
    name = "highBoundary" if high else "lowBoundary"
    kind = node.type.system
    places = number_argument(args[0]) if args else _DIGITS.get(kind, 8)
    if places is None:
        return EMPTY
    if kind in _DIGITS:
        moment = _moment(str(node.value), kind, places, high=high)
        return EMPTY if moment is None else [Node(moment, node.type)]
    if not 0 <= places <= MAX_PLACES:
        return EMPTY
    if kind == "Quantity" and isinstance(node.value, dict):
        amount = node.value.get("value")
        if amount is None:
            return EMPTY
        value = _number(_exact(node, amount, name), places, high=high)
        return EMPTY if value is None else [Node({**node.value, "value": value}, node.type)]
    value = _number(_exact(node, node.value, name), places, high=high)
    return EMPTY if value is None else [Node(value, DECIMAL)]


def _exact(node: Node, value: Any, name: str) -> Decimal:
    """The number as it was written."""
    if isinstance(value, float):
        raise Undecided(
            f"{name}() depends on the digits of a decimal, which are not known when it is checked"
        )
    found = quantity.number(value)
    if found is None:
        raise FhirPathError(f"FHIRPath: {name}() is for numbers, dates and times, not for {node.type.fhir}.")
    return found


def _number(value: Decimal, places: int, *, high: bool) -> Decimal | None:
    """The boundary of a number; None for one that is too large to be written out."""
    if not quantity.is_moderate(value):
        return None
    with localcontext(prec=1000):
        exponent = value.as_tuple().exponent
        half = Decimal(5).scaleb((exponent if isinstance(exponent, int) else 0) - 1)
        boundary = value + half if high else value - half
        outward = boundary > 0 if high else boundary < 0
        return boundary.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP if outward else ROUND_DOWN)


def _digits(text: str, kind: str) -> tuple[str, str]:
    """All digits of a date or time in a row, up to milliseconds, and its offset."""
    known = temporal.time_of_day(text) if kind == "Time" else temporal.moment(text)
    if known is None:
        raise FhirPathError(f"FHIRPath: what should be a {kind} is none.")
    zone = _ZONE.search(text)
    local = text[: zone.start(2)] if zone else text
    return re.sub(r"\D", "", local)[: _DIGITS[kind]], zone[2] if zone else ""


def _moment(text: str, kind: str, places: int, *, high: bool) -> str | None:
    """The first or last moment that fits, with so many digits; None for a precision that there is not."""
    known, zone = _digits(text, kind)
    before = 8 if kind == "Time" else 0
    if places + before not in _STEPS or places > _DIGITS[kind]:
        return None
    full = "0" * before + known
    full += (_LAST if high else _FIRST)[len(full) :]
    if high and len(known) == 6 and not before:
        full = full[:6] + str(monthrange(int(full[:4]), int(full[4:6]))[1]) + full[8:]
    shown = _shown(full[before : before + places], before)
    if kind == "DateTime" and places > 8:
        shown += zone or ("-12:00" if high else "+14:00")
    return shown


def _shown(digits: str, before: int) -> str:
    """Digits with their separators; without the date for a time of day."""
    separators = ("", "-", "-", "T", ":", ":", ".")
    begins = (0, 4, 6, 8, 10, 12, 14)
    ends = (4, 6, 8, 10, 12, 14, 17)
    parts: list[str] = []
    for separator, begin, end in zip(separators, begins, ends, strict=True):
        part = digits[max(begin - before, 0) : max(end - before, 0)]
        if part:
            parts.append((separator if parts else "") + part)
    return "".join(parts)
