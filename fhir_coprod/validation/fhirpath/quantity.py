"""Compares quantities: directly in the same unit, and after conversion for a few everyday UCUM units."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from fhir_coprod.jsontext import Json

UCUM = "http://unitsofmeasure.org"

# Factor to a base unit, by dimension. Only exact factors; UCUM's years and months are mean ones.
_UNITS: dict[str, tuple[str, Decimal]] = {
    code: (dimension, Decimal(factor))
    for dimension, units in {
        "time": "ms 0.001 s 1 min 60 h 3600 d 86400 wk 604800 mo 2629800 a 31557600",
        "mass": "ng 0.000000001 ug 0.000001 mg 0.001 g 1 kg 1000 [lb_av] 453.59237 [oz_av] 28.349523125",
        "length": "nm 0.000000001 um 0.000001 mm 0.001 cm 0.01 dm 0.1 m 1 km 1000 [in_i] 0.0254",
        "volume": "uL 0.000001 mL 0.001 ml 0.001 cL 0.01 dL 0.1 dl 0.1 L 1 l 1",
        "pressure": "Pa 1 kPa 1000 mm[Hg] 133.322387415",
        "number": "1 1 % 0.01",
    }.items()
    for code, factor in zip(units.split()[::2], units.split()[1::2], strict=True)
}

# Calendar words and the UCUM unit of the same length; no unit is exactly as long as a year or month.
_CALENDAR = {"week": "wk", "day": "d", "hour": "h", "minute": "min", "second": "s", "millisecond": "ms"}


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


def order(a: Json, b: Json) -> int | None:
    """-1, 0 or 1; None when the units cannot be compared or a value is missing."""
    left, right = number(a.get("value")), number(b.get("value"))
    if left is None or right is None:
        return None
    if _unit(a) != _unit(b):
        from_unit, to_unit = _factor(a), _factor(b)
        if from_unit is None or to_unit is None or from_unit[0] != to_unit[0]:
            return None
        left, right = left * from_unit[1], right * to_unit[1]
    return (left > right) - (left < right)


def _unit(quantity: Json) -> tuple[Any, Any]:
    code = quantity.get("code")
    if code is None:
        return None, quantity.get("unit") or "1"
    return quantity.get("system"), code


def _factor(quantity: Json) -> tuple[str, Decimal] | None:
    system, code = _unit(quantity)
    if system is None:
        return _UNITS.get(_CALENDAR.get(code, "1" if code == "1" else ""))
    return _UNITS.get(code) if system == UCUM and isinstance(code, str) else None


def text(quantity: Json) -> str:
    """The text that `toString()` gives: 4 'mg', 3 day."""
    system, unit = _unit(quantity)
    value = quantity.get("value")
    return f"{value} '{unit}'" if system is not None or unit == "1" else f"{value} {unit}"
