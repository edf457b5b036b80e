"""Models of `fhir.resources`, our profile classes and any other, as JSON with every digit of a decimal.

Nothing is imported to tell a model from other things: whoever gives one has imported it already.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Protocol

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Json


class Model(Protocol):
    """What every model of `fhir.resources` can do."""

    def model_dump_json(self) -> str:
        """Its JSON. Of a decimal it may lose digits; `view` does not."""


def raw_of(model: object, taker: str) -> bytes:
    """The JSON of a model: of one that was read, its text with only the changes.

    taker: the function that was called, for the TypeError about anything that is not a model
    """
    if not _is_model(model):
        raise TypeError(
            f"{taker} takes JSON as bytes or text, a dict, or a model of fhir.resources, "
            f"not {_named(model)}; give it the JSON."
        )
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
    return f"the class {value.__name__} itself" if isinstance(value, type) else f"a {type(value).__name__}"
