"""The inputs of an operation, from the URL, a Parameters resource or a bare resource."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import msgspec

from fhir_coprod.api.call import Call
from fhir_coprod.errors import BadRequest, UnknownParameter
from fhir_coprod.jsontext import Document, Json


@dataclass(frozen=True, slots=True)
class Inputs:
    """values: simple parameters by name, as text; resource: the one to work on, if it was sent.

    unknown: a sentence for each parameter that the operation does not have
    """

    values: Mapping[str, str]
    resource: Document | None = None
    unknown: tuple[str, ...] = ()

    def get(self, name: str) -> str:
        """A simple parameter; "" when it was not given."""
        return self.values.get(name, "")


_OF_THE_ANSWER = frozenset({"_format", "_pretty", "_summary", "_elements"})


class _Parameter(msgspec.Struct):
    name: str = ""
    resource: msgspec.Raw = msgspec.Raw()


class _Parameters(msgspec.Struct):
    parameter: list[_Parameter] = []


# Made once: two threads that use a struct for the first time at once would crash the process.
_decode = msgspec.json.Decoder(_Parameters).decode


def inputs(call: Call, known: Collection[str], *, on_resource: bool = False) -> Inputs:
    """Read the inputs of a call; those in the body win over those in the URL.

    known:       the parameters that the operation has, besides a resource
    on_resource: whether the operation works on a resource of any type, which may be a Parameters itself

    https://hl7.org/fhir/R4/operations.html#executing. Raises BadRequest if they cannot be understood, and
    UnknownParameter under strict handling.
    """
    found = _inputs(call, known, on_resource=on_resource)
    names = {name for name, _ in call.criteria} | found.values.keys()
    unknown = sorted(names - {*known, "resource"} - _OF_THE_ANSWER)
    if unknown and call.preferences.strict:
        raise UnknownParameter(
            f"{call.interaction} has no parameter {unknown[0][:64]!r}; it has: {', '.join(sorted(known))}."
        )
    sentences = tuple(f"{call.interaction} has no parameter {name[:64]!r}." for name in unknown)
    return replace(found, unknown=sentences)


def _inputs(call: Call, known: Collection[str], *, on_resource: bool) -> Inputs:
    in_url = dict(reversed(call.query))
    if call.method != "POST" or (not call.body and call.parsed is None):
        return Inputs(in_url)
    document = call.document()
    if document.type != "Parameters":
        return Inputs(in_url, document)
    try:
        # Before anything else: of one that cannot be read nobody knows whether it holds the inputs.
        raw = _decode(document.raw).parameter
    except msgspec.ValidationError as error:
        raise BadRequest(f"The Parameters cannot be understood: {error}.") from None
    given: list[Json] = document.data.get("parameter", [])
    if on_resource and not _holds_inputs(call, given, known):
        return Inputs(in_url, document)
    values = {each.name: text for each, data in zip(raw, given, strict=True) if (text := _text(data))}
    resource = None
    for each, data in zip(raw, given, strict=True):
        if each.name == "resource" and isinstance(data.get("resource"), dict):
            # The text as received, so that numbers keep their lexemes.
            resource = Document(bytes(each.resource), data["resource"])
    return Inputs(in_url | values, resource)


def _holds_inputs(call: Call, given: list[Json], known: Collection[str]) -> bool:
    """Whether a Parameters holds what an operation on a resource is to work on, and is not that itself."""
    names = {each.get("name") for each in given}
    if "resource" in names:
        return any(isinstance(each.get("resource"), dict) for each in given)
    return bool(names) and names <= set(known) and (call.type != "Parameters" or bool(call.id))


def _text(parameter: Json) -> str:
    """The value[x] of a parameter if it is text, else ""."""
    values = (value for name, value in parameter.items() if name.startswith("value"))
    return next((value for value in values if isinstance(value, str)), "")
