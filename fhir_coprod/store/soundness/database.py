"""Looks at the database itself: its pages and indexes, its schema, and the small tables of the store."""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Integer, Table, Text

from fhir_coprod.definitions import is_resource_type
from fhir_coprod.instants import to_milliseconds
from fhir_coprod.store import schema
from fhir_coprod.store.database import BROKEN, Database, DatabaseErrors, Session, last_given
from fhir_coprod.store.reindex import PREFIX
from fhir_coprod.store.schema import audit, core
from fhir_coprod.store.soundness.faults import FIRST, Fault, Mend, Portion
from fhir_coprod.store.transaction import Transaction

FOLLOWERS = ("watch",)
"""The cursors that are places in the log."""
MOST_SAID = 100
"""Faults that the database itself is asked to list."""
LONGEST_LEASE = timedelta(days=1)
"""The longest one that any job takes lasts minutes."""


class Pages:
    """The part of the check that the database does by itself."""

    name = "pages"

    def __init__(self, database: Database) -> None:
        self._sqlite = database.url.get_backend_name() == "sqlite"

    def portion(self, session: Session, after: int) -> Portion:
        return Portion(*(_sqlite(session) if self._sqlite else _postgresql(session)), None, 1.0)


def _sqlite(session: Session) -> tuple[list[Fault], list[Mend]]:
    """SQLite reads every page, and every index against its table."""
    said = [str(row[0]) for row in session.rows(f"PRAGMA integrity_check({MOST_SAID})")]
    lines = [line for text in said for line in text.splitlines() if line and line != "ok"]
    only_indexes = all(
        " missing from index " in line or line.startswith(("wrong # of entries", "non-unique entry"))
        for line in lines
    )
    faults = [Fault("index-page" if only_indexes else "file", _shortened(line)) for line in lines]
    return faults, [_reindex] if faults and only_indexes else []


def _shortened(line: str) -> str:
    """Without numbers of rows, which are many and help nobody: `row 5 missing from index x`."""
    return line[:200]


def _reindex(transaction: Transaction) -> None:
    transaction.session.run("REINDEX")


_INDEXES = (
    "SELECT c.oid::regclass::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
    " JOIN pg_class t ON t.oid = i.indrelid JOIN pg_am a ON a.oid = c.relam"
    " WHERE t.relnamespace = current_schema()::regnamespace AND a.amname = 'btree'"
    " AND c.relkind = 'i' ORDER BY 1"
)
_MAY_CHECK = (
    "SELECT coalesce(has_function_privilege(to_regprocedure('bt_index_check(regclass, boolean)'), 'execute'),"
    " false)"
)


def _postgresql(session: Session) -> tuple[list[Fault], list[Mend]]:
    """PostgreSQL checks its indexes with the extension amcheck, if somebody has installed it and lets us."""
    faults = [
        Fault("index-page", name, "not valid")
        for (name,) in session.rows(
            "SELECT indexrelid::regclass::text FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid"
            " WHERE t.relnamespace = current_schema()::regnamespace AND NOT i.indisvalid"
        )
    ]
    if session.rows(_MAY_CHECK)[0][0]:
        for (name,) in session.rows(_INDEXES):
            try:
                session.rows("SELECT bt_index_check(?::regclass, true)::text", (name,))
            except DatabaseErrors as error:
                faults.append(Fault("index-page", name, type(error).__name__))
                session.run("ROLLBACK")
                session.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
    return faults, [_reindexed(fault.at) for fault in faults]


def _reindexed(name: str) -> Mend:
    def mend(transaction: Transaction) -> None:
        transaction.session.run(f"REINDEX INDEX {name}")

    return mend


class Texts:
    """The part about text that is none: SQLite stores whatever bytes it is given. PostgreSQL does not."""

    name = "texts"

    def __init__(self, database: Database) -> None:
        tables = schema.metadata.sorted_tables if database.url.get_backend_name() == "sqlite" else []
        # All others are compared as a whole.
        self._tables = [table for table in tables if table not in _COMPARED]

    def portion(self, session: Session, after: Any) -> Portion:
        if not self._tables:
            return Portion([], [], None, 1.0)
        number, row = (0, 0) if after == FIRST else after
        table = self._tables[number]
        names = [column.name for column in table.columns if isinstance(column.type, Text)]
        found = session.rows(
            f"SELECT rowid, {', '.join(names) or 'NULL'} FROM {table.name}"
            " WHERE rowid > ? ORDER BY rowid LIMIT ?",
            (row, ROWS),
        )
        odd = sum(any(isinstance(value, str) and BROKEN in value for value in own) for own in found)
        faults = [Fault("file", table.name, f"{odd} rows with text that is not UTF-8")] if odd else []
        if len(found) == ROWS:
            return Portion(faults, [], (number, found[-1][0]), number / len(self._tables))
        following = number + 1
        end = following == len(self._tables)
        return Portion(faults, [], None if end else (following, 0), following / len(self._tables))


ROWS = 5000
_COMPARED = (
    *(core.version, core.received, core.resource, core.quality, core.relation, core.objection),
    *core.INDEX_TABLES,
    *audit.BY_MONTH,
)


