"""OpenAPI for all routes: FastAPI's own description, the pages, and the FHIR routes from their table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute, Route

from fhir_coprod.api import openapi_examples as shown
from fhir_coprod.api.endpoint import PREFIX, Interaction
from fhir_coprod.api.formats import FHIR_JSON, FORM, JSON_PATCH
from fhir_coprod.jsontext import ID_PATTERN, Json
from fhir_coprod.store.search import compartments

_ABOUT = """FHIR R4 (4.0.1) in JSON under `/fhir`, pages for people, and what operation needs.

`GET /fhir/metadata` tells which resource types, search parameters and operations there are. Errors under
`/fhir` are always an OperationOutcome that says what to do. Until callers have to say who they are, this
machine alone is served; then every call but `/fhir/metadata` takes a bearer token, and pages a sign-in."""


class _Text(NamedTuple):
    """The description of one interaction: a summary, an example answer, and its parameters by name."""

    summary: str
    answer: Json
    parameters: tuple[str, ...] = ()


_SUBSET = ("_summary", "_elements")
_EXPORTING = ("_type", "_since", "_until", "_typeFilter", "_elements", "_outputFormat", "Prefer")
_FINDING = ("criteria", "_count", "_sort", "_total", "_include", "_revinclude", *_SUBSET, "Prefer")

_TEXTS: Mapping[str, _Text] = {
    "read": _Text(
        "The current version of a resource",
        shown.STORED_REFERRAL,
        (*_SUBSET, "If-None-Match", "If-Modified-Since"),
    ),
    "vread": _Text(
        "One version of a resource", shown.STORED_REFERRAL, (*_SUBSET, "If-None-Match", "If-Modified-Since")
    ),
    "create": _Text(
        "Store a new resource; the server chooses its id", shown.STORED_REFERRAL, ("If-None-Exist", "Prefer")
    ),
    "update": _Text(
        "Replace a resource, or create it under a chosen id", shown.STORED_REFERRAL, ("If-Match", "Prefer")
    ),
    "patch": _Text(
        "Change parts of a resource by JSON Patch or FHIRPath Patch",
        shown.STORED_REFERRAL,
        ("If-Match", "Prefer"),
    ),
    "delete": _Text("Delete a resource; its history stays", shown.NO_ISSUES, ("If-Match", "Prefer")),
    "search-type": _Text("Find resources of one type", shown.SEARCHSET, _FINDING),
    "search-system": _Text("Find resources of several types (_type)", shown.SEARCHSET, ("_type", *_FINDING)),
    "history-instance": _Text(
        "All versions of a resource, the newest first", shown.HISTORY, ("_since", "_count", "Prefer")
    ),
    "history-type": _Text(
        "All versions of all resources of a type, the newest first",
        shown.HISTORY,
        ("_since", "_count", "Prefer"),
    ),
    "history-system": _Text(
        "The whole change log, the newest first", shown.HISTORY, ("_since", "_count", "Prefer")
    ),
    "transaction": _Text(
        "Perform a Bundle of type batch or transaction", shown.TRANSACTION_RESPONSE, ("Prefer",)
    ),
    "capabilities": _Text("What this server can do, as a CapabilityStatement", shown.STATEMENT),
    "async-status": _Text(
        "Whether the answer to a request with `Prefer: respond-async` is there, and the answer",
        shown.LATER_RESPONSE,
    ),
    "async-cancel": _Text("Take back a request with `Prefer: respond-async`, or its answer", shown.NO_ISSUES),
    "$export": _Text(
        "Take out everything, all patients or the members of a Group, as files of NDJSON",
        shown.NO_ISSUES,
        _EXPORTING,
    ),
    "export-status": _Text("How far an export is, and where its files are", shown.MANIFEST),
    "export-cancel": _Text("End an export, and remove its files", shown.NO_ISSUES),
    "export-file": _Text("One file of an export: a resource in each line", shown.STORED_REFERRAL),
    "$import": _Text("Store resources of any type, one in each line of the body", shown.NO_ISSUES),
    "import-status": _Text("How far an import is, and what came of it", shown.IMPORTED),
    "import-cancel": _Text(
        "End an import, and forget what came of it; what was stored stays", shown.NO_ISSUES
    ),
    "import-file": _Text("What could not be stored: an OperationOutcome in each line", shown.NO_ISSUES),
    "$validate": _Text(
        "Check a resource against FHIR R4 and profiles; stores nothing", shown.NO_ISSUES, ("profile", "mode")
    ),
    "$everything": _Text(
        "A patient and everything about them",
        shown.SEARCHSET,
        ("_type", "_since", "start", "end", "_count", "Prefer"),
    ),
    "$standing": _Text(
        "Where a referral is, since when, and what is missing",
        {"resourceType": "Parameters", "parameter": [{"name": "stage", "valueCode": "sent"}]},
        ("now", "policy"),
    ),
}


def _parameter(name: str, place: str, told: str, schema: Json, example: Any = None) -> Json:
    parameter = {"name": name, "in": place, "description": told, "schema": schema}
    return parameter if example is None else {**parameter, "example": example}


_STRING: Json = {"type": "string"}
_PARAMETERS: Mapping[str, Json] = {
    each["name"]: each
    for each in (
        {
            **_parameter(
                "criteria",
                "query",
                "Any search parameter of the type, with prefixes, modifiers and chains as R4 has them; "
                "the CapabilityStatement lists them.",
                {"type": "object", "additionalProperties": _STRING},
                {"status": "active", "subject:Patient.family": "Tolvansson"},
            ),
            "style": "form",
            "explode": True,
        },
        _parameter("_count", "query", "Entries on a page.", {"type": "integer", "minimum": 0}, 20),
        _parameter(
            "_sort", "query", "Search parameters, comma-separated; - sorts down.", _STRING, "-authored"
        ),
        _parameter(
            "_total", "query", "Count all matches.", {"enum": ["none", "estimate", "accurate"]}, "accurate"
        ),
        _parameter("_include", "query", "Bring along what matches refer to.", _STRING, "Task:focus"),
        _parameter("_revinclude", "query", "Bring along what refers to matches.", _STRING, "Task:focus"),
        _parameter(
            "_summary",
            "query",
            "Part of each resource.",
            {"enum": ["true", "text", "data", "count", "false"]},
        ),
        _parameter("_elements", "query", "Only these elements.", _STRING, "status,subject"),
        _parameter("_type", "query", "Resource types, comma-separated.", _STRING, "ServiceRequest,Task"),
        _parameter(
            "_since", "query", "Only what changed at or after this time.", _STRING, "2026-03-02T09:00:00Z"
        ),
        _parameter("_until", "query", "Only what changed before this time.", _STRING, "2026-03-03T09:00:00Z"),
        _parameter(
            "_typeFilter",
            "query",
            "Searches, of which a resource of their type has to match one; ? and & encoded.",
            _STRING,
            "Task?status=requested",
        ),
        _parameter("_outputFormat", "query", "application/fhir+ndjson", _STRING, "application/fhir+ndjson"),
        _parameter("start", "query", "Only care that had not ended before.", _STRING, "2026-01-01"),
        _parameter("end", "query", "Only care that had begun by then.", _STRING, "2026-12-31"),
        _parameter("profile", "query", "Canonical of the profile to check.", _STRING),
        _parameter(
            "mode", "query", "What the check is for.", {"enum": ["create", "update", "delete", "profile"]}
        ),
        _parameter("now", "query", "The time to look from.", _STRING, "2026-03-20T09:00:00Z"),
        _parameter("policy", "query", "Name of a deadline policy.", _STRING, "default"),
        _parameter("If-Match", "header", "The version that is replaced; else 412.", _STRING, 'W/"1"'),
        _parameter("If-None-Match", "header", "A version you hold; 304 if it is current.", _STRING, 'W/"1"'),
        _parameter(
            "If-Modified-Since",
            "header",
            "304 if nothing is newer.",
            _STRING,
            "Mon, 02 Mar 2026 09:00:00 GMT",
        ),
        _parameter(
            "If-None-Exist",
            "header",
            "Criteria: store only if nothing matches them.",
            _STRING,
            "identifier=urn:order|4711",
        ),
        _parameter(
            "Prefer",
            "header",
            "return=minimal, representation or OperationOutcome; handling=strict or lenient; respond-async"
            " for searches, histories and $everything.",
            _STRING,
            "return=minimal",
        ),
    )
}

_FAILURES = {
    "400": (
        "The request cannot be understood",
        "invalid",
        "_count must be a whole number, such as _count=50.",
    ),
    "401": (
        "Nobody has said who calls, or the token does not hold",
        "login",
        "Say who you are: send a token in the header Authorization: Bearer …",
    ),
    "403": (
        "Understood, and refused",
        "forbidden",
        "None of your scopes lets you read Task; ask for system/Task.r.",
    ),
    "404": ("No such type, or no such resource", "not-found", "There is no ServiceRequest/absent."),
    "405": (
        "That verb has no meaning there",
        "not-supported",
        "PATCH has no meaning there; it takes GET, HEAD.",
    ),
    "406": (
        "Asked for a format other than JSON",
        "not-supported",
        "This server answers in JSON (FHIR 4.0) only; send Accept: application/fhir+json or leave it out.",
    ),
    "409": (
        "Cannot be done in the present state",
        "conflict",
        "The criteria find nothing, yet a resource of the body's id is here; update it by its id.",
    ),
    "410": ("It was deleted", "deleted", "ServiceRequest/mri-1 was deleted; its history can still be read."),
    "412": (
        "If-Match or a conditional criterion does not hold",
        "conflict",
        "It was changed or deleted since the version that If-Match names; read it again.",
    ),
    "413": (
        "Above a limit of body, page or bundle",
        "too-long",
        "A bundle takes at most 5,000 entries; split it.",
    ),
    "415": (
        "Sent in a format other than JSON",
        "not-supported",
        "Send the resource as JSON with Content-Type: application/fhir+json.",
    ),
    "421": (
        "Called by a Host that is not this server's",
        "forbidden",
        "This server is not known under that Host; behind a proxy, set site.base_url to its address.",
    ),
    "422": (
        "Breaks FHIR R4 or a profile",
        "invariant",
        "A referral's Task that is requested cannot become completed; it may become received or accepted.",
    ),
    "429": (
        "More at once than one caller may have",
        "throttled",
        "You have as many exports as are kept (5).",
    ),
    "503": ("Too slow or too busy; try again later", "transient", "The store cannot be reached just now."),
}
_READING_MUCH = (
    *("search-type", "search-system", "history-instance", "history-type", "history-system"),
    "$everything",
)
_SUCCESSES = {
    **dict.fromkeys((*_READING_MUCH, "async-status"), ("200", "202")),
    "async-cancel": ("202",),
    "$export": ("202",),
    "$import": ("202",),
    "import-status": ("200", "202"),
    "import-cancel": ("202",),
    "export-status": ("200", "202"),
    "export-cancel": ("202",),
    "create": ("200", "201"),
    "update": ("200", "201"),
    "delete": ("200", "204"),
    "read": ("200", "304"),
    "vread": ("200", "304"),
}
_NDJSON = "application/fhir+ndjson"
_FORMATS = {
    **dict.fromkeys(("export-status", "import-status"), "application/json"),
    **dict.fromkeys(("export-file", "import-file"), _NDJSON),
}
_VERSIONED = ("read", "vread", "create", "update", "patch")


def description(app: FastAPI, table: Sequence[Interaction]) -> Json:
    """The OpenAPI document; made once and kept by the application."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=_ABOUT, routes=app.routes, tags=_TAGS
        )
        components = document.setdefault("components", {})
        components["parameters"] = dict(_PARAMETERS)
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        components["responses"] = {f"Status{code}": _failure(*told) for code, told in _FAILURES.items()}
        for row in table:
            path = PREFIX + re.sub(r"\{(\w+):\w+\}", r"{\1}", row.path).replace("{type}", _fixed(row.path))
            place = document["paths"].setdefault(path, {})
            for method in row.methods:
                place[method.lower()] = _operation(row, method, path)
        document["paths"] |= _pages(app.routes)
        app.openapi_schema = document
    return app.openapi_schema


