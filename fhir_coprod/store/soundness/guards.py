"""Looks at the guarded tables: each row against its guard, and each guard for its row (`guarded.py`)."""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Integer, Table

from fhir_coprod import jsontext
from fhir_coprod.errors import CoprodError
from fhir_coprod.store import guarded
from fhir_coprod.store.condition import PROBE
from fhir_coprod.store.database import Session
from fhir_coprod.store.guarded import GUARDED, Key
from fhir_coprod.store.reindex import PREFIX
from fhir_coprod.store.soundness.faults import FIRST, Fault, Mend, Portion
from fhir_coprod.store.transaction import Transaction

PORTION = 500
Guard = tuple[str, str, int, int]
Recover = Callable[[str, Key], Mend | None]
"""What makes the row of a table with this key anew, or has it made anew; None if nothing can."""

ALTERED, GONE = "altered", "gone"
UNKNOWN = "not written by fhir-coprod, or its checksum is gone"

_TABLES: Final = sorted(GUARDED, key=lambda table: str(table.name))
_BY_NAME: Final = {GUARDED[table].place: table for table in _TABLES}


def nothing(place: str, key: Key) -> Mend | None:
    """Recovers no row."""
    return None


class Guards:
    """The part of the check about the guarded tables.

    recover: for rows that other floors can make anew
    """

    name = "small tables"

    def __init__(self, recover: Recover = nothing) -> None:
        self._recover = recover

    def portion(self, session: Session, after: Any) -> Portion:
        number, key = (0, ()) if after == FIRST else after
        if number == len(_TABLES):
            return self._guards(session, key)
        table = _TABLES[number]
        rows = _rows(session, table, key)
        portion = Portion([], [], (number + 1, ()), number / (len(_TABLES) + 1))
        self._compare(session, table, rows, portion)
        if len(rows) < PORTION:
            return portion
        how = GUARDED[table]
        last = tuple(rows[-1][how.content.index(column)] for column in how.key)
        return Portion(portion.faults, portion.mends, (number, last), portion.done)

    # ------------------------------------------------------------------------------ each row by its guard

    def _compare(
        self, session: Session, table: Table, rows: Sequence[tuple[Any, ...]], portion: Portion
    ) -> None:
        place = GUARDED[table].place
        own = {guarded.name_of(table, row): guarded.content(place, row) for row in rows}
        held = _guards_of(session, place, list(own))
        unguarded: dict[str, int] = {}
        for key, content in own.items():
            right, is_ = guarded.guard(place, key, content), held.get(key)
            if is_ is None:
                unguarded[key] = content
            elif is_ == right:
                continue
            elif content == is_[2] or right[3] == is_[3]:
                self._checksum(is_, right, portion)
            else:
                self._fault(place, key, ALTERED, portion)
        moved = _moved(session, list(unguarded.values())) if unguarded else {}
        for key, content in unguarded.items():
            if content in moved:
                self._checksum(moved[content], guarded.guard(place, key, content), portion)
            else:
                self._fault(place, key, UNKNOWN, portion)

    def _checksum(self, is_: Guard, right: Guard, portion: Portion) -> None:
        """A guard is altered: one of its two checksums proves that its row is not."""
        portion.faults.append(Fault("checksum", f"of {_at(right[0], right[1])}"))
        portion.mends.append(_guarded_again(is_, right))

    def _fault(self, place: str, name: str, why: str, portion: Portion) -> None:
        key = tuple(jsontext.decode(name))
        mend = _recovered(place, key) or self._recover(place, key)
        if mend is not None:
            portion.faults.append(Fault("recoverable", f"{place} {_at(place, name)}", why))
            portion.mends.append(mend)
        else:
            portion.faults.append(Fault(kind_of(place), _at(place, name), why))

    # ------------------------------------------------------------------------------ each guard by its row

    def _guards(self, session: Session, after: Any) -> Portion:
        rows = session.rows(
            "SELECT place, key, content, seal FROM guard WHERE (place, key) > (?, ?)"
            " ORDER BY place, key LIMIT ?",
            (*(after or ("", "")), PORTION),
        )
        portion = Portion([], [], (len(_TABLES), rows[-1][:2]) if len(rows) == PORTION else None, 0.9)
        whole: dict[str, list[str]] = {}
        for row in rows:
            one: Guard = (row[0], row[1], row[2], row[3])
            if one[0] in _BY_NAME and guarded.guard(*one[:3]) == one:
                whole.setdefault(one[0], []).append(one[1])
            elif not _has_row(session, one):
                portion.faults.append(Fault("checksum", "of a row that there is not"))
                portion.mends.append(_without(one))
        for place, names in whole.items():
            for name in sorted(set(names) - _existing(session, _BY_NAME[place], names)):
                self._fault(place, name, GONE, portion)
        return portion


