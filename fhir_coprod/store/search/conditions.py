"""The conditions of a search, as SQL in two forms.

`keys()`: a SELECT of the keys of all resources that match, found through an index by value; may repeat a key.
`probe(row)`: a condition on one given resource, found through the index by key.

The planner (`strategy.py`) takes the rarest condition as keys and the others as probes. Negations and
`:missing` match too many keys to list, so they are probes only. `row` names a FROM item of table resource in
scope.
"""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple


class Sql(NamedTuple):
    """A piece of SQL with `?`, and its values."""

    text: str
    values: tuple[Any, ...] = ()


def joined(separator: str, pieces: Iterable[Sql]) -> Sql:
    """The pieces with the separator between them; each piece is in brackets, and so is the whole."""
    pieces = list(pieces)
    if len(pieces) == 1:
        return pieces[0]
    text = separator.join(f"({piece.text})" for piece in pieces)
    return Sql(f"({text})", tuple(chain.from_iterable(piece.values for piece in pieces)))


_SELECTS_AT_ONCE = 400
"""SQLite takes no more than 500 in one compound."""
_UNION = " UNION ALL "


def united(selects: Iterable[Sql]) -> Sql:
    """The keys of all these SELECT key …; each may itself be such a union, and a key may repeat."""
    selects = list(selects)
    if len(selects) == 1:
        return selects[0]
    groups: list[list[str]] = [[]]
    weight = 0
    for select in selects:
        own = select.text.count(_UNION) + 1
        if groups[-1] and weight + own > _SELECTS_AT_ONCE:
            groups.append([])
            weight = 0
        groups[-1].append(select.text)
        weight += own
    texts = [_UNION.join(group) for group in groups]
    if len(texts) > 1:
        # DISTINCT keeps SQLite from merging them into one compound again.
        texts = [f"SELECT DISTINCT key FROM ({text}) u" for text in texts]
    return Sql(_UNION.join(texts), tuple(chain.from_iterable(select.values for select in selects)))


def all_together(one: Sql, other: Sql) -> Sql:
    """Both, joined by AND; neither may hold an OR outside brackets."""
    return Sql(f"{one.text} AND {other.text}", (*one.values, *other.values))


ONE = " LIMIT 1 OFFSET 0"
"""Ends each EXISTS: without it PostgreSQL reverses the probe and starts from all rows at its far end."""


class Condition(ABC):
    """One search criterion."""

    @abstractmethod
    def keys(self) -> Sql | None:
        """SELECT key …; None when that would list about as much as the whole type."""

    @property
    def is_listable(self) -> bool:
        """Whether `keys` answers; quicker than to ask it."""
        return True

    @abstractmethod
    def probe(self, row: str) -> Sql:
        """A boolean expression over `row`, a FROM item of table resource."""

    def ordered(self) -> Sql | None:
        """`FROM … WHERE …` with an item `d` whose rows an index gives in order of d.key, or None."""
        return None


def _one_of(column: str, one: int, more: tuple[int, ...]) -> Sql:
    if not more:
        return Sql(f"{column} = ?", (one,))
    return Sql(f"{column} IN (?{',?' * len(more)})", (one, *more))


