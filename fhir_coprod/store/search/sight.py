"""What somebody may see, as conditions that every query about resources takes along.

What is not in sight does not exist: it is in no page, count, order or inclusion, and nothing is found through
it. Conditions that open something are positive and need their rows; those that close look at the row of the
resource itself. So a lost row of the index opens nothing.
"""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from fhir_coprod.store import index
from fhir_coprod.store.labels import MOST_PATIENTS, PATIENTS, SAID
from fhir_coprod.store.search.conditions import (
    ONE,
    Any_,
    Both,
    Condition,
    Indexed,
    Not,
    Present,
    Sql,
    all_together,
    united,
)

APART = 100
"""The depth at which the links of these conditions are numbered, far from those of any search."""


class Sight(ABC):
    """What may be seen, by type."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The same for two of them only if the same is in sight; a cursor belongs to what was in sight."""

    @abstractmethod
    def over(self, types: tuple[str, ...]) -> Condition | None:
        """What limits the resources of these types, which are searched together; None: nothing does."""

    @abstractmethod
    def looked_at(self, type: str) -> frozenset[int] | None:
        """The parameters in the index by which it is decided whether a resource of a type is in sight; None
        if it does not depend on those alone."""


@lru_cache(4096)
def condition_on(sight: Sight | None, types: tuple[str, ...]) -> Condition | None:
    """What limits resources of these types for somebody of this sight."""
    return None if sight is None else sight.over(types)


def seen(sight: Sight | None, types: tuple[str, ...], condition: Condition) -> Condition:
    """The condition on those resources of these types that are in sight."""
    limit = condition_on(sight, types)
    return condition if limit is None else Both(condition, limit)


@dataclass(frozen=True, slots=True)
class Nothing(Condition):
    """No resource meets it."""

    def keys(self) -> Sql:
        return Sql("SELECT key FROM resource WHERE 1 = 0")

    def probe(self, row: str) -> Sql:
        return Sql("1 = 0")


@dataclass(frozen=True, slots=True)
class Of(Condition):
    """A resource of one of these types that meets the condition; any of them without one."""

    types: tuple[str, ...]
    condition: Condition | None = None

    @property
    def is_listable(self) -> bool:
        return self.condition is not None and self.condition.is_listable

    def keys(self) -> Sql | None:
        # The search itself asks for the type.
        return None if self.condition is None else self.condition.keys()

    def probe(self, row: str) -> Sql:
        types = Sql(f"{row}.type IN ({','.join('?' * len(self.types))})", self.types)
        return types if self.condition is None else all_together(types, self.condition.probe(row))


@dataclass(frozen=True, slots=True)
class Without(Condition):
    """None of these labels (`store/labels.py`)."""

    mask: int

    @property
    def is_listable(self) -> bool:
        return False

    def keys(self) -> None:
        return None

    def probe(self, row: str) -> Sql:
        # PostgreSQL takes `= 0` of an expression to hold for one row in 200, and then walks whole types.
        return Sql(f"({row}.labels & ?) < 1", (self.mask,))


@dataclass(frozen=True, slots=True)
class Sent(Condition):
    """A ServiceRequest or Task that one of these Organizations has sent or received (table relation)."""

    parties: tuple[str, ...]

    def keys(self) -> Sql:
        return Sql(f"SELECT key FROM relation WHERE {_one_of('party', self.parties)}", self.parties)

    def probe(self, row: str) -> Sql:
        return Sql(
            f"EXISTS (SELECT 1 FROM relation WHERE key = {row}.key"
            f" AND {_one_of('party', self.parties)}{ONE})",
            self.parties,
        )


@dataclass(frozen=True, slots=True)
class Known(Condition):
    """A Patient whom a referral is about that one of these Organizations has sent or received."""

    parties: tuple[str, ...]

    def keys(self) -> Sql:
        return Sql(
            "SELECT kp.key FROM"
            f" (SELECT DISTINCT patient FROM relation WHERE {_one_of('party', self.parties)}) kr"
            " CROSS JOIN resource kp WHERE kp.type = 'Patient' AND kp.id = kr.patient"
            f" AND {_since_joined('kr.patient', self.parties)}",
            (*self.parties, *self.parties),
        )

    def probe(self, row: str) -> Sql:
        return Sql(
            f"EXISTS (SELECT 1 FROM relation WHERE patient = {row}.id"
            f" AND {_one_of('party', self.parties)}{ONE}) AND {_since_joined(f'{row}.id', self.parties)}",
            (*self.parties, *self.parties),
        )


