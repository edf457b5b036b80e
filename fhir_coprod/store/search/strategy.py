"""The search planner: finds the keys of one page, starting where it costs least.

1. Count each condition that an index can list, but no further than RARE. If one is rare, list its keys, probe
   the others, and sort what is left.
2. Otherwise let two ways compete, with growing budgets. If an index has the wanted order (creation,
   `_lastUpdated`, `_id`, one sort parameter, or the condition's own), walk a window of it and probe every
   condition: where matches are dense, the page fills at once, whatever the size of the store. If it does not
   fill, count the conditions up to the same effort, and list one that is small enough. Then walk the next,
   larger window: the wasted work is a fraction of what the better way costs.
3. In the end, walk everything, or list and sort it.
"""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from fhir_coprod.store.database import Row, Session
from fhir_coprod.store.search.conditions import ONE, Condition, Indexed, Own, Sql, all_of
from fhir_coprod.store.search.query import Query, Sort

RARE = 200
"""With fewer keys than this, list them without comparing."""
SEVERAL = 4_000
"""With fewer keys than this in the compartment that a search is kept within, list and sort them."""
MANY = 50_000
"""With fewer keys than this, list them rather than the whole type, if no index has the wanted order."""
WINDOW, GROWTH, WINDOWS = 2, 5, 6
"""Rows walked per row of a page in the first window; growth from window to window; number of windows."""
LISTING = 4
"""How many rows can be walked in the time that it takes to list and sort one key."""

NOTHING = Sql("")

After = Sequence[Any]
"""Sort values and key of the row after which a page begins; empty for the first page."""


def page(session: Session, query: Query, after: After, columns: str) -> list[Row]:
    """One row more than a page holds: `columns` of the newest version (v), sort values, the key."""
    return _Strategy(session, query, after, columns).page()


def count(session: Session, query: Query) -> int:
    """How many resources match."""
    strategy = _Strategy(session, query, (), "")
    source = strategy.listing(strategy.fewest(MANY))
    return int(session.rows(f"SELECT count(*) {source.text}", source.values)[0][0])


@dataclass(frozen=True, slots=True)
class _Walk:
    """SELECT key, sort value… in the order of the page, without limit.

    rest: conditions still to be probed
    only: another condition on a row (w), which keeps a resource from appearing under a lesser value
    """

    rows: Sql
    order: str
    rest: tuple[Condition, ...]
    only: Sql = NOTHING