_TAGS = [
    {"name": "FHIR", "description": "https://hl7.org/fhir/R4/http.html"},
    {"name": "pages", "description": "HTML for people"},
    {"name": "operation", "description": "For whoever runs the server"},
]


def _fixed(path: str) -> str:
    """The type in a path: its name if only one is possible, else {type}."""
    if "fhir_patient" in path:
        return "Patient"
    if "fhir_group" in path:
        return "Group"
    return "ServiceRequest" if "fhir_referral" in path else "{type}"


def _failure(told: str, code: str, sentence: str) -> Json:
    return {"description": told, "content": _fhir(shown.problem(code, sentence))}


def _fhir(example: Json) -> Json:
    return {FHIR_JSON: {"schema": {"type": "object"}, "example": example}}


def _operation(row: Interaction, method: str, path: str) -> Json:
    text = _TEXTS[row.name]
    responses: dict[str, Any] = {code: _success(row, code) for code in _SUCCESSES.get(row.name, ("200",))}
    responses |= {code: {"$ref": f"#/components/responses/Status{code}"} for code in _FAILURES}
    operation: Json = {
        "summary": text.summary,
        "tags": ["FHIR"],
        "operationId": re.sub(r"\W+", "_", f"{method.lower()}_{path}").strip("_"),
        "parameters": [
            *(_path_parameter(name) for name in re.findall(r"\{(\w+)\}", path)),
            *({"$ref": f"#/components/parameters/{name}"} for name in _names(row, method)),
        ],
        "responses": responses,
        "security": [{}] if row.name == "capabilities" else [{"token": []}, {}],
    }
    body = _body(row, method)
    return operation | ({"requestBody": body} if body else {})


