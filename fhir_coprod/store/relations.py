"""Keeps table relation: which departments have sent or received a referral, and whose referral it is.

A ServiceRequest has a row for each Organization that is its requester or performer, or requester or owner of
a Task whose focus it is; a Task for each that is its requester or owner. A PractitionerRole,
HealthcareService or Location stands for the Organization that it belongs to. So whether a department knows a
patient is one look into an index, however many orders the patient has and however many roles the department.

The rows are made of those in `reference`, in the transaction that writes these. A lost row opens nothing.
"""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from fhir_coprod.store import index
from fhir_coprod.store.database import Session
from fhir_coprod.store.schema import core

Row = tuple[int, str, str]
"""Key of a ServiceRequest or Task, id of an Organization, id of a Patient or ""."""
Touched = tuple[int, str, str]
"""Key, type and id of a resource."""
KEPT: Final = frozenset({"ServiceRequest", "Task"})
"""The types that have rows."""
BELONGING: Final[Mapping[str, str]] = {
    "PractitionerRole": "organization",
    "HealthcareService": "organization",
    "Location": "organization",
}
"""What stands for an Organization, and the parameter that leads to it."""
_AT_ONCE: Final = 400


@cache
def _named() -> tuple[int, ...]:
    """The parameters that name the parties of a referral."""
    return (
        index.number("ServiceRequest", "requester"),
        index.number("ServiceRequest", "performer"),
        *_of_task(),
    )


@cache
def _of_task() -> tuple[int, ...]:
    return index.number("Task", "requester"), index.number("Task", "owner")


@cache
def _patients() -> tuple[int, ...]:
    return index.number("ServiceRequest", "subject"), index.number("Task", "subject")


def looked_at(type: str) -> frozenset[int]:
    """The parameters of a type that its rows depend on."""
    focus = {index.number("Task", "focus")} if type == "Task" else set()
    return frozenset({*_named(), *_patients(), *focus})


class Following:
    """Makes the rows of table relation follow a change of the index; made before the change.

    made: the rows that table reference is about to get for the touched resources
    is_same: whether what has the same rows there as before needs no others here
    """

    def __init__(
        self,
        session: Session,
        touched: Iterable[Touched],
        made: Sequence[tuple[Any, ...]],
        *,
        is_same: bool = True,
    ) -> None:
        self._session = session
        self._own: list[int] = []
        self._roles: list[Touched] = []
        for one in touched:
            if one[1] in KEPT:
                self._own.append(one[0])
            elif one[1] in BELONGING:
                self._roles.append(one)
        self._is_same = is_same
        self._before = self._names()
        self._made = _by_key(made, set(self._own)) if self._own else {}
        self._belonged = self._belongs()

    def follow(self) -> None:
        """The rows of the index are written: write those that depend on them."""
        if not self._own and not self._roles:
            return
        before, after = self._before, self._made
        changed = [
            key for key in self._own if not self._is_same or before.get(key, set()) != after.get(key, set())
        ]
        named = {row for key in changed for row in before.get(key, set()) | after.get(key, set())}
        focus = index.number("Task", "focus")
        orders = {id for param, id, type in named if param == focus and type == "ServiceRequest"}
        belongs = self._belongs()
        moved = [one for one in self._roles if belongs.get(one[0]) != self._belonged.get(one[0])]
        naming = self._naming(moved)
        keys = {*changed, *self._keys(orders), *naming, *self._focus(naming)}
        rewrite(self._session, sorted(keys))

    def _names(self) -> dict[int, set[tuple[int, str, str]]]:
        """What the referrals name as long as the index is as it was."""
        rows: list[tuple[Any, ...]] = []
        params, numbers = self._session.among("param", _looked_at())
        for some in _portions(self._own):
            condition, values = self._session.among("key", some)
            rows += self._session.rows(
                f"SELECT key, param, target_id, target_type FROM reference WHERE {condition} AND {params}",
                [*values, *numbers],
            )
        return _by_key(rows, set(self._own))

    def _keys(self, orders: Iterable[str]) -> list[int]:
        found: list[int] = []
        for some in _portions(sorted(orders)):
            condition, values = self._session.of_type("ServiceRequest", some)
            found += (row[0] for row in self._session.rows(f"SELECT r.key FROM {condition} r", values))
        return found

    def _focus(self, keys: Sequence[int]) -> list[int]:
        """The keys of the ServiceRequests that these Tasks are about."""
        found: list[int] = []
        for some in _portions(keys):
            condition, values = self._session.among("f.key", some)
            rows = self._session.rows(
                "SELECT s.key FROM reference f"
                " JOIN resource s ON s.type = f.target_type AND s.id = f.target_id"
                f" WHERE {condition} AND f.param = ? AND f.target_type = 'ServiceRequest'",
                [*values, index.number("Task", "focus")],
            )
            found += (row[0] for row in rows)
        return found

    def _belongs(self) -> dict[int, set[str]]:
        found: dict[int, set[str]] = defaultdict(set)
        numbers = [index.number(type, code) for type, code in BELONGING.items()]
        for some in _portions([key for key, _, _ in self._roles]):
            condition, values = self._session.among("key", some)
            params, wanted = self._session.among("param", numbers)
            for key, id in self._session.rows(
                f"SELECT key, target_id FROM reference WHERE {condition} AND {params}"
                " AND target_type = 'Organization'",
                [*values, *wanted],
            ):
                found[key].add(id)
        return dict(found)

    def _naming(self, roles: Sequence[Touched]) -> list[int]:
        """The keys of the referrals that name these roles."""
        found: list[int] = []
        for some in _portions(roles):
            condition, values = self._session.among("target_id", [id for _, _, id in some])
            types, names = self._session.among("target_type", sorted({type for _, type, _ in some}))
            for param in _named():
                rows = self._session.rows(
                    f"SELECT key FROM reference WHERE param = ? AND {condition} AND {types}",
                    [param, *values, *names],
                )
                found += (row[0] for row in rows)
        return found