@dataclass(frozen=True, slots=True)
class OfKnown(Condition):
    """It leads to such a Patient by one of these parameters."""

    params: tuple[int, ...]
    parties: tuple[str, ...]

    def keys(self) -> Sql:
        return Sql(
            "SELECT kf.key FROM"
            f" (SELECT DISTINCT patient FROM relation WHERE {_one_of('party', self.parties)}) kr"
            f" CROSS JOIN reference kf WHERE {_one_of('kf.param', self.params)}"
            " AND kf.target_id = kr.patient AND kf.target_type = 'Patient'"
            f" AND {_since_joined('kr.patient', self.parties)}",
            (*self.parties, *self.params, *self.parties),
        )

    def probe(self, row: str) -> Sql:
        return Sql(
            f"EXISTS (SELECT 1 FROM reference kf WHERE kf.key = {row}.key"
            f" AND {_one_of('kf.param', self.params)} AND kf.target_type = 'Patient'"
            " AND EXISTS (SELECT 1 FROM relation WHERE patient = kf.target_id"
            f" AND {_one_of('party', self.parties)}{ONE})"
            f" AND {_since_joined('kf.target_id', self.parties)}{ONE})",
            (*self.params, *self.parties, *self.parties),
        )


def _since_joined(patient: str, parties: Sequence[str]) -> str:
    """Unless the patient was joined with another, which nobody has confirmed: then a referral is needed that
    came after that."""
    return (
        # Only Patients are joined, and only few of them, which have an index of their own.
        f"NOT EXISTS (SELECT 1 FROM resource kj WHERE kj.id = {patient}"
        " AND kj.joined > 0 AND NOT EXISTS (SELECT 1 FROM relation km WHERE km.patient = kj.id"
        f" AND km.key > kj.joined AND {_one_of('km.party', parties)}))"
    )


NOW = "CAST(CURRENT_TIMESTAMP AS TEXT)"
"""The time by the clock of the database, in UTC; as `objections.py` writes it, for as long as it goes."""


@dataclass(frozen=True, slots=True)
class Unrefused(Condition):
    """About no patient who refuses it to one of these (table objection), as far as can be seen.

    types: of the resources that are searched together
    departments: ids of Organizations; None: every department's objection counts
    person: id of a Practitioner; "": nobody knows who it is, so an objection to anybody counts
    name: issuer|subject
    """

    types: tuple[str, ...]
    departments: tuple[str, ...] | None
    person: str
    name: str

    @property
    def is_listable(self) -> bool:
        return False

    def keys(self) -> None:
        return None

    def probe(self, row: str) -> Sql:
        # SQLite's parser cannot go deep: this stands within every link of a chain.
        own = self._unrefused(f"{row}.id", row)
        if self.types == ("Patient",):
            return own
        named = self._unrefused("bf.target_id", row)
        number = f"{row}.labels / {PATIENTS} & {MOST_PATIENTS}"
        others = Sql(
            f"{number} < {MOST_PATIENTS} AND ({number}) <= (SELECT count(*) FROM reference bf"
            f" WHERE bf.key = {row}.key AND bf.target_type = 'Patient' AND {named.text})",
            named.values,
        )
        if "Patient" not in self.types:
            return others
        return Sql(
            f"CASE {row}.type WHEN 'Patient' THEN {own.text} ELSE {others.text} END",
            (*own.values, *others.values),
        )

    def _unrefused(self, patient: str, row: str) -> Sql:
        """Whether a patient does not refuse it, and has lost no row that might."""
        kinds, parties = ["'everybody'"], [f"name {self.name}"]
        if self.departments is None:
            kinds.append("'department'")
        else:
            parties += (f"department {id}" for id in self.departments)
        if self.person:
            parties.append(f"person {self.person}")
        else:
            kinds.append("'person'")
        against = _one_of("bo.kind || ' ' || bo.party", parties)
        return Sql(
            f"NOT EXISTS (SELECT 1 FROM objection bo WHERE bo.patient = {patient}"
            f" AND bo.type IN ('', {row}.type)"
            f" AND CASE WHEN bo.kind IN ({', '.join(kinds)}) THEN 1 = 1"
            f" ELSE {against} END"
            f" AND bo.low <= {NOW} AND bo.high > {NOW}{ONE})"
            f" AND NOT EXISTS (SELECT 1 FROM resource bp WHERE bp.id = {patient}"
            " AND bp.objections > 0 AND bp.objections >"
            f" (SELECT count(*) FROM objection bn WHERE bn.patient = {patient}){ONE})",
            tuple(parties),
        )