def _names(row: Interaction, method: str) -> Iterable[str]:
    """The parameters to list: none that a POST carries in its body, and criteria if the path has no id."""
    names = _TEXTS[row.name].parameters
    if method == "POST" and row.name.startswith("search"):
        return ("Prefer",)
    if row.name in ("update", "patch", "delete") and "{id" not in row.path:
        return ("criteria", *names)
    return names


def _success(row: Interaction, code: str) -> Json:
    if code in ("204", "304"):
        return {"description": "Deleted" if code == "204" else "You hold the current version"}
    if code == "202":
        return {"description": "Accepted: ask again at Content-Location", "content": _fhir(shown.NO_ISSUES)}
    example = _TEXTS[row.name].answer
    content = (
        {_FORMATS[row.name]: {"schema": {"type": "object"}, "example": example}}
        if row.name in _FORMATS
        else None
    )
    answer: Json = {
        "description": "Created" if code == "201" else "Done",
        "content": content or _fhir(example),
    }
    if row.name in _VERSIONED:
        answer["headers"] = {
            "ETag": {"description": 'The version, such as W/"1"', "schema": _STRING},
            "Last-Modified": {"description": "When it was stored", "schema": _STRING},
        }
    return answer


def _path_parameter(name: str) -> Json:
    schema: dict[str, Json] = {
        "type": {"type": "string", "pattern": "^[A-Z][A-Za-z]+$"},
        "id": {"type": "string", "pattern": f"^{ID_PATTERN}$"},
        "version": {"type": "string", "pattern": "^[1-9][0-9]{0,8}$"},
        "owner": {"enum": list(compartments.NAMES)},
        "member": {"type": "string", "pattern": r"^([A-Z][A-Za-z]+|\*)$"},
        "file": {"type": "string", "pattern": r"^[0-9a-f]{32}\.ndjson$"},
    }
    examples = {"type": "ServiceRequest", "id": "mri-1", "version": "1", "owner": "Patient"}
    examples |= {"member": "ServiceRequest", "file": f"{'0123456789abcdef' * 2}.ndjson"}
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": schema.get(name, _STRING),
        "example": examples.get(name, name),
    }


