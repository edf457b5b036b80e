"""Patient/$everything: the patient, all in their compartment, and what that refers to.

https://hl7.org/fhir/R4/patient-operation-everything.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from fhir_coprod import deadline, definitions, jsontext
from fhir_coprod.access.sight import sight
from fhir_coprod.api.answer import Answer
from fhir_coprod.api.call import Call
from fhir_coprod.api.endpoint import Endpoint
from fhir_coprod.api.formats import time_parameter
from fhir_coprod.api.inputs import Inputs, inputs
from fhir_coprod.api.interactions import searchset
from fhir_coprod.errors import BadRequest
from fhir_coprod.instants import to_microseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Page, Query, Store, Version, labels
from fhir_coprod.store.entries import split_reference
from fhir_coprod.store.search import compartments
from fhir_coprod.store.search.conditions import Condition, Not, Own, Sql
from fhir_coprod.store.search.query import MAX_COUNT
from fhir_coprod.store.search.sight import Sight, Without
from fhir_coprod.store.search.standpoint import MAX_ALTERNATIVES
from fhir_coprod.store.values import time_meant

_ID = re.compile(jsontext.ID_PATTERN)
_RELEASED = Without(labels.NOT_FOR_PATIENTS)
"""Not kept from the patient until a person releases it, whoever asks."""
_NAMES = ("_type", "_since", "start", "end", "_count")

_CARE_DATES = (
    *("date", "occurrence", "period", "effective-time", "effective", "onset-date", "authored", "authoredon"),
    *("authored-on", "sent", "whenhandedover", "whenprepared", "started", "created", "recorded-date"),
)
"""The search parameters that say when care was given, the first that a type has."""


_REFERRED = "referred"
"""In a cursor instead of a type: the page begins among what members of the compartment refer to."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the caller wants of all that there is about a patient.

    start, end: of the care itself, as FHIR dates; "" without a limit
    """

    patient: str
    types: frozenset[str]
    since: datetime | None
    start: str
    end: str
    zone: ZoneInfo
    base: str
    sight: Sight | None

    def changed(self, type: str) -> tuple[Condition, ...]:
        """The condition that `_since` puts on resources of a type."""
        if self.since is None:
            return ()
        milliseconds = -(-to_microseconds(self.since) // 1000)
        return (Own((type,), Sql("{row}.updated >= ?", (milliseconds,))),)


@dataclass(slots=True)
class _Page:
    """A page that is being filled.

    count, left: how many resources and bytes have room yet
    """

    count: int
    left: int
    versions: list[Version] = field(default_factory=list)

    def take(self, found: Page) -> bool:
        """Add what was found; False if that is a resource for which this page has no room."""
        size = sum(len(version.body) for version in found.matches)
        if size > self.left and self.versions:
            return False
        self.versions += found.matches
        self.count -= len(found.matches)
        self.left -= size
        return True


async def everything(call: Call, endpoint: Endpoint) -> Answer:
    """GET or POST Patient/[id]/$everything, in pages: the patient, the compartment, and what that refers to.

    `start` and `end` limit the members of the compartment by the time of the care; what they refer to comes
    along. `_type` and `_since` then choose from all of that. Resources labelled as not for the patient are
    left out. What a page costs does not grow with the pages before it; only those at the end, with what is
    referred to, look through all members.
    """
    await endpoint.read(call.type, call.id, call.caller.rights)
    given = inputs(call, (*_NAMES, "_cursor"))
    wanted = _wanted(given, call, endpoint)
    limits = endpoint.settings.limits
    count = _whole_number(given.get("_count"), limits.page)
    cursor = given.get("_cursor")

    def look() -> Answer:
        page = _Page(count, limits.answer_bytes)
        following = _fill(page, endpoint.store, wanted, cursor)
        asked = tuple((name, given.get(name)) for name in _NAMES if given.get(name))
        path = f"{call.path}/$everything"
        links = [searchset.link("self", call.base, path, (*asked, ("_cursor", cursor)) if cursor else asked)]
        if following:
            links.append(searchset.link("next", call.base, path, (*asked, ("_cursor", following))))
        entries = [_entry(call.base, version) for version in page.versions]
        is_whole = not cursor and not following
        total = len(entries) if is_whole else None
        entries += searchset.ignored(given.unknown)
        return searchset.bundle("searchset", links, entries, total=total, shown=page.versions)

    return await endpoint.in_thread(look, lane="wide search")


def _entry(base: str, version: Version) -> Json:
    return {
        "fullUrl": f"{base}/{version.type}/{version.id}",
        "resource": msgspec.Raw(version.body),
        "search": {"mode": "match"},
    }


def _wanted(given: Inputs, call: Call, endpoint: Endpoint) -> _Wanted:
    since = given.get("_since")
    zone = endpoint.settings.site.zone
    for name in ("start", "end"):
        if given.get(name):
            _check_date(name, given.get(name))
    return _Wanted(
        patient=call.id,
        types=_types(given.get("_type")),
        since=time_parameter(since, "_since") if since else None,
        start=given.get("start"),
        end=given.get("end"),
        zone=zone,
        base=f"{call.base}/",
        sight=sight(call.caller.rights, "s"),
    )


def _check_date(name: str, text: str) -> None:
    if time_meant(text) is None:
        raise BadRequest(f"{name}: not a date; write for instance 2024-05-31.")


def _whole_number(text: str, most: int) -> int:
    if text and not (text.isascii() and text.isdecimal() and int(text[:9]) > 0):
        raise BadRequest("_count must be a whole number above 0.")
    return min(int(text[:9]), most) if text else most


def _types(text: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    for name in sorted(names):
        if not definitions.is_resource_type(name):
            raise BadRequest(f"_type names {name[:64]!r}, which is no resource type of R4.")
    return names


def _fill(page: _Page, store: Store, wanted: _Wanted, cursor: str) -> str:
    """Fill a page that begins at a cursor; the cursor of the next page, "" if this is the last one."""
    begin, _, place = cursor.partition(".")
    if begin != _REFERRED:
        following = _fill_with_members(page, store, wanted, begin, place)
        if following:
            return following
        place = ""
    return _fill_with_referred(page, store, wanted, place)


def _fill_with_members(page: _Page, store: Store, wanted: _Wanted, begin: str, cursor: str) -> str:
    types = list(compartments.members("Patient"))
    if begin and begin not in types:
        raise BadRequest("_cursor is not one that this operation gave out; follow its next links.")
    for type in types[types.index(begin) if begin else 0 :]:
        deadline.check()
        if not wanted.types or type in wanted.types:
            if page.count <= 0:
                return f"{type}.{cursor}"
            query = replace(_members(type, wanted, wanted.changed(type)), count=page.count, cursor=cursor)
            found = store.search(query, page.left)
            if not page.take(found):
                return f"{type}.{cursor}"
            if found.next is not None:
                return f"{type}.{found.next}"
        cursor = ""
    return ""


def _members(type: str, wanted: _Wanted, more: tuple[Condition, ...] = ()) -> Query:
    """The search for the members of one type."""
    query = Query.parse(type, (), strict=True, compartment=("Patient", wanted.patient), sight=wanted.sight)
    return replace(query, conditions=(*query.conditions, _RELEASED, *_in_time(type, wanted), *more))


def _fill_with_referred(page: _Page, store: Store, wanted: _Wanted, after: str) -> str:
    """After the members, by type and id; after: the last one of the page before."""
    members = compartments.members("Patient")
    if wanted.types and wanted.types <= members.keys():
        return ""
    if page.count <= 0:
        return f"{_REFERRED}."
    ids: dict[str, list[str]] = {}
    for name in sorted(_referred(store, wanted)):
        type, _, id = name.partition("/")
        if name > after and (not wanted.types or type in wanted.types):
            ids.setdefault(type, []).append(id)
    for type, some in ids.items():
        for start in range(0, len(some), MAX_ALTERNATIVES):
            deadline.check()
            chunk = some[start : start + MAX_ALTERNATIVES]
            here = f"{_REFERRED}.{after}"
            if page.count <= 0:
                return here
            asked = (("_id", ",".join(chunk)), ("_sort", "_id"))
            query = Query.parse(type, asked, strict=True, sight=wanted.sight)
            conditions = (*query.conditions, _RELEASED, *wanted.changed(type))
            query = replace(query, conditions=conditions, count=page.count)
            found = store.search(query, page.left)
            if not page.take(found):
                return here
            if found.next is not None:
                return f"{_REFERRED}.{type}/{found.matches[-1].id}"
            after = f"{type}/{chunk[-1]}"
    return ""


def _referred(store: Store, wanted: _Wanted) -> set[str]:
    """Type/id of all that members refer to and that cannot be another patient's: of types outside."""
    members = compartments.members("Patient")
    named: set[tuple[str, str]] = set()
    for type in members:
        for version in _all(store, replace(_members(type, wanted), count=MAX_COUNT)):
            named |= set(_links(version.data, wanted.base))
    return {f"{type}/{id}" for type, id in named if type not in members and _ID.fullmatch(id)}


