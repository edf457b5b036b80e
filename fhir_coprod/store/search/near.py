"""Searches for places near a point: `Location?near=[latitude]|[longitude]|[distance]|[units]`.

https://hl7.org/fhir/R4/location.html#positional. A position is one row of table number: latitude as `low`,
longitude as `high`. Distances are measured on a flat map around the given point that allows for meridians
that converge; within a few hundred kilometres the error is below one per cent.
"""

from __future__ import annotations

from math import cos, inf, radians, sin

from fhir_coprod.errors import BadRequest
from fhir_coprod.store.search.conditions import Indexed, Sql
from fhir_coprod.store.values import digits

DISCRETION_KM = 50.0
"""The distance when the caller gives none."""
_KM_PER_DEGREE = 111.195
_UNITS = {"": 1.0, "km": 1.0, "m": 0.001, "[mi_us]": 1.609347, "[mi_i]": 1.609344, "mi": 1.609344}


def indexed(param: int, places: list[list[str]]) -> Indexed:
    """Near any of the places, each split into its pieces. Raises BadRequest when they cannot be read."""
    return Indexed("number", param, tuple(_within(*_read(pieces)) for pieces in places))


def _read(pieces: list[str]) -> tuple[float, float, float]:
    """Latitude and longitude in degrees, distance in km."""
    if not 2 <= len(pieces) <= 4:
        raise BadRequest("near is written latitude|longitude|distance|units, such as near=59.33|18.06|5|km.")
    latitude, longitude = _number(pieces[0], 90), _number(pieces[1], 180)
    unit = pieces[3] if len(pieces) == 4 else ""
    if unit not in _UNITS:
        raise BadRequest(f"near: the unit is one of {', '.join(filter(None, _UNITS))}.")
    if len(pieces) == 2 or not pieces[2]:
        return latitude, longitude, DISCRETION_KM
    distance = _number(pieces[2], inf) * _UNITS[unit]
    if distance < 0:
        raise BadRequest("near: the distance cannot be below 0.")
    return latitude, longitude, distance


def _number(text: str, most: float) -> float:
    value = float(digits(text, "near").value)
    if not -most <= value <= most:
        raise BadRequest(
            f"near: a number lies outside -{most:g} to {most:g}; write latitude|longitude first."
        )
    return value


def _within(latitude: float, longitude: float, distance: float) -> Sql:
    north = distance / _KM_PER_DEGREE
    here, turn = cos(radians(latitude)), sin(radians(latitude)) * radians(1) / 2
    # A place across the 180th meridian may be near too, from either side.
    beyond = longitude - 360 if longitude > 0 else longitude + 360
    seen = "({north} * {north} + {east} * {east} <= ?)"
    up = "(low - ?)"
    across = "((high - ?) * (? - ? * (low - ?)))"
    text = seen.format(north=up, east=across)
    values = tuple(
        (latitude, latitude, side, here, turn, latitude, side, here, turn, latitude, north * north)
        for side in (longitude, beyond)
    )
    return Sql(
        f"low BETWEEN ? AND ? AND ({text} OR {text})",
        (latitude - north, latitude + north, *values[0], *values[1]),
    )
