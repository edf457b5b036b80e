"""Follows references that name a resource only by its business identifier (`Reference.identifier`).

A number without a system could be anybody's, and leads nowhere.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import cache
from typing import Final

from sqlalchemy import Connection

from fhir_coprod.store import index
from fhir_coprod.watch.facts import queries
from fhir_coprod.watch.facts.newest import Row
from fhir_coprod.watch.record.fhir import batches, own_names
from fhir_coprod.watched import LINKS

Number = tuple[str, str]
"""System and value of a business identifier."""
NAMED_SO: Final = ("ServiceRequest", "Task", "Appointment", "Communication")
"""The types that others may name by their identifiers alone."""


@cache
def _links(type: str) -> tuple[int, ...]:
    """The numbers under which the index holds identifiers that name a resource of this type."""
    return tuple(index.number(its, f"{code}:identifier") for its, code in LINKS.get(type, ()))


@cache
def links_from(type: str) -> tuple[int, ...]:
    """The numbers under which the index holds identifiers by which a resource of this type names others."""
    pairs = dict.fromkeys(link for links in LINKS.values() for link in links)
    return tuple(index.number(its, f"{code}:identifier") for its, code in pairs if its == type)


_OWN: Final = tuple(index.number(type, "identifier") for type in NAMED_SO)


def naming(connection: Connection, rows: Iterable[Row]) -> Iterator[tuple[int, str, str]]:
    """The resources that name these by an identifier: key of the one that names, type and id that it
    names."""
    wanted: dict[tuple[int, ...], dict[Number, list[Row]]] = {}
    for row in rows:
        for name in own_names(row.data, row.reference)[1:] if row.type in NAMED_SO else ():
            system, _, value = name.partition("|")
            wanted.setdefault(_links(row.type), {}).setdefault((system, value), []).append(row)
    for params, numbers in wanted.items():
        for some in batches({value for _, value in numbers}, queries.AT_ONCE):
            for key, value, system in connection.execute(queries.HOLDING, {"params": params, "values": some}):
                for row in numbers.get((system, value), ()):
                    yield key, row.type, row.id


def named_by(connection: Connection, type: str, ids: Collection[str]) -> set[tuple[str, str]]:
    """The resources (type and id) that these resources of one type name by an identifier."""
    params = links_from(type)
    if not params:
        return set()
    numbers: set[Number] = set()
    for some in batches(ids, queries.AT_ONCE):
        found = connection.execute(queries.HELD, {"type": type, "ids": some, "params": params})
        numbers |= {(system, value) for value, system in found}
    return having(connection, numbers)


def having(connection: Connection, numbers: Collection[Number]) -> set[tuple[str, str]]:
    """The resources (type and id) that have one of these identifiers."""
    wanted = {number for number in numbers if number[0]}
    found: set[tuple[str, str]] = set()
    for some in batches({value for _, value in wanted}, queries.AT_ONCE):
        for type, id, value, system in connection.execute(queries.HOLDERS, {"params": _OWN, "values": some}):
            if (system, value) in wanted:
                found.add((type, id))
    return found
