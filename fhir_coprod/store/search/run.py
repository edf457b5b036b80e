"""Runs a search: finds one page of a `Query` (with `strategy.py`), then the resources that it includes.

The default order is by creation (`resource.key`), which no update changes; for a `_lastUpdated` from some
time on, it is by last change. A page ends with a cursor that holds the sort values and key of its last row.
The next page begins after that row, so that nothing is skipped or repeated if nobody has modified it, no
matter what else is written meanwhile.
"""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from fhir_coprod import deadline, definitions, jsontext
from fhir_coprod.errors import BadRequest, NotJson
from fhir_coprod.store import entries, index
from fhir_coprod.store.database import Row, Session
from fhir_coprod.store.room import MOST, WIDTH, Room
from fhir_coprod.store.search import strategy
from fhir_coprod.store.search.conditions import Sql, all_of
from fhir_coprod.store.search.query import Include, Query
from fhir_coprod.store.search.sight import Sight, condition_on
from fhir_coprod.store.values import cut
from fhir_coprod.store.versions import Version

MAX_INCLUDED = 10_000
MAX_ROUNDS = 8
"""How many rounds `:iterate` may take."""
_BY_KEY = "r.key + 0"
"""The order of creation for a few resources, written so that no database walks all resources to get it."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search.

    matches:  in order
    included: by _include and _revinclude; no resource twice, and no match again
    total:    number of all matches, if the client asked for it or it is known anyway
    next:     cursor of the next page, to give back as `_cursor`; None on the last page
    """

    matches: list[Version]
    included: list[Version]
    total: int | None
    next: str | None


def run(session: Session, query: Query, most_bytes: int = MOST) -> Page:
    """One page of the search: as many resources as asked for, as far as they fit into so many bytes, and at
    most as many bytes again of included resources."""
    _refuse_ambiguous(session, query)
    if query.count == 0 or query.summary == "count":
        return Page([], [], strategy.count(session, query), None)
    room = Room(session, most_bytes)
    rows = strategy.page(session, query, _read_cursor(query), room.columns(query.count + 1))
    matches = room.fill(rows[: query.count])
    next = _cursor(query, rows[len(matches) - 1]) if len(rows) > len(matches) else None
    total: int | None = None
    if next is None and not query.cursor:
        total = len(matches)
    elif query.total in ("accurate", "estimate"):
        total = strategy.count(session, query)
    included: list[Version] = []
    if query.includes or query.revincludes:
        included = _included(session, query, matches, Room(session, most_bytes))
    return Page(matches, included, total, next)


def _refuse_ambiguous(session: Session, query: Query) -> None:
    """R4 search, 3.1.1.4.12: an id without a type that more than one of the possible types has here."""
    for types, ids in query.bare:
        of_types, names = session.among("type", types)
        of_ids, values = session.among("id", ids)
        limit = within(query.sight, types, "r")
        rows = session.rows(
            f"SELECT min(type), max(type) FROM resource r WHERE {of_types} AND {of_ids} AND deleted = false"
            f"{limit.text} GROUP BY id HAVING count(*) > 1 ORDER BY 1, 2 LIMIT 1",
            [*names, *values, *limit.values],
        )
        if rows:
            raise BadRequest(
                f"Several resources have an id that is searched for (a {rows[0][0]} and a {rows[0][1]});"
                " name the type, as in subject=Patient/id or subject:Patient=id."
            )


def within(sight: Sight | None, types: tuple[str, ...], row: str) -> Sql:
    """` AND …` for what of these types is in sight, over `row`; empty if all is."""
    condition = condition_on(sight, types)
    return NO_LIMIT if condition is None else all_of((condition,), row)


def _with(limit: Sql, row: str) -> str:
    """The resource `s` of a row of the index, if it has to be in sight."""
    return f" JOIN resource s ON s.key = {row}.key" if limit.text else ""


NO_LIMIT = Sql("")


# ------------------------------------------------------------------------------------------------- cursors


def _cursor(query: Query, row: tuple[Any, ...]) -> str:
    place = [query.fingerprint, *row[WIDTH:]]
    return base64.urlsafe_b64encode(jsontext.encode(place)).decode().rstrip("=")


def _read_cursor(query: Query) -> list[Any]:
    """Sort values and key of the row after which the page begins; empty for the first page."""
    if not query.cursor:
        return []
    try:
        raw = base64.b64decode(query.cursor + "=" * (-len(query.cursor) % 4), altchars=b"-_", validate=True)
        place = jsontext.decode(raw)
    except (binascii.Error, ValueError, NotJson):
        place = None
    if (
        not isinstance(place, list)
        or len(place) != len(query.sort) + 2
        or place[0] != query.fingerprint
        or not all(
            value is None or strategy.is_sort_value(sort, value)
            for sort, value in zip(query.sort, place[1:-1], strict=True)
        )
        or not strategy.is_number(place[-1])
    ):
        raise BadRequest(
            "_cursor is not one that this search gave out; follow its next links, or begin anew."
        )
    return place[1:]