def rewrite(session: Session, keys: Sequence[int]) -> None:
    """Make the rows of these ServiceRequests and Tasks anew."""
    for some in _portions(keys):
        held, should = present(session, some), wanted(session, some)
        differing = {row[0] for row in held ^ should}
        if gone := sorted({row[0] for row in held if row[0] in differing}):
            condition, values = session.among("key", gone)
            session.run(f"DELETE FROM relation WHERE {condition}", values)
        if rows := sorted(row for row in should if row[0] in differing):
            session.insert(core.relation, rows)


def present(session: Session, keys: Sequence[int]) -> set[Row]:
    """The rows that these keys have."""
    condition, values = session.among("key", keys)
    rows = session.rows(f"SELECT key, party, patient FROM relation WHERE {condition}", values)
    return {(row[0], row[1], row[2]) for row in rows}


def wanted(session: Session, keys: Sequence[int]) -> set[Row]:
    """The rows that these keys should have, by the rows of the index."""
    if not keys:
        return set()
    parties: dict[int, set[tuple[str, str]]] = defaultdict(set)
    own, values = session.among("f.key", keys)
    named, numbers = session.among("f.param", _named())
    kinds, types = session.among("f.target_type", ("Organization", *BELONGING))
    for key, type, id in session.rows(
        f"SELECT f.key, f.target_type, f.target_id FROM reference f WHERE {own} AND {named} AND {kinds}",
        [*values, *numbers, *types],
    ):
        parties[key].add((type, id))
    these, values = session.among("s.key", keys)
    named, numbers = session.among("f.param", _of_task())
    for key, type, id in session.rows(
        "SELECT s.key, f.target_type, f.target_id FROM resource s"
        " CROSS JOIN reference t CROSS JOIN reference f"
        f" WHERE {these} AND s.type = 'ServiceRequest' AND s.deleted = false"
        " AND t.param = ? AND t.target_id = s.id AND t.target_type = s.type"
        f" AND f.key = t.key AND {named} AND {kinds}",
        [*values, index.number("Task", "focus"), *numbers, *types],
    ):
        parties[key].add((type, id))
    organizations = _organizations(session, set().union(*parties.values()))
    patients = _patients_of(session, keys)
    return {
        (key, organization, patient)
        for key, named_by in parties.items()
        for party in named_by
        for organization in organizations.get(party, ())
        for patient in patients.get(key, ("",))
    }


def _organizations(session: Session, parties: set[tuple[str, str]]) -> dict[tuple[str, str], set[str]]:
    """The Organizations that parties are or belong to."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for type, id in parties:
        if type == "Organization":
            found[type, id].add(id)
    for type, code in BELONGING.items():
        for some in _portions(sorted(id for its, id in parties if its == type)):
            roles, values = session.of_type(type, some)
            for id, organization in session.rows(
                f"SELECT r.id, f.target_id FROM {roles} r JOIN reference f ON f.key = r.key"
                " WHERE r.deleted = false AND f.param = ? AND f.target_type = 'Organization'",
                [*values, index.number(type, code)],
            ):
                found[type, id].add(organization)
    return found


def _patients_of(session: Session, keys: Sequence[int]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    own, values = session.among("key", keys)
    params, numbers = session.among("param", _patients())
    for key, id in session.rows(
        f"SELECT key, target_id FROM reference WHERE {own} AND {params} AND target_type = 'Patient'",
        [*values, *numbers],
    ):
        found[key].add(id)
    return found


@cache
def _looked_at() -> tuple[int, ...]:
    return tuple(sorted(looked_at("Task") | looked_at("ServiceRequest")))


def _by_key(rows: Iterable[tuple[Any, ...]], keys: set[int]) -> dict[int, set[tuple[int, str, str]]]:
    """Rows of table reference that referrals depend on, by the keys of these."""
    params = frozenset(_looked_at())
    found: dict[int, set[tuple[int, str, str]]] = {}
    for key, param, id, type in rows:
        if key in keys and param in params:
            found.setdefault(key, set()).add((param, id, type))
    return found


def _portions(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]