@dataclass(frozen=True, slots=True)
class Indexed(Condition):
    """A row of an index table passes one of the tests.

    param, more: the numbers of the parameters whose rows are looked at
    tests: conditions over the table's own columns, joined by OR
    equal: each test is an equality on the column that the table's index leads with
    scans: the same as tests, written so that an index can look each of them up; empty: the tests as they are
    """

    table: str
    param: int
    tests: tuple[Sql, ...]
    equal: bool = False
    scans: tuple[Sql, ...] = ()
    more: tuple[int, ...] = ()

    @property
    def likeness(self) -> object:
        """Equal for conditions that differ in their parameters only."""
        return self.table, self.equal, self.tests, self.scans

    def keys(self) -> Sql:
        looked_at, params = _one_of("param", self.param, self.more)
        return united(
            Sql(f"SELECT key FROM {self.table} WHERE {looked_at} AND {scan.text}", (*params, *scan.values))
            for scan in self.scans or self.tests
        )

    def probe(self, row: str) -> Sql:
        looked_at, params = _one_of("param", self.param, self.more)
        test = joined(" OR ", self.tests)
        return Sql(
            f"EXISTS (SELECT 1 FROM {self.table} WHERE key = {row}.key AND {looked_at}"
            f" AND ({test.text}){ONE})",
            (*params, *test.values),
        )

    def ordered(self) -> Sql | None:
        if not self.equal or len(self.tests) != 1:
            return None
        test = self.tests[0]
        if not self.more:
            return Sql(f"FROM {self.table} d WHERE d.param = ? AND {test.text}", (self.param, *test.values))
        # Each is in this order, and the databases merge them.
        ways = _UNION.join([f"SELECT key FROM {self.table} WHERE param = ? AND {test.text}"] * self.ways)
        values = chain.from_iterable((param, *test.values) for param in (self.param, *self.more))
        return Sql(f"FROM ({ways}) d WHERE 1 = 1", tuple(values))

    @property
    def ways(self) -> int:
        """How many parameters it looks at."""
        return 1 + len(self.more)


@dataclass(frozen=True, slots=True)
class Not(Condition):
    """The condition does not hold for the resource (`:not`): also true when it has no value at all."""

    condition: Condition

    def keys(self) -> None:
        return None

    @property
    def is_listable(self) -> bool:
        return False

    def probe(self, row: str) -> Sql:
        inner = self.condition.probe(row)
        return Sql(f"NOT ({inner.text})", inner.values)


@dataclass(frozen=True, slots=True)
class Present(Condition):
    """The resource has any value for the parameter (`:missing=false`)."""

    table: str
    param: int

    def keys(self) -> None:
        return None

    @property
    def is_listable(self) -> bool:
        return False

    def probe(self, row: str) -> Sql:
        return Sql(
            f"EXISTS (SELECT 1 FROM {self.table} WHERE key = {row}.key AND param = ?{ONE})", (self.param,)
        )


@dataclass(frozen=True, slots=True)
class Marked(Condition):
    """The resource is kept although it is not valid (table `quality`)."""

    types: tuple[str, ...]

    def keys(self) -> Sql:
        types = ",".join("?" * len(self.types))
        return Sql(f"SELECT key FROM quality WHERE type IN ({types})", self.types)

    def probe(self, row: str) -> Sql:
        return Sql(f"EXISTS (SELECT 1 FROM quality WHERE key = {row}.key{ONE})")


@dataclass(frozen=True, slots=True)
class Own(Condition):
    """A test on table resource itself (`_id`, `_lastUpdated`), over columns named `{row}.column`.

    since: whether it searches for updates from some time on
    """

    types: tuple[str, ...]
    test: Sql
    since: bool = False

    def keys(self) -> Sql:
        inner = self.probe("o")
        types = ",".join("?" * len(self.types))
        return Sql(
            f"SELECT o.key FROM resource o WHERE o.type IN ({types}) AND o.deleted = false AND {inner.text}",
            (*self.types, *inner.values),
        )

    def probe(self, row: str) -> Sql:
        return Sql(self.test.text.replace("{row}", row), self.test.values)


@dataclass(frozen=True, slots=True)
class Any_(Condition):  # noqa: N801 - `Any` is typing's
    """At least one of the conditions."""

    conditions: tuple[Condition, ...]

    @property
    def is_listable(self) -> bool:
        return all(condition.is_listable for condition in self.conditions)

    def keys(self) -> Sql | None:
        parts = [condition.keys() for condition in self.conditions]
        if any(part is None for part in parts):
            return None
        return united(part for part in parts if part is not None)

    def probe(self, row: str) -> Sql:
        return joined(" OR ", [condition.probe(row) for condition in self.conditions])


@dataclass(frozen=True, slots=True)
class Both(Condition):
    """Both conditions, of which at least the first can be listed."""

    one: Condition
    other: Condition

    @property
    def is_listable(self) -> bool:
        return self.one.is_listable

    def keys(self) -> Sql | None:
        one = self.one.keys()
        if one is None:
            return None
        other = self.other.probe("b")
        return Sql(
            f"SELECT b.key FROM ({one.text}) a CROSS JOIN resource b WHERE b.key = a.key AND {other.text}",
            (*one.values, *other.values),
        )

    def probe(self, row: str) -> Sql:
        return all_together(self.one.probe(row), self.other.probe(row))


