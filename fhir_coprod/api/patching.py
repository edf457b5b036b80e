"""JSON Patch (RFC 6902) on a stored resource; what the patch does not touch keeps its number lexemes."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import jsonpatch
import msgspec

from fhir_coprod import jsontext
from fhir_coprod.api import subset
from fhir_coprod.api.call import Call
from fhir_coprod.api.formats import JSON_PATCH
from fhir_coprod.errors import BadRequest, Gone, InvalidResource, NotJson, TooLarge, UnsupportedMediaType
from fhir_coprod.jsontext import Document
from fhir_coprod.store import Version

MAX_OPERATIONS = 1000
MAX_BYTES = 20_000_000
"""What a patched resource may grow to: each `copy` can double it, so thirty of them would fill the memory."""


def parse(call: Call) -> jsonpatch.JsonPatch:
    """The patch in the body, or in the Binary that carries it as an entry of a Bundle."""
    if call.parsed is not None:
        return _patch(_from_binary(call.parsed))
    if call.body_type != JSON_PATCH:
        raise UnsupportedMediaType(
            f"Patches are taken as JSON Patch; send them with Content-Type: {JSON_PATCH}."
        )
    return _patch(call.body)


def _from_binary(document: Document) -> bytes:
    data = document.data
    if document.type != "Binary" or data.get("contentType") != JSON_PATCH:
        raise BadRequest(
            f"In a Bundle a patch travels as a Binary with contentType {JSON_PATCH}; send it so."
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
    if isinstance(operations, list) and len(operations) > MAX_OPERATIONS:
        raise BadRequest(f"A patch takes at most {MAX_OPERATIONS} operations; split it.")
    try:
        return jsonpatch.JsonPatch(operations)
    except (jsonpatch.InvalidJsonPatch, jsonpatch.JsonPointerException):
        raise BadRequest(
            "The patch is not RFC 6902: an array of operations, each with op, path and what that op needs."
        ) from None


def applied(patch: jsonpatch.JsonPatch, current: Version, limit: int = MAX_BYTES) -> Document:
    """The current version with the patch on it; raises InvalidResource when the patch does not fit."""
    if current.deleted:
        raise Gone(f"{current.type}/{current.id} was deleted; there is nothing to patch.")
    try:
        patched = _stepwise(patch, subset.exact(current.body), limit)
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
    return jsontext.parse(subset.exact_bytes(patched))


def _stepwise(patch: jsonpatch.JsonPatch, resource: Any, limit: int) -> Any:
    for operation in patch.patch:
        resource = jsonpatch.JsonPatch([operation]).apply(resource, in_place=True)
        if operation["op"] == "copy" and _size(resource) > limit:
            raise TooLarge("The patch makes the resource too large by copying; leave the copies out.")
    return resource


def _size(resource: Any) -> int:
    try:
        return len(subset.exact_bytes(resource))
    except RecursionError:
        raise NotJson("The patched resource nests too deep; patch it less deep.") from None
