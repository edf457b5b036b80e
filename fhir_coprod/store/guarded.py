"""The one door through which the guarded tables are written.

Guarded are the small tables whose rows are made of nothing else that is kept, such as what a person said.
Each of their rows has a row in the table `guard`, written in the same transaction: its key and its checksum.
By these `db check` names a row that was altered, is gone, or was added by somebody else. A guard is written
only by who writes its row, so writers wait for each other no more than they do for the row.

A row that was altered from outside and is then written in part does not get a checksum that fits: it stays
told until it is written as a whole.
"""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, and_, bindparam, delete, insert, select, true, update

from fhir_coprod import jsontext
from fhir_coprod.store import seals
from fhir_coprod.store.schema import audit, core, erased, programs, sign_in, sync, watch
from fhir_coprod.store.schema.many import array, listed

Key = tuple[Any, ...]
"""What names a row for good: the values of the columns `GUARDED` says."""


class Guarded(NamedTuple):
    """How the rows of a table are guarded.

    place:   its name
    key:     the columns that name a row
    content: the columns that its checksum covers
    """

    place: str
    key: tuple[str, ...]
    content: tuple[str, ...]


def _by_primary_key(table: Table) -> Guarded:
    key = tuple(column.name for column in table.primary_key.columns)
    return Guarded(str(table.name), key, tuple(column.name for column in table.columns))


def _letters() -> Guarded:
    """A record that comes again after its letter was lost gets another id. The hash covers the bytes."""
    content = tuple(column.name for column in sync.dead_letter.columns if column.name != "body")
    return Guarded("dead_letter", ("ehr", "type", "foreign_id", "hash"), content)


GUARDED: Final[Mapping[Table, Guarded]] = {
    **{
        table: _by_primary_key(table)
        for table in (
            *(core.cursor, core.setting, core.joined, core.export_job, core.import_job),
            *(sync.feed, sync.unfinished, sync.unread, sync.ehr_base, sync.letter_patient),
            *(sync.bulk_job, sync.bulk_file),
            *(sync.retired, sync.person_word, sync.doubt, sync.odd_number, sync.numbering, sync.merge_base),
            *(sync.pause, sync.sync_run),
            *(watch.share, watch.habit),
            *(sign_in.user_grant, sign_in.glass),
            *(programs.client, programs.signing_key),
            audit.checkpoint,
            *(erased.span, erased.record),
        )
    },
    sync.dead_letter: _letters(),
}

_g = core.guard.c
_CONTENTS = select(_g.key, _g.content).where(_g.place == bindparam("place"), listed(_g.key, "keys"))
_FORGET = delete(core.guard).where(_g.place == bindparam("place"), listed(_g.key, "keys"))
_KEYS_BEGINNING = select(_g.key).where(
    _g.place == bindparam("place"), _g.key >= bindparam("low"), _g.key < bindparam("high")
)
_UPSERT = (
    "INSERT INTO guard (place, key, content, seal) VALUES (?, ?, ?, ?) ON CONFLICT (place, key)"
    " DO UPDATE SET content = excluded.content, seal = excluded.seal"
)


# ------------------------------------------------------------------------------------------- checksums


def plain(values: Iterable[Any]) -> tuple[Any, ...]:
    """Values as they are sealed, from whichever driver: SQLite says 0 and 1 for false and true."""
    return tuple(int(value) if isinstance(value, bool) else value for value in values)


def name(key: Iterable[Any]) -> str:
    """The key as the table `guard` has it: a JSON array."""
    return jsontext.encode(list(key)).decode()


def content(place: str, values: Iterable[Any]) -> int:
    """The checksum of a row of a table, from the columns that it covers."""
    return seals.seal((place, *plain(values)))


def guard(place: str, key: str, content: int) -> tuple[str, str, int, int]:
    """The row of table `guard`, with its own checksum."""
    return (place, key, content, seals.seal((place, key, content)))


@lru_cache(maxsize=64)
def _places(table: Table) -> tuple[int, ...]:
    """Where the key is among the columns that are covered."""
    how = GUARDED[table]
    return tuple(how.content.index(column) for column in how.key)


def name_of(table: Table, values: Sequence[Any]) -> str:
    """The key of a row, from the columns that are covered."""
    return name(values[place] for place in _places(table))


# --------------------------------------------------------------------------------------------- writing


