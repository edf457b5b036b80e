"""Writes dead letters of files, and stages records that wait as dead letters once more: by hand, or because
their EHR now keeps such records."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection, or_, select

from fhir_coprod.store import Store, Transaction, guarded
from fhir_coprod.store.schema.sync import dead_letter
from fhir_coprod.store.taking import Dead
from fhir_coprod.sync.pace import Pace
from fhir_coprod.sync.staging import letters, stage
from fhir_coprod.sync.staging.letters import Refused
from fhir_coprod.sync.staging.references import Bases
from fhir_coprod.sync.staging.stage import Batch, Received, Taken, Unchanged, Validate

AT_ONCE = 50
"""Dead letters held in memory at once."""


class Waiting(NamedTuple):
    """What a dead letter holds."""

    id: int
    ehr: str
    type: str
    foreign_id: str
    body: bytes
    position: str


def retake(
    transaction: Transaction, one: Waiting, bases: Bases, validate: Validate, *, keep_invalid: bool
) -> None:
    """Judge one record again: stage it, or leave its dead letter open with the new reason."""
    connection = transaction.connection
    known = stage.known_records(connection, one.ehr, one.type, [one.foreign_id])
    result = stage.prepare(
        one.ehr,
        one.type,
        Received(one.body, one.position),
        known.get,
        bases,
        validate,
        accept_older=False,
        keep_invalid=keep_invalid,
    )
    batch = Batch(one.ehr, one.type)
    if isinstance(result, Taken):
        batch.taken.append(result)
    elif isinstance(result, Refused):
        batch.refused.append(result)
    elif isinstance(result, Unchanged):
        close(connection, one.id, "superseded")
    stage.stage(connection, batch, transaction.now)
    if isinstance(result, Taken):
        close(connection, one.id, "resolved")


def close(connection: Connection, id: int, state: str) -> None:
    """Give a dead letter another state."""
    guarded.change(connection, dead_letter, dead_letter.c.id == id, state=state)


def retake_readable(
    store: Store, ehrs: Collection[str], bases: Bases, validate: Validate, beat: Callable[[], None]
) -> None:
    """Stage the records of these EHRs that can be read and were refused: earlier, by another setting or by
    an earlier version of this program.

    beat: shows that this sync is alive; there may be thousands
    """
    pace = Pace(store)
    after = 0
    while some := _readable(store, ehrs, after):
        for one in some:
            pace.write(partial(retake, one=one, bases=bases, validate=validate, keep_invalid=True))
        after = some[-1].id
        beat()


def _readable(store: Store, ehrs: Collection[str], after: int) -> list[Waiting]:
    """The next open dead letters of these EHRs, after the one with this id, whose record has an id."""
    d = dead_letter.c
    statement = (
        select(d.id, d.ehr, d.type, d.foreign_id, d.body, d.position)
        .where(d.state == "open", d.foreign_id != "", d.ehr.in_(sorted(ehrs)), d.id > after)
        .order_by(d.id)
        .limit(AT_ONCE)
    )
    with store.connect() as connection:
        return [Waiting(*row[:4], bytes(row[4]), row[5]) for row in connection.execute(statement)]


def bury(transaction: Transaction, file: str, dead: Sequence[Dead], afresh: bool) -> None:
    """Keep the records of a file that could not be loaded as dead letters, with file and line.

    afresh: the file is read from its beginning, so its earlier dead letters are superseded
    """
    d = dead_letter.c
    connection = transaction.connection
    if afresh:
        of_file = or_(d.position == file, d.position.startswith(f"{file}:", autoescape=True))
        open_ones = (d.ehr == "") & (d.state == "open") & of_file
        guarded.change(connection, dead_letter, open_ones, state="superseded")
    own_ids = Bases({})
    refused = [
        letters.refusal("", one.type, "", one.raw, one.outcome, one.place, {}, own_ids) for one in dead
    ]
    letters.write(connection, refused, transaction.now)
