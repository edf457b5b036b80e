"""Rebuilds the search index when the definitions, or the way rows are made, have changed.

Each resource type carries the fingerprint of the search parameters that its rows were made with. When a
program with other definitions opens the store, it goes through the resources of that type in small
transactions, while everybody reads and writes as usual; a search by a changed parameter may miss resources
until that is done. After a kill and restart, it goes on from its last commit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from fhir_coprod import jsontext
from fhir_coprod.errors import CoprodError
from fhir_coprod.jsontext import Json
from fhir_coprod.store import index
from fhir_coprod.store.database import Database
from fhir_coprod.store.lease import Lease
from fhir_coprod.store.transaction import Transaction
from fhir_coprod.store.writer import Writer

CHUNK = 200
"""Resources in one transaction."""
LEASE = "reindex"
LEASE_SECONDS = 20.0
"""For so long after a crash nobody else takes over."""
WAIT_SECONDS = 0.5
PREFIX = "index:"
"""Begins the names of settings that hold a type's fingerprint."""

_NEXT = (
    "SELECT r.key, v.version, v.body, EXISTS (SELECT 1 FROM quality q WHERE q.key = r.key)"
    " FROM resource r JOIN version v ON v.position = r.position"
    " WHERE r.type = ? AND r.deleted = false AND r.key > ? ORDER BY r.key LIMIT ?"
)


def stale(database: Database) -> list[str]:
    """Resource types whose index rows were made with other definitions than today's."""
    recorded = database.read("SELECT name, value FROM setting WHERE name LIKE ?", (PREFIX + "%",))
    types = ((name.removeprefix(PREFIX), value) for name, value in recorded)
    return sorted(type for type, value in types if value != index.fingerprint(type))


Progress = Callable[[str, int], None]
"""Called with a resource type and how many of its resources have been done since the last call."""


def run(writer: Writer, database: Database, progress: Progress, stop: threading.Event) -> None:
    """Rebuild the index of every stale type, or wait until the process that is doing it is done."""
    lease = Lease(LEASE, LEASE_SECONDS)
    try:
        while not stop.is_set():
            types = stale(database)
            if not types:
                return
            if writer.submit(lease.take).result() is None:
                progress(types[0], _chunk(writer, database, types[0]))
            else:
                stop.wait(WAIT_SECONDS)
    finally:
        writer.submit(lease.give_up).result()


def _chunk(writer: Writer, database: Database, type: str) -> int:
    """Rebuild the next resources of a type in one transaction; after the last, the type is not stale."""
    fingerprint = index.fingerprint(type)
    cursor = f"reindex:{type}:{fingerprint}"
    behind = database.read("SELECT position FROM cursor WHERE name = ?", (cursor,))
    rows = database.read(_NEXT, (type, behind[0][0] if behind else 0, CHUNK))
    made = [
        (key, version, index.rows(type, data, is_sound=not is_marked))
        for key, version, body, is_marked in rows
        if (data := _readable(body)) is not None
    ]

    def work(transaction: Transaction) -> None:
        if rows:
            transaction.replace_index(made)
            transaction.set_cursor(cursor, rows[-1][0])
        else:
            transaction.set_setting(PREFIX + type, fingerprint)
            transaction.drop_cursor(cursor)

    writer.submit(work).result()
    return len(rows)


def _readable(body: bytes) -> Json | None:
    """None for a body that is damaged: all others have to be found all the same, and `db check` names it."""
    try:
        data = jsontext.decode(body)
    except CoprodError:
        return None
    return data if isinstance(data, dict) else None


class Background:
    """Does the same in the background, started when a store is opened with a stale index."""

    def __init__(self, writer: Writer, database: Database) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(writer, database), name="coprod-reindex", daemon=True
        )
        self._thread.start()

    def _run(self, writer: Writer, database: Database) -> None:
        import structlog  # takes a tenth of a second, worth it only for a stale index

        log = structlog.get_logger(__name__)
        log.info("search index is made anew", types=stale(database))
        try:
            run(writer, database, lambda type, count: None, self._stop)
        except CoprodError as error:
            log.warning("search index could not be made anew; run fhir-coprod db upgrade", reason=str(error))

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