def put(connection: Connection, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    """Write whole rows, with values in the order of the table's columns, in place of those with their key."""
    if not rows:
        return
    ordered = sorted((tuple(row) for row in rows), key=repr)
    _run(connection, _put(table), ordered)
    _guard(connection, table, [_covered(table, row) for row in ordered])


def put_new(connection: Connection, table: Table, row: Sequence[Any]) -> None:
    """Write a whole row unless there is one with its key."""
    statement = _put(table).partition(" DO UPDATE")[0] + " DO NOTHING"
    if connection.exec_driver_sql(_marked(connection, statement), tuple(row)).rowcount == 1:
        _guard(connection, table, [_covered(table, row)])


def add(connection: Connection, table: Table, **values: Any) -> Any:
    """Write a new row; returns what the database has named it: the first column of the primary key."""
    columns = [table.c[column] for column in GUARDED[table].content]
    row = connection.execute(insert(table).values(**values).returning(*columns)).one()
    _guard(connection, table, [tuple(row)])
    return row[GUARDED[table].content.index(next(iter(table.primary_key.columns)).name)]


def change(connection: Connection, table: Table, which: ColumnElement[bool], **values: Any) -> int:
    """Write these columns of the rows for which a condition holds; returns how many rows that are."""
    columns = [table.c[column] for column in GUARDED[table].content]
    before = connection.execute(select(*columns).where(which).with_for_update()).all()
    if not before:
        return 0
    altered = _altered(connection, table, [tuple(row) for row in before])
    after = connection.execute(update(table).where(which).values(**values).returning(*columns)).all()
    _guard(connection, table, [tuple(row) for row in after if name_of(table, row) not in altered])
    return len(after)


def take(connection: Connection, table: Table, which: ColumnElement[bool]) -> None:
    """Delete the rows for which a condition holds."""
    columns = [table.c[column] for column in GUARDED[table].key]
    gone = connection.execute(delete(table).where(which).returning(*columns)).all()
    if gone:
        _forget(connection, table, [name(row) for row in gone])


def take_all(connection: Connection, table: Table, *beginning: Any) -> None:
    """Delete the rows whose key begins with these values, all if there are none; also forgets those of them
    that were lost."""
    take(connection, table, _beginning(table, beginning))
    forget_lost(connection, table, *beginning)


def forget_lost(
    connection: Connection, table: Table, *beginning: Any, which: Callable[[Key], bool] = lambda key: True
) -> None:
    """No longer miss the rows that were lost of those whose key begins with these values: it is known by now
    that nothing is missing in them.

    which: of these, those whose key it takes
    """
    # In this order: on PostgreSQL others may write rows meanwhile, and each comes together with its guard.
    guards = set(connection.execute(_KEYS_BEGINNING, _range(table, beginning)).scalars())
    if not guards:
        return
    key = [table.c[column] for column in GUARDED[table].key]
    rows = connection.execute(select(*key).where(_beginning(table, beginning)))
    lost = guards - {name(row) for row in rows}
    _forget(connection, table, [key for key in lost if which(tuple(jsontext.decode(key)))])


def unfit(connection: Connection, table: Table, which: ColumnElement[bool]) -> set[Key]:
    """The keys of the rows for which a condition holds, and that are not as they were written."""
    columns = [table.c[column] for column in GUARDED[table].content]
    rows = [tuple(row) for row in connection.execute(select(*columns).where(which))]
    return {tuple(jsontext.decode(key)) for key in _altered(connection, table, rows)}


# ------------------------------------------------------------------------------------------- the frame


def _altered(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> set[str]:
    """The keys of those rows that do not fit their guards."""
    held: dict[str, int] = {}
    names = [name_of(table, row) for row in rows]
    for start in range(0, len(names), _AT_ONCE):
        some = {"place": GUARDED[table].place, "keys": array(names[start : start + _AT_ONCE])}
        held.update((key, content) for key, content in connection.execute(_CONTENTS, some))
    return {
        key
        for key, row in zip(names, rows, strict=True)
        if held.get(key) != content(GUARDED[table].place, row)
    }


_AT_ONCE: Final = 500


def _covered(table: Table, row: Sequence[Any]) -> tuple[Any, ...]:
    how = GUARDED[table]
    return tuple(
        value for column, value in zip(table.columns, row, strict=True) if column.name in how.content
    )


def _guard(connection: Connection, table: Table, rows: Sequence[Sequence[Any]]) -> None:
    """Write the guards of rows, given by the columns that are covered."""
    place = GUARDED[table].place
    guards = [guard(place, name_of(table, row), content(place, row)) for row in rows]
    _run(connection, _UPSERT, sorted(guards))


def _forget(connection: Connection, table: Table, keys: Sequence[str]) -> None:
    ordered = sorted(keys)
    for start in range(0, len(ordered), _AT_ONCE):
        some = {"place": GUARDED[table].place, "keys": array(ordered[start : start + _AT_ONCE])}
        connection.execute(_FORGET, some)


def _beginning(table: Table, values: Sequence[Any]) -> ColumnElement[bool]:
    """The condition that a key begins with these values."""
    pairs = zip(GUARDED[table].key, values, strict=False)
    return and_(true(), *(table.c[column] == value for column, value in pairs))


def _range(table: Table, beginning: Sequence[Any]) -> dict[str, str]:
    """The names that keys with this beginning have."""
    if len(beginning) == len(GUARDED[table].key):
        low = name(beginning)
        return {"place": GUARDED[table].place, "low": low, "high": f"{low} "}
    low = name(beginning)[:-1] + ("," if beginning else "")
    return {"place": GUARDED[table].place, "low": low, "high": f"{low}\U0010ffff"}


@lru_cache(maxsize=64)
def _put(table: Table) -> str:
    columns = [column.name for column in table.columns]
    key = [column.name for column in table.primary_key.columns]
    changed = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in key)
    return (
        f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        f" ON CONFLICT ({', '.join(key)})" + (f" DO UPDATE SET {changed}" if changed else " DO NOTHING")
    )


def _marked(connection: Connection, statement: str) -> str:
    return statement if connection.dialect.name == "sqlite" else statement.replace("?", "%s")


def _run(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run a statement for each row."""
    if rows:
        connection.exec_driver_sql(_marked(connection, statement), list(rows))
