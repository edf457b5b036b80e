"""Looks at each resource: whether it points to its newest version, and whether the rows of the search index
and the marks beside it are those that its body makes."""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

from fhir_coprod import jsontext
from fhir_coprod.errors import CoprodError
from fhir_coprod.jsontext import Document, Json
from fhir_coprod.store import index, objections, quality, relations, seals
from fhir_coprod.store.database import Session
from fhir_coprod.store.entering import judge
from fhir_coprod.store.entries import IndexRows
from fhir_coprod.store.labels import ALL, UNREADABLE
from fhir_coprod.store.schema import core
from fhir_coprod.store.soundness.faults import Fault, Mend, Portion, cut
from fhir_coprod.store.soundness.log import restored
from fhir_coprod.store.transaction import Transaction
from fhir_coprod.validation import validate_document

PORTION = 300
POINTERS = 2000
MOST_BYTES = 10_000_000
LAST = 2**63 - 1

_SIZES = (
    "SELECT r.key, coalesce(length(v.body), 0) FROM resource r LEFT JOIN version v ON v.position = r.position"
    " WHERE r.key > ? ORDER BY r.key LIMIT ?"
)
_ROWS = (
    "SELECT r.key, r.type, r.id, r.version, r.position, r.updated, r.deleted, r.marks, r.labels,"
    " v.position, v.updated, v.method, v.body, v.source, f.position, n.position"
    " FROM resource r"
    " LEFT JOIN version v ON v.position = r.position AND v.type = r.type AND v.id = r.id"
    " AND v.version = r.version"
    " LEFT JOIN version f ON f.type = r.type AND f.id = r.id AND f.version = 1"
    " LEFT JOIN version n ON n.type = r.type AND n.id = r.id AND n.version = r.version + 1"
    " WHERE r.key > ? AND r.key <= ? ORDER BY r.key"
)
_POINTERS = _ROWS.replace("v.body, v.source", "'', ''").replace(
    "AND r.key <= ? ORDER BY r.key", "ORDER BY r.key LIMIT ?"
)
_NEWEST = "SELECT version, position FROM version WHERE type = ? AND id = ? ORDER BY version DESC LIMIT 1"


class _Found(NamedTuple):
    key: int
    type: str
    id: str
    version: int
    position: int
    updated: int
    deleted: bool
    marks: int | None
    labels: int
    at: int | None
    at_updated: int | None
    method: str | None
    body: bytes | None
    source: str | None
    first: int | None
    following: int | None

    @property
    def is_whole(self) -> bool:
        """Whether the row fits the log."""
        return (
            self.at is not None
            and self.following is None
            and self.first in (self.key, None)
            and (self.updated, bool(self.deleted)) == (self.at_updated, self.method == "delete")
        )

    @property
    def reference(self) -> str:
        return f"{self.type}/{self.id}"


class Pointers:
    """The part of the check about the table resource: each row against the log.

    It comes before the next one, which takes rows of the index and marks away that belong to no resource.
    """

    name = "resources"

    def __init__(self, head: int) -> None:
        self._head = head

    def portion(self, session: Session, after: int) -> Portion:
        rows = session.rows(_POINTERS, (after, POINTERS))
        found = [_Found(*row) for row in rows]
        last = found[-1].key if found else None
        portion = Portion([], [], last, min(max(last or 0, 0) / max(self._head, 1), 1.0))
        for one in found:
            self._pointer(session, one, portion)
        return portion

    def _pointer(self, session: Session, one: _Found, portion: Portion) -> None:
        if one.is_whole:
            return
        newest = session.rows(_NEWEST, (one.type, one.id))
        # Two of them agree, so the third is wrong: the row, not the log.
        if one.at is not None or (
            newest
            and (newest[0][0] >= one.version or newest[0][1] == one.position or self._has(session, one))
        ):
            portion.faults.append(Fault("resource", one.reference, "does not point to its newest version"))
            portion.mends.append(restored(one.type, one.id))
        else:
            portion.faults.append(Fault("resource-lost", f"{one.reference}/_history/{one.version}"))

    def _has(self, session: Session, one: _Found) -> bool:
        """Whether the log has what is at the position where this resource should be, so that nothing is lost
        there."""
        return bool(session.rows("SELECT 1 FROM version WHERE position = ?", (one.position,)))


