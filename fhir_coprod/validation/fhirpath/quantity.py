"""Compares quantities and computes with them: in the same unit, or else by what the units measure."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

from fhir_coprod.jsontext import Json
from fhir_coprod.validation.fhirpath import units
from fhir_coprod.validation.fhirpath.units import Measure

UCUM = "http://unitsofmeasure.org"

MOST_DIGITS = 400
"""Numbers beyond 10 to this power are not converted; a double ends at 308."""

CALENDAR = {"week": "wk", "day": "d", "hour": "h", "minute": "min", "second": "s", "millisecond": "ms"}
"""Calendar words and the UCUM unit of the same length; no unit is exactly as long as a year or month."""
_ABOUT = {**CALENDAR, "year": "a", "month": "mo"}
"""The same for `~`, to which a year is a mean year."""


def make(value: Decimal, unit: str, *, calendar: bool = False) -> Json:
    """A quantity as FHIR writes it; calendar words have no system."""
    if calendar:
        return {"value": value, "unit": unit, "code": unit}
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


def number(value: Any) -> Decimal | None:
    """A JSON number as the decimal that was written."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    decimal = Decimal(value) if isinstance(value, int) else Decimal(repr(value))
    return decimal if decimal.is_finite() else None


def about_equal(a: Decimal, b: Decimal) -> bool:
    """`~` of two numbers: equal in as many decimal places as the less precise has."""
    if not (is_moderate(a) and is_moderate(b)):
        return a == b
    precision = min(_places(a), _places(b), MOST_DIGITS - 1)
    with localcontext(prec=2 * MOST_DIGITS):
        return round(a, precision) == round(b, precision)


def _places(value: Decimal) -> int:
    """Decimal places, without zeros at the end."""
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def calculated(operator: str, a: Decimal, b: Decimal) -> Decimal | None:
    """`+ - * / div mod` of two numbers; None on division by zero, or when the result is too large."""
    try:
        match operator:
            case "+":
                return a + b
            case "-":
                return a - b
            case "*":
                return a * b
            case "/":
                return a / b if b else None
            case "div":
                return Decimal(math.trunc(a / b)) if b else None
        return a % b if b else None
    except ArithmeticError:
        return None


def order(a: Json, b: Json) -> int | None:
    """-1, 0 or 1; None when the units cannot be compared or a value is missing."""
    left, right = number(a.get("value")), number(b.get("value"))
    if left is None or right is None:
        return None
    if _unit(a) == _unit(b):
        return (left > right) - (left < right)
    one, other = _measured(a, left), _measured(b, right)
    if one is None or other is None or one[1] != other[1]:
        return None
    return (one[0] > other[0]) - (one[0] < other[0])


def comparable(a: Json, b: Json) -> bool:
    """Whether one can be converted into the unit of the other."""
    if _unit(a) == _unit(b):
        return True
    one, other = _measure(a), _measure(b)
    return one is not None and other is not None and one[1] == other[1]


def equivalent(a: Json, b: Json) -> bool:
    """`~`: in the larger of the two units, as many decimal places as the less precise has."""
    left, right = number(a.get("value")), number(b.get("value"))
    if left is None or right is None:
        return left is right
    if _unit(a) != _unit(b):
        one, other = _measure(a, _ABOUT), _measure(b, _ABOUT)
        if one is None or other is None or one[1] != other[1]:
            return False
        if one[0] < other[0]:
            left, right, one, other = right, left, other, one
        converted = _converted(right, other[0] / one[0])
        if converted is None:
            return False
        right = converted
    return about_equal(left, right)


def converted(quantity: Json, unit: str) -> Json | None:
    """The same amount in another UCUM unit or calendar word; None if there is no way."""
    target = make(Decimal(1), unit, calendar=unit in _ABOUT)
    value = number(quantity.get("value"))
    if value is None:
        return None
    if _unit(quantity) == _unit(target):
        return quantity
    one, other = _measure(quantity), _measure(target)
    if one is None or other is None or one[1] != other[1]:
        return None
    found = _converted(value, one[0] / other[0])
    return None if found is None else {**target, "value": found}


