"""Finds the referrals that a change concerns: from what was written, up the references to ServiceRequests.

`watched.LINKS` is the way down, from a referral to all that belongs to it; this is the way back. A changed
resource is followed both as it was before and as it is now, so that a removed reference counts too. The
result may include referrals that are not concerned but never misses one: looking again changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, or_, select

from fhir_coprod import definitions
from fhir_coprod.jsontext import Json
from fhir_coprod.store import Version, entries, index
from fhir_coprod.store.schema import watch as watch_tables
from fhir_coprod.store.versions import from_row
from fhir_coprod.watch.facts import identifiers, queries
from fhir_coprod.watch.facts.newest import as_read
from fhir_coprod.watch.facts.siblings import Kin
from fhir_coprod.watch.record import followup
from fhir_coprod.watch.record.fhir import batches, split, target
from fhir_coprod.watch.record.model import NOT_ACTIVE
from fhir_coprod.watch.rules.codes import Stage
from fhir_coprod.watched import LINKS, OF_PATIENT, OUTPUTS, PARTIES, STAFF, STRAYS, Pairs

Name = tuple[str, str]
"""Resource type and id."""

_STEPS: Final = 6
"""One more than the longest way from a resource up to its referral."""
_PORTION: Final = 400
_UP: Final[Pairs] = (
    *dict.fromkeys(link for links in LINKS.values() for link in links),
    ("DetectedIssue", "implicated"),
)
"""The search parameters by which a resource names something that leads to a referral."""
_ALERTS: Final[Pairs] = (("Task", "focus"), ("DetectedIssue", "implicated"))
"""The search parameters by which an alert names what it is about, which may no longer be a referral."""
_MESSAGES: Final[Pairs] = (("Communication", "subject"), ("Communication", "sender"))
_PARTS: Final[Pairs] = (("Organization", "partof"),)
_OUTPUT: Final[Pairs] = (("Task", "output"),)
_PERSONS: Final = ("Patient", "RelatedPerson")
_ORDER: Final = "ServiceRequest"
_PLACE: Final = "Organization"
_PATIENT: Final = "Patient"
_STANDING: Final = watch_tables.standing.c
_SAY_MORE: Final = (_ORDER, _PLACE, _PATIENT)
"""The types of which it matters what they say, beside what they name."""


@cache
def _numbers(pairs: Pairs) -> tuple[int, ...]:
    return tuple(index.number(type, code) for type, code in pairs)


@cache
def _leading(type: str) -> tuple[str, ...]:
    """The search parameters by which a resource of this type may name what it concerns."""
    return tuple(dict.fromkeys(code for its, code in (*_UP, *_ALERTS, *OF_PATIENT) if its == type))


def concerned(connection: Connection, changes: Sequence[Version]) -> set[str]:
    """References of the referrals that these entries of the log may concern; some may not be referrals."""
    raw = [change for change in changes if change.source != followup.SOURCE]
    if not raw:
        return set()
    climb = _Climb(connection)
    # The index knows what the newest version of each names; the others have to be read, and those of the few
    # types that say more than what they name.
    passed = [_read(version) for version in (*_before(connection, raw), *climb.start(raw))]
    for one in passed:
        climb.add(one)
    known = {one.position for one in passed}
    newest = (version for version in raw if version.type in _SAY_MORE and version.position not in known)
    of_type: dict[str, list[_Read]] = {}
    for one in (*passed, *map(_read, newest)):
        of_type.setdefault(one.type, []).append(one)
    climb.add_places(of_type.get(_PLACE, ()))
    climb.add_orders(of_type.get(_ORDER, ()))
    climb.add_deaths(of_type.get(_PATIENT, ()))
    return climb.referrals()


def referrals_of(connection: Connection, records: Iterable[str]) -> set[str]:
    """The referrals that these resources (`Type/id`) belong to now."""
    climb = _Climb(connection)
    climb.reached |= {split(record) for record in records}
    climb.add_patients({id for type, id in climb.reached if type == _PATIENT})
    return climb.referrals()


def _before(connection: Connection, changes: Collection[Version]) -> Iterator[Version]:
    """The version before the first of each resource's changes."""
    wanted: dict[str, list[tuple[str, int]]] = {}
    seen: set[Name] = set()
    for change in changes:
        name = (change.type, change.id)
        if name not in seen and change.version > 1:
            wanted.setdefault(change.type, []).append((change.id, change.version - 1))
        seen.add(name)
    for type, numbers in wanted.items():
        for some in batches(numbers, _PORTION):
            ids, versions = [id for id, _ in some], sorted({number for _, number in some})
            values = {"type": type, "ids": ids, "numbers": versions}
            for row in connection.execute(queries.SOME_VERSIONS, values):
                if (row.id, row.version) in some:
                    yield from_row(row)


