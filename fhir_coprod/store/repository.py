"""`Store`: reads, searches and writes resources and their versions, on SQLite or PostgreSQL."""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

import msgspec
import sqlalchemy
from sqlalchemy import Connection

from fhir_coprod import definitions
from fhir_coprod.errors import CoprodError, Damaged, Gone, NotFound, NotJson
from fhir_coprod.instants import now, to_milliseconds
from fhir_coprod.store import opening, quality, reindex, seeing
from fhir_coprod.store.batch import Clock
from fhir_coprod.store.condition import Condition, Watcher
from fhir_coprod.store.database import DAMAGED, PATIENCE, Database, Patience, Session, last_given
from fhir_coprod.store.gathering import Gathering
from fhir_coprod.store.postgresql import PostgresqlDatabase
from fhir_coprod.store.quality import Fault
from fhir_coprod.store.room import MOST, Room
from fhir_coprod.store.search import run
from fhir_coprod.store.search.query import Query
from fhir_coprod.store.search.run import Page, within
from fhir_coprod.store.search.sight import Sight
from fhir_coprod.store.soundness.glance import glance
from fhir_coprod.store.transaction import Transaction
from fhir_coprod.store.versions import COLUMNS, Version, from_row
from fhir_coprod.store.writer import Keep, Writer

T = TypeVar("T")

_READ = (
    f"SELECT {COLUMNS} FROM resource r JOIN version v ON v.position = r.position"
    " WHERE r.type = ? AND r.id = ?"
)
_VREAD = f"SELECT {COLUMNS} FROM version v WHERE v.type = ? AND v.id = ? AND v.version = ?"
_MARKED = (
    f"SELECT r.key, {COLUMNS} FROM (SELECT DISTINCT key FROM quality WHERE key > ? ORDER BY key LIMIT ?) q"
    " JOIN resource r ON r.key = q.key JOIN version v ON v.position = r.position ORDER BY r.key"
)
_CHANGES = f"SELECT {COLUMNS} FROM version v WHERE v.position > ? ORDER BY v.position LIMIT ?"
_SKEW_MILLISECONDS = 5_000


_CURRENT = (
    "v.updated < ? AND (v.method <> 'delete' OR v.updated >= ?) AND NOT EXISTS (SELECT 1 FROM version n"
    " WHERE n.type = v.type AND n.id = v.id AND n.version = v.version + 1 AND n.updated <= ?)"
)
_REVIVED = (
    "SELECT v.position FROM version v JOIN version p ON p.type = v.type AND p.id = v.id"
    " AND p.version = v.version - 1 WHERE p.method = 'delete' AND "
)


class Past(NamedTuple):
    """A page of history, newest first, and whether more follows.

    revived: positions of the versions that follow a deletion
    after:   the position after which the next page begins; None if there is none
    """

    versions: list[Version]
    more: bool
    revived: frozenset[int] = frozenset()
    after: int | None = None


def _revived(session: Session, versions: Sequence[Version]) -> frozenset[int]:
    later = [version.position for version in versions if version.version > 2 and not version.deleted]
    if not later:
        return frozenset()
    condition, values = session.among("v.position", later)
    return frozenset(row[0] for row in session.rows(_REVIVED + condition, values))


def living(type: str, id: str, version: Version | None) -> Version:
    """The newest version for a read. Raises NotFound, or Gone when the resource was deleted."""
    if version is None:
        raise NotFound(f"There is no {type}/{id}.")
    if version.deleted:
        raise Gone(f"{type}/{id} was deleted; earlier versions are in its history.")
    return version


