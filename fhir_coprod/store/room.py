"""Limits the bytes of resources in one answer, so that a page of large ones cannot fill the memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fhir_coprod.store.database import Session
from fhir_coprod.store.versions import COLUMNS, Version, from_row

MOST = 50_000_000
"""Bytes of an answer, unless the caller says otherwise."""
_BODY = COLUMNS.split(", ").index("v.body")
WIDTH = len(COLUMNS.split(", ")) + 1
"""How many columns `Room.columns` names."""


class Room:
    """The bytes that are left in an answer. A query leaves out bodies that are larger than their share, and
    `fill` reads those for which there is room after all."""

    def __init__(self, session: Session, most: int) -> None:
        self._session = session
        self._left = most
        self._is_empty = True

    def columns(self, rows: int) -> str:
        """The columns to select in a query for at most so many rows: COLUMNS and the size of the body."""
        share = max(self._left, 0) // rows
        # A power of two: if statements differed in each answer, each would be planned and kept anew.
        share = 1 << (share.bit_length() - 1) if share else 0
        few = COLUMNS.replace("v.body", f"CASE WHEN length(v.body) <= {share} THEN v.body END")
        return f"{few}, length(v.body)"

    def fill(self, rows: Sequence[Sequence[Any]]) -> list[Version]:
        """The versions of such rows, up to the first that does not fit. The very first one always fits."""
        taken = 0
        for row in rows:
            size = row[WIDTH - 1]
            if size > self._left and not self._is_empty:
                break
            self._left -= size
            self._is_empty = False
            taken += 1
        chosen = [from_row(row[: WIDTH - 1]) for row in rows[:taken]]
        large = [version.position for version in chosen if version.body is None]
        if not large:
            return chosen
        condition, values = self._session.among("position", large)
        bodies = dict(self._session.rows(f"SELECT position, body FROM version WHERE {condition}", values))  # noqa: S608
        return [
            version
            if version.body is not None
            else from_row((*row[:_BODY], bodies[version.position], *row[_BODY + 1 : WIDTH - 1]))
            for version, row in zip(chosen, rows, strict=False)
        ]
