"""Reads the newest versions of resources, and caches them so that each is queried and parsed only once.

What cannot be read in a record is left out of it here, and what R4 does not give its type, so nothing above
meets a value of a form that nobody knows.
Several steps of one look at a portion of referrals need the same record: following the links of a referral,
its patient's other referrals, its alerts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select

from fhir_coprod import definitions, watched
from fhir_coprod.instants import from_milliseconds
from fhir_coprod.jsontext import Json
from fhir_coprod.readable import Readable, concerns, elements_of, readable
from fhir_coprod.store.schema import core
from fhir_coprod.store.versions import stored
from fhir_coprod.watch.facts import queries
from fhir_coprod.watch.record.fhir import batches, is_asking

Texts = Mapping[int, Readable]
"""Parsed versions by their position in the log, where nothing ever changes."""


@dataclass(frozen=True, slots=True)
class Row:
    """The newest version of a resource."""

    key: int
    type: str
    id: str
    version: int
    updated: datetime
    source: str
    data: Json
    """What can be read of it."""
    unreadable: tuple[str, ...] = ()
    """The elements that the watch would read, but cannot."""

    @property
    def reference(self) -> str:
        return f"{self.type}/{self.id}"

    @property
    def is_referral(self) -> bool:
        """Whether it is a ServiceRequest, or a message by which a patient asks for one."""
        return self.type == "ServiceRequest" or is_asking(self.data)


class Newest:
    """The newest versions of resources, without those that are deleted.

    A resource that has been read is not queried again until `forget`.

    parsed: versions that the caller has parsed already.
    hidden: labels of which one keeps a resource from whoever asks, as bits (`store.labels`): it is not there
    """

    def __init__(self, connection: Connection, parsed: Texts | None = None, hidden: int = 0) -> None:
        self._connection = connection
        self._hidden = hidden
        self._parsed = parsed or {}
        self._texts: dict[int, Readable] = {}
        self._by_key: dict[int, Row] = {}
        self._by_name: dict[tuple[str, str], Row] = {}

    @property
    def texts(self) -> Texts:
        """The parsed versions that were read since `forget`."""
        return self._texts

    def forget(self) -> None:
        """Drop all that was read: the next portion shares little with this one."""
        self._texts, self._by_key, self._by_name = {}, {}, {}

    def by_key(self, keys: Iterable[int]) -> list[Row]:
        """Resources by key, in order of key."""
        wanted = sorted(set(keys))
        for some in batches((key for key in wanted if key not in self._by_key), queries.AT_ONCE):
            self._read(queries.BY_KEY, {"keys": some})
        return [self._by_key[key] for key in wanted if key in self._by_key]

    def by_name(self, names: Collection[tuple[str, str]]) -> list[Row]:
        """Resources by type and id, in order of key."""
        wanted = set(names)
        by_type: dict[str, list[str]] = {}
        for type, id in wanted - self._by_name.keys():
            by_type.setdefault(type, []).append(id)
        for type, ids in by_type.items():
            for some in batches(ids, queries.AT_ONCE):
                self._read(queries.BY_NAME, {"type": type, "ids": some})
        rows = (self._by_name[name] for name in wanted if name in self._by_name)
        return sorted(rows, key=lambda row: row.key)

    def versions(self, type: str, ids: Collection[str]) -> dict[str, list[tuple[datetime, Json]]]:
        """Every version since the last deletion, by reference, oldest first, with the time it was stored.

        An earlier version in which something cannot be read is left out: it does not spoil a sound newer one.
        """
        found: dict[str, list[tuple[datetime, Json]]] = {}
        spoilt: set[tuple[str, datetime]] = set()
        for some in batches(ids, queries.AT_ONCE):
            known = self._connection.execute(queries.VERSIONS, {"type": type, "ids": some})
            for id, number, position, updated, method, body in known:
                versions = found.setdefault(f"{type}/{id}", [])
                if method == "delete":
                    versions.clear()
                else:
                    data, unreadable = self._parse(position, body, type, id, number)
                    versions.append((from_milliseconds(updated), data))
                    if lost(type, data, unreadable):
                        spoilt.add((f"{type}/{id}", from_milliseconds(updated)))
        for reference in {reference for reference, _ in spoilt}:
            *earlier, last = found[reference]
            found[reference] = [one for one in earlier if (reference, one[0]) not in spoilt] + [last]
        return found

    def _read(self, statement: Select[Any], values: Mapping[str, Any]) -> None:
        if self._hidden:
            statement = statement.where(core.resource.c.labels.op("&")(self._hidden) == 0)
        found = self._connection.execute(statement, values)
        for key, type, id, number, position, updated, source, body in found:
            data, unreadable = self._parse(position, body, type, id, number)
            gone = lost(type, data, unreadable)
            row = Row(key, type, id, number, from_milliseconds(updated), source, data, gone)
            self._by_key[key] = self._by_name[type, id] = row

    def _parse(self, position: int, body: bytes, type: str, id: str, number: int) -> Readable:
        read = self._texts.get(position)
        if read is None:
            read = self._parsed.get(position)
            if read is None:
                read = as_read(stored(body, type, id, number), body)
            self._texts[position] = read
        return read


def as_read(data: Json, text: bytes = b"") -> Readable:
    """What the watch reads of a record: what can be read, of the elements that R4 gives its type.

    The others are stored as they came, but the watch reads many types in one way, and an element of the same
    name has another form in another type. Contained resources are read in the same way.

    text: its JSON, if the caller has it.
    """
    data, unreadable = readable(data, text)
    type = data.get("resourceType")
    if not definitions.is_resource_type(type):
        return Readable({}, unreadable)
    known = _elements(str(type))
    if not data.keys() <= known:
        data = {name: value for name, value in data.items() if name in known}
    if "contained" in data:
        data = {**data, "contained": [as_read(held).data for held in data["contained"]]}
    return Readable(data, unreadable)


@cache
def _elements(type: str) -> frozenset[str]:
    return frozenset(elements_of(type)) | {"resourceType"}


def lost(type: str, data: Json, unreadable: Sequence[str]) -> tuple[str, ...]:
    """What the watch would read of a record, but cannot.

    data: what can be read of it; it has a status, since R4 asks for one, even if it does not say which
    """
    reads = watched.WATCHED[type].reads if type in watched.WATCHED else ()
    if "status" not in data and "status" in reads:
        unreadable = (*unreadable, "status")
    return tuple(gone for gone in unreadable if any(concerns(gone, element) for element in reads))