class Store:
    """Thread-safe. Reads run in the caller's thread; writes go to one writer thread (`writer.py`)."""

    def __init__(self, base: Database, clock: Clock = now) -> None:
        self._database = base
        self._writer = Writer(base, clock)
        self._reindexing: reindex.Background | None = None
        self._watcher = Watcher(base, self._writer)

    @classmethod
    def open(cls, url: str, patience: Patience = PATIENCE, clock: Clock = now) -> Store:
        """Open `sqlite:///path.db` or `postgresql://…`, creating or migrating the schema.

        clock: the time of what is written, aware UTC, whole milliseconds

        Raises ConfigError with a sentence when that is not possible, and Damaged when a glance shows that it
        is not safe.
        """
        base = opening.connect(url, patience)
        opening.prepare(base)
        try:
            glance(base)
        except CoprodError:
            base.close()
            raise
        return cls(base, clock)._with_current_index()

    def _with_current_index(self) -> Store:
        if reindex.stale(self._database):
            self._reindexing = reindex.Background(self._writer, self._database)
        return self

    def reindex(self, progress: reindex.Progress = lambda type, count: None) -> None:
        """Return once the search index matches today's definitions."""
        if self._reindexing is not None:
            self._reindexing.close()
        reindex.run(self._writer, self._database, progress, threading.Event())

    def close(self) -> None:
        """Finish queued writes and close all connections."""
        if self._reindexing is not None:
            self._reindexing.close()
        self._writer.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------- reading

    def read(self, type: str, id: str) -> Version:
        """The newest version. Raises NotFound, or Gone when the resource was deleted."""
        rows = self._database.read(_READ, (type, id))
        return living(type, id, from_row(rows[0]) if rows else None)

    def read_seen(self, type: str, id: str, sight: Sight) -> Version:
        """The newest version, if it is in sight. Raises NotFound of what is not, as of what never was."""
        sql, values = seeing.one_query(sight, type)
        rows = self._database.read(sql, (type, id, *values))
        return living(type, id, from_row(rows[0]) if rows else None)

    def seen(self, sight: Sight | None, references: Iterable[str]) -> frozenset[str]:
        """Which of these references (`Type/id`) lead to what is in sight."""
        return self._database.ask(lambda session: seeing.references(session, sight, references))

    def newest(self, type: str, ids: Sequence[str]) -> dict[str, Version]:
        """The newest versions, deleted or not, of those ids that there ever were."""

        def look(session: Session) -> list[Version]:
            found, values = session.of_type(type, ids)
            return [
                from_row(row)
                for row in session.rows(
                    f"SELECT {COLUMNS} FROM {found} r JOIN version v ON v.position = r.position", values
                )
            ]

        return {version.id: version for version in self._database.ask(look)} if ids else {}

    def gathering(self, seconds: float) -> Gathering | None:
        """A reader for an event loop, where it is faster than `read` in threads; each read takes at most so
        many seconds. None on SQLite, where a read never waits."""
        base = self._database
        return Gathering(base, seconds) if isinstance(base, PostgresqlDatabase) else None

    def vread(self, type: str, id: str, version: int, sight: Sight | None = None) -> Version:
        """One version. Raises NotFound, or Gone when that version is the deletion.

        sight: what the caller may see; a version that is not shown is as if it had never been
        """

        def look(session: Session) -> list[Version]:
            rows = session.rows(_VREAD, (type, id, version)) if 0 < version < 2**62 else []
            found = [from_row(row) for row in rows]
            return found if sight is None else seeing.shown(session, sight, found)

        versions = self._database.ask(look)
        if not versions:
            raise NotFound(f"There is no version {version} of {type}/{id}.")
        found = versions[0]
        if found.deleted:
            raise Gone(f"Version {version} of {type}/{id} is its deletion; ask for an earlier one.")
        return found

    def received(self, type: str, id: str, version: int) -> bytes:
        """The bytes from which a version was made, exactly as received. Raises NotFound."""
        rows = self._database.read(
            "SELECT x.body FROM version v JOIN received x ON x.position = v.position"
            " WHERE v.type = ? AND v.id = ? AND v.version = ?",
            (type, id, version),
        )
        if not rows:
            raise NotFound(f"Nothing was received for version {version} of {type}/{id}.")
        return bytes(rows[0][0])

    def history(
        self,
        type: str | None = None,
        id: str | None = None,
        *,
        since: datetime | None = None,
        before: int | None = None,
        count: int = 100,
    ) -> list[Version]:
        """Versions, newest first and with deletions: of one resource, one type, or all.

        since:  only versions made at or after this time
        before: only versions at a smaller position; for the next page, give the position of the last one
        """
        return self.history_page(type, id, since=since, before=before, count=count).versions

    def history_page(
        self,
        type: str | None = None,
        id: str | None = None,
        *,
        since: datetime | None = None,
        at: tuple[int, int] | None = None,
        before: int | None = None,
        count: int = 100,
        most_bytes: int = MOST,
        sight: Sight | None = None,
    ) -> Past:
        """The same as a page: as many versions as fit into so many bytes.

        at: only versions that were current at some time from this millisecond on, and before that one
        sight: what the caller may see. Only of resources that are in sight now there are versions then, and
            none that may not be shown; a page may hold fewer than asked for
        """
        conditions: list[str] = []
        values: list[object] = []
        source = "version v"
        if sight is not None:
            limit = within(sight, (type,) if type else definitions.resource_types(), "r")
            source += " CROSS JOIN resource r"
            conditions.append(
                f"r.type = v.type AND r.id = v.id AND r.deleted = false AND v.method <> 'delete'{limit.text}"
            )
            values += limit.values
        for column, operator, value in (
            ("type", "=", type),
            ("id", "=", id),
            ("updated", ">=", to_milliseconds(since) if since else None),
            ("position", "<", before),
        ):
            if value is not None:
                conditions.append(f"v.{column} {operator} ?")
                values.append(value)
        if at is not None:
            conditions.append(_CURRENT)
            values += (at[1], at[0], at[0])
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        # For one resource both rise together; the index that finds the resource is ordered by version.
        order = "v.version" if type and id else "v.position"

        def look(session: Session) -> Past:
            room = Room(session, most_bytes)
            rows = session.rows(
                f"SELECT {room.columns(count + 1)} FROM {source} {where} ORDER BY {order} DESC LIMIT ?",
                (*values, count + 1),
            )
            found = room.fill(rows[:count])
            after = found[-1].position if len(rows) > len(found) and found else None
            if sight is not None:
                return Past(seeing.shown(session, sight, found), after is not None, frozenset(), after)
            return Past(found, len(rows) > len(found), _revived(session, found), after)

        return self._database.ask(look)

    def ask(self, question: Callable[[Session], T]) -> T:
        """The answer to a question from a read-only session; each statement sees what is committed when it
        starts."""
        return self._database.ask(question)

    def search(self, query: Query, most_bytes: int = MOST) -> Page:
        """One page of a search; see `Query.parse`."""
        return self._database.ask(lambda session: run.run(session, query, most_bytes))

    # ------------------------------------------------------------------------------------------- quality

    def faults(self) -> list[Fault]:
        """What is wrong in resources that are kept although they are not valid, by kind."""
        return quality.faults(self._database.read)

    def fault_counts(self) -> list[tuple[str, str, str, int]]:
        """(source, type, rule, number of marks)."""
        return quality.counts(self._database.read)

    def setting(self, name: str) -> str:
        """What the store remembers about itself under this name; "" if nothing."""
        rows = self._database.read("SELECT value FROM setting WHERE name = ?", (name,))
        return str(rows[0][0]) if rows else ""

    def marked(self, after: int, limit: int) -> list[tuple[int, Version]]:
        """Resources with marks, by key and after `after`, each with that key."""
        rows = self._database.read(_MARKED, (after, limit))
        return [(row[0], from_row(row[1:])) for row in rows]

    # ----------------------------------------------------------------------------------------------- log

    def changes(self, after: int, limit: int = 1000) -> list[Version]:
        """The log after position `after`, ascending. What you have seen is final: no smaller position appears
        later."""
        return [from_row(row) for row in self._database.read(_CHANGES, (after, limit))]

    def head(self) -> int:
        """The newest position that was given; 0 in an empty store."""
        return int(self._database.ask(last_given))

    def is_held(self, lease: str) -> bool:
        """Whether some process has this lease (`lease.py`); clocks of machines may differ by seconds."""
        rows = self._database.read("SELECT until FROM lease WHERE name = ?", (lease,))
        return bool(rows) and int(rows[0][0]) + _SKEW_MILLISECONDS > to_milliseconds(datetime.now(UTC))

    def condition(self) -> Condition:
        """Whether it can be read and written just now."""
        return self._watcher.condition()

    def cursor(self, name: str) -> int:
        """The position that the follower `name` has reached; 0 when it is new."""
        rows = self._database.read("SELECT position FROM cursor WHERE name = ?", (name,))
        return int(rows[0][0]) if rows else 0

    # ------------------------------------------------------------------------------------------- writing

    @property
    def database(self) -> Database:
        """How to connect to its database, for who keeps tables of their own there."""
        return self._database

    def keep_notes(self, keep: Keep) -> None:
        """From now on, `keep` writes the notes of each work (`Transaction.note`), in its own transaction."""
        self._writer.keep = keep

    def write(self, work: Callable[[Transaction], T], *, lasting: bool = True) -> T:
        """Do the work in one transaction; returns once it is on disk, raises what the work raised.

        When processes collide, the work may be done more than once: it must have no other effects.

        lasting: False returns without waiting for the disk. After a power cut the work may then be missing,
                 together with all that followed it, but only until a lasting write has ended. Whoever has
                 read such a version until then holds an ETag that another content may get: the numbers of
                 lost versions and positions of the log are given again.
        """
        return self.submit(work, lasting=lasting).result()

    def submit(self, work: Callable[[Transaction], T], *, lasting: bool = True) -> Future[T]:
        """Like `write`, but without waiting."""
        return self._writer.submit(work, lasting=lasting)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        """An SQLAlchemy connection for other floors to read their own tables; do not commit on it.

        What cannot be read there of what is only ever stored as JSON, or packed, is Damaged.
        """
        try:
            with self._database.engine.connect() as connection:
                yield connection
        except (sqlalchemy.exc.DBAPIError, UnicodeDecodeError) as error:
            raise self._database.unavailable(error) from error
        except (NotJson, msgspec.DecodeError) as error:
            raise Damaged(DAMAGED) from error
