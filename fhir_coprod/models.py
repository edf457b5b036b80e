"""What Python programs hold as resources, as JSON with every digit of a decimal: dicts, models of
`fhir.resources`, our profile classes and any other, and dicts with such models in them.

Nothing is imported to tell a model from other things: whoever gives one has imported it already.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from fhir_coprod import jsontext
from fhir_coprod.errors import NotJson
from fhir_coprod.jsontext import Json


class Model(Protocol):
    """What every model of `fhir.resources` can do."""

    def model_dump_json(self) -> str:
        """Its JSON. Of a decimal it may lose digits; `view` does not."""


def json_of(resource: object, taker: str) -> bytes | str:
    """The JSON of a resource in any form: of a class of ours that was read, its text with only the changes.

    taker: the function that was called, for the TypeError about what has no such form
    """
    if isinstance(resource, (bytes, str)):
        return resource
    if isinstance(resource, Mapping):
        return encode(resource)
    if _is_model(resource):
        return _raw_of(resource)
    raise TypeError(
        f"{taker} takes JSON as bytes or text, a dict, or a model of fhir.resources, "
        f"not {_named(resource)}; give it the JSON."
    )


def encode(values: object) -> bytes:
    """The JSON of values as programs have them: decimals, dates, and models inside dicts.

    Raises TypeError for what JSON cannot say, such as a function, and NotJson for what holds itself and for
    NaN and infinity, which would become null.
    """
    try:
        raw = _encode(values)
    except RecursionError:
        raise NotJson(jsontext.TOO_DEEP) from None
    if b"null" in raw and _has_no_number(values):
        raise NotJson("A number is NaN or infinite, which JSON does not have; leave the element out.")
    return raw


def is_json(value: object) -> bool:
    """Whether the values are such as JSON is read to, so that nothing has to be encoded first."""
    if type(value) is dict:
        return all(type(key) is str for key in value) and all(map(is_json, value.values()))
    if type(value) is list:
        return all(map(is_json, value))
    return value is None or type(value) in (str, int, float, bool)


def _has_no_number(value: object) -> bool:
    """Whether there is NaN or infinity in it."""
    if isinstance(value, dict):
        return any(map(_has_no_number, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_has_no_number, value))
    return isinstance(value, float) and not math.isfinite(value)


def _raw_of(model: Any) -> bytes:
    write = getattr(model, "write", None)  # our own classes keep what they read
    raw: bytes = write() if write is not None else jsontext.encode(view(model))
    return raw


def view(model: Any) -> Json:
    """A model as JSON values, with decimals as they were given."""
    values: Json = jsontext.decode(model.model_dump_json())
    _keep_decimals(model, values)
    return values


def _keep_decimals(model: Any, values: Json) -> None:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        key = field.alias or name
        if isinstance(value, Decimal) and key in values:
            values[key] = value
        elif _is_model(value) and isinstance(values.get(key), dict):
            _keep_decimals(value, values[key])
        elif isinstance(value, list):
            for item, shown in zip(value, values.get(key, ()), strict=False):
                if _is_model(item) and isinstance(shown, dict):
                    _keep_decimals(item, shown)


def _is_model(value: object) -> bool:
    return hasattr(type(value), "model_fields") and hasattr(value, "model_dump_json")


def _named(value: object) -> str:
    return f"the class {value.__name__} itself" if isinstance(value, type) else type(value).__name__


def _told(value: object) -> object:
    """A value that JSON does not have, as one that it has."""
    if _is_model(value):
        return msgspec.Raw(_raw_of(value))
    raise TypeError(
        f"JSON has nothing for {_named(value)}; "
        "give text, a number, a list, a dict or a model of fhir.resources."
    )


_encode = msgspec.json.Encoder(decimal_format="number", enc_hook=_told).encode