class _Strategy:
    def __init__(self, session: Session, query: Query, after: After, columns: str) -> None:
        self.session = session
        self.query = query
        self.after = after
        self.columns = columns
        self.within = query.within
        self.conditions = (*self.within, *query.conditions)
        self.keys = [(each, keys) for each in self.conditions if (keys := each.keys()) is not None]

    def page(self) -> list[Row]:
        few = self.fewest(RARE, self.within) or self.fewest(RARE)
        if few:
            return self._listed(few)
        if self.query.sort and (few := self.fewest(SEVERAL, _of_one(self.within))):
            return self._listed(few)
        walk = self._walk()
        if walk is None:
            return self._listed(self.fewest(MANY))
        window = WINDOW * (self.query.count + 1)
        for _ in range(WINDOWS):
            found = self._fetch(self._through(walk, window))
            if len(found) > self.query.count:
                return found
            budget = window // LISTING
            few = self.fewest(budget) if budget > RARE else None
            if few:
                return self._listed(few)
            window *= GROWTH
        if self.query.sort:
            return self._listed(None)
        return self._fetch(self._through(walk, None))

    def _listed(self, chosen: Condition | None) -> list[Row]:
        return self._fetch(self._sorted(self.listing(chosen)))

    # ------------------------------------------------------------------------------------------- counting

    def fewest(self, limit: int, among: Sequence[Condition] | None = None) -> Condition | None:
        """The condition with the fewest keys, if fewer than the limit; counting stops at the limit.

        among: only these
        """
        counted = [each for each in self.keys if among is None or each[0] in among]
        if not counted:
            return None
        parts = ", ".join(f"(SELECT count(*) FROM ({keys.text} LIMIT {limit}) c)" for _, keys in counted)
        values = [value for _, keys in counted for value in keys.values]
        sizes = self.session.rows(f"SELECT {parts}", values)[0]
        size, place = min(zip(sizes, range(len(counted)), strict=True))
        return counted[place][0] if size < limit else None

    # ------------------------------------------------------------------------------------- sets and orders

    def listing(self, chosen: Condition | None) -> Sql:
        """FROM … WHERE … over table resource (r): one condition's keys or the whole type, and probes."""
        types = ",".join("?" * len(self.query.types))
        text = f"FROM resource r WHERE r.type IN ({types}) AND r.deleted = false"
        values: tuple[Any, ...] = self.query.types
        keys = next((keys for condition, keys in self.keys if condition is chosen), None)
        if keys is not None:
            text += f" AND r.key IN ({keys.text})"
            values += keys.values
        rest = all_of([condition for condition in self.conditions if condition is not chosen], "r")
        return Sql(text + rest.text, (*values, *rest.values))

    def _sorted(self, source: Sql) -> Sql:
        """The page, from a set that is sorted as a whole."""
        sorts = self.query.sort
        keys = [_sort_value(sort) for sort in sorts]
        columns = "".join(f", {key.text} AS s{number}" for number, key in enumerate(keys))
        behind = _behind(sorts, self.after, "q")
        where = f" WHERE {behind.text}" if behind.text else ""
        names = "".join(f", q.s{number}" for number in range(len(sorts)))
        return Sql(
            f"WITH q AS MATERIALIZED (SELECT r.key{columns} {source.text})"
            f" SELECT q.key{names} FROM q{where} ORDER BY {_order(sorts, 'q')} LIMIT {self.query.count + 1}",
            (*chain.from_iterable(key.values for key in keys), *source.values, *behind.values),
        )

    def _walk(self) -> _Walk | None:
        """An index that already has the wanted order; None when there is none."""
        sorts = self.query.sort
        if len(self.query.types) != 1 or len(sorts) > 1 or (self.after and None in self.after):
            return None
        if not sorts:
            return self._by_creation()
        sort = sorts[0]
        direction = " DESC" if sort.descending else ""
        beyond = "<" if sort.descending else ">"
        order = f"s0{direction}, key{direction}"
        if sort.table == "resource":
            column = "r.id" if sort.code == "_id" else "r.updated"
            text = f"SELECT r.key, {column} AS s0 FROM resource r WHERE r.type = ? AND r.deleted = false"
            values: tuple[Any, ...] = self.query.types
            if self.after:
                text += f" AND ({column}, r.key) {beyond} (?, ?)"
            own = all_of([condition for condition in self.conditions if isinstance(condition, Own)], "r")
            rest = tuple(condition for condition in self.conditions if not isinstance(condition, Own))
            return _Walk(Sql(text + own.text, (*values, *self.after, *own.values)), order, rest)
        column = _SORT_COLUMNS[sort.table]
        text = f"SELECT x.key, x.{column} AS s0 FROM {sort.table} x WHERE x.param = ?{_whole(sort, 'x')}"
        values = sort.numbers
        if self.after:
            text += f" AND (x.{column}, x.key) {beyond} (?, ?)"
        other = _as_expression(sort, f"y.{column}")
        better = ">" if sort.descending else "<"
        only = Sql(
            f" AND NOT EXISTS (SELECT 1 FROM {sort.table} y"
            f" WHERE y.key = w.key AND y.param = ?{_whole(sort, 'y')} AND {other} {better} w.s0{ONE})",
            sort.numbers,
        )
        return _Walk(Sql(text, (*values, *self.after)), order, self.conditions, only)

    def _by_creation(self) -> _Walk:
        behind = " AND key > ?" if self.after else ""
        for condition in self.conditions:
            ordered = condition.ordered()
            if ordered is not None:
                rest = tuple(other for other in self.conditions if other is not condition)
                rows = Sql(f"SELECT key {ordered.text}{behind}", (*ordered.values, *self.after))
                return _Walk(rows, "key", rest)
        rows = Sql(
            f"SELECT key FROM resource WHERE type = ? AND deleted = false{behind}",
            (*self.query.types, *self.after),
        )
        return _Walk(rows, "key", self.conditions)

    def _through(self, walk: _Walk, window: int | None) -> Sql:
        """The page, from the first rows of a walk or from all of them."""
        columns = "w.key, w.s0" if self.query.sort else "w.key"
        rest = all_of(walk.rest, "r")
        limit = f" LIMIT {window}" if window else ""
        order = ", ".join(f"w.{part}" for part in walk.order.split(", "))
        return Sql(
            f"SELECT DISTINCT {columns} FROM ({walk.rows.text} ORDER BY {walk.order}{limit}) w"
            f" CROSS JOIN resource r WHERE r.key = w.key{walk.only.text}{rest.text}"
            f" ORDER BY {order} LIMIT {self.query.count + 1}",
            (*walk.rows.values, *walk.only.values, *rest.values),
        )

    def _fetch(self, keys: Sql) -> list[Row]:
        sorts = self.query.sort
        names = "".join(f", p.s{number}" for number in range(len(sorts)))
        return self.session.rows(
            f"SELECT {self.columns}{names}, p.key FROM ({keys.text}) p JOIN resource a ON a.key = p.key"
            f" JOIN version v ON v.position = a.position ORDER BY {_order(sorts, 'p')}",
            keys.values,
        )


