"""Patient/$everything: the patient, all in their compartment, and what that refers to.

https://hl7.org/fhir/R4/patient-operation-everything.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from fhir_coprod import deadline, definitions, jsontext
from fhir_coprod.api.answer import Answer
from fhir_coprod.api.call import Call
from fhir_coprod.api.endpoint import Endpoint
from fhir_coprod.api.formats import time_parameter
from fhir_coprod.api.inputs import Inputs, inputs
from fhir_coprod.api.interactions import searchset
from fhir_coprod.errors import BadRequest
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Query, Store, Version
from fhir_coprod.store.entries import split_reference
from fhir_coprod.store.search import compartments
from fhir_coprod.store.search.conditions import Condition, Not
from fhir_coprod.store.search.standpoint import MAX_ALTERNATIVES
from fhir_coprod.store.values import time_meant

_ID = re.compile(jsontext.ID_PATTERN)
_ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_NOT_FOR_PATIENTS = frozenset({"NOPAT", "NOAUTH"})
_NAMES = ("_type", "_since", "start", "end", "_count")

_CARE_DATES = (
    *("date", "occurrence", "period", "effective-time", "effective", "onset-date", "authored", "authoredon"),
    *("authored-on", "sent", "whenhandedover", "whenprepared", "started", "created", "recorded-date"),
)
"""The search parameters that say when care was given, the first that a type has."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the caller wants of all that there is.

    start, end: of the care itself, as FHIR dates; "" without a limit
    """

    types: frozenset[str]
    since: datetime | None
    start: str
    end: str
    zone: ZoneInfo
    base: str

    def has(self, found: _Found) -> bool:
        if self.types and found.type not in self.types:
            return False
        return self.since is None or found.updated >= self.since


class _Found(NamedTuple):
    """A resource of the answer, without its body: there may be thousands."""

    type: str
    id: str
    updated: datetime
    size: int

    @property
    def place(self) -> str:
        return f"{self.type}/{self.id}"


async def everything(call: Call, endpoint: Endpoint) -> Answer:
    """GET or POST Patient/[id]/$everything, in pages ordered by type and id.

    `start` and `end` limit the members of the compartment by the time of the care; what they refer to comes
    along. `_type` and `_since` then choose from all of that. Resources labelled as not for the patient are
    left out.
    """
    await endpoint.read(call.type, call.id)
    given = inputs(call, (*_NAMES, "_cursor"))
    wanted = _wanted(given, call, endpoint)
    limits = endpoint.settings.limits
    count = _whole_number(given.get("_count"), limits.page)
    after = given.get("_cursor")

    def look() -> Answer:
        found = [each for each in _everything(endpoint.store, call.id, wanted) if wanted.has(each)]
        found.sort(key=lambda each: each.place)
        rest = [each for each in found if not after or each.place > after]
        page = _fitting(rest[:count], limits.answer_bytes)
        asked = tuple((name, given.get(name)) for name in _NAMES if given.get(name))
        path = f"{call.path}/$everything"
        links = [searchset.link("self", call.base, path, (*asked, ("_cursor", after)) if after else asked)]
        if len(page) < len(rest):
            links.append(searchset.link("next", call.base, path, (*asked, ("_cursor", page[-1].place))))
        entries = [_entry(call.base, version) for version in _bodies(endpoint.store, page)]
        entries += searchset.ignored(given.unknown)
        return searchset.bundle("searchset", links, entries, total=len(found))

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
        types=_types(given.get("_type")),
        since=time_parameter(since, "_since") if since else None,
        start=given.get("start"),
        end=given.get("end"),
        zone=zone,
        base=f"{call.base}/",
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


def _everything(store: Store, patient: str, wanted: _Wanted) -> Iterator[_Found]:
    """All that may be given, each once."""
    members = compartments.members("Patient")
    named: set[tuple[str, str]] = set()
    for type in members:
        query = Query.parse(type, (("_count", "1000"),), strict=True, compartment=("Patient", patient))
        query = replace(query, conditions=(*query.conditions, *_in_time(type, wanted)))
        for version in _all(store, query):
            if not _is_withheld(version):
                named |= set(_links(version.data, wanted.base))
                yield _found(version)
    # What is referred to comes along only if it cannot be another patient's: types outside the compartment.
    others: dict[str, list[str]] = {}
    for type, id in sorted(named):
        if type not in members and _ID.fullmatch(id):
            others.setdefault(type, []).append(id)
    for type, ids in others.items():
        for start in range(0, len(ids), MAX_ALTERNATIVES):
            some = ",".join(ids[start : start + MAX_ALTERNATIVES])
            query = Query.parse(type, (("_id", some), ("_count", "1000")), strict=True)
            yield from (_found(version) for version in _all(store, query) if not _is_withheld(version))


def _found(version: Version) -> _Found:
    return _Found(version.type, version.id, version.updated, len(version.body))


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


def _is_withheld(version: Version) -> bool:
    """Kept from the patient until a person releases it: alerts, private-moment requests, life stories."""
    labels = version.data.get("meta", {}).get("security", ())
    return any(
        label.get("system") == _ACT_CODE and label.get("code") in _NOT_FOR_PATIENTS for label in labels
    )


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


def _fitting(found: list[_Found], most: int) -> list[_Found]:
    """As many as fit into so many bytes, at least one."""
    size = 0
    for number, each in enumerate(found):
        size += each.size
        if size > most and number:
            return found[:number]
    return found


def _bodies(store: Store, page: Iterable[_Found]) -> Iterator[Version]:
    ids: dict[str, list[str]] = {}
    for each in page:
        ids.setdefault(each.type, []).append(each.id)
    for type, some in ids.items():
        deadline.check()
        newest = store.newest(type, some)
        for id in some:
            version = newest.get(id)
            if version is not None and not version.deleted and not _is_withheld(version):
                yield version