def kind_of(place: str) -> str:
    """The kind of fault in a guarded table."""
    return f"{place.replace('_', '-')}-row"


def _at(place: str, name: str) -> str:
    """A row for people: its key, of a dead letter without the long hash."""
    key = [str(value) for value in jsontext.decode(name)]
    if place == "dead_letter":
        key = [key[0] or "a file", "/".join(key[1:3]), key[3][:12]]
    return " ".join(value for value in key if value) or "(empty)"


def _rows(session: Session, table: Table, after: Key) -> list[tuple[Any, ...]]:
    how = GUARDED[table]
    key = ", ".join(how.key)
    beyond = f" WHERE ({key}) > ({', '.join('?' * len(after))})" if after else ""
    return session.rows(
        f"SELECT {', '.join(how.content)} FROM {table.name}{beyond} ORDER BY {key} LIMIT ?",
        (*after, PORTION),
    )


def _guards_of(session: Session, place: str, names: list[str]) -> dict[str, Guard]:
    if not names:
        return {}
    condition, values = session.among("key", names)
    rows = session.rows(
        f"SELECT place, key, content, seal FROM guard WHERE place = ? AND {condition}", (place, *values)
    )
    return {row[1]: (row[0], row[1], row[2], row[3]) for row in rows}


def _moved(session: Session, contents: list[int]) -> dict[int, Guard]:
    """Guards whose key or place was altered, by the checksum of their row, which covers both."""
    condition, values = session.among("content", contents)
    rows = session.rows(f"SELECT place, key, content, seal FROM guard WHERE {condition}", values)
    return {row[2]: (row[0], row[1], row[2], row[3]) for row in rows}


def _has_row(session: Session, one: Guard) -> bool:
    """Whether a guard that is altered has the name of a row; then it was looked at with that."""
    table = _BY_NAME.get(one[0])
    return table is not None and _is_name(table, one[1]) and bool(_existing(session, table, [one[1]]))


def _is_name(table: Table, name: str) -> bool:
    """Whether it is one that a row of the table can have."""
    try:
        key = jsontext.decode(name.encode())
    except CoprodError:
        return False
    kinds = [int if isinstance(table.c[column].type, Integer) else str for column in GUARDED[table].key]
    return isinstance(key, list) and [type(value) for value in key] == kinds


def _existing(session: Session, table: Table, names: Sequence[str]) -> set[str]:
    """Which of these are names of rows."""
    key = GUARDED[table].key
    wanted = [jsontext.decode(name) for name in names]
    marks = f"({', '.join('?' * len(key))})"
    rows = session.rows(
        f"SELECT {', '.join(key)} FROM {table.name}"
        f" WHERE ({', '.join(key)}) IN (VALUES {', '.join([marks] * len(wanted))})",
        [value for one in wanted for value in one],
    )
    return {guarded.name(row) for row in rows}


def _recovered(place: str, key: Key) -> Mend | None:
    """What the store itself makes anew: by which definitions a type is indexed, and how far that is."""
    name = str(key[0])
    if place == "setting" and name.startswith(PREFIX):
        return lambda transaction: transaction.set_setting(name, "")
    if place == "cursor" and (name.startswith("reindex:") or name == PROBE):
        return lambda transaction: transaction.drop_cursor(name)
    return None


def _guarded_again(is_: Guard, right: Guard) -> Mend:
    def mend(transaction: Transaction) -> None:
        _without(is_)(transaction)
        transaction.session.run(
            "INSERT INTO guard (place, key, content, seal) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (place, key) DO NOTHING",
            right,
        )

    return mend


def _without(one: Guard) -> Mend:
    def mend(transaction: Transaction) -> None:
        transaction.session.run(
            "DELETE FROM guard WHERE place = ? AND key = ? AND content = ? AND seal = ?", one
        )

    return mend
