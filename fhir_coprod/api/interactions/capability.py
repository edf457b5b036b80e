"""GET /metadata: the CapabilityStatement, made from the route table and the definitions so that it holds."""

from __future__ import annotations

from functools import cache, lru_cache
from importlib.metadata import version as package_version

from fhir_coprod import definitions, jsontext
from fhir_coprod.api.answer import Answer
from fhir_coprod.api.authorization import token_url
from fhir_coprod.api.call import Call
from fhir_coprod.api.endpoint import Endpoint, interactions_of
from fhir_coprod.errors import BadRequest, UnknownParameter, Unsupported
from fhir_coprod.jsontext import Json
from fhir_coprod.store.search import compartments, parameters

_TYPE_INTERACTIONS = (
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "create",
    "search-type",
)
_SYSTEM_INTERACTIONS = ("transaction", "history-system", "search-system")
_BULK = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition"
_EXPORTS = {"Patient": f"{_BULK}/patient-export", "Group": f"{_BULK}/group-export"}
_OPERATIONS = {
    "$validate": ("Resource", "http://hl7.org/fhir/OperationDefinition/Resource-validate"),
    "$everything": ("Patient", "http://hl7.org/fhir/OperationDefinition/Patient-everything"),
    "$export": ("", f"{_BULK}/export"),
    "$import": ("", f"{definitions.CANONICAL}/OperationDefinition/import"),
    "$standing": ("ServiceRequest", f"{definitions.CANONICAL}/OperationDefinition/standing"),
}

DATE = "2026-12-01"
"""When the content of the statement last changed."""


_WHO = ("Served to this machine only: nobody has to say who they are.", "Every call needs a token.")
_OAUTH = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SERVICES = "http://terminology.hl7.org/CodeSystem/restful-security-service"


async def metadata(call: Call, endpoint: Endpoint) -> Answer:
    """The statement for this base URL; `mode=normative` gives all of it, `terminology` is not offered."""
    if call.parameter("mode") not in ("", "full", "normative"):
        raise BadRequest("mode is full or normative here; the terminology service is not offered.")
    names = interactions_of(endpoint.table)
    gate = endpoint.gate
    how = "" if not gate.required else token_url(call.base) if gate.clients else "elsewhere"
    return Answer(200, await endpoint.in_thread(_statement, call.base, names, how))


@lru_cache(4)
def _statement(base: str, names: frozenset[str], how: str) -> bytes:
    """The statement. `how` says where to get a token: from our own token endpoint or elsewhere; "": nobody
    needs one."""
    rest: Json = {
        "mode": "server",
        "documentation": _WHO[bool(how)] + " Searches,"
        " histories and $everything are answered later if `Prefer: respond-async` asks for it.",
        "security": _security(how),
        "resource": [_resource(type, names) for type in definitions.resource_types()],
        "interaction": [{"code": code} for code in _offered(_SYSTEM_INTERACTIONS, names)],
        "operation": _operations("", names),
        "compartment": [
            f"http://hl7.org/fhir/CompartmentDefinition/{name.lower()}" for name in compartments.NAMES
        ],
    }
    if "transaction" in names:
        rest["interaction"].insert(1, {"code": "batch"})
    return jsontext.encode(
        {
            "resourceType": "CapabilityStatement",
            "id": "this-server",
            "url": f"{base}/metadata",
            "name": "FhirCoprodEndpoint",
            "title": "fhir-coprod endpoint",
            "status": "active",
            "date": DATE,
            "kind": "instance",
            "software": {"name": "fhir-coprod", "version": package_version("fhir-coprod")},
            "implementation": {"description": "The shared part of care, beside the EHRs", "url": base},
            "fhirVersion": "4.0.1",
            "format": ["application/fhir+json", "json"],
            "patchFormat": ["application/json-patch+json", "application/fhir+json"],
            "rest": [rest],
        }
    )


def _security(how: str) -> Json:
    if not how:
        return {"description": "Only this machine is served."}
    security: Json = {
        "service": [{"coding": [{"system": _SERVICES, "code": "SMART-on-FHIR", "display": "SMART-on-FHIR"}]}],
        "description": "Bearer tokens; see .well-known/smart-configuration.",
    }
    if how != "elsewhere":
        security["extension"] = [{"url": _OAUTH, "extension": [{"url": "token", "valueUri": how}]}]
    return security


def _offered(wanted: tuple[str, ...], names: frozenset[str]) -> list[str]:
    return [name for name in wanted if name in names]


def _operations(type: str, names: frozenset[str]) -> list[Json]:
    """Those on a type; "" for those on the whole system."""
    found = {
        name: definition
        for name, (on, definition) in _OPERATIONS.items()
        if on in (type, "Resource") and name in names
    }
    if type in _EXPORTS and "$export" in names:
        found["$export"] = _EXPORTS[type]
    return [{"name": name.removeprefix("$"), "definition": definition} for name, definition in found.items()]


def _resource(type: str, names: frozenset[str]) -> Json:
    resource: Json = {
        "type": type,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{type}",
        "interaction": [{"code": code} for code in _offered(_TYPE_INTERACTIONS, names)],
        "versioning": "versioned",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": "single",
        "referencePolicy": ["literal", "logical"],
        "searchParam": [
            {"name": parameter.code, "definition": parameter.url, "type": parameter.type}
            for parameter in _searchable(type)
        ],
    }
    optional = {
        "supportedProfile": _own_profiles().get(type, []),
        "searchInclude": [f"{type}:{p.code}" for p in _searchable(type) if p.type == "reference"],
        "searchRevInclude": _reverse_includes().get(type, []),
        "operation": _operations(type, names),
    }
    return resource | {name: value for name, value in optional.items() if value}


@cache
def _searchable(type: str) -> tuple[definitions.SearchParameter, ...]:
    return tuple(
        parameter
        for code, parameter in sorted(definitions.search_parameters(type).items())
        if _is_searchable(type, code)
    )


def _is_searchable(type: str, code: str) -> bool:
    """Whether the store can search by it; we ask the store, so as to promise only what works."""
    try:
        parameters.parameter(type, code)
    except (UnknownParameter, Unsupported):
        return False
    return True


@cache
def _own_profiles() -> dict[str, list[str]]:
    profiles: dict[str, list[str]] = {}
    for structure in definitions.own_resources("StructureDefinition"):
        if structure.get("derivation") == "constraint" and structure.get("kind") == "resource":
            profiles.setdefault(structure["type"], []).append(structure["url"])
    return profiles


@cache
def _reverse_includes() -> dict[str, list[str]]:
    reverse: dict[str, list[str]] = {}
    for type in definitions.resource_types():
        for parameter in _searchable(type):
            for target in parameter.target if parameter.type == "reference" else ():
                reverse.setdefault(target, []).append(f"{type}:{parameter.code}")
    return reverse
