"""Running a `Query`: which index to begin with, one page by keyset, then what it includes.

The default order is that of creation (`resource.key`), which no update changes. A page ends with a cursor
that holds the sort values and key of its last row; the next page begins behind them, so that a row which
nobody has modified is neither skipped nor repeated, whatever is written meanwhile.
"""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from fhir_coprod import definitions, jsontext
from fhir_coprod.errors import BadRequest, NotJson
from fhir_coprod.store import index
from fhir_coprod.store.conditions import Condition, Sql, all_of
from fhir_coprod.store.database import Session
from fhir_coprod.store.query import Include, Query, Sort
from fhir_coprod.store.versions import COLUMNS, Version, from_row

RARE = 200
"""A condition with fewer keys is listed at once and its keys sorted; index order does not matter then."""
COMMON = 20_000
"""Nobody counts further than this before choosing where to begin."""
MAX_INCLUDED = 10_000
MAX_ROUNDS = 8
"""How often `:iterate` goes on."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search.

    matches:  in order
    included: by _include and _revinclude, no resource twice and none that is a match
    total:    number of matches in all, when it was asked for or is known anyway
    next:     cursor of the next page, given back as `_cursor`; None on the last page
    """

    matches: list[Version]
    included: list[Version]
    total: int | None
    next: str | None


def run(session: Session, query: Query) -> Page:
    """One page of the search."""
    if query.count == 0 or query.summary == "count":
        return Page([], [], _count(session, query), None)
    page = _select(session, query)
    matches = [from_row(row[: len(_VERSION_COLUMNS)]) for row in page[: query.count]]
    next = _cursor(query, page[query.count - 1]) if len(page) > query.count else None
    total: int | None = None
    if next is None and not query.cursor:
        total = len(matches)
    elif query.total in ("accurate", "estimate"):
        total = _count(session, query)
    included = _included(session, query, matches) if query.includes or query.revincludes else []
    return Page(matches, included, total, next)


_VERSION_COLUMNS = COLUMNS.split(", ")


# ------------------------------------------------------------------------------------------- where to begin


@dataclass(frozen=True, slots=True)
class _Plan:
    """FROM and WHERE of a list of matching keys.

    source: FROM item(s) and conditions; the key stands in `{row}.key`
    row:    the item that has the key; "r" when it is table resource itself
    """

    source: Sql
    row: str
    rest: tuple[Condition, ...]
    rare: bool = False


def _plan(session: Session, query: Query) -> _Plan:
    types = ",".join("?" * len(query.types))
    whole = Sql(f"FROM resource r WHERE r.type IN ({types}) AND r.deleted = false", query.types)
    listed = [(condition, condition.keys()) for condition in query.conditions]
    known = [(condition, keys) for condition, keys in listed if keys is not None]
    if not known:
        return _Plan(whole, "r", query.conditions)
    best, best_keys, best_count = known[0][0], known[0][1], COMMON + 1
    for limit in (RARE, COMMON):
        for condition, keys in known:
            found = _up_to(session, keys, limit)
            if found < min(best_count, limit):
                best, best_keys, best_count = condition, keys, found
        if best_count < limit:
            break
    rest = tuple(condition for condition in query.conditions if condition is not best)
    if best_count < RARE:
        return _Plan(_within(best_keys, whole), "r", rest, rare=True)
    if not query.sort:
        for condition, _ in known:
            ordered = condition.ordered()
            if ordered is not None and (condition is best or best_count > COMMON):
                rest = tuple(other for other in query.conditions if other is not condition)
                return _Plan(ordered, "d", rest)
    if best_count <= COMMON:
        return _Plan(_within(best_keys, whole), "r", rest, rare=True)
    return _Plan(whole, "r", query.conditions)


def _within(keys: Sql, whole: Sql) -> Sql:
    return Sql(f"{whole.text} AND r.key IN ({keys.text})", (*whole.values, *keys.values))


def _up_to(session: Session, keys: Sql, limit: int) -> int:
    """How many keys there are, counted no further than the limit."""
    return int(session.rows(f"SELECT count(*) FROM ({keys.text} LIMIT {limit}) k", keys.values)[0][0])


def _count(session: Session, query: Query) -> int:
    plan = _plan(session, query)
    rest = all_of(plan.rest, plan.row) if plan.row == "r" else _through_resource(plan)
    return int(
        session.rows(
            f"SELECT count(DISTINCT {plan.row}.key) {plan.source.text}{rest.text}",
            (*plan.source.values, *rest.values),
        )[0][0]
    )


