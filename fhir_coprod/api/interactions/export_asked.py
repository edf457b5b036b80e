"""Reads what an `$export` asks for (https://hl7.org/fhir/uv/bulkdata/export.html).

What is not known or not supported is refused, unless `Prefer: handling=lenient` asks to go on without it;
then a file of the export says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from fhir_coprod import definitions
from fhir_coprod.access.rights import Rights
from fhir_coprod.api.call import Call, Pairs
from fhir_coprod.api.formats import time_parameter
from fhir_coprod.bulk import allowed, filters
from fhir_coprod.bulk.wanted import Level, Wanted
from fhir_coprod.errors import BadRequest, CoprodError, UnknownParameter, Unsupported
from fhir_coprod.instants import to_microseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.store.entries import split_reference

_FORMATS = frozenset({"application/fhir+ndjson", "application/ndjson", "ndjson"})
_KNOWN = ("_outputFormat", "_since", "_until", "_type", "_typeFilter", "_elements", "patient")
_ANSWERS = frozenset({"_format", "_pretty"})
_NOT_HERE = {
    "includeAssociatedData": "leave it out: all Provenance of what is exported is exported anyway",
    "organizeOutputBy": "leave it out: each file holds resources of one type",
    "allowPartialManifests": "leave it out: the manifest comes when all files are there",
}
_ELEMENT = re.compile(r"([A-Z][A-Za-z]+\.)?[a-z][A-Za-z]*")
_BETWEEN_SEARCHES = re.compile(r",(?=[A-Z][A-Za-z]+\?)")
MOST_PATIENTS = 10_000

Values = Mapping[str, tuple[str, ...]]


class _Asked:
    """The parameters of one call, and what was left out of them."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.is_lenient = call.preferences.lenient
        self.told: list[str] = []
        self.values: dict[str, list[str]] = {}
        for name, value in (*call.query, *_in_body(call)):
            if name not in _ANSWERS:
                self.values.setdefault(name, []).append(value)

    def refuse(self, error: CoprodError) -> None:
        """Raise the error, or go on without what it is about."""
        if not self.is_lenient:
            raise error
        self.told.append(f"Left out: {error.message}")

    def listed(self, name: str) -> list[str]:
        """The values of a parameter, which may come several times or with commas between them."""
        found = (part.strip() for value in self.values.get(name, ()) for part in value.split(","))
        return list(dict.fromkeys(part for part in found if part))

    def one(self, name: str) -> str:
        """The value of a parameter that may be there once; "" if it is not."""
        found = self.values.get(name, [])
        if len(found) > 1:
            raise BadRequest(f"{name} may be given once.")
        return found[0] if found else ""


def wanted(call: Call, level: Level, rights: Rights, zone: ZoneInfo) -> Wanted:
    """The export that a call asks for. Raises BadRequest, NotAllowed and their like."""
    asked = _Asked(call)
    for name in sorted(asked.values.keys() - set(_KNOWN)):
        if name in _NOT_HERE:
            asked.refuse(Unsupported(f"{name} is not supported; {_NOT_HERE[name]}."))
        else:
            known = ", ".join(_KNOWN)
            asked.refuse(UnknownParameter(f"$export has no parameter {name[:64]!r}; it has: {known}."))
    form = asked.one("_outputFormat").replace(" ", "+")
    if form and form not in _FORMATS:
        raise Unsupported("_outputFormat: files are NDJSON only; ask for application/fhir+ndjson.")
    types = _types(asked, level, rights)
    return Wanted(
        level=level,
        types=types,
        base=call.base,
        request=_request(call),
        group=call.id if level == "Group" else "",
        since=_time(asked, "_since"),
        until=_time(asked, "_until"),
        filters=_filters(asked, types, call.base, zone),
        elements=_elements(asked),
        patients=_patients(asked, level, call),
        told=tuple(asked.told),
    )