class Schema:
    """The part about tables, columns and indexes that are missing."""

    name = "schema"

    def __init__(self, database: Database) -> None:
        self._sqlite = database.url.get_backend_name() == "sqlite"

    def portion(self, session: Session, after: int) -> Portion:
        columns, indexes = (_names_on_sqlite if self._sqlite else _names_on_postgresql)(session)
        faults = []
        mends: list[Mend] = []
        for table in schema.metadata.tables.values():
            missing = [column.name for column in table.columns if (table.name, column.name) not in columns]
            faults += [Fault("schema", f"{table.name}.{name}") for name in missing]
            for index in table.indexes:
                if index.name not in indexes and not missing:
                    faults.append(Fault("index-missing", str(index.name)))
                    mends.append(_made(table, str(index.name)))
        return Portion(faults, mends, None, 1.0)


def _names_on_sqlite(session: Session) -> tuple[set[tuple[str, str]], set[str]]:
    columns = session.rows(
        "SELECT t.name, c.name FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'"
    )
    indexes = session.rows("SELECT name FROM sqlite_master WHERE type = 'index'")
    return {(row[0], row[1]) for row in columns}, {row[0] for row in indexes}


def _names_on_postgresql(session: Session) -> tuple[set[tuple[str, str]], set[str]]:
    columns = session.rows(
        "SELECT table_name::text, column_name::text FROM information_schema.columns"
        " WHERE table_schema = current_schema()"
    )
    indexes = session.rows("SELECT indexname::text FROM pg_indexes WHERE schemaname = current_schema()")
    return {(row[0], row[1]) for row in columns}, {row[0] for row in indexes}


def _made(table: Table, name: str) -> Mend:
    def mend(transaction: Transaction) -> None:
        index = next(index for index in table.indexes if index.name == name)
        index.create(transaction.connection, checkfirst=True)

    return mend


class Small:
    """The part about the small tables of the store: settings, cursors, leases, and counters."""

    name = "settings"

    def __init__(self, database: Database, followers: tuple[str, ...]) -> None:
        self._sqlite = database.url.get_backend_name() == "sqlite"
        self._followers = followers

    def portion(self, session: Session, after: int) -> Portion:
        faults: list[Fault] = []
        mends: list[Mend] = []
        head = last_given(session)
        faults += beyond(session, head, self._followers)
        _settings(session, faults, mends)
        latest = to_milliseconds(datetime.now(UTC) + LONGEST_LEASE)
        for name, until in session.rows("SELECT name, until FROM lease"):
            if not isinstance(until, int) or until > latest:
                faults.append(Fault("lease", str(name)))
                mends.append(_without_lease(name))
        if not self._sqlite:
            for table in counted():
                if behind(session, table):
                    faults.append(Fault("sequence", table.name))
                    mends.append(_counted_on(table))
        return Portion(faults, mends, None, 1.0)


def beyond(session: Session, head: int, followers: tuple[str, ...]) -> list[Fault]:
    """The readers of the log that claim to have read what is not there."""
    found = []
    for name, position in session.rows("SELECT name, position FROM cursor"):
        if name in followers and (not isinstance(position, int) or not 0 <= position <= head):
            found.append(Fault("cursor", name, f"at {position}, the log ends at {head}"))
    return found


def _settings(session: Session, faults: list[Fault], mends: list[Mend]) -> None:
    known = {row[0] for row in session.rows("SELECT name FROM setting")}
    for (type,) in session.rows(_TYPES):
        if is_resource_type(type) and PREFIX + type not in known:
            faults.append(Fault("setting", PREFIX + type, "missing"))
            mends.append(_stale(type))


# One look into the index for each type, instead of a look at each resource.
_TYPES = (
    "WITH RECURSIVE found(type) AS (SELECT min(type) FROM resource UNION ALL"
    " SELECT (SELECT min(r.type) FROM resource r WHERE r.type > found.type) FROM found"
    " WHERE found.type IS NOT NULL) SELECT type FROM found WHERE type IS NOT NULL"
)


def _stale(type: str) -> Mend:
    """The index of this type may be of any definitions: it is made anew."""
    return lambda transaction: transaction.set_setting(PREFIX + type, "")


def _without_lease(name: str) -> Mend:
    def mend(transaction: Transaction) -> None:
        transaction.session.run("DELETE FROM lease WHERE name = ?", (name,))

    return mend


def counted() -> list[Table]:
    """The tables whose key the database counts."""
    return [
        table
        for table in schema.metadata.tables.values()
        if any(column.autoincrement is True and isinstance(column.type, Integer) for column in table.columns)
    ]


def behind(session: Session, table: Table) -> bool:
    """Whether PostgreSQL's counter of a table would give a number again."""
    key = next(iter(table.primary_key.columns)).name
    sequence = session.rows("SELECT pg_get_serial_sequence(?, ?)", (table.name, key))[0][0]
    if sequence is None:
        return True
    ((last, called),) = session.rows(f"SELECT last_value, is_called FROM {sequence}")
    most = session.rows(f"SELECT coalesce(max({key}), 0) FROM {table.name}")[0][0]
    return bool(most > last or (most == last and not called))


def _counted_on(table: Table) -> Mend:
    key = next(iter(table.primary_key.columns)).name

    def mend(transaction: Transaction) -> None:
        transaction.session.rows(
            f"SELECT setval(pg_get_serial_sequence(?, ?), (SELECT max({key}) FROM {table.name}))",
            (table.name, key),
        )

    return mend
