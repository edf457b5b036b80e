"""How many bytes of resources one answer may hold, so that a page of large ones cannot fill the memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhir_coprod.store.database import Session
from fhir_coprod.store.versions import COLUMNS, Version, from_row

MOST = 50_000_000
"""Bytes of an answer where nobody says otherwise."""
_BODY = COLUMNS.split(", ").index("v.body")


class Room:
    """The bytes that are left in an answer. A query leaves out the bodies that are larger than their share;
    `fill` reads them one by one, as long as there is room."""

    def __init__(self, session: Session, most: int) -> None:
        self._session = session
        self._left = most
        self._is_empty = True

    def columns(self, rows: int) -> str:
        """COLUMNS, for a query that finds about so many rows."""
        return COLUMNS.replace("v.body", f"CASE WHEN length(v.body) <= {self._left // rows} THEN v.body END")

    def fill(self, rows: Sequence[Sequence[Any]]) -> list[Version]:
        """The versions of such rows, up to the first that finds no room. The very first always finds some."""
        found = []
        for row in rows:
            body = row[_BODY]
            if body is None and (self._left > 0 or self._is_empty):
                body = self._body(from_row(row))
            if body is None or (len(body) > self._left and not self._is_empty):
                break
            self._left -= len(body)
            self._is_empty = False
            found.append(from_row((*row[:_BODY], body, *row[_BODY + 1 :])))
        return found

    def _body(self, version: Version) -> bytes:
        rows = self._session.rows("SELECT body FROM version WHERE position = ?", (version.position,))
        return bytes(rows[0][0])