def _in_body(call: Call) -> Iterator[tuple[str, str]]:
    """The parameters in a Parameters resource."""
    if call.method != "POST" or (not call.body and call.parsed is None):
        return
    document = call.document()
    given = document.data.get("parameter", [])
    if document.type != "Parameters" or not isinstance(given, list):
        raise BadRequest("Send the parameters of $export as a Parameters resource, or in the URL by GET.")
    for each in given:
        name, value = _read(each)
        if name not in _ANSWERS:
            yield name, value


def _read(parameter: Json) -> tuple[str, str]:
    if isinstance(parameter, dict) and isinstance(parameter.get("name"), str):
        for key, value in parameter.items():
            if key == "valueReference" and isinstance(value, dict):
                value = value.get("reference")
            if key.startswith("value") and isinstance(value, str):
                return parameter["name"], value
        if parameter["name"] not in _KNOWN:
            return parameter["name"], ""
    raise BadRequest("A parameter of $export has a name, and a valueString, valueInstant or valueReference.")


def _request(call: Call) -> str:
    address = f"{call.base}/{call.path}".rstrip("/") + "/$export"
    return (
        f"{address}?{urlencode(call.query, quote_via=quote)}"
        if call.query and call.method == "GET"
        else address
    )


def _types(asked: _Asked, level: Level, rights: Rights) -> tuple[str, ...]:
    named = asked.listed("_type")
    unknown = [type for type in named if not definitions.is_resource_type(type)]
    for type in unknown:
        asked.refuse(BadRequest(f"_type names {type[:64]!r}, which is no resource type of R4."))
    types = tuple(type for type in named if type not in unknown)
    is_open = allowed.exportable(rights, definitions.resource_types())
    allowed.require_any(is_open)
    if not named:
        types = is_open
    allowed.require_export(rights, types, level)
    return types


def _time(asked: _Asked, name: str) -> int | None:
    text = asked.one(name)
    return to_microseconds(time_parameter(text, name)) if text else None


def _filters(asked: _Asked, types: tuple[str, ...], base: str, zone: ZoneInfo) -> dict[str, tuple[str, ...]]:
    given = [part for value in asked.values.get("_typeFilter", ()) for part in _BETWEEN_SEARCHES.split(value)]
    if len(given) > filters.MOST or sum(map(len, given)) > filters.MOST_BYTES:
        raise BadRequest(
            f"_typeFilter may hold {filters.MOST} searches with {filters.MOST_BYTES:,} characters;"
            " ask in several exports."
        )
    found: dict[str, tuple[str, ...]] = {}
    for one in given:
        type, mark, query = one.strip().partition("?")
        try:
            if not mark or type not in types:
                raise BadRequest(
                    f"_typeFilter: {type[:64]!r} is no type of this export; write Task?status=active, with"
                    " ? and & encoded."
                )
            filters.parsed(type, query, base, zone)
        except CoprodError as error:
            asked.refuse(error)
            continue
        found[type] = (*found.get(type, ()), query)
    return found


def _elements(asked: _Asked) -> str:
    found = asked.listed("_elements")
    for path in found:
        if not _ELEMENT.fullmatch(path):
            raise BadRequest("_elements takes elements at the root, such as id or Patient.birthDate.")
    return ",".join(found)


def _patients(asked: _Asked, level: Level, call: Call) -> tuple[str, ...] | None:
    given = asked.values.get("patient")
    if not given:
        return None
    if level == "":
        asked.refuse(BadRequest("patient is about exports of patients; ask at Patient/$export."))
        return None
    if call.method != "POST":
        asked.refuse(BadRequest("patient is taken by POST only: who it is does not belong into a URL."))
        return None
    if len(given) > MOST_PATIENTS:
        raise BadRequest(f"An export takes up to {MOST_PATIENTS:,} of patient; ask in several exports.")
    found = [split_reference(text.removeprefix(f"{call.base}/")) for text in given]
    if any(type != "Patient" for type, _ in found):
        raise BadRequest("patient takes references such as Patient/example.")
    return tuple(dict.fromkeys(id for _, id in found))


def pairs_of(elements: str) -> Pairs:
    """`_elements` as the query of a search."""
    return (("_elements", elements),)