class Resources:
    """The part of the check about the table quality and the search index."""

    name = "search index"

    def __init__(self, head: int, stale: Sequence[str]) -> None:
        self._head = head
        self._stale = frozenset(stale)

    def portion(self, session: Session, after: int) -> Portion:
        sizes = [(key, size) for key, size in session.rows(_SIZES, (after, PORTION))]
        keys = list(cut(sizes, MOST_BYTES))
        # After the last resource there may still be rows that belong to none.
        last = keys[-1] if keys else LAST
        found = [_Found(*row) for row in session.rows(_ROWS, (after, last))] if keys else []
        rows = {table.name: _by_key(session, table.name, after, last) for table in core.INDEX_TABLES}
        marks = _by_key(session, "quality", after, last)
        portion = Portion([], [], last if keys else None, min(max(last, 0) / max(self._head, 1), 1.0))
        for one in found:
            own = {name: held.pop(one.key, set()) for name, held in rows.items()}
            its_marks = marks.pop(one.key, set())
            if not one.is_whole:
                continue  # what its rows should be can be said once it points to its newest version
            data = _data(one.body) if not one.deleted else {}
            if data is None:
                continue  # the log tells of it
            self._marks(session, one, its_marks, data, portion)
            self._index(one, own, its_marks, data, portion)
        _orphans(rows, marks, portion)
        if not self._stale & {*relations.KEPT, *relations.BELONGING}:
            _relations(session, found, after, last, portion)
        if not self._stale & objections.KEPT:
            _objections(session, found, portion)
        return portion

    def _index(
        self,
        one: _Found,
        own: dict[str, set[tuple[Any, ...]]],
        marks: set[tuple[Any, ...]],
        data: Json,
        portion: Portion,
    ) -> None:
        if one.type in self._stale and not one.deleted:
            return
        is_sound = one.marks == seals.NONE if one.marks is not None else not marks
        wanted = _rows(one, data, is_sound=is_sound)
        if _differing(wanted, own) and is_sound and not one.deleted:
            # Its marks may have gone since: by newer rules it is sound, which makes no new rows.
            other = _rows(one, data, is_sound=False)
            wanted = wanted if _differing(other, own) else other
        differing = _differing(wanted, own)
        number = ALL if one.deleted else next(iter(wanted[index.LABELS]))[0]
        if one.labels not in (number, number | UNREADABLE):
            differing.append("labels: others")
        if differing:
            portion.faults.append(Fault("index", one.reference, ", ".join(differing)))
            portion.mends.append(_reindexed(one, data, is_sound=is_sound))

    def _marks(
        self, session: Session, one: _Found, held: set[tuple[Any, ...]], data: Json, portion: Portion
    ) -> None:
        fitting = all(row[3] == one.type and row[4] == one.version for row in held)
        if one.marks is None:
            if not fitting or (one.deleted and held):
                portion.faults.append(Fault("marks-lost", one.reference))
            else:
                portion.mends.append(_sealed(one, held))
            return
        if seals.of_marks(held) == one.marks:
            return
        if one.marks == seals.NONE:
            portion.faults.append(Fault("marks", one.reference, "has some, and should have none"))
            portion.mends.append(_marked(one, ()))
            return
        better = _marks_again(session, one, held, data)
        portion.faults.append(Fault("marks" if better else "marks-lost", one.reference))
        if better:
            portion.mends.append(_marked(one, better))


def _by_key(session: Session, table: str, after: int, last: int) -> dict[int, set[tuple[Any, ...]]]:
    found: dict[int, set[tuple[Any, ...]]] = {}
    for row in session.rows(f"SELECT * FROM {table} WHERE key > ? AND key <= ?", (after, last)):
        found.setdefault(row[0], set()).add(tuple(row))
    return found


def _data(body: bytes | None) -> Json | None:
    try:
        data = jsontext.decode(body or b"")
    except (CoprodError, TypeError, UnicodeDecodeError):
        return None
    return data if isinstance(data, dict) else None


def _rows(one: _Found, data: Json, *, is_sound: bool) -> IndexRows:
    """The rows that a resource should have; empty when it is deleted."""
    return {} if one.deleted else index.rows(one.type, data, is_sound=is_sound)


def _differing(wanted: IndexRows, own: dict[str, set[tuple[Any, ...]]]) -> list[str]:
    """What is wrong in each table, such as "token: 2 missing"."""
    found = []
    for table in core.INDEX_TABLES:
        held = {row[1:] for row in own[table.name]}
        should = wanted.get(table.name, set())
        if held != should:
            numbers = ((len(should - held), "missing"), (len(held - should), "too many"))
            found.append(f"{table.name}: " + " and ".join(f"{n} {what}" for n, what in numbers if n))
    return found


def _reindexed(one: _Found, data: Json, *, is_sound: bool) -> Mend:
    rows = _rows(one, data, is_sound=is_sound)

    def mend(transaction: Transaction) -> None:
        if one.deleted:
            _without(transaction, one.key)
            transaction.session.run(
                "UPDATE resource SET labels = ? WHERE key = ? AND deleted = true", (ALL, one.key)
            )
        else:
            transaction.replace_index([(one.key, one.version, rows)])

    return mend


def _without(transaction: Transaction, key: int) -> None:
    """Delete the rows of the search index and the marks at a key, unless a living resource has it by now."""
    session = transaction.session
    if not session.rows("SELECT 1 FROM resource WHERE key = ? AND deleted = false", (key,)):
        for table in (*core.INDEX_TABLES, core.quality):
            session.run(f"DELETE FROM {table.name} WHERE key = ?", (key,))