# ------------------------------------------------------------------------------------------------ includes


def _included(session: Session, query: Query, matches: list[Version], room: Room) -> list[Version]:
    """What the matches refer to and what refers to them, each once, following :iterate until nothing new
    appears."""
    seen = {(version.type, version.id, number) for version in matches for number in (version.version, 0)}
    found: list[Version] = []
    newest = matches
    for round in range(MAX_ROUNDS):
        deadline.check()
        includes = [include for include in query.includes if round == 0 or include.iterate]
        revincludes = [include for include in query.revincludes if round == 0 or include.iterate]
        newest = [
            *_targets(session, query.sight, includes, newest, seen, room),
            *_sources(session, query.sight, revincludes, newest, seen, room),
        ]
        if not newest:
            break
        found += newest
        if len(found) > MAX_INCLUDED:
            raise BadRequest(
                f"_include and _revinclude would add more than {MAX_INCLUDED} resources;"
                " ask with a smaller _count."
            )
    return found


Seen = set[tuple[str, str, int]]
"""Type, id and version of what is in the answer already; version 0 says that the newest one is."""


def _targets(
    session: Session,
    sight: Sight | None,
    includes: Iterable[Include],
    versions: list[Version],
    seen: Seen,
    room: Room,
) -> list[Version]:
    current: dict[str, set[str]] = {}
    named: set[tuple[str, str, int]] = set()
    urls: dict[tuple[str, ...], set[str]] = {}
    for include in includes:
        for version in versions:
            if include.type not in (version.type, "*"):
                continue
            for link in _links(version, include.code, include.target):
                match link:
                    case Url(types, url):
                        urls.setdefault(types, set()).add(url)
                    case Literal(type, id, 0) if (type, id, 0) not in seen:
                        current.setdefault(type, set()).add(id)
                    case Literal(type, id, number) if number:
                        named.add((type, id, number))
    # Whether an older version is in sight takes more than a condition; the newest stands for it.
    found = _named(session, named, seen, room) if sight is None else []
    for type, id, _ in {link for link in named if link not in seen and (link[0], link[1], 0) not in seen}:
        current.setdefault(type, set()).add(id)  # a version of somebody else's: the newest is what there is
    return [
        *_current(session, sight, current, seen, room),
        *found,
        *_by_url(session, sight, urls, seen, room),
    ]


def _current(
    session: Session, sight: Sight | None, asked: Mapping[str, set[str]], seen: Seen, room: Room
) -> list[Version]:
    found: list[Version] = []
    for type, ids in asked.items():
        deadline.check()
        wanted, values = session.of_type(type, sorted(ids))
        limit = within(sight, (type,), "r")
        rows = session.rows(
            f"SELECT {room.columns(len(ids))} FROM {wanted} r JOIN version v ON v.position = r.position"
            f" WHERE r.deleted = false{limit.text} ORDER BY {_BY_KEY}",
            [*values, *limit.values],
        )
        found += _fresh(rows, seen, room)
    return found


def _named(session: Session, asked: set[tuple[str, str, int]], seen: Seen, room: Room) -> list[Version]:
    """The versions that references name, unless the resource has been deleted since."""
    groups: dict[tuple[str, int], list[str]] = {}
    for type, id, number in sorted(asked - seen):
        groups.setdefault((type, number), []).append(id)
    found: list[Version] = []
    for (type, number), ids in groups.items():
        deadline.check()
        wanted, values = session.of_type(type, ids)
        rows = session.rows(
            f"SELECT {room.columns(len(ids))} FROM {wanted} r"
            " JOIN version v ON v.type = r.type AND v.id = r.id"
            f" WHERE r.deleted = false AND v.version = ? AND v.method <> 'delete' ORDER BY {_BY_KEY}",
            [*values, number],
        )
        found += _fresh(rows, seen, room, newest=False)
    return found


def _by_url(
    session: Session,
    sight: Sight | None,
    asked: Mapping[tuple[str, ...], set[str]],
    seen: Seen,
    room: Room,
) -> list[Version]:
    found: list[Version] = []
    for types, urls in asked.items():
        deadline.check()
        params, numbers = session.among("u.param", [index.number(type, "url") for type in types])
        condition, values = session.among("u.value", sorted(urls))
        limit = within(sight, types, "s")
        rows = session.rows(
            f"SELECT {room.columns(MAX_INCLUDED + 1)} FROM (SELECT DISTINCT u.key FROM uri u"
            f"{_with(limit, 'u')} WHERE {params} AND {condition}{limit.text} LIMIT {MAX_INCLUDED + 1}) k"
            " JOIN resource r ON r.key = k.key JOIN version v ON v.position = r.position"
            f" ORDER BY {_BY_KEY}",
            [*numbers, *values, *limit.values],
        )
        found += _fresh(rows, seen, room)
    return found


