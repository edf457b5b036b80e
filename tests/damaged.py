"""Stores on SQLite that something happened to, and what single parts of `db check` say of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing

from fhir_coprod.store import opening
from fhir_coprod.store.soundness.faults import FIRST, Fault, Mend, Part


def damage(url: str, *statements: str) -> None:
    """Do it behind the store's back; each statement changes something."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0, statement
        connection.commit()


def look(url: str, parts: Iterable[Part]) -> tuple[list[Fault], list[Mend]]:
    """All that these parts find, and what would repair it."""
    faults: list[Fault] = []
    mends: list[Mend] = []
    with closing(opening.connect(url)) as database, closing(database.inspector()) as session:
        for part in parts:
            after = FIRST
            while after is not None:
                with session.snapshot():
                    portion = part.portion(session, after)
                faults += portion.faults
                mends += portion.mends
                after = portion.last
    return faults, mends
