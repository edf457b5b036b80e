"""Whether a store can be read and written just now, and how much room its disk has left."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import Literal

from fhir_coprod.errors import CoprodError, Damaged, Unwritable
from fhir_coprod.store.database import Database, last_given
from fhir_coprod.store.sqlite import SqliteDatabase
from fhir_coprod.store.transaction import Transaction
from fhir_coprod.store.writer import Writer

State = Literal["ok", "unavailable", "read-only", "disk-full", "damaged"]
STATES: tuple[State, ...] = ("ok", "unavailable", "read-only", "disk-full", "damaged")

LEAST_ROOM = 4_000_000
"""Bytes that must be left on the disk of an SQLite file: about what its write-ahead log takes for a busy
second. With less, the disk counts as full before a write fails."""
PROBE_SECONDS = 1.0
"""How often a store that took no write is tried again for a question like this."""
PROBE = "probe"
"""The cursor that such a try writes."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What somebody who asks is told.

    head:       the newest position of the log; 0 if it cannot be read
    free_bytes: the room on the disk of an SQLite file; None on PostgreSQL, which does not tell
    """

    state: State
    head: int = 0
    free_bytes: int | None = None


class Watcher:
    """Tells the condition of one store, for as long as a process has it open."""

    def __init__(self, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer
        self._probed = 0.0

    def condition(self) -> Condition:
        """Looks now. Writes only if the last write failed, to see whether it still would."""
        free = self._free()
        try:
            head = int(self._database.ask(last_given))
            state: State = "damaged" if self._database.is_damaged else self._writable(free)
        except CoprodError as error:
            return Condition(_state_of(error), 0, free)
        return Condition(state, head, free)

    def _free(self) -> int | None:
        if not isinstance(self._database, SqliteDatabase):
            return None
        try:
            return shutil.disk_usage(self._database.path.absolute().parent).free
        except OSError:
            return None

    def _writable(self, free: int | None) -> State:
        if self._database.is_read_only():
            return "read-only"
        if free is not None and free < LEAST_ROOM:
            return "disk-full"
        failed = self._writer.failed
        if failed is None:
            return "ok"
        if time.monotonic() - self._probed > PROBE_SECONDS:
            self._probed = time.monotonic()
            try:
                self._writer.submit(_probe).result()
            except CoprodError as error:
                return _state_of(error)
            return "ok"
        return _state_of(failed)


def _probe(transaction: Transaction) -> None:
    transaction.set_cursor(PROBE, time.time_ns() // 1_000_000)


def _state_of(error: BaseException) -> State:
    if isinstance(error, Unwritable):
        return "read-only" if error.state == "read-only" else "disk-full"
    return "damaged" if isinstance(error, Damaged) else "unavailable"