class _Linked(Condition):
    """It is met by a link from or to a resource for which the inner condition holds."""

    __slots__ = ()
    inner: Condition

    @property
    def is_listable(self) -> bool:
        return self.inner.is_listable

    def keys(self) -> Sql | None:
        inner = self.inner.keys()
        return None if inner is None else self.linked(inner)

    @abstractmethod
    def linked(self, inner: Sql) -> Sql:
        """SELECT key …, from the keys that the inner condition lists."""


@dataclass(frozen=True, slots=True)
class Chained(_Linked):
    """A reference leads to a resource of `type`, not deleted, for which the inner condition holds
    (`subject:Patient.name`).

    param, more: the numbers of the parameters that lead there
    """

    param: int
    type: str
    inner: Condition
    depth: int
    more: tuple[int, ...] = ()

    @property
    def likeness(self) -> object:
        """Equal for conditions that differ in their parameters only."""
        return self.type, self.depth, self.inner

    def linked(self, inner: Sql) -> Sql:
        t, f = f"t{self.depth}", f"f{self.depth}"
        by, params = _one_of(f"{f}.param", self.param, self.more)
        # From the inner matches outwards; CROSS JOIN keeps SQLite from reversing that.
        return Sql(
            f"SELECT {f}.key FROM ({inner.text}) k CROSS JOIN resource {t} CROSS JOIN reference {f}"
            f" WHERE {t}.key = k.key AND {t}.type = ?"
            f" AND {by} AND {f}.target_id = {t}.id AND {f}.target_type = {t}.type",
            (*inner.values, self.type, *params),
        )

    def probe(self, row: str) -> Sql:
        t, f = f"t{self.depth}", f"f{self.depth}"
        by, params = _one_of(f"{f}.param", self.param, self.more)
        inner = self.inner.probe(t)
        return Sql(
            f"EXISTS (SELECT 1 FROM reference {f} CROSS JOIN resource {t}"
            f" WHERE {t}.type = {f}.target_type AND {t}.id = {f}.target_id"
            f" AND {f}.key = {row}.key AND {by} AND {t}.type = ? AND {t}.deleted = false"
            f" AND {inner.text}{ONE})",
            (*params, self.type, *inner.values),
        )


@dataclass(frozen=True, slots=True)
class Has(_Linked):
    """A resource for which the inner condition holds points here (`_has:Observation:patient:code`)."""

    param: int
    types: tuple[str, ...]
    inner: Condition
    depth: int

    def linked(self, inner: Sql) -> Sql:
        t, f = f"t{self.depth}", f"f{self.depth}"
        types = ",".join("?" * len(self.types))
        return Sql(
            f"SELECT {t}.key FROM ({inner.text}) k CROSS JOIN reference {f} CROSS JOIN resource {t}"
            f" WHERE {f}.key = k.key AND {f}.param = ?"
            f" AND {t}.type = {f}.target_type AND {t}.id = {f}.target_id"
            f" AND {t}.type IN ({types}) AND {t}.deleted = false",
            (*inner.values, self.param, *self.types),
        )

    def probe(self, row: str) -> Sql:
        t, f = f"t{self.depth}", f"f{self.depth}"
        inner = self.inner.probe(t)
        return Sql(
            f"EXISTS (SELECT 1 FROM reference {f} CROSS JOIN resource {t} WHERE {t}.key = {f}.key"
            f" AND {f}.param = ? AND {f}.target_id = {row}.id AND {f}.target_type = {row}.type"
            f" AND {inner.text}{ONE})",
            (self.param, *inner.values),
        )


