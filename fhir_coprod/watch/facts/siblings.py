"""Finds the other orders of a patient that a referral may depend on, and the other way round.

It asks the index for exactly these: the same thing written shortly before, what replaces the referral, and
what answers a patient's request. How many other orders the patient has makes no difference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Select, select

from fhir_coprod import alike
from fhir_coprod.jsontext import Json
from fhir_coprod.store import entries, index
from fhir_coprod.store.reindex import PREFIX
from fhir_coprod.store.schema import core
from fhir_coprod.watch.facts import queries
from fhir_coprod.watch.facts.newest import Newest, Row
from fhir_coprod.watch.record.fhir import batches, target, targets

_ORDER: Final = "ServiceRequest"
_ALIKE: Final = index.number(_ORDER, alike.ALIKE)
_ASKING: Final = index.number(_ORDER, alike.ASKING)
_GROUPED: Final = index.number(_ORDER, alike.GROUPED)
_SUPPORTS: Final = index.number(_ORDER, alike.SUPPORTS)
_REPLACES: Final = index.number(_ORDER, "replaces")
_BASED_ON: Final = index.number(_ORDER, "based-on")
_ANSWERS: Final = 50
"""The most orders read as possible answers to one request, the earliest first: one is enough."""
_INDEXED_BY: Final = select(core.setting.c.value).where(core.setting.c.name == f"{PREFIX}{_ORDER}")
_AFTER: Final = "~"
"""Sorts after every month."""


def how_indexed(connection: Connection) -> str:
    """By which definitions the index knows orders. While a store of an earlier program is indexed anew, some
    siblings are not found yet: facts read meanwhile hold only until that is done."""
    return str(connection.execute(_INDEXED_BY).scalar() or index.fingerprint(_ORDER))


def siblings_of(
    connection: Connection, newest: Newest, roots: Collection[Row], written: Callable[[Row], datetime]
) -> dict[int, list[Row]]:
    """The orders that each of these referrals may depend on, by its key.

    written: when a referral was written; for one that does not say, when it was first stored.
    """
    wanted: _Wanted = defaultdict(set)
    naming: _Wanted = defaultdict(set)
    found: defaultdict[int, set[int]] = defaultdict(set)
    for root in roots:
        naming[_REPLACES, root.id].add(root.key)
        if root.type == _ORDER and not alike.is_proposal(root.data):
            if alike.may_have_twin(root.data):
                months = alike.months_around(written(root), before=alike.FURTHEST_APART)
                for mark in alike.marks(root.data):
                    for month in months:
                        wanted[_ALIKE, mark + month].add(root.key)
            continue
        naming[_BASED_ON, root.id].add(root.key)
        wanted[_SUPPORTS, root.reference].add(root.key)
        for mark in alike.grouped(root.data):
            wanted[_GROUPED, mark].add(root.key)
        for mark in alike.marks(root.data):
            found[root.key] |= _from(connection, mark, written(root))
    for asked, key in _with_marks(connection, wanted):
        for root_key in wanted[asked]:
            found[root_key].add(key)
    for asked, key in _naming(connection, naming):
        for root_key in naming[asked]:
            found[root_key].add(key)
    rows = {row.key: row for row in newest.by_key({key for keys in found.values() for key in keys})}
    patients = {root.key: _patient(root.data) for root in roots}
    return {
        root: [
            row
            for key in sorted(keys - {root})
            if (row := rows.get(key)) and row.type == _ORDER and _patient(row.data) == patients[root]
        ]
        for root, keys in found.items()
    }


_Wanted = defaultdict[tuple[int, str], set[int]]
"""From a parameter of the index and a value to the keys of the referrals for which it is looked up."""


def _patient(data: Json) -> str:
    return target(data.get("subject")) or target(data.get("sender"))


def _from(connection: Connection, mark: str, at: datetime) -> set[int]:
    """The first orders for the same thing from this month on, and those without a date."""
    month = alike.months_around(at)[1]
    ranges = ((mark + month, mark + _AFTER), (mark, mark + "!"))
    return {
        key
        for low, high in ranges
        for _, key in connection.execute(
            queries.MARKED_FROM, {"param": _ALIKE, "low": low, "high": high, "limit": _ANSWERS}
        )
    }


def _with_marks(connection: Connection, wanted: _Wanted) -> Iterable[tuple[tuple[int, str], int]]:
    for some in batches(wanted, queries.AT_ONCE):
        values = {"params": sorted({param for param, _ in some}), "marks": [value for _, value in some]}
        for param, value, key in connection.execute(queries.WITH_MARK, values):
            if (param, value) in wanted:
                yield (param, value), key


def _naming(connection: Connection, wanted: _Wanted) -> Iterable[tuple[tuple[int, str], int]]:
    types = [_ORDER, "Communication"]
    for some in batches(wanted, queries.AT_ONCE):
        values = {
            "params": sorted({param for param, _ in some}),
            "ids": [id for _, id in some],
            "types": types,
        }
        for key, param, id in connection.execute(queries.NAMING_BY, values):
            if (param, id) in wanted:
                yield (param, id), key


# -- the other way round ------------------------------------------------------------------------------------


class Kin:
    """Finds the referrals that may depend on some orders, of which it is told one after the other."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._alike: set[str] = set()
        self._asking: set[str] = set()
        self.named: set[tuple[str, str]] = set()
        """What the orders name (type and id): what they replace, answer or support."""

    def add(self, order: Json, *, has_twins: bool) -> None:
        """Note what one version of an order says.

        has_twins: False if it has never been active, so that it is nobody's twin.
        """
        if has_twins:
            self._alike.update(alike.dated_marks(order))
        self._asking |= {*alike.marks(order), *alike.grouped(order)}
        named = (*targets(order.get("replaces")), *targets(order.get("basedOn")), *alike.supports(order))
        self.named |= {entries.split_reference(name) for name in named}

    def add_asked(self, ids: Collection[str]) -> None:
        """Note orders of which another department may have been asked: twins ask the same department."""
        for some in batches(ids, queries.AT_ONCE):
            values = {"type": _ORDER, "ids": some, "params": [_ALIKE]}
            self._alike.update(mark for _, _, mark in self._connection.execute(queries.MARKS_OF, values))

    def referrals(self) -> set[str]:
        """Ids of the ServiceRequests that may depend on them, beside those that are `named`."""
        found: set[str] = set()
        later = {other for mark in self._alike for other in alike.later_marks(mark)}
        for param, wanted in ((_ALIKE, later), (_ASKING, self._asking)):
            for some in batches(wanted, queries.AT_ONCE):
                found |= self._ids(queries.MARKED, {"param": param, "marks": some})
        for mark in self._alike:
            if mark.endswith("|"):  # it is not dated
                found |= self._ids(queries.MARKED_LIKE, {"param": _ALIKE, "low": mark, "high": mark + _AFTER})
        return found

    def _ids(self, statement: Select[Any], values: dict[str, Any]) -> set[str]:
        return {id for _, id in self._connection.execute(statement, values)}
