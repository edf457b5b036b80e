"""The operations $validate and Patient/$everything."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from fhir_coprod import deadline, definitions, jsontext
from fhir_coprod.api.answer import Answer, outcome_answer
from fhir_coprod.api.call import Call
from fhir_coprod.api.endpoint import Endpoint
from fhir_coprod.api.inputs import Inputs, inputs
from fhir_coprod.api.interactions import searchset, writing
from fhir_coprod.errors import (
    BadRequest,
    Conflict,
    InvalidResource,
    NotAllowed,
    PreconditionFailed,
    UnknownType,
)
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.outcome import Issue, Outcome
from fhir_coprod.store import Query, Store, Transaction, Version
from fhir_coprod.store.search.parameters import MAX_ALTERNATIVES
from fhir_coprod.validation import validate_document

_ID = re.compile(jsontext.ID_PATTERN)
_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_NOT_FOR_PATIENTS = frozenset({"NOPAT", "NOAUTH"})
_OF_EVERYTHING = ("_type", "_since", "_count", "_cursor")
_OF_VALIDATE = ("mode", "profile")
_METHODS = {"create": "POST", "update": "PUT"}
_INTERACTIONS = {"POST": "create", "PUT": "update", "DELETE": "delete"}
_PRECONDITIONS = ("if-match", "if-none-match", "if-none-exist")
_MODES = ("", "create", "update", "delete", "profile")


async def validate(call: Call, endpoint: Endpoint) -> Answer:
    """POST $validate on a type or an instance, GET on an instance: always 200 with an OperationOutcome.

    The resource comes bare or in Parameters (resource, mode, profile). If an instance is given none, its
    stored version is checked. With a mode, the write is tried and undone, so that the answer says whatever
    that write would be refused for. https://hl7.org/fhir/R4/resource-operation-validate.html
    """
    size = len(call.body)
    async with endpoint.bodies(size):
        given = await endpoint.check(size, _inputs_of_validate, call)
        outcome = await _validated(call, endpoint, given)
    ignored = tuple(Issue("warning", "not-supported", f"Ignored: {said}") for said in given.unknown)
    return outcome_answer(Outcome((*outcome.issues, *ignored)))


def _inputs_of_validate(call: Call) -> Inputs:
    return inputs(call, _OF_VALIDATE, on_resource=True)


async def _validated(call: Call, endpoint: Endpoint, given: Inputs) -> Outcome:
    mode, profile = given.get("mode"), given.get("profile")
    if mode not in _MODES:
        raise BadRequest("mode is one of create, update, delete or profile.")
    if mode == "delete":
        if not call.id:
            raise BadRequest("mode=delete is about one resource; call $validate on it.")
        await endpoint.read(call.type, call.id)
        may = Issue("information", "informational", "It may be deleted.")
        refused = await _tried(call, endpoint, "DELETE", None)
        return Outcome((may,)) if refused is None else refused
    document = given.resource
    if document is None:
        if not call.id:
            raise BadRequest(
                "There is nothing to validate; send the resource, bare or as the parameter `resource`."
            )
        document = jsontext.parse((await endpoint.read(call.type, call.id)).body)
    if call.type and document.type != call.type:
        raise BadRequest(f"The resource is not a {call.type}; send it to its own type or to the root.")
    size = len(document.raw)
    async with endpoint.bodies(size if given.resource is None else 0):
        outcome = await endpoint.check(size, validate_document, document, profile or None)
        method = _METHODS.get(mode)
        refused = await _tried(call, endpoint, method, document) if method else None
    # An outcome with errors is falsy. What is wrong by both is told once.
    told = outcome.issues if refused is None else (*refused.issues, *outcome.issues)
    return Outcome(tuple(dict.fromkeys(told)))


class _Accepted(Exception):
    """Ends a write that was only tried, so that nothing of it remains."""


async def _tried(call: Call, endpoint: Endpoint, method: str, document: Document | None) -> Outcome | None:
    """Why this server would refuse to write the resource; None if it would not."""
    id = "" if method == "POST" else call.id or _own_id(document)
    write = Call(
        interaction=_INTERACTIONS[method],
        method=method,
        base=call.base,
        type=call.type or (document.type if document else ""),
        id=id,
        headers={name: call.headers[name] for name in _PRECONDITIONS if name in call.headers},
        parsed=document,
        caller=call.caller,
    )
    try:
        endpoint.admit(write)
        change = await endpoint.check(len(document.raw) if document else 0, writing.prepare, write)

        def work(transaction: Transaction) -> None:
            writing.perform(transaction, change)
            raise _Accepted

        await endpoint.write(work)
    except _Accepted:
        return None
    except (BadRequest, Conflict, InvalidResource, NotAllowed, PreconditionFailed, UnknownType) as error:
        return error.outcome
    raise AssertionError("the work ends by an error")


def _own_id(document: Document | None) -> str:
    id = document.data.get("id") if document else ""
    if not isinstance(id, str) or not id:
        raise BadRequest("mode=update is about one resource; call $validate on it, or send it with its id.")
    return id


async def everything(call: Call, endpoint: Endpoint) -> Answer:
    """GET or POST Patient/[id]/$everything: the patient, all in their compartment, and what that refers to.

    Resources labelled as not for the patient are left out.

    `_type` and `_since` narrow it, `_count` pages it; the next link continues after the last resource.
    https://hl7.org/fhir/R4/patient-operation-everything.html
    """
    await endpoint.read(call.type, call.id)
    given = inputs(call, _OF_EVERYTHING)
    count = _whole_number(given.get("_count"), endpoint.settings.limits.page)
    types = _types(given.get("_type"))
    found = await endpoint.in_thread(
        _compartment, endpoint.store, call.id, types, given.get("_since"), lane="wide search"
    )
    after = given.get("_cursor")
    rest = [key for key in found if not after or "/".join(key) > after]
    page, more = rest[:count], len(rest) > count
    path = f"{call.path}/$everything"
    asked = tuple((name, given.get(name)) for name in ("_type", "_since", "_count") if given.get(name))
    here = (*asked, ("_cursor", after)) if after else asked
    links = [searchset.link("self", call.base, path, here)]
    if more:
        links.append(searchset.link("next", call.base, path, (*asked, ("_cursor", "/".join(page[-1])))))
    entries: list[Json] = [
        {
            "fullUrl": f"{call.base}/{type}/{id}",
            "resource": msgspec.Raw(found[type, id].body),
            "search": {"mode": "match"},
        }
        for type, id in page
    ]
    entries += searchset.ignored(given.unknown)
    return searchset.bundle("searchset", links, entries, total=len(found))


def _whole_number(text: str, most: int) -> int:
    if text and not (text.isascii() and text.isdecimal() and int(text[:9]) > 0):
        raise BadRequest("_count must be a whole number above 0.")
    return min(int(text[:9]), most) if text else most


def _types(text: str) -> frozenset[str] | None:
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    for name in sorted(names):
        if not definitions.is_resource_type(name):
            raise BadRequest(f"_type names {name[:64]!r}, which is no resource type of R4.")
    return names or None


def _compartment(
    store: Store, patient: str, types: frozenset[str] | None, since: str
) -> dict[tuple[str, str], Version]:
    """All resources of one patient, by type and id and sorted by them."""
    members = definitions.compartment("Patient")
    narrowed = (("_lastUpdated", f"ge{since}"),) if since else ()
    found: dict[tuple[str, str], Version] = {}
    for type, parameters in members.items():
        for parameter in parameters if types is None or type in types else ():
            criteria = ((parameter, f"Patient/{patient}"), *narrowed)
            found |= _by_key(_all(store, type, criteria))
    if types is None or "Patient" in types:
        found |= _by_key(_all(store, "Patient", (("_id", patient), *narrowed)))
    found = _releasable(found)
    # Referenced resources are added only if they cannot be another patient's: types outside the compartment.
    others: dict[str, list[str]] = {}
    for reference in sorted({name for version in found.values() for name in _references(version.data)}):
        type, _, id = reference.partition("/")
        if type in members or type == "Patient" or (types and type not in types) or (type, id) in found:
            continue
        if definitions.is_resource_type(type) and _ID.fullmatch(id):
            others.setdefault(type, []).append(id)
    for type, ids in others.items():
        for start in range(0, len(ids), MAX_ALTERNATIVES):
            some = ",".join(ids[start : start + MAX_ALTERNATIVES])
            found |= _by_key(_all(store, type, (("_id", some), *narrowed)))
    return dict(sorted(_releasable(found).items(), key=lambda item: "/".join(item[0])))


def _releasable(found: dict[tuple[str, str], Version]) -> dict[tuple[str, str], Version]:
    return {key: version for key, version in found.items() if not _is_withheld(version)}


def _is_withheld(version: Version) -> bool:
    """Kept from the patient until a person releases it: alerts, private-moment requests, life stories."""
    labels = version.data.get("meta", {}).get("security", ())
    return any(
        label.get("system") == _ACT_CODE and label.get("code") in _NOT_FOR_PATIENTS for label in labels
    )


def _by_key(versions: list[Version]) -> dict[tuple[str, str], Version]:
    return {(version.type, version.id): version for version in versions}


def _all(store: Store, type: str, criteria: tuple[tuple[str, str], ...]) -> list[Version]:
    found: list[Version] = []
    cursor: str | None = ""
    while cursor is not None:
        deadline.check()
        paging = (("_cursor", cursor),) if cursor else ()
        page = store.search(Query.parse(type, (*criteria, ("_count", "1000"), *paging), strict=True))
        found += page.matches
        cursor = page.next
    return found


def _references(value: Any) -> list[str]:
    """Relative literal references anywhere in a resource."""
    if isinstance(value, list):
        return [name for item in value for name in _references(item)]
    if not isinstance(value, dict):
        return []
    own = value.get("reference")
    here = [own] if isinstance(own, str) and own.count("/") == 1 and ":" not in own else []
    return here + [name for child in value.values() for name in _references(child)]
