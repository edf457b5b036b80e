"""AuditEvents through the FHIR API: read and searched, and nothing else (`fhir_coprod.audit`)."""

from __future__ import annotations

from dataclasses import replace

from fhir_coprod import jsontext
from fhir_coprod.access.rights import ALL_DEPARTMENTS, Rights
from fhir_coprod.access.scopes import Scope
from fhir_coprod.access.sight import seen
from fhir_coprod.api.answer import Answer
from fhir_coprod.api.call import Call, Pairs
from fhir_coprod.api.endpoint import Endpoint
from fhir_coprod.api.interactions import searchset
from fhir_coprod.audit import fhir, finding
from fhir_coprod.audit.finding import Wanted
from fhir_coprod.errors import BadRequest, NotAllowed, NotFound, Unsupported
from fhir_coprod.jsontext import Json
from fhir_coprod.store.values import time_meant

_PAGE = 50
_SHAPES = ("_format", "_pretty", "_count", "_cursor", "_total")


async def read(call: Call, endpoint: Endpoint) -> Answer:
    """GET AuditEvent/[id]."""
    own = _only_of(call.caller.rights, "r")
    place = fhir.place(call.id)
    places = endpoint.auditing.trail.places
    found = await endpoint.in_thread(finding.one, places, *place[:3]) if place else None
    if found is not None:
        for made in fhir.resources(found, call.base, own):
            if made["id"] == call.id:
                await endpoint.in_thread(_only_in_sight, endpoint, call.caller.rights, own, [made])
                return Answer(200, jsontext.encode(made))
    raise NotFound(f"There is no {call.path}.")


async def search(call: Call, endpoint: Endpoint, asked: Pairs) -> Answer:
    """GET AuditEvent?…: by patient, date, agent, entity, action, outcome and address, the newest first.

    `_count` counts calls: one that was about several patients gives an AuditEvent for each.
    """
    own = _only_of(call.caller.rights, "s")
    limit = endpoint.settings.limits.page
    wanted, count, before = _wanted(asked, limit)
    if call.member:
        if call.type != "Patient" or wanted.patient not in ("", call.id):
            raise NotFound("AuditEvents are found by patient only.")
        wanted = wanted._replace(patient=call.id)
    if own:
        if wanted.patient not in ("", own):
            return searchset.bundle("searchset", [], [])
        if wanted.address:
            raise Unsupported("Patients see no addresses, so nothing is found by address for them.")
        wanted = wanted._replace(patient=own, is_own=True)
        entity = f"{wanted.type}/{wanted.id}"
        if wanted.type and not await endpoint.in_thread(
            seen, endpoint.store, _reading(call.caller.rights), [entity]
        ):
            return searchset.bundle("searchset", [], [])

    def look() -> Answer:
        found = finding.find(endpoint.auditing.trail.places, wanted, count + 1, before)
        path = (
            f"{call.path}/AuditEvent" if call.member and not call.path.endswith("AuditEvent") else call.path
        )
        used = tuple((name, value) for name, value in asked if name != "_cursor")
        links = [searchset.link("self", call.base, path, asked)]
        if len(found) > count:
            cursor = ".".join(map(str, found[count - 1].place))
            links.append(searchset.link("next", call.base, path, (*used, ("_cursor", cursor))))
        shown = [
            made
            for one in found[:count]
            for made in fhir.resources(one, call.base, own)
            if not wanted.patient or _is_about(made, wanted.patient)
        ]
        _only_in_sight(endpoint, call.caller.rights, own, shown)
        entries = [
            {
                "fullUrl": f"{call.base}/AuditEvent/{made['id']}",
                "resource": made,
                "search": {"mode": "match"},
            }
            for made in shown
        ]
        return searchset.bundle("searchset", links, entries)

    return await endpoint.in_thread(look, lane="wide search")


def _only_in_sight(endpoint: Endpoint, rights: Rights, own: str, made: list[Json]) -> None:
    """Take out of a patient's AuditEvents the names of resources that are kept from them, as by NOPAT."""
    if not own:
        return
    named = {entity["what"]["reference"].partition("/_history")[0] for one in made for entity in _named(one)}
    kept = {f"Patient/{own}", *seen(endpoint.store, _reading(rights), named)} if named else set()
    for one in made:
        hidden = [
            entity
            for entity in _named(one)
            if entity["what"]["reference"].partition("/_history")[0] not in kept
        ]
        one["entity"] = [entity for entity in one["entity"] if entity not in hidden]