@dataclass(frozen=True, slots=True)
class ChainedByUrl(_Linked):
    """The same by a canonical: it names the target by its url, perhaps with a version (index: `uri`).

    url: the number of the parameter `url` of the target's type
    """

    param: int
    type: str
    inner: Condition
    depth: int
    url: int

    def linked(self, inner: Sql) -> Sql:
        u, f = f"u{self.depth}", f"f{self.depth}"
        return Sql(
            f"SELECT {f}.key FROM ({inner.text}) k CROSS JOIN uri {u} CROSS JOIN reference {f}"
            f" WHERE {u}.key = k.key AND {u}.param = ?"
            f" AND {f}.param = ? AND {f}.target_id = {u}.value AND {f}.target_type = 'canonical'",
            (*inner.values, self.url, self.param),
        )

    def probe(self, row: str) -> Sql:
        t, u, f = f"t{self.depth}", f"u{self.depth}", f"f{self.depth}"
        inner = self.inner.probe(t)
        return Sql(
            f"EXISTS (SELECT 1 FROM reference {f} CROSS JOIN uri {u} CROSS JOIN resource {t}"
            f" WHERE {u}.param = ? AND {u}.value = {f}.target_id AND {t}.key = {u}.key"
            f" AND {f}.key = {row}.key AND {f}.param = ? AND {f}.target_type = 'canonical'"
            f" AND {t}.deleted = false AND {inner.text}{ONE})",
            (self.url, self.param, *inner.values),
        )


@dataclass(frozen=True, slots=True)
class HasByUrl(_Linked):
    """A resource for which the inner condition holds names this one by its url.

    urls: the numbers of the parameter `url` of the types searched
    """

    param: int
    urls: tuple[int, ...]
    inner: Condition
    depth: int

    def linked(self, inner: Sql) -> Sql:
        u, f = f"u{self.depth}", f"f{self.depth}"
        return Sql(
            f"SELECT {u}.key FROM ({inner.text}) k CROSS JOIN reference {f} CROSS JOIN uri {u}"
            f" WHERE {f}.key = k.key AND {f}.param = ? AND {f}.target_type = 'canonical'"
            f" AND {u}.param IN ({','.join('?' * len(self.urls))}) AND {u}.value = {f}.target_id",
            (*inner.values, self.param, *self.urls),
        )

    def probe(self, row: str) -> Sql:
        t, u, f = f"t{self.depth}", f"u{self.depth}", f"f{self.depth}"
        inner = self.inner.probe(t)
        return Sql(
            f"EXISTS (SELECT 1 FROM uri {u} CROSS JOIN reference {f} CROSS JOIN resource {t}"
            f" WHERE {f}.target_id = {u}.value AND {t}.key = {f}.key"
            f" AND {u}.key = {row}.key AND {u}.param IN ({','.join('?' * len(self.urls))})"
            f" AND {f}.param = ? AND {f}.target_type = 'canonical' AND {inner.text}{ONE})",
            (*self.urls, self.param, *inner.values),
        )


def any_of(conditions: Iterable[Condition]) -> Condition:
    """At least one of them; those that differ only in the parameters that they look at become one."""
    ways = tuple(chain.from_iterable(map(_ways, conditions)))
    if len(ways) > 1:
        ways = (*_merged(ways, Indexed), *_merged(ways, Chained), *filter(_is_neither, ways))
    return ways[0] if len(ways) == 1 else Any_(ways)


def _ways(condition: Condition) -> tuple[Condition, ...]:
    return condition.conditions if isinstance(condition, Any_) else (condition,)


def _is_neither(condition: Condition) -> bool:
    return not isinstance(condition, Indexed | Chained)


def _merged(ways: Iterable[Condition], kind: type[Indexed | Chained]) -> list[Condition]:
    own = [way for way in ways if isinstance(way, kind)]
    if len(own) < 2:
        return [*own]
    alike: dict[object, list[Indexed | Chained]] = {}
    for way in own:
        alike.setdefault(way.likeness, []).append(way)
    merged: list[Condition] = []
    for first, *others in alike.values():
        params = dict.fromkeys(param for way in (first, *others) for param in (way.param, *way.more))
        merged.append(replace(first, more=tuple(params)[1:]) if others else first)
    return merged


def all_of(conditions: Sequence[Condition], row: str) -> Sql:
    """All probes joined by AND; empty text when there are none."""
    if not conditions:
        return Sql("")
    probes = [condition.probe(row) for condition in conditions]
    return Sql(
        "".join(f" AND ({probe.text})" for probe in probes),
        tuple(chain.from_iterable(probe.values for probe in probes)),
    )