def _relations(session: Session, found: Sequence[_Found], after: int, last: int, portion: Portion) -> None:
    """Which departments know of each referral, by the rows of the index, also where these are at fault."""
    referrals = [one.key for one in found if one.type in relations.KEPT]
    held = {row for rows in _by_key(session, core.relation.name, after, last).values() for row in rows}
    should = {row for some in _portions(referrals) for row in relations.wanted(session, some)}
    names = {one.key: one.reference for one in found}
    keys = sorted({row[0] for row in held ^ should})
    for key in keys:
        portion.faults.append(Fault("relation", names.get(key, f"key {key}")))

    def mend(transaction: Transaction) -> None:
        transaction.lock()
        relations.rewrite(transaction.session, keys)

    if keys:
        portion.mends.append(mend)


def _objections(session: Session, found: Sequence[_Found], portion: Portion) -> None:
    """Whether the rows of each patient's objections are those of their Consents, and as many as their row
    says."""
    own = [one.id for one in found if one.type == "Patient" and one.is_whole]
    if not own:
        return
    should = objections.wanted(session, own)
    held = objections.present(session, own)
    types, values = session.of_type("Patient", own)
    counts: dict[str, int] = dict(session.rows(f"SELECT r.id, r.objections FROM {types} r", values))
    wrong = [
        id
        for id in own
        if held.get(id, set()) != should[id] or counts.get(id, len(should[id])) != len(should[id])
    ]
    portion.faults.extend(Fault("objection", f"Patient/{id}") for id in wrong)

    def mend(transaction: Transaction) -> None:
        transaction.lock()
        objections.rewrite(transaction.session, wrong)

    if wrong:
        portion.mends.append(mend)


def _portions(keys: Sequence[int]) -> Iterable[Sequence[int]]:
    return (keys[start : start + PORTION] for start in range(0, len(keys), PORTION))


def _orphans(
    rows: dict[str, dict[int, set[tuple[Any, ...]]]],
    marks: dict[int, set[tuple[Any, ...]]],
    portion: Portion,
) -> None:
    keys = set(marks).union(*rows.values())
    for key in sorted(keys):
        counts = {name: len(held[key]) for name, held in rows.items() if key in held}
        if counts:
            why = ", ".join(f"{name}: {count}" for name, count in counts.items())
            portion.faults.append(Fault("index-orphan", f"key {key}", why))
        if key in marks:
            portion.faults.append(Fault("marks-orphan", f"key {key}", f"{len(marks[key])}"))

    def mend(transaction: Transaction) -> None:
        for key in sorted(keys):
            _without(transaction, key)

    if keys:
        portion.mends.append(mend)


# --------------------------------------------------------------------------------------------- marks


def _marks_again(
    session: Session, one: _Found, held: Iterable[tuple[Any, ...]], data: Json
) -> list[tuple[Any, ...]] | None:
    """The marks as they were, made by judging the resource again; None if they do not come out the same.

    The seal tells. Since when a fault is there, and whose it is, is tried: it is the time of some version.
    """
    document = Document(one.body or b"", data)
    verdicts = [quality.marks(judge(document)), quality.marks(validate_document(document))]
    times = session.rows(
        "SELECT updated, source FROM version WHERE type = ? AND id = ? ORDER BY version DESC LIMIT 50",
        (one.type, one.id),
    )
    kept = {(row[1], row[2]): row for row in held}
    sources = {source if source.startswith("ehr:") else "" for _, source in times} | {""}
    for verdict, (time, _), source in product(verdicts, times, sorted(sources)):
        own = (one.type, one.version, time, source)
        again = [(one.key, mark.element, mark.rule, *own[:3], source, mark.message) for mark in verdict]
        beside = [kept.get((row[1], row[2]), row) for row in again]
        for rows in (beside, again):
            if seals.of_marks(rows) == one.marks:
                return rows
    return None


def _marked(one: _Found, rows: Sequence[tuple[Any, ...]]) -> Mend:
    def mend(transaction: Transaction) -> None:
        session = transaction.session
        if session.rows("SELECT 1 FROM resource WHERE key = ? AND version = ?", (one.key, one.version)):
            session.run("DELETE FROM quality WHERE key = ?", (one.key,))
            if rows:
                session.insert(core.quality, list(rows))

    return mend


def _sealed(one: _Found, held: set[tuple[Any, ...]]) -> Mend:
    """Add the seal of the marks of a resource that an older version of the program stored."""

    def mend(transaction: Transaction) -> None:
        transaction.session.run(
            "UPDATE resource SET marks = ? WHERE key = ? AND version = ? AND marks IS NULL",
            (seals.of_marks(held), one.key, one.version),
        )

    return mend
