"""Learns who is behind the roles, services and places that records name, and which places are departments.

Each is read once for a reader: a hospital has few of them, and its orders name the same ones again and again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from fhir_coprod import watched
from fhir_coprod.jsontext import Json
from fhir_coprod.settings import Settings
from fhir_coprod.store import index
from fhir_coprod.sync import observed
from fhir_coprod.watch.facts import queries
from fhir_coprod.watch.facts.newest import Newest, Row
from fhir_coprod.watch.record import words
from fhir_coprod.watch.record.around import Surroundings
from fhir_coprod.watch.record.fhir import batches, codes, split, target, targets
from fhir_coprod.watch.record.parties import Place

_ORGANIZATION: Final = "Organization"
_PART_OF: Final = index.number(_ORGANIZATION, "partof")
_DEPARTMENTS: Final = frozenset({"dept", "team"})
_PROVIDER: Final = "prov"
_PAYING: Final = frozenset({"pay", "ins"})
_LEVELS: Final = 8
"""The most Organizations above one another that are followed."""


class Staff:
    """What is known of the parties that records name.

    named: the Organizations that the settings call departments, in order.
    """

    def __init__(self, connection: Connection, newest: Newest, settings: Settings) -> None:
        self._connection = connection
        self._newest = newest
        self._behind: dict[str, tuple[str, ...]] = {}
        self._places: dict[str, Place] = {}
        self._specialties: dict[str, frozenset[str]] = {}
        self._payers: dict[str, bool] = {}
        self.words = words.load(settings.watch.words)
        known = observed.departments(connection, settings.ehr) if settings.ehr else {}
        self.named = tuple(sorted({name for names in known.values() for name in names}))

    def around(self, zone: ZoneInfo) -> Surroundings:
        """What the readers of a record need to know; it grows with what is learned."""
        return Surroundings(zone, self._behind, self._places, self._specialties, self.words, self._payers)

    def learn(self, rows: Iterable[Row]) -> None:
        """Learn of all parties that these resources name."""
        wanted: set[tuple[str, str]] = set()
        organisations: set[str] = set()
        for row in rows:
            for name in targets(watched.parties(row.data)):
                type, id = split(name)
                if type in watched.ROLES and name not in self._behind:
                    wanted.add((type, id))
                    self._behind[name] = ()
                elif type == _ORGANIZATION:
                    organisations.add(name)
        for staff in self._newest.by_name(wanted):
            behind = targets(watched.behind(staff.data))
            self._behind[staff.reference] = behind
            organisations.update(name for name in behind if name.startswith(f"{_ORGANIZATION}/"))
            specialties = staff.data.get("specialty")
            if isinstance(specialties, list):
                self._specialties[staff.reference] = frozenset(codes(*specialties))
        self._learn_places(organisations - self._places.keys())

    def _learn_places(self, names: Collection[str]) -> None:
        """Read Organizations, all above them, and which of them have others below."""
        if not names:
            return
        held: dict[str, Json] = {}
        wanted = {split(name) for name in names}
        for _ in range(_LEVELS):
            rows = self._newest.by_name(wanted)
            held |= {row.reference: row.data for row in rows}
            above = {target(row.data.get("partOf")) for row in rows}
            wanted = {split(name) for name in above if name.startswith(f"{_ORGANIZATION}/")}
            wanted -= {split(name) for name in held}
            if not wanted:
                break
        chains = {name: _above(name, held) for name in names}
        within = [name for name, ups in chains.items() if any(_is(held.get(up), _PROVIDER) for up in ups)]
        parents = self._with_parts(within)
        for name, ups in chains.items():
            is_department = (
                name in self.named
                or any(_is(held.get(name), kind) for kind in _DEPARTMENTS)
                or (name in within and name not in parents)
            )
            self._places[name] = Place(ups, is_department)
            self._payers[name] = any(_is(held.get(name), kind) for kind in _PAYING)

    def _with_parts(self, names: Collection[str]) -> set[str]:
        """Those of which another Organization is a part."""
        found: set[str] = set()
        for some in batches([split(name)[1] for name in names], queries.AT_ONCE):
            values = {"params": [_PART_OF], "ids": some, "types": [_ORGANIZATION]}
            found.update(f"{type}/{id}" for _, type, id in self._connection.execute(queries.NAMING, values))
        return found


def _above(name: str, held: dict[str, Json]) -> tuple[str, ...]:
    above: dict[str, None] = {}
    while len(above) < _LEVELS and (up := target(held.get(name, {}).get("partOf"))) and up not in above:
        above[up] = None
        name = up
    return tuple(above)


def _is(data: Json | None, kind: str) -> bool:
    types = data.get("type") if data else None
    return isinstance(types, list) and any(code.rpartition("|")[2] == kind for code in codes(*types))