def _body(row: Interaction, method: str) -> Json | None:
    if method == "PATCH":
        return {
            "required": True,
            "content": {
                JSON_PATCH: {"schema": {"type": "array"}, "example": shown.PATCH},
                **_fhir(shown.FHIRPATH_PATCH),
            },
        }
    if row.name.startswith("search") and method == "POST":
        schema = {"type": "object", "additionalProperties": _STRING}
        return {"content": {FORM: {"schema": schema, "example": {"status": "active", "_count": "20"}}}}
    if method not in ("POST", "PUT") or row.name in ("$everything", "$standing", "$export"):
        return None
    if row.name == "$import":
        return {"required": True, "content": {_NDJSON: {"schema": _STRING, "example": shown.LINE}}}
    example = {
        "transaction": shown.TRANSACTION,
        "update": shown.STORED_REFERRAL,
    }.get(row.name, shown.REFERRAL)
    return {"required": True, "content": _fhir(example)}


def _pages(routes: Iterable[BaseRoute]) -> Json:
    """The pages, from their routes: those that are neither FastAPI's own nor FHIR."""
    found: Json = {}
    for route in routes:
        if type(route) is not Route or not route.path or route.path == "/openapi.json":
            continue
        kind = "text/css" if route.path.endswith(".css") else "text/html"
        content = {kind: {"schema": _STRING}}
        for method in sorted((route.methods or {"GET"}) - {"HEAD"}):
            found.setdefault(route.path, {})[method.lower()] = {
                "summary": f"Page: {route.name}" if kind == "text/html" else "How the pages look",
                "tags": ["pages"],
                "operationId": re.sub(r"\W+", "_", f"{method.lower()}_page_{route.path}").strip("_"),
                "parameters": [_path_parameter(name) for name in re.findall(r"\{(\w+)\}", route.path)],
                **(
                    {"requestBody": {"content": {FORM: {"schema": {"type": "object"}}}}}
                    if method == "POST"
                    else {}
                ),
                "responses": {
                    "200": {"description": "The page", "content": content},
                    "303": {"description": "Done; see the page it leads to"},
                    "default": {"description": "Why it cannot be done", "content": content},
                },
            }
    return found