def _through_resource(plan: _Plan) -> Sql:
    """The remaining probes for a plan that begins in an index table; they look at table resource."""
    rest = all_of(plan.rest, "r")
    if not rest.text:
        return rest
    return Sql(f" AND EXISTS (SELECT 1 FROM resource r WHERE r.key = d.key{rest.text})", rest.values)


# -------------------------------------------------------------------------------------------------- a page


def _select(session: Session, query: Query) -> list[tuple[Any, ...]]:
    """One row more than the page holds: the columns of a version, the sort values, the key."""
    plan = _plan(session, query)
    keys = _sorted_keys(plan, query) if query.sort else _keys_by_creation(plan, query)
    names = [f"p.s{number}" for number in range(len(query.sort))]
    order = _order(query.sort, "p")
    columns = ", ".join([*_VERSION_COLUMNS, *names, "p.key"])
    return session.rows(
        f"SELECT {columns} FROM ({keys.text}) p JOIN resource a ON a.key = p.key"
        f" JOIN version v ON v.position = a.position ORDER BY {order}",
        keys.values,
    )


def _keys_by_creation(plan: _Plan, query: Query) -> Sql:
    after = _read_cursor(query, 0)
    behind = Sql(f" AND {plan.row}.key > ?", (after[-1],)) if after else Sql("")
    if plan.row == "r":
        rest, group = all_of(plan.rest, "r"), ""
    else:
        rest, group = _through_resource(plan), "GROUP BY d.key "
    return Sql(
        f"SELECT {plan.row}.key {plan.source.text}{behind.text}{rest.text}"
        f" {group}ORDER BY {plan.row}.key LIMIT {query.count + 1}",
        (*plan.source.values, *behind.values, *rest.values),
    )


def _sorted_keys(plan: _Plan, query: Query) -> Sql:
    rest = all_of(plan.rest, "r")
    keys = [_sort_value(sort) for sort in query.sort]
    columns = "".join(f", {key.text} AS s{number}" for number, key in enumerate(keys))
    values = [*chain.from_iterable(key.values for key in keys), *plan.source.values, *rest.values]
    inner = f"SELECT r.key{columns} {plan.source.text}{rest.text}"
    after = _read_cursor(query, len(query.sort))
    where = ""
    if after:
        behind = _behind(query.sort, after)
        where = f" WHERE {behind.text}"
        values += behind.values
    names = ", ".join(["q.key", *(f"q.s{number}" for number in range(len(keys)))])
    return Sql(
        f"SELECT {names} FROM ({inner}) q{where} ORDER BY {_order(query.sort, 'q')} LIMIT {query.count + 1}",
        tuple(values),
    )


_SORT_COLUMNS = {
    "token": ("code", "code"),
    "string": ("value", "value"),
    "reference": ("target_id", "target_id"),
    "date": ("low", "high"),
    "number": ("low", "high"),
    "quantity": ("low", "high"),
    "uri": ("value", "value"),
}
"""The column that decides, ascending and descending."""


def _sort_value(sort: Sort) -> Sql:
    """The value that a resource sorts by: of several the smallest, or descending the largest."""
    if sort.table == "resource":
        return Sql("r.id" if sort.code == "_id" else "r.updated")
    column = _SORT_COLUMNS[sort.table][sort.descending]
    function = "max" if sort.descending else "min"
    numbers = ",".join("?" * len(sort.numbers))
    return Sql(
        f"(SELECT {function}(x.{column}) FROM {sort.table} x WHERE x.key = r.key AND x.param IN ({numbers}))",
        sort.numbers,
    )


def _order(sorts: Sequence[Sort], row: str) -> str:
    """Resources without a value come last, whatever the direction; ties by creation."""
    parts = []
    for number, sort in enumerate(sorts):
        direction = " DESC" if sort.descending else ""
        if sort.table != "resource":
            parts.append(f"{row}.s{number} IS NULL")
        parts.append(f"{row}.s{number}{direction}")
    return ", ".join([*parts, f"{row}.key"])


def _behind(sorts: Sequence[Sort], after: Sequence[Any]) -> Sql:
    """Rows that come after the given sort values and key in the order of `_order`."""
    behind = Sql("q.key > ?", (after[-1],))
    for number in reversed(range(len(sorts))):
        column, value = f"q.s{number}", after[number]
        if value is None:
            behind = Sql(f"({column} IS NULL AND {behind.text})", behind.values)
        else:
            operator = "<" if sorts[number].descending else ">"
            behind = Sql(
                f"({column} IS NULL OR {column} {operator} ? OR ({column} = ? AND {behind.text}))",
                (value, value, *behind.values),
            )
    return behind


# ------------------------------------------------------------------------------------------------- cursors


