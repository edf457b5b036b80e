"""What was current at one position of the log, read in portions while others go on to write.

The log is never changed behind its head, so what was current at a position is the same whenever it is asked
for: nothing has to be locked, and a portion can be read again.
"""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fhir_coprod.store.database import Row, Session
from fhir_coprod.store.room import WIDTH, Room
from fhir_coprod.store.versions import COLUMNS, Version, from_row

PORTION = 500
"""Resources that are read at once."""
_BYTES = 8_000_000
"""Bytes of them; a single one may be longer."""


class Portion(NamedTuple):
    """versions: each the newest at that position, deleted or not; after: where the next portion begins, None
    if this was the last one."""

    versions: list[Version]
    after: int | None


def head(session: Session) -> tuple[int, int]:
    """The newest position, and its time in milliseconds; (0, 0) in an empty store. Whatever is written later
    has a higher position and a later time."""
    rows = session.rows("SELECT position, updated FROM version ORDER BY position DESC LIMIT 1")
    return (int(rows[0][0]), int(rows[0][1])) if rows else (0, 0)


def position_at(session: Session, microseconds: int) -> int:
    """The last position that was written at this time or before: times rise with positions."""
    low, high = 0, head(session)[0]
    while low < high:
        middle = (low + high + 1) // 2
        found = session.rows(
            "SELECT updated FROM version WHERE position <= ? ORDER BY position DESC LIMIT 1", (middle,)
        )
        if not found or found[0][0] * 1000 <= microseconds:
            low = middle
        else:
            high = middle - 1
    return low


def whole(session: Session, position: int, types: Sequence[str], after: int) -> Portion:
    """All resources that there were at a position, in the order in which they were first created."""
    condition, values = session.among("r.type", types)
    room = Room(session, _BYTES)
    rows = session.rows(
        f"SELECT {room.columns(PORTION)}, r.key FROM resource r JOIN version v ON v.position = r.position"
        f" WHERE r.key > ? AND r.key <= ? AND {condition} ORDER BY r.key LIMIT ?",
        (after, position, *values, PORTION),
    )
    found = room.fill(rows)
    versions = [
        version if version.position <= position else at(session, position, version.type, version.id)
        for version in found
    ]
    return Portion([version for version in versions if version], _following(rows, len(found), WIDTH))


def changed(session: Session, since: int, position: int, types: Sequence[str], after: int) -> Portion:
    """Of these, the ones that were written after the position `since`, in the order of writing."""
    condition, values = session.among("v.type", types)
    room = Room(session, _BYTES)
    rows = session.rows(
        f"SELECT {room.columns(PORTION)} FROM version v WHERE v.position > ? AND v.position <= ?"
        f" AND {condition} AND NOT EXISTS (SELECT 1 FROM version n WHERE n.type = v.type AND n.id = v.id"
        " AND n.version = v.version + 1 AND n.position <= ?) ORDER BY v.position LIMIT ?",
        (max(since, after), position, *values, position, PORTION),
    )
    found = room.fill(rows)
    return Portion(found, _following(rows, len(found), _POSITION))


_POSITION = COLUMNS.split(", ").index("v.position")


def _following(rows: Sequence[Row], taken: int, place: int) -> int | None:
    if taken == len(rows) < PORTION:
        return None
    return int(rows[taken - 1][place])


def at(session: Session, position: int, type: str, id: str) -> Version | None:
    """One resource as it was at a position; None if it was not there yet."""
    rows = session.rows(
        f"SELECT {COLUMNS} FROM version v WHERE v.type = ? AND v.id = ? AND v.position <= ?"
        " ORDER BY v.version DESC LIMIT 1",
        (type, id, position),
    )
    return from_row(rows[0]) if rows else None


def before(session: Session, version: Version) -> Version | None:
    """The version before one, such as the last one before a deletion."""
    rows = session.rows(
        f"SELECT {COLUMNS} FROM version v WHERE v.type = ? AND v.id = ? AND v.version = ?",
        (version.type, version.id, version.version - 1),
    )
    return from_row(rows[0]) if rows else None