def computed(operator: str, a: Json, b: Json) -> Json | None:
    """`+`, `-`, `*`, `/` of two quantities; None if their units do not allow it, or on division by zero.

    A sum is in the smaller of the two units, the ratio of quantities of one kind has the unit 1.
    """
    left, right = number(a.get("value")), number(b.get("value"))
    if left is None or right is None:
        return None
    if operator in "+-":
        return _sum(operator, a, b)
    one, other = _measure(a), _measure(b)
    if "1" in (a.get("code"), b.get("code")) and (operator == "*" or b.get("code") == "1"):
        base = b if a.get("code") == "1" else a
        value = calculated(operator, left, right)
        return None if value is None else {**base, "value": value}
    if one is None or other is None:
        return None
    first, second = _ucum(a), _ucum(b)
    value = calculated(operator, left, right)
    if value is None:
        return None
    if operator == "/" and one[1] == other[1]:
        ratio = _converted(value, one[0] / other[0])
        return None if ratio is None else make(ratio, "1")
    if operator == "*":
        return make(value, f"{first}.{_grouped(second)}")
    return make(value, f"{'' if first == '1' else first}/{_grouped(second)}")


def _sum(operator: str, a: Json, b: Json) -> Json | None:
    if _unit(a) != _unit(b):
        one, other = _measure(a), _measure(b)
        if one is None or other is None or one[1] != other[1]:
            return None
        smaller = a if one[0] < other[0] else b
        unit = _ucum(smaller)
        left, right = converted(_as_ucum(a), unit), converted(_as_ucum(b), unit)
        if left is None or right is None:
            return None
        a, b = left, right
    first, second = number(a["value"]), number(b["value"])
    value = None if first is None or second is None else calculated(operator, first, second)
    return None if value is None else {**a, "value": value}


def _grouped(unit: str) -> str:
    return f"({unit})" if "/" in unit or "." in unit else unit


def _unit(quantity: Json) -> tuple[Any, Any]:
    code = quantity.get("code")
    if code is None:
        return None, quantity.get("unit") or "1"
    return quantity.get("system"), code


def _measure(quantity: Json, calendar: dict[str, str] = CALENDAR) -> Measure | None:
    """What its unit measures."""
    system, code = _unit(quantity)
    if not isinstance(code, str):
        return None
    if system is None:
        code = calendar.get(code, "1" if code == "1" else "")
    elif system != UCUM:
        return None
    return units.measure(code)


def _measured(quantity: Json, value: Decimal) -> tuple[Fraction, tuple[tuple[str, int], ...]] | None:
    """The amount in base units, and those."""
    found = _measure(quantity)
    if found is None or not is_moderate(value):
        return None
    return Fraction(value) * found[0], found[1]


def is_moderate(value: Decimal) -> bool:
    """Whether a number can be written out with all its digits at no great cost."""
    return not value or abs(value.adjusted()) < MOST_DIGITS


def _converted(value: Decimal, factor: Fraction) -> Decimal | None:
    """The product, exact where 40 digits can be."""
    if not is_moderate(value):
        return None
    exact = Fraction(value) * factor
    try:
        with localcontext(prec=40):
            return (Decimal(exact.numerator) / exact.denominator).normalize() + 0
    except ArithmeticError:
        return None


def _ucum(quantity: Json) -> str:
    """The UCUM code of its unit."""
    system, code = _unit(quantity)
    return str(CALENDAR.get(code, code) if system is None else code)


def _as_ucum(quantity: Json) -> Json:
    return {**quantity, "system": UCUM, "code": _ucum(quantity)}


def text(quantity: Json) -> str:
    """The text that `toString()` gives: 4 'mg', 3 day."""
    system, unit = _unit(quantity)
    value = quantity.get("value")
    shown = format(value, "f") if isinstance(value, Decimal) else value
    return f"{shown} '{unit}'" if system is not None or unit == "1" else f"{shown} {unit}"