def _cursor(query: Query, row: tuple[Any, ...]) -> str:
    place = [query.fingerprint, *row[len(_VERSION_COLUMNS) :]]
    return base64.urlsafe_b64encode(jsontext.encode(place)).decode().rstrip("=")


def _read_cursor(query: Query, sorts: int) -> list[Any]:
    """Sort values and key behind which the page begins; empty at the first page."""
    if not query.cursor:
        return []
    try:
        raw = base64.b64decode(query.cursor + "=" * (-len(query.cursor) % 4), altchars=b"-_", validate=True)
        place = jsontext.decode(raw)
    except (binascii.Error, ValueError, NotJson):
        place = None
    if (
        not isinstance(place, list)
        or len(place) != sorts + 2
        or place[0] != query.fingerprint
        or not isinstance(place[-1], int)
        or not all(value is None or isinstance(value, str | int | float) for value in place)
    ):
        raise BadRequest(
            "_cursor is not one that this search gave out; follow its next links, or begin anew."
        )
    return place[1:]


# ------------------------------------------------------------------------------------------------ includes


def _included(session: Session, query: Query, matches: list[Version]) -> list[Version]:
    """What the matches refer to and what refers to them, once each, following :iterate until nothing is
    new."""
    seen = {(version.type, version.id) for version in matches}
    found: list[Version] = []
    newest = matches
    for round in range(MAX_ROUNDS):
        includes = [include for include in query.includes if round == 0 or include.iterate]
        revincludes = [include for include in query.revincludes if round == 0 or include.iterate]
        fresh = [
            version
            for version in chain(
                _targets(session, includes, newest, seen), _sources(session, revincludes, newest)
            )
            if (version.type, version.id) not in seen
        ]
        newest = list({(version.type, version.id): version for version in fresh}.values())
        if not newest:
            break
        seen.update((version.type, version.id) for version in newest)
        found += newest
        if len(found) > MAX_INCLUDED:
            raise BadRequest(
                f"_include and _revinclude would add more than {MAX_INCLUDED} resources;"
                " ask with a smaller _count."
            )
    return found


def _targets(
    session: Session, includes: Iterable[Include], versions: list[Version], seen: set[tuple[str, str]]
) -> list[Version]:
    wanted: dict[str, set[str]] = {}
    for include in includes:
        for version in versions:
            if include.type not in (version.type, "*"):
                continue
            for type, id in _references(version, include.code):
                if (type, id) not in seen and include.target in (type, ""):
                    wanted.setdefault(type, set()).add(id)
    found: list[Version] = []
    for type, ids in wanted.items():
        condition, values = session.among("r.id", sorted(ids))
        found += (
            from_row(row)
            for row in session.rows(
                f"SELECT {COLUMNS} FROM resource r JOIN version v ON v.position = r.position"
                f" WHERE r.type = ? AND r.deleted = false AND {condition} ORDER BY r.key",
                [type, *values],
            )
        )
    return found


def _references(version: Version, code: str) -> set[tuple[str, str]]:
    """The relative references that a parameter (or with "*" any) finds in a resource."""
    known = definitions.search_parameters(version.type)
    found = set()
    for parameter in known.values() if code == "*" else (known[code],):
        if parameter.type != "reference" or not index.is_indexed(version.type, parameter.code):
            continue
        for _, value in index.extract(version.type, parameter, version.data):
            target = value.get("reference") if isinstance(value, dict) else None
            if isinstance(target, str):
                found.add(index.split_reference(target))
    return {(type, id) for type, id in found if type}


def _sources(session: Session, includes: Iterable[Include], versions: list[Version]) -> list[Version]:
    found: list[Version] = []
    for include in includes:
        known = definitions.search_parameters(include.type)
        codes = [include.code]
        if include.code == "*":
            codes = [p.code for p in known.values() if p.type == "reference"]
        for type in sorted({version.type for version in versions}):
            if include.target not in (type, ""):
                continue
            ids = [version.id for version in versions if version.type == type]
            params, numbers = session.among("f.param", [index.number(include.type, code) for code in codes])
            condition, values = session.among("f.target_id", ids)
            found += (
                from_row(row)
                for row in session.rows(
                    f"SELECT {COLUMNS} FROM (SELECT DISTINCT f.key FROM reference f"
                    f" WHERE {params} AND {condition} AND f.target_type = ? LIMIT {MAX_INCLUDED + 1}) k"
                    " JOIN resource r ON r.key = k.key JOIN version v ON v.position = r.position"
                    " ORDER BY r.key",
                    [*numbers, *values, type],
                )
            )
    return found
