"""Keeps the exports and imports that other programs have asked for: what they want, and how far each is.

They stand in the database, so that any process of the store can tell how far they are, and goes on with one
whose process has ended.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Table, func, select

from fhir_coprod.errors import TooMany
from fhir_coprod.instants import now, to_milliseconds
from fhir_coprod.store import guarded
from fhir_coprod.store.repository import Store
from fhir_coprod.store.schema import core
from fhir_coprod.store.transaction import Transaction

_TRIES = 20
EXPORT, IMPORT = core.export_job, core.import_job


class BulkJob(NamedTuple):
    """One export or import.

    owner: who asked for it; nobody else gets to know of it
    until: when it is forgotten; milliseconds since 1970
    ended: nothing is left to do
    body:  as whoever works on it wrote it down
    """

    id: str
    owner: str
    until: int
    ended: bool
    body: bytes


def add(transaction: Transaction, table: Table, job: BulkJob, *, most: int, most_of_one: int) -> None:
    """Keep a new one. Raises TooMany if there are as many as may be, of all or of this owner."""
    transaction.lock()  # else two processes could each add the last one
    forget_old(transaction)
    connection = transaction.connection
    held = kept = 0
    for each in (EXPORT, IMPORT):
        held += connection.scalar(select(func.count()).select_from(each)) or 0
        kept += (
            connection.scalar(select(func.count()).select_from(each).where(each.c.owner == job.owner)) or 0
        )
    if kept >= most_of_one or held >= most:
        whose = "You have" if kept >= most_of_one else "This server has"
        raise TooMany(
            f"{whose} as many exports and imports as are kept ({min(kept, held)}); DELETE those that you have"
            " fetched, or try again later."
        )
    guarded.put(connection, table, [job])


def find(store: Store, table: Table, id: str) -> BulkJob | None:
    """The one of this id; None if there is none, if it is too old, or not as it was written."""
    which = table.c.id == id
    for _ in range(_TRIES):
        with store.connect() as connection:
            row = connection.execute(select(*table.c).where(which)).first()
            is_sound = row is not None and not guarded.unfit(connection, table, which)
            after = connection.execute(select(*table.c).where(which)).first()
        if row == after:  # else it was written meanwhile
            break
    if row is None or row != after or not is_sound:
        return None
    job = BulkJob(row.id, row.owner, row.until, bool(row.ended), bytes(row.body))
    return job if job.until > to_milliseconds(now()) else None


def unended(store: Store, table: Table) -> list[str]:
    """The ids of those on which something is left to do."""
    with store.connect() as connection:
        return list(connection.execute(select(table.c.id).where(table.c.ended.is_(False))).scalars())


def ids(store: Store, table: Table) -> set[str]:
    """The ids of all."""
    with store.connect() as connection:
        return set(connection.execute(select(table.c.id)).scalars())


def save(
    transaction: Transaction, table: Table, id: str, *, body: bytes, until: int = 0, ended: bool = False
) -> bool:
    """Write down how far it is; False if nobody wants it any more."""
    values = {"body": body, "ended": ended, **({"until": until} if until else {})}
    return guarded.change(transaction.connection, table, table.c.id == id, **values) > 0


def forget(transaction: Transaction, table: Table, id: str) -> None:
    """Forget one."""
    guarded.take(transaction.connection, table, table.c.id == id)


def forget_old(transaction: Transaction) -> None:
    """Forget those whose time is over."""
    limit = transaction.session.milliseconds()
    for table in (EXPORT, IMPORT):
        guarded.take(transaction.connection, table, table.c.until <= limit)
