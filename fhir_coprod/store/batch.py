"""One database transaction that runs several pieces of work in turn, then flushes them into tables.

Each piece of work only remembers what it wants written. The flush writes it all at once, so that the log's
lock is held only briefly. Until then a batch is optimistic: it notes which version of each resource it has
read, and the flush, once it holds the lock, refuses with `Stale` if somebody else has written one of them
meanwhile. The writer then does the work again with the lock held from the start. SQLite always holds its lock
from the start.
"""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from msgspec.structs import force_setattr
from sqlalchemy import Connection

from fhir_coprod.instants import now
from fhir_coprod.store import guarded, index, objections, relations, seals
from fhir_coprod.store.database import Row, Session
from fhir_coprod.store.entries import IndexRows
from fhir_coprod.store.labels import ALL, UNREADABLE
from fhir_coprod.store.quality import Mark, Marks
from fhir_coprod.store.schema import core
from fhir_coprod.store.versions import COLUMNS, Version, from_row

Clock = Callable[[], datetime]
Reference = tuple[str, str]
"""Resource type and id."""
Marked = dict[int, list[Row]]
"""Rows of table quality by the key of their resource."""


_END = (
    "SELECT CASE WHEN v.position > e.last THEN v.position ELSE e.last END, coalesce(v.updated, 0)"
    " FROM (SELECT coalesce(max(last), 0) AS last FROM erased_range) e"
    " LEFT JOIN version v ON v.position = (SELECT max(position) FROM version)"
)
"""The newest position that was ever given, also if what was there is erased, and the time of the newest
version."""


class Stale(Exception):
    """A resource that this batch has read was written by somebody else before the batch held the lock."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest version of one resource as the batch sees it; `key` is 0 until a new one is flushed."""

    version: Version
    key: int


@dataclass(frozen=True, slots=True)
class Pending:
    """A version that a piece of work wants written."""

    version: Version
    received: bytes
    index: IndexRows
    marks: Marks = ()


def _labels(rows: IndexRows) -> int:
    """The number for the column of that name; a deleted resource has no rows, and is restricted most."""
    made = rows.get(index.LABELS)
    return int(next(iter(made))[0]) if made else ALL


def _date(pending: Sequence[Pending], earliest: int) -> None:
    """Let the times of these versions rise, from `earliest` on: it follows that of the newest in the log.

    A version got its time before the lock was held, by the clock of this machine. Others may have written
    meanwhile, their clock may be ahead, and ours may have been set back. A client that asks for what has
    changed since the last time would then miss it.
    """
    latest: dict[Reference, int] = {}
    for entry in pending:
        version = entry.version
        reference = (version.type, version.id)
        earliest = max(earliest, version.milliseconds)
        time = max(earliest, latest.get(reference, 0) + 1)
        if time != version.milliseconds:
            version.date(time)
        earliest = latest[reference] = time