@dataclass(frozen=True, slots=True)
class Unmoved(Condition):
    """Not written since this patient was joined with another, unless somebody has confirmed that: until then
    nobody can tell whose it was."""

    patient: str

    @property
    def is_listable(self) -> bool:
        return False

    def keys(self) -> None:
        return None

    def probe(self, row: str) -> Sql:
        return Sql(
            "NOT EXISTS (SELECT 1 FROM resource kj WHERE kj.id = ?"
            f" AND kj.joined > 0 AND kj.joined < {row}.position)",
            (self.patient,),
        )


def _one_of(column: str, values: Sequence[object]) -> str:
    return f"{column} = ?" if len(values) == 1 else f"{column} IN ({','.join('?' * len(values))})"


@dataclass(frozen=True, slots=True)
class Together(Condition):
    """All of the conditions; it can be listed if one of them can."""

    conditions: tuple[Condition, ...]

    @property
    def is_listable(self) -> bool:
        return any(condition.is_listable for condition in self.conditions)

    def keys(self) -> Sql | None:
        first = next((each for each in self.conditions if each.is_listable), None)
        if first is None:
            return None
        rest = [each for each in self.conditions if each is not first]
        return Both(first, Together(tuple(rest))).keys() if rest else first.keys()

    def probe(self, row: str) -> Sql:
        whole = self.conditions[0].probe(row)
        for condition in self.conditions[1:]:
            whole = all_together(whole, condition.probe(row))
        return whole


def together(conditions: Iterable[Condition | None]) -> Condition | None:
    """All of those that there are; None if there is none."""
    some = tuple(
        part
        for condition in conditions
        if condition is not None
        # One by one, so that a planner can list what only one of them asks and probe the others.
        for part in (condition.conditions if isinstance(condition, Together) else (condition,))
    )
    if any(isinstance(condition, Nothing) for condition in some):
        return Nothing()
    return Together(some) if len(some) > 1 else some[0] if some else None


def either(conditions: Iterable[Condition]) -> Condition:
    """At least one of them."""
    some = tuple(dict.fromkeys(each for each in conditions if not isinstance(each, Nothing)))
    return Either(some) if len(some) > 1 else some[0] if some else Nothing()


@dataclass(frozen=True, slots=True)
class Either(Condition):
    """At least one of the conditions, each of which may hold an AND."""

    conditions: tuple[Condition, ...]

    @property
    def is_listable(self) -> bool:
        return all(condition.is_listable for condition in self.conditions)

    def keys(self) -> Sql | None:
        parts = [condition.keys() for condition in self.conditions]
        return None if None in parts else united(part for part in parts if part is not None)

    def probe(self, row: str) -> Sql:
        return Any_(self.conditions).probe(row)


def parameters(condition: Condition | None) -> frozenset[int] | None:
    """The parameters in the index that a condition looks at; None if it looks at anything else as well."""
    match condition:
        case None | Nothing() | Without() | Unrefused() | Unmoved():
            return frozenset()
        case Indexed():
            return frozenset((condition.param, *condition.more))
        case Present():
            return frozenset((condition.param,))
        case OfKnown():
            return frozenset(condition.params)
        case Not(inner) | Of(_, inner):
            return parameters(inner)
        case Both(one, other):
            return _all((one, other))
        case Together(conditions) | Either(conditions) | Any_(conditions):
            return _all(conditions)
    return None


def _all(conditions: Iterable[Condition]) -> frozenset[int] | None:
    found: set[int] = set()
    for condition in conditions:
        own = parameters(condition)
        if own is None:
            return None
        found |= own
    return frozenset(found)


def looked_at_alike(
    sight: Sight,
    type: str,
    one: dict[str, set[tuple[object, ...]]],
    other: dict[str, set[tuple[object, ...]]],
) -> bool:
    """Whether two versions of a resource, given by their rows in the index, look the same to the conditions,
    and `other` has no label that `one` lacks."""
    params = sight.looked_at(type)
    if params is None or (_labels(other) & ~_labels(one)):
        return False
    return all(
        {row for row in one.get(table, ()) if row[0] in params}
        == {row for row in other.get(table, ()) if row[0] in params}
        for table in {*one, *other} - {index.LABELS}
    )


def _labels(rows: dict[str, set[tuple[object, ...]]]) -> int:
    return int(str(next(iter(rows[index.LABELS]))[0])) & SAID
