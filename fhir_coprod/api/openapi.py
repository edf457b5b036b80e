"""OpenAPI for both halves: FastAPI's own description of its routes, and the FHIR routes from their table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from fhir_coprod.api.endpoint import PREFIX, Interaction
from fhir_coprod.api.formats import FHIR_JSON, FORM, JSON_PATCH
from fhir_coprod.jsontext import Json

_ID_PATTERN = r"^[A-Za-z0-9\-.]{1,64}$"

_SUMMARIES = {
    "read": "The current version of a resource",
    "vread": "One version of a resource",
    "create": "Store a new resource; the server chooses its id",
    "update": "Replace a resource, or create it under a chosen id",
    "patch": "Change parts of a resource by JSON Patch",
    "delete": "Delete a resource; its history stays",
    "search-type": "Find resources of one type",
    "search-system": "Find resources of several types (_type)",
    "history-instance": "All versions of a resource, the newest first",
    "history-type": "All versions of all resources of a type, the newest first",
    "history-system": "The whole change log, the newest first",
    "transaction": "Perform a Bundle of type batch or transaction",
    "capabilities": "What this server can do, as a CapabilityStatement",
    "$validate": "Check a resource against FHIR R4 and profiles; stores nothing",
    "$everything": "A patient and everything about them",
    "$standing": "Where a referral is, since when, and what is missing",
}

_EXAMPLES: dict[str, Json] = {
    "resource": {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:oid:1.2.752.129.2.1.3.1", "value": "19121212-1212"}],
        "name": [{"family": "Tolvansson", "given": ["Tolvan"]}],
        "birthDate": "1912-12-12",
    },
    "bundle": {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": "urn:uuid:05efabf0-4be2-4561-91ce-51548425acb9",
                "resource": {"resourceType": "Patient", "birthDate": "1912-12-12"},
                "request": {"method": "POST", "url": "Patient"},
            }
        ],
    },
}
_PATCH_EXAMPLE = [{"op": "replace", "path": "/birthDate", "value": "1912-12-13"}]

_FAILURES = {
    "400": "The request cannot be understood",
    "403": "Understood, and refused",
    "404": "No such type, or no such resource",
    "405": "That verb has no meaning there",
    "406": "Asked for a format other than JSON",
    "409": "Cannot be done in the present state",
    "410": "It was deleted",
    "412": "If-Match or a conditional criterion does not hold",
    "413": "Above a limit of body, page or bundle",
    "415": "Sent in a format other than JSON",
    "421": "Called by a Host that is not this server's",
    "422": "Breaks FHIR R4 or a profile",
    "503": "Too slow or too busy; try again later",
}
_SUCCESSES = {
    "create": ("200", "201"),
    "update": ("200", "201"),
    "delete": ("200", "204"),
    "read": ("200", "304"),
    "vread": ("200", "304"),
}


def description(app: FastAPI, table: Sequence[Interaction]) -> Json:
    """The OpenAPI document; made once and kept by the application."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes)
        for row in table:
            path = PREFIX + re.sub(r"\{(\w+):\w+\}", r"{\1}", row.path).replace("{type}", _fixed(row.path))
            place = document["paths"].setdefault(path, {})
            for method in row.methods:
                place[method.lower()] = _operation(row, method, path)
        app.openapi_schema = document
    return app.openapi_schema


def _fixed(path: str) -> str:
    """What stands for the type in a path: a name where only one fits."""
    if "fhir_patient" in path:
        return "Patient"
    return "ServiceRequest" if "fhir_referral" in path else "{type}"


def _operation(row: Interaction, method: str, path: str) -> Json:
    fhir: Json = {"content": {FHIR_JSON: {"schema": {"type": "object"}}}}
    responses: dict[str, Any] = {
        code: {"description": "Done", **fhir}
        if code in ("200", "201")
        else {"description": "Done, nothing to send"}
        for code in _SUCCESSES.get(row.name, ("200",))
    }
    responses |= {code: {"description": text, **fhir} for code, text in _FAILURES.items()}
    operation: Json = {
        "summary": _SUMMARIES[row.name],
        "tags": ["FHIR"],
        "operationId": re.sub(r"\W+", "_", f"{method.lower()}_{path}").strip("_"),
        "parameters": [_path_parameter(name) for name in re.findall(r"\{(\w+)\}", path)],
        "responses": responses,
    }
    body = _body(row, method)
    return operation | ({"requestBody": body} if body else {})


def _path_parameter(name: str) -> Json:
    schema: dict[str, Json] = {
        "type": {"type": "string", "pattern": "^[A-Z][A-Za-z]+$", "example": "Patient"},
        "id": {"type": "string", "pattern": _ID_PATTERN, "example": "example"},
        "version": {"type": "string", "pattern": "^[1-9][0-9]{0,8}$", "example": "1"},
    }
    return {"name": name, "in": "path", "required": True, "schema": schema[name]}


def _body(row: Interaction, method: str) -> Json | None:
    if method == "PATCH":
        return {
            "required": True,
            "content": {JSON_PATCH: {"schema": {"type": "array"}, "example": _PATCH_EXAMPLE}},
        }
    if row.name.startswith("search") and method == "POST":
        return {"content": {FORM: {"schema": {"type": "object"}}}}
    if method not in ("POST", "PUT") or row.name in ("$everything", "$standing"):
        return None
    example = _EXAMPLES["bundle" if row.name == "transaction" else "resource"]
    return {"required": True, "content": {FHIR_JSON: {"schema": {"type": "object"}, "example": example}}}