def _named(made: Json) -> list[Json]:
    return [entity for entity in made["entity"] if "what" in entity]


def _reading(rights: Rights) -> Rights:
    """The same reach whatever the scopes: the types that a program may read do not tell who has looked."""
    return replace(rights, scopes=(Scope("patient", "*", "r"),))


def _is_about(made: Json, patient: str) -> bool:
    named = f"Patient/{patient}"
    return any(entity.get("what", {}).get("reference") == named for entity in made.get("entity", ()))


def _only_of(rights: Rights, action: str) -> str:
    """The one patient whose AuditEvents the caller may see; "" for everybody's. Raises NotAllowed."""
    if rights.kind == "local":
        return ""
    # A scope with criteria gives nothing here: it could not be told what it leaves out.
    has_scope = any(scope.allows(action, "AuditEvent") and not scope.criteria for scope in rights.scopes)
    if has_scope and rights.kind == "patient" and rights.patient:
        return rights.patient
    contexts = {scope.context for scope in rights.scopes}
    reaches_all = contexts == {"system"} or (contexts == {"user"} and ALL_DEPARTMENTS in rights.departments)
    if has_scope and rights.kind in ("program", "person") and reaches_all:
        return ""
    raise NotAllowed(
        "To see AuditEvents takes a scope on AuditEvent, and all departments; patients see those about"
        " themselves."
    )


def _wanted(asked: Pairs, limit: int) -> tuple[Wanted, int, tuple[int, str, int] | None]:
    wanted, count, before = Wanted(), min(_PAGE, limit), None
    for name, value in asked:
        match name:
            case "patient" | "patient:Patient":
                wanted = wanted._replace(patient=value.removeprefix("Patient/"))
            case "agent" | "agent:identifier" | "agent-name":
                wanted = wanted._replace(who=value)
            case "address":
                wanted = wanted._replace(address=value)
            case "action":
                wanted = wanted._replace(action=value)
            case "outcome":
                wanted = wanted._replace(outcome=value)
            case "entity":
                type, slash, id = value.partition("/")
                if not slash:
                    raise BadRequest("entity names one resource, such as ServiceRequest/example.")
                wanted = wanted._replace(type=type, id=id)
            case "date":
                wanted = _dated(wanted, value)
            case "_count":
                if not (value.isascii() and value.isdecimal() and int(value[:9]) > 0):
                    raise BadRequest("_count must be a whole number above 0.")
                count = min(int(value[:9]), limit)
            case "_cursor":
                before = _place(value)
            case "_sort" if value == "-date":
                pass
            case _ if name not in _SHAPES:
                raise Unsupported(
                    f"AuditEvents are found by patient, date, agent, entity, action, outcome and address, not"
                    f" by {name[:64]!r}; the newest come first."
                )
    return wanted, count, before


def _place(text: str) -> tuple[int, str, int]:
    at, _, rest = text.partition(".")
    chain, _, number = rest.partition(".")
    if not (at.isdecimal() and number.isdecimal() and len(at) < 16 and len(number) < 16):
        raise BadRequest("_cursor is not one that this server gave; follow the next link as it came.")
    return int(at), chain, int(number)


def _dated(wanted: Wanted, text: str) -> Wanted:
    prefix = text[:2] if text[:2].isalpha() else "eq"
    meant = time_meant(text.removeprefix(prefix).replace(" ", "+"))
    if meant is None:
        raise BadRequest("date is a time such as ge2026-03-02, or a day, month or year.")
    low, high = meant.low // 1000, -(-meant.high // 1000)
    since, until = {
        "eq": (low, high),
        "ge": (low, wanted.until),
        "gt": (high, wanted.until),
        "sa": (high, wanted.until),
        "le": (wanted.since, high),
        "lt": (wanted.since, low),
        "eb": (wanted.since, low),
    }.get(prefix, (-1, -1))
    if since < 0:
        raise BadRequest("date takes eq, ge, gt, le, lt, sa or eb.")
    return wanted._replace(since=max(since, wanted.since), until=min(until, wanted.until))
