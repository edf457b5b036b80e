"""Where the rows of the audit are, and how a month begins and ends.

On PostgreSQL everything is in the store's database, with a partition for each month. On SQLite what was
written is in the store, in the transaction of the write itself. What was read is in a file for each month
beside it, so that no read waits for a writer, and a month is removed by removing its file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.engine import make_url

from fhir_coprod.audit.chain import month_after
from fhir_coprod.store.database import Database, ReadErrors
from fhir_coprod.store.schema import audit
from fhir_coprod.store.sqlite import SqliteDatabase

_LOCK = 0x636F70726F66
"""The advisory lock for making partitions: two processes may begin a month at once."""
_PARTITIONS = (
    "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE i.inhparent = to_regclass('audit_call')"
)


class Places:
    """The databases of the audit of one store."""

    def __init__(self, store: Database) -> None:
        self.store = store
        self._files: dict[int, SqliteDatabase] = {}
        self._path = store.path if isinstance(store, SqliteDatabase) else None

    @property
    def heads_file(self) -> Path | None:
        """Where the ends of the chains go if no setting says so."""
        return self._path.with_name(f"{self._path.stem}-audit-heads.jsonl") if self._path else None

    def file(self, month: int) -> Path | None:
        """The file of what was read in a month; None on PostgreSQL."""
        return self._path.with_name(f"{self._path.stem}-audit-{month}.db") if self._path else None

    def reads(self, month: int) -> Database:
        """The database of what was read in a month."""
        file = self.file(month)
        if file is None:
            return self.store
        if month not in self._files:
            url = make_url("sqlite://").set(database=str(file))
            self._files[month] = SqliteDatabase(url, self.store.patience)
        return self._files[month]

    def of(self, month: int) -> Iterator[Database]:
        """All that hold rows of a month."""
        yield self.store
        file = self.file(month)
        if file is not None and file.exists():
            yield self.reads(month)

    def months(self) -> list[int]:
        """The months of which there are rows, a file or a partition, in order."""
        if self._path is None:
            return sorted(int(row[0].rpartition("_")[2]) for row in self.store.read(_PARTITIONS))
        found: set[int] = set()
        month: int | None = 0
        while month is not None:  # one step by the index for each, as SQLite would look through all rows
            found |= {month} - {0}
            month = self.store.read("SELECT min(month) FROM audit_call WHERE month > ?", (month,))[0][0]
        name = re.compile(re.escape(self._path.stem) + r"-audit-(\d{6})\.db")
        named = (name.fullmatch(file.name) for file in self._path.absolute().parent.iterdir())
        found |= {int(one[1]) for one in named if one}
        return sorted(found)

    def begin(self, month: int) -> None:
        """Make room for a month, and for the one after it."""
        if self._path is not None:
            base = self.reads(month)
            engine = base.make_engine()
            with engine.begin() as connection:
                for table in audit.BY_MONTH:
                    table.create(connection, checkfirst=True)
            engine.dispose()
            return
        wanted = (month, month_after(month))
        names = [(table.name, each) for table in audit.BY_MONTH for each in wanted]
        missing = [pair for pair in names if not self._has("_".join(map(str, pair)))]
        if not missing:
            return
        engine = self.store.make_engine()
        with engine.begin() as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            for name, each in missing:
                connection.exec_driver_sql(
                    f"CREATE TABLE IF NOT EXISTS {name}_{each} PARTITION OF {name}"
                    f" FOR VALUES FROM ({each}) TO ({each + 1})"
                )
        engine.dispose()

    def drop_file(self, month: int) -> None:
        """Remove the file of a month; there is none on PostgreSQL."""
        base = self._files.pop(month, None)
        if base is not None:
            base.close()
        file = self.file(month)
        if file is not None:
            for name in (file.name, f"{file.name}-wal", f"{file.name}-shm"):
                file.with_name(name).unlink(missing_ok=True)

    def _has(self, table: str) -> bool:
        return self.store.read("SELECT to_regclass(?) IS NOT NULL", (table,))[0][0] is True

    def close(self) -> None:
        """Close the files; the store stays open."""
        for base in self._files.values():
            try:
                base.close()
            except ReadErrors:  # it may have been removed
                continue
        self._files.clear()