def _fresh(rows: list[Row], seen: Seen, room: Room, *, newest: bool = True) -> list[Version]:
    """The versions not seen before; marks them as seen."""
    rows = [row for row in rows if row[:3] not in seen]
    found = room.fill(rows)
    if len(found) < len(rows):
        raise BadRequest(
            "What _include and _revinclude bring has no room in one answer; ask with a smaller _count."
        )
    seen.update((version.type, version.id, version.version) for version in found)
    if newest:
        seen.update((version.type, version.id, 0) for version in found)
    return found


class Literal(NamedTuple):
    """A reference by type and id; version 0 is the newest."""

    type: str
    id: str
    version: int


class Url(NamedTuple):
    """A reference by canonical, with the types that it may lead to."""

    types: tuple[str, ...]
    url: str


def _links(version: Version, code: str, target: str) -> Iterator[Literal | Url]:
    """Where a parameter (or any, with "*") leads to from a resource."""
    known = definitions.search_parameters(version.type)
    for parameter in known.values() if code == "*" else (known[code],):
        if parameter.type != "reference" or not index.is_indexed(version.type, parameter.code):
            continue
        for _, value in index.extract(version.type, parameter, version.data):
            if isinstance(value, str):
                if types := _with_urls(version.type, parameter.code, target):
                    yield Url(types, cut(value.partition("#")[0]))
            elif isinstance(value, dict) and isinstance(value.get("reference"), str):
                type, id = entries.split_reference(value["reference"])
                if type and target in (type, ""):
                    number = value["reference"].rpartition("/_history/")[2]
                    is_named = number.isascii() and number.isdecimal() and len(number) < 10
                    is_named &= "/_history/" in value["reference"]
                    yield Literal(type, id, int(number) if is_named else 0)


@lru_cache(1024)
def _with_urls(type: str, code: str, target: str) -> tuple[str, ...]:
    """The types that a canonical may lead to: those of the parameter, or the one that is asked for."""
    targets = definitions.search_parameters(type)[code].target or definitions.resource_types()
    return tuple(each for each in targets if target in (each, "") and index.has_url(each))


def _sources(
    session: Session,
    sight: Sight | None,
    includes: Iterable[Include],
    versions: list[Version],
    seen: Seen,
    room: Room,
) -> list[Version]:
    found: list[Version] = []
    for include in includes:
        known = definitions.search_parameters(include.type)
        codes = [include.code]
        if include.code == "*":
            codes = [p.code for p in known.values() if p.type == "reference"]
        numbers = [index.number(include.type, code) for code in codes]
        for type in sorted({version.type for version in versions}):
            if include.target not in (type, ""):
                continue
            own = [version for version in versions if version.type == type]
            limit = within(sight, (include.type,), "s")
            ids = [version.id for version in own]
            found += _leading(session, limit, numbers, ids, type, seen, room)
            urls = [url for version in own for url in _urls(version)]
            if urls:
                found += _leading(session, limit, numbers, urls, entries.CANONICAL, seen, room)
    return found


def _urls(version: Version) -> list[str]:
    """What canonicals may call a resource: its url, with its version and without."""
    if not index.has_url(version.type):
        return []
    url, number = version.data.get("url"), version.data.get("version")
    if not isinstance(url, str):
        return []
    return [cut(url), cut(f"{url}|{number}")] if isinstance(number, str) else [cut(url)]


def _leading(
    session: Session, limit: Sql, numbers: list[int], targets: list[str], type: str, seen: Seen, room: Room
) -> list[Version]:
    """What leads to these targets by one of the parameters; limit: what is in sight, over `s`."""
    deadline.check()
    params, values = session.among("f.param", numbers)
    condition, more = session.among("f.target_id", targets)
    rows = session.rows(
        f"SELECT {room.columns(MAX_INCLUDED + 1)} FROM (SELECT DISTINCT f.key FROM reference f"
        f"{_with(limit, 'f')} WHERE {params} AND {condition} AND f.target_type = ?{limit.text}"
        f" LIMIT {MAX_INCLUDED + 1}) k"
        " JOIN resource r ON r.key = k.key JOIN version v ON v.position = r.position"
        f" ORDER BY {_BY_KEY}",
        [*values, *more, type, *limit.values],
    )
    return _fresh(rows, seen, room)
