"""Patches of a stored resource: JSON Patch (RFC 6902) and FHIRPath Patch; numbers keep their lexemes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

import jsonpatch
import msgspec

from fhir_coprod import deadline, jsontext
from fhir_coprod.api.call import Call
from fhir_coprod.api.formats import FHIR_JSON, JSON_PATCH
from fhir_coprod.api.interactions import fhirpath_patch, subset
from fhir_coprod.errors import BadRequest, Gone, InvalidResource, NotJson, TooLarge, UnsupportedMediaType
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.store import Version

MAX_OPERATIONS = 1000
MAX_COPIED = 1_000_000
"""Most bytes that the `copy` operations of a patch may copy in all. Each can double a resource, so thirty of
them would fill the memory; and other writes wait while they are done."""


Patch = jsonpatch.JsonPatch | fhirpath_patch.Patch


def parse(call: Call) -> Patch:
    """The patch in the body; of an entry of a Bundle a Parameters resource, or a Binary with a JSON Patch."""
    if call.parsed is not None and call.parsed.type != "Parameters":
        return _patch(_from_binary(call.parsed))
    if call.parsed is not None or call.body_type == FHIR_JSON:
        return _parameters(call.document())
    if call.body_type != JSON_PATCH:
        raise UnsupportedMediaType(
            f"Patches are taken as JSON Patch (Content-Type: {JSON_PATCH}) and as FHIRPath Patch, a "
            f"Parameters resource (Content-Type: {FHIR_JSON})."
        )
    return _patch(call.body)


def _parameters(document: Document) -> fhirpath_patch.Patch:
    if document.type != "Parameters":
        raise BadRequest(
            f"A FHIRPath Patch is a Parameters resource; send a JSON Patch with Content-Type: {JSON_PATCH}."
        )
    return fhirpath_patch.parse(subset.exact(document.raw))


def _from_binary(document: Document) -> bytes:
    data = document.data
    if document.type != "Binary" or data.get("contentType") != JSON_PATCH:
        raise BadRequest(
            f"In a Bundle, send the patch as a Parameters resource (FHIRPath Patch), or as a Binary with "
            f"contentType {JSON_PATCH}."
        )
    try:
        return base64.b64decode(data.get("data", ""), validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise BadRequest("Binary.data is not base64; encode the patch again.") from None


def _patch(raw: bytes) -> jsonpatch.JsonPatch:
    try:
        operations = subset.exact(raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise NotJson("The patch is not valid JSON; send an array of operations.") from None
    jsontext.refuse_duplicate_keys(raw.decode())
    if isinstance(operations, list) and len(operations) > MAX_OPERATIONS:
        raise BadRequest(f"A patch takes at most {MAX_OPERATIONS} operations; split it.")
    try:
        patch = jsonpatch.JsonPatch(operations)
    except (jsonpatch.InvalidJsonPatch, jsonpatch.JsonPointerException):
        patch = None
    if patch is None or not all(_is_complete(operation) for operation in operations):
        raise BadRequest(
            "The patch is not RFC 6902: an array of operations, each with op, path and what that op needs."
        )
    return patch


def _is_complete(operation: Json) -> bool:
    """Whether it has all it needs; the library notices only later, when it cannot tell whose fault it is."""
    if operation["op"] in ("copy", "move"):
        return isinstance(operation.get("from"), str)
    return operation["op"] == "remove" or "value" in operation


def applied(patch: Patch, current: Version) -> Document:
    """The current version with the patch applied; raises InvalidResource if the patch does not fit."""
    if current.deleted:
        raise Gone(f"{current.type}/{current.id} was deleted; there is nothing to patch.")
    resource = subset.exact(current.body)
    try:
        patched = (
            fhirpath_patch.applied(patch, resource)
            if isinstance(patch, tuple)
            else _stepwise(patch, resource)
        )
    except jsonpatch.JsonPatchTestFailed:
        # The library's own message may quote the record.
        raise InvalidResource(
            "A test operation of the patch does not hold; read the resource again."
        ) from None
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError):
        raise InvalidResource(
            "The patch names a place that the resource does not have; read it again and adapt the paths."
        ) from None
    if not isinstance(patched, dict) or (patched.get("resourceType"), patched.get("id")) != (
        current.type,
        current.id,
    ):
        raise InvalidResource("A patch cannot change resourceType or id.")
    return jsontext.parse(_raw(patched))


def texts(patch: Patch) -> Iterator[str]:
    """Every text that a patch may put into a resource."""
    values = [each.value for each in patch] if isinstance(patch, tuple) else patch.patch
    return _texts(values)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for held in value.values() if isinstance(value, dict) else value:
            yield from _texts(held)


def _stepwise(patch: jsonpatch.JsonPatch, resource: Any) -> Any:
    copied = 0
    # On a copy: an operation may change what an earlier one added, and the store may run this again.
    for operation in subset.exact(_raw(patch.patch)):
        deadline.check()
        step = operation
        if operation["op"] == "copy":
            # Checked for size before it is copied, and copied without the library's slow deep copy.
            raw = _raw(jsonpatch.JsonPointer(operation["from"]).resolve(resource))
            copied += len(raw)
            if copied > MAX_COPIED:
                raise TooLarge(
                    f"The patch copies more than {MAX_COPIED:,} bytes; send the whole resource instead."
                )
            step = {"op": "add", "path": operation["path"], "value": subset.exact(raw)}
        resource = jsonpatch.JsonPatch([step]).apply(resource, in_place=True)
    return resource


def _raw(value: Any) -> bytes:
    try:
        return subset.exact_bytes(value)
    except RecursionError:
        raise NotJson("The patched resource nests too deep; patch it less deep.") from None