def _in_time(type: str, wanted: _Wanted) -> Iterator[Condition]:
    """Nothing of the care ended before the start or began after the end; what has no date stays."""
    code = _care_date(type)
    for prefix, bound in (("eb", wanted.start), ("sa", wanted.end)) if code else ():
        if bound:
            outside = Query.parse(type, ((code, prefix + bound),), strict=True, zone=wanted.zone)
            yield from (Not(condition) for condition in outside.conditions)


@lru_cache(256)
def _care_date(type: str) -> str:
    known = definitions.search_parameters(type)
    dates = (code for code in _CARE_DATES if code in known and known[code].type == "date")
    return next(dates, "")


def _all(store: Store, query: Query) -> Iterator[Version]:
    while True:
        deadline.check()
        page = store.search(query)
        yield from page.matches
        if page.next is None:
            return
        query = replace(query, cursor=page.next)


def _links(value: Any, base: str) -> Iterator[tuple[str, str]]:
    """Type and id of what a resource names, by a reference anywhere or as the Binary of an attachment."""
    if isinstance(value, list):
        for item in value:
            yield from _links(item, base)
    elif isinstance(value, dict):
        reference, url = value.get("reference"), value.get("url")
        if isinstance(reference, str):
            yield split_reference(reference.removeprefix(base))
        if isinstance(url, str):
            type, id = split_reference(url.removeprefix(base))
            if type == "Binary":
                yield type, id
        for child in value.values():
            if isinstance(child, dict | list):
                yield from _links(child, base)