class _Read(NamedTuple):
    """One version of a resource, as far as it can be read."""

    type: str
    id: str
    number: int
    position: int
    data: Json
    """Empty if it was deleted."""
    unreadable: tuple[str, ...]


def _read(version: Version) -> _Read:
    data, unreadable = as_read(version.data, version.body)
    return _Read(version.type, version.id, version.version, version.position, data, unreadable)


def _named(version: _Read) -> Iterator[tuple[int, str, str]]:
    """What a version names, as the index would store it: number of the parameter, type and id."""
    for code in _leading(version.type):
        parameter = definitions.search_parameters(version.type)[code]
        for _, value in index.extract(version.type, parameter, version.data):
            reference = value.get("reference") if isinstance(value, dict) else None
            if isinstance(reference, str):
                yield index.number(version.type, code), *entries.split_reference(reference)


def _numbers_named(version: _Read) -> set[identifiers.Number]:
    """The business identifiers by which a version names others."""
    found = set()
    for code in _leading(version.type):
        parameter = definitions.search_parameters(version.type)[code]
        for _, value in index.extract(version.type, parameter, version.data):
            number = value.get("identifier") if isinstance(value, dict) else None
            if isinstance(number, dict) and number.get("system") and number.get("value"):
                found.add((str(number["system"]), str(number["value"])))
    return found