class Batch:
    """What the pieces of work in one transaction share."""

    def __init__(
        self,
        connection: Connection,
        session: Session,
        *,
        locked: bool,
        known_types: Set[str] = frozenset(),
        clock: Clock = now,
    ) -> None:
        self.clock = clock
        self.connection = connection
        self.session = session
        self.locked = locked
        self.latest: dict[Reference, Newest | None] = {}
        """What has been read from the database or flushed into it."""
        self.pending: list[Pending] = []
        """From work that succeeded; not yet in the database."""
        self.notes: list[Any] = []
        """What is to be remembered of work that succeeded, in this transaction."""
        self._read_unlocked: dict[Reference, int] = {}
        self.known_types = known_types
        self.new_types: set[str] = set()
        """Types whose fingerprint this batch has written; others may rely on it once it is committed."""

    def lock(self) -> None:
        """Keep others from writing to the log until this transaction ends."""
        if not self.locked:
            self.session.lock()
            self.locked = True
            self._refuse_stale_reads()

    def held(self, reference: Reference) -> Newest | None:
        """The newest version in the database, deleted or not; None if there never was one."""
        if reference not in self.latest:
            self.fetch([reference])
        return self.latest[reference]

    def fetch(self, references: Iterable[Reference]) -> None:
        """Read many at once, so that `held` need not go to the database for each one."""
        wanted = [reference for reference in references if reference not in self.latest]
        if not wanted:
            return
        for reference in wanted:
            self.latest[reference] = None
        for type in {type for type, _ in wanted}:
            found, values = self.session.of_type(type, [id for its, id in wanted if its == type])
            for row in self.session.rows(
                f"SELECT r.key, {COLUMNS} FROM {found} r JOIN version v ON v.position = r.position", values
            ):
                version = from_row(row[1:])
                self.latest[version.type, version.id] = Newest(version, row[0])
        if not self.locked:
            for reference in wanted:
                held = self.latest[reference]
                self._read_unlocked.setdefault(reference, held.version.version if held else 0)

    def _refuse_stale_reads(self) -> None:
        """Raise Stale unless everything that was read without the lock is still the newest.

        A write may depend on a resource that the work has only read, so the unique key on type, id and
        version, which stops two writers of one resource, is not enough.
        """
        for type in {type for type, _ in self._read_unlocked}:
            ids = [id for its, id in self._read_unlocked if its == type]
            found, values = self.session.of_type(type, ids)
            rows = self.session.rows(f"SELECT r.id, r.version FROM {found} r", values)
            newest: dict[str, int] = {row[0]: row[1] for row in rows}
            if any(newest.get(id, 0) != self._read_unlocked[type, id] for id in ids):
                raise Stale

    def flush(self, pending: list[Pending]) -> None:
        """Assign positions, then write log, received bytes, resources and index. Empties `pending`."""
        if not pending:
            return
        self.lock()
        position, time = self.session.rows(_END)[0]
        _date(pending, time + 1)
        with self.session.together():
            self._write(pending, position)
        self._note_types({entry.version.type for entry in pending})
        pending.clear()

    def _write(self, pending: list[Pending], position: int) -> None:
        """Write after `position`, the newest so far."""
        newest: dict[Reference, Pending] = {}
        created: dict[Reference, int] = {}
        log: list[Row] = []
        received: list[Row] = []
        for entry in pending:
            version = entry.version
            position += 1
            # Handed out before its position was known; nobody outside the writer thread has seen it yet.
            force_setattr(version, "position", position)
            reference = (version.type, version.id)
            held = self.latest.get(reference)
            if not (held and held.key):
                created.setdefault(reference, position)
            newest[reference] = entry
            row = (
                position,
                version.type,
                version.id,
                version.version,
                version.milliseconds,
                version.method,
                version.hash,
                version.source,
                version.body,
            )
            log.append((*row, seals.seal(row)))
            if entry.received:
                received.append((position, entry.received, seals.seal((position, entry.received))))
        self.session.insert(core.version, log)
        if received:
            self.session.insert(core.received, received)
        self._write_resources(newest, created)

    def _write_resources(self, newest: dict[Reference, Pending], created: dict[Reference, int]) -> None:
        session = self.session
        marks = self._marks(newest, created)
        inserted: list[Row] = []
        changed: list[int] = []
        touched: list[relations.Touched] = []
        rows: dict[str, list[Row]] = {}
        for reference, entry in newest.items():
            version = entry.version
            key = created.get(reference) or self._key(reference)
            state = (version.version, version.position, version.milliseconds, version.deleted)
            seal = seals.of_marks(marks.get(key, ()))
            own_labels = _labels(entry.index)
            if reference in created:
                inserted.append((key, version.type, version.id, *state, seal, own_labels, 0, 0))
            else:
                changed.append(key)
                session.run(
                    "UPDATE resource SET version = ?, position = ?, updated = ?, deleted = ?, marks = ?,"
                    " labels = ? WHERE key = ?",
                    (*state, seal, own_labels, key),
                )
            self.latest[reference] = Newest(version, key)
            touched.append((key, *reference))
            for name, values in entry.index.items():
                if values:
                    rows.setdefault(name, []).extend([(key, *value) for value in values])
        if inserted:
            session.insert(core.resource, inserted)
        self._write_index(changed, rows, touched)
        if marks:
            session.insert(core.quality, [row for own in marks.values() for row in own])

    def _write_index(
        self,
        changed: list[int],
        rows: dict[str, list[Row]],
        touched: Sequence[relations.Touched],
        *,
        is_same: bool = True,
    ) -> None:
        made = rows.get(core.reference.name, ())
        following = relations.Following(self.session, touched, made, is_same=is_same)
        refusing = objections.Following(self.session, touched)
        if changed:
            condition, keys = self.session.among("key", changed)
            for table in core.INDEX_TABLES:
                self.session.run(f"DELETE FROM {table.name} WHERE {condition}", keys)
        for table in core.INDEX_TABLES:
            if rows.get(table.name):
                self.session.insert(table, rows[table.name])
        following.follow()
        refusing.follow()

    def _marks(self, newest: Mapping[Reference, Pending], created: Mapping[Reference, int]) -> Marked:
        """Take away the marks that these resources have, and return the rows of the new ones by key.

        A fault that an earlier version had too keeps its time.
        """
        since: dict[tuple[int, str, str], int] = {}
        changed = [self._key(reference) for reference in newest if reference not in created]
        if changed:
            condition, keys = self.session.among("key", changed)
            held = self.session.rows(
                f"DELETE FROM quality WHERE {condition} RETURNING key, element, rule, since", keys
            )
            since = {(key, element, rule): time for key, element, rule, time in held}
        found: Marked = {}
        for reference, entry in newest.items():
            if entry.marks:
                key, version = created.get(reference) or self._key(reference), entry.version
                for rule, element, message, source in entry.marks:
                    time = since.get((key, element, rule), version.milliseconds)
                    row = (key, element, rule, version.type, version.version, time, source, message)
                    found.setdefault(key, []).append(row)
        return found

    def marks(self, reference: Reference) -> Marks:
        """The marks of the newest version that is in the database."""
        held = self.held(reference)
        if held is None or not held.key:
            return ()
        rows = self.session.rows(
            "SELECT rule, element, message, source FROM quality WHERE key = ? ORDER BY element, rule",
            (held.key,),
        )
        return tuple(Mark(*row) for row in rows)

    def remark(self, judged: Sequence[tuple[Version, Marks]]) -> None:
        """See `Transaction.remark`."""
        newest = {
            (version.type, version.id): Pending(version, b"", {}, marks)
            for version, marks in judged
            if (held := self.held((version.type, version.id))) and held.version.version == version.version
        }
        self.rewrite_marks(self._marks(newest, {}), [self._key(reference) for reference in newest])

    def rewrite_marks(self, marks: Marked, keys: Sequence[int]) -> None:
        """Write the marks of these resources, which have none in the table now."""
        for key in keys:
            seal = seals.of_marks(marks.get(key, ()))
            self.session.run("UPDATE resource SET marks = ? WHERE key = ?", (seal, key))
        if marks:
            self.session.insert(core.quality, [row for own in marks.values() for row in own])

    def _note_types(self, types: set[str]) -> None:
        """Remember by which definitions the first rows of a type were made (see `reindex.py`)."""
        for type in types - self.known_types:
            guarded.put_new(self.connection, core.setting, (f"index:{type}", index.fingerprint(type)))
            self.new_types.add(type)

    def replace_index(self, made: Sequence[tuple[int, int, IndexRows]]) -> None:
        """See `Transaction.replace_index`."""
        if not made:
            return
        condition, values = self.session.among("key", [key for key, _, _ in made])
        found = self.session.rows(
            f"SELECT key, version, type, id FROM resource WHERE deleted = false AND {condition}", values
        )
        newest = {row[0]: row[1] for row in found}
        current = [(key, own) for key, version, own in made if newest.get(key) == version]
        rows: dict[str, list[Row]] = {}
        for key, own in current:
            # A meta that was no object is not in what is stored: only the row still tells of it.
            number = _labels(own)
            self.session.run(
                "UPDATE resource SET labels = CASE WHEN labels = ? THEN ? ELSE (labels & ?) | ? END"
                " WHERE key = ?",
                (ALL, number, UNREADABLE, number, key),
            )
            for name, those in own.items():
                rows.setdefault(name, []).extend((key, *one) for one in those)
        keys = [key for key, _ in current]
        replaced = frozenset(keys)
        touched = [(row[0], row[2], row[3]) for row in found if row[0] in replaced]
        # Those of table relation may be missing where the index itself is as it should be.
        self._write_index(keys, rows, touched, is_same=False)

    def _key(self, reference: Reference) -> int:
        held = self.latest[reference]
        assert held is not None
        return held.key