def _of_one(within: Sequence[Condition]) -> list[Condition]:
    """What keeps a search within the compartment of one patient, who rarely has more than a few thousand."""
    return [condition for condition in within if isinstance(condition, Indexed)]


# -------------------------------------------------------------------------------------------------- order

_SORT_COLUMNS = {
    "token": "code",
    "string": "value",
    "reference": "target_id",
    "date": "low",
    "number": "low",
    "quantity": "low",
    "uri": "value",
}
"""The column that decides."""


def is_sort_value(sort: Sort, value: object) -> bool:
    """Whether the column that a resource sorts by could hold this."""
    if sort.code == "_id" or _SORT_COLUMNS.get(sort.table, "low") != "low":
        return isinstance(value, str) and "\0" not in value
    return is_number(value) or (sort.table in ("number", "quantity") and isinstance(value, float))


def is_number(value: object) -> bool:
    """Whether an integer column could hold this."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _sort_value(sort: Sort) -> Sql:
    """The value that a resource (r) sorts by: the smallest of several, or the largest if descending."""
    if sort.table == "resource":
        return Sql("r.id" if sort.code == "_id" else "r.updated")
    column = _as_expression(sort, f"x.{_SORT_COLUMNS[sort.table]}")
    function = "max" if sort.descending else "min"
    numbers = ",".join("?" * len(sort.numbers))
    return Sql(
        f"(SELECT {function}({column}) FROM {sort.table} x"
        f" WHERE x.key = r.key AND x.param IN ({numbers}){_whole(sort, 'x')})",
        sort.numbers,
    )


def _whole(sort: Sort, row: str) -> str:
    """The condition that a row holds a whole text, and does not begin at a later word."""
    return f" AND {row}.exact <> ''" if sort.table == "string" else ""


def _as_expression(sort: Sort, column: str) -> str:
    """A column of one resource's rows, written so that SQLite does not walk its whole index by value."""
    return f"{column} || ''" if sort.table in ("token", "string", "reference", "uri") else f"{column} + 0"


def _order(sorts: Sequence[Sort], row: str) -> str:
    """Resources without a value come last in either direction; ties by creation, in the first's direction."""
    parts = []
    for number, sort in enumerate(sorts):
        if sort.table != "resource":
            parts.append(f"{row}.s{number} IS NULL")
        parts.append(f"{row}.s{number}{' DESC' if sort.descending else ''}")
    last = " DESC" if sorts and sorts[0].descending else ""
    return ", ".join([*parts, f"{row}.key{last}"])


def _behind(sorts: Sequence[Sort], after: After, row: str) -> Sql:
    """Rows that come after the given sort values and key in the order of `_order`."""
    if not after:
        return Sql("")
    operator = "<" if sorts and sorts[0].descending else ">"
    behind = Sql(f"{row}.key {operator} ?", (after[-1],))
    for number in reversed(range(len(sorts))):
        column, value = f"{row}.s{number}", after[number]
        if value is None:
            behind = Sql(f"({column} IS NULL AND {behind.text})", behind.values)
        else:
            operator = "<" if sorts[number].descending else ">"
            behind = Sql(
                f"({column} IS NULL OR {column} {operator} ? OR ({column} = ? AND {behind.text}))",
                (value, value, *behind.values),
            )
    return behind
