"""The inputs of an operation, from the URL, a Parameters resource or a bare resource."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from fhir_coprod.api.call import Call
from fhir_coprod.errors import BadRequest
from fhir_coprod.jsontext import Document, Json


@dataclass(frozen=True, slots=True)
class Inputs:
    """values: simple parameters by name, as text; resource: the one to work on, if it was sent."""

    values: Mapping[str, str]
    resource: Document | None = None

    def get(self, name: str) -> str:
        """A simple parameter; "" when it was not given."""
        return self.values.get(name, "")


class _Parameter(msgspec.Struct):
    name: str = ""
    resource: msgspec.Raw = msgspec.Raw()


class _Parameters(msgspec.Struct):
    parameter: list[_Parameter] = []


# Made once: two threads that use a struct for the first time at once would crash the process.
_decode = msgspec.json.Decoder(_Parameters).decode


def inputs(call: Call) -> Inputs:
    """Read the inputs of a call; those in the body win over those in the URL.

    https://hl7.org/fhir/R4/operations.html#executing. Raises BadRequest if they cannot be understood.
    """
    in_url = dict(reversed(call.query))
    if call.method != "POST" or (not call.body and call.parsed is None):
        return Inputs(in_url)
    document = call.document()
    if document.type != "Parameters" or call.type == "Parameters":
        return Inputs(in_url, document)
    try:
        raw = _decode(document.raw).parameter
    except msgspec.ValidationError as error:
        raise BadRequest(f"The Parameters cannot be understood: {error}.") from None
    given: list[Json] = document.data.get("parameter", [])
    values = {each.name: text for each, data in zip(raw, given, strict=True) if (text := _text(data))}
    resource = None
    for each, data in zip(raw, given, strict=True):
        if each.name == "resource" and isinstance(data.get("resource"), dict):
            # The text as received, so that numbers keep their lexemes.
            resource = Document(bytes(each.resource), data["resource"])
    return Inputs(in_url | values, resource)


def _text(parameter: Json) -> str:
    """The value[x] of a parameter if it is text, else ""."""
    values = (value for name, value in parameter.items() if name.startswith("value"))
    return next((value for value in values if isinstance(value, str)), "")