class _Climb:
    """Climbs from resources up to referrals, one step of references at a time."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.reached: set[Name] = set()
        self._patients: set[str] = set()
        self._strayed: set[str] = set()
        """Patients of whom a record may belong to any of their orders."""
        self._died: set[str] = set()
        self._staff: set[Name] = set()
        self._alerted: set[Name] = set()
        self._kin = Kin(connection)
        self._changed_orders: set[str] = set()
        self._asked: set[Name] = set()
        """Resources whose references we know already."""

    def start(self, changes: Iterable[Version]) -> list[Version]:
        """Begin with the resources that changed, using the index, which knows the newest version of each.

        Returns the versions that the index does not know (any more); these have to be read themselves.
        """
        versions: dict[Name, int] = {}
        by_type = _by_type({(change.type, change.id) for change in changes})
        for type, ids in by_type.items():
            self._reach(type, ids)
            self.reached |= identifiers.named_by(self._connection, type, ids)
            strays = _numbers(tuple(pair for pair in STRAYS if pair[0] == type))
            params = [*(index.number(type, code) for code in _leading(type)), *strays]
            for some in batches(ids if params else (), _PORTION):
                values = {"type": type, "ids": some, "params": params}
                for id, version, *named in self._connection.execute(queries.AS_INDEXED, values):
                    versions[type, id] = version
                    if named[0] is not None:
                        self._name(*named)
        self._asked |= versions.keys()
        return [change for change in changes if versions.get((change.type, change.id)) != change.version]

    def add(self, version: _Read) -> None:
        """Begin with what one version of a resource names, which need not be the newest; and with its patient
        if it names what it belongs to in a form that cannot be read."""
        self._reach(version.type, (version.id,))
        if not version.data:
            return
        for param, type, id in _named(version):
            self._name(param, type, id)
        self.reached |= identifiers.having(self._connection, _numbers_named(version))
        for _, id, kind in index.unreadable_links(version.type, version.data, version.unreadable):
            if kind == _PATIENT:
                self._strayed.add(id)

    def add_places(self, versions: Iterable[_Read]) -> None:
        """Begin with Organizations: whether one is a department depends on those above and below it."""
        for version in versions:
            own, above = (_PLACE, version.id), split(target(version.data.get("partOf")))
            self._staff |= {name for name in (own, above) if name[0] == _PLACE}
            self._staff |= self._naming({own}, _PARTS)

    def add_orders(self, versions: Iterable[_Read]) -> None:
        """Begin with what orders say about others of the same patient, before they changed and after that."""
        of_each: dict[str, list[_Read]] = {}
        for version in versions:
            of_each.setdefault(version.id, []).append(version)
        for id, some in of_each.items():
            self._changed_orders.add(id)
            known = [version.data for version in some if version.data]
            never_active = any(version.number == 1 for version in some) and all(
                data.get("status") in NOT_ACTIVE for data in known
            )
            for data in known:
                self._kin.add(data, has_twins=not never_active)

    def add_deaths(self, versions: Iterable[_Read]) -> None:
        """Begin with Patients of whom it was recorded that they died, or that they did not: that matters to
        all their orders. Nothing else of a Patient matters to those that are no referrals."""
        known: dict[str, set[Any]] = {}
        for version in versions:
            before = known.setdefault(version.id, {None} if version.number == 1 else set())
            before.add(version.data.get("deceasedDateTime") or version.data.get("deceasedBoolean") or None)
        self._died |= {id for id, said in known.items() if len(said) > 1}

    def add_patients(self, ids: set[str]) -> None:
        """Begin with all that these patients have, whatever its scope."""
        self._patients |= ids
        self.reached |= self._naming({(_PATIENT, id) for id in ids}, ((_ORDER, "subject"),))

    def _reach(self, type: str, ids: Iterable[str]) -> None:
        names = {(type, id) for id in ids}
        self.reached |= names
        if type in STAFF:
            self._staff |= names
        if type == _PATIENT:
            self._patients.update(ids)

    def _name(self, param: int, type: str, id: str) -> None:
        if param in _numbers(_UP):
            self.reached.add((type, id))
        if param in _numbers(STRAYS) and type == _PATIENT:
            self._strayed.add(id)
        if param in _numbers(_ALERTS):
            self._alerted.add((type, id))
        if param in _numbers(OF_PATIENT) and type == _PATIENT:
            self._patients.add(id)

    def referrals(self) -> set[str]:
        self._from_staff()
        self._up()
        orders = {id for type, id in self.reached if type == _ORDER}
        self._kin.add_asked(orders - self._changed_orders)
        # Whether a referral owes its answer to somebody else depends on the one that it is based on.
        below = self._naming({(_ORDER, id) for id in orders}, ((_ORDER, "based-on"),))
        orders |= {id for _, id in below}
        orders |= self._watched(self._orders_of(self._patients))
        orders |= self._waiting(self._orders_of(self._strayed)) | self._orders_of(self._died)
        orders |= self._kin.referrals() | {id for type, id in self._kin.named if type == _ORDER}
        messages = {name for name in (*self.reached, *self._kin.named) if name[0] == "Communication"}
        messages |= self._naming({(_PATIENT, id) for id in self._patients | self._strayed}, _MESSAGES)
        alerted = {f"{type}/{id}" for type, id in self._alerted if type == "Communication"}
        return {f"{_ORDER}/{id}" for id in orders} | self._may_ask(messages) | alerted

    def _orders_of(self, patients: Iterable[str]) -> set[str]:
        return {id for _, id in self._naming({(_PATIENT, id) for id in patients}, ((_ORDER, "subject"),))}

    def _watched(self, orders: Collection[str]) -> set[str]:
        """Those of the orders of a patient that depend on the patient's relatives and wishes: not what the
        watch has found to be a diagnostic order, or out of scope."""
        return {*orders} - self._standing_as(orders, _STANDING.scope.in_(("diagnostic", "out")))

    def _waiting(self, orders: Collection[str]) -> set[str]:
        """Those that may wait for a record of their patient: not what is out of scope, nor diagnostic orders
        that are closed."""
        closed = and_(_STANDING.scope == "diagnostic", _STANDING.stage == Stage.CLOSED.value)
        return {*orders} - self._standing_as(orders, or_(_STANDING.scope == "out", closed))

    def _standing_as(self, orders: Collection[str], condition: ColumnElement[bool]) -> set[str]:
        """Those of these orders of which the watch holds a standing that is so."""
        found: set[str] = set()
        for some in batches(orders, _PORTION):
            names = [f"{_ORDER}/{id}" for id in some]
            statement = select(_STANDING.referral).where(_STANDING.referral.in_(names), condition)
            found |= {name.partition("/")[2] for name in self._connection.execute(statement).scalars()}
        return found

    def _from_staff(self) -> None:
        """Reach the resources that name changed staff, or name a role or place of theirs."""
        if self._staff:
            found = self._naming(self._staff, PARTIES)
            found |= self._naming({name for name in found if name[0] in STAFF}, PARTIES)
            self.reached |= found

    def _up(self) -> None:
        edge = set(self.reached)
        for _ in range(_STEPS):
            above = self._names_from(edge - self._asked, _UP)
            for type, ids in _by_type(edge - self._asked).items():
                above |= identifiers.named_by(self._connection, type, ids)
            above |= self._naming({name for name in edge if name[0] in OUTPUTS}, _OUTPUT)
            edge = above - self.reached
            self.reached |= edge
            if not edge:
                return

    def _may_ask(self, messages: Collection[Name]) -> set[str]:
        """Those of the Communications that are from patients or relatives, or have asked before."""
        from_persons = self._names_from(messages, _MESSAGES[1:], by=True)
        names = {f"Communication/{id}" for _, id in messages}
        asked = {
            name
            for some in batches(names, _PORTION)
            for name in self._connection.execute(
                select(_STANDING.referral).where(_STANDING.referral.in_(some))
            ).scalars()
        }
        return {f"Communication/{id}" for type, id in from_persons} | asked

    def _names_from(self, names: Collection[Name], pairs: Pairs, *, by: bool = False) -> set[Name]:
        """What these resources name by these parameters; with `by`, those of them that name a person."""
        found: set[Name] = set()
        for type, ids in _by_type(names).items():
            params = _numbers(tuple(pair for pair in pairs if pair[0] == type))
            if not params:
                continue
            for some in batches(ids, _PORTION):
                values = {"type": type, "ids": some, "params": params}
                if by:
                    found.update(self._pairs(queries.NAMING_ONE_OF, values | {"types": _PERSONS}))
                else:
                    found.update(self._pairs(queries.NAMED, values))
        return found

    def _naming(self, names: Collection[Name], pairs: Pairs) -> set[Name]:
        """The resources that name these by these parameters."""
        found: set[Name] = set()
        for type, ids in _by_type(names).items():
            for some in batches(ids, _PORTION):
                values = {"type": type, "ids": some, "params": _numbers(pairs)}
                found.update(self._pairs(queries.NAMERS, values))
        return found

    def _pairs(self, statement: Select[Any], values: Mapping[str, Any]) -> Iterator[Name]:
        return ((type, id) for type, id in self._connection.execute(statement, values))


def _by_type(names: Iterable[Name]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for type, id in names:
        groups.setdefault(type, []).append(id)
    return groups
