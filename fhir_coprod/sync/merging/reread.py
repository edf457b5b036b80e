"""Makes again what was made by other rules than today's: keys of records, and joined departments."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, select, update

from fhir_coprod import jsontext
from fhir_coprod.store.schema.many import among, insert_rows
from fhir_coprod.store.schema.sync import crosswalk, received_base, sync_key
from fhir_coprod.sync.merging.lookup import by_ehr, load_rows
from fhir_coprod.sync.merging.sources import Context
from fhir_coprod.sync.staging import identity
from fhir_coprod.sync.staging.identity import ORDERS, PEOPLE, RULES
from fhir_coprod.sync.staging.references import Bases, Record
from fhir_coprod.sync.staging.waking import TO_LINK, chunks, forget_keys

BATCH = 200
"""Records read again in one transaction."""


def some(connection: Connection, context: Context) -> int:
    """Make again a few records' keys that were made by other rules; returns how many records there were.

    If there are none, look after the departments.
    """
    k, bases = sync_key.c, context.bases
    mark = identity.mark(bases)
    for type in sorted(PEOPLE | ORDERS):
        for which in (k.key < mark, k.key > mark):
            rows = connection.execute(
                select(k.ehr, k.foreign_id).where(k.type == type, k.kind == RULES, which).limit(BATCH)
            ).all()
            if rows:
                _again(connection, [Record(ehr, type, id) for ehr, id in rows], bases)
                return len(rows)
    _part_departments(connection, context.departments.values())
    return 0


def _again(connection: Connection, records: Sequence[Record], bases: Bases) -> None:
    b, c, type = received_base.c, crosswalk.c, records[0].type
    for ehr, ids in by_ehr(records).items():
        for chunk in chunks(ids):
            forget_keys(connection, ehr, type, chunk)
            bodies = connection.execute(
                select(b.foreign_id, b.body).where(b.ehr == ehr, b.type == type, among(b.foreign_id, chunk))
            )
            made = [
                (type, kind, key, ehr, id)
                for id, body in bodies
                for kind, keys in identity.keys(jsontext.decode(bytes(body)), ehr, bases).items()
                for key in keys
            ]
            insert_rows(connection, sync_key, made)
            connection.execute(
                update(crosswalk)
                .where(c.ehr == ehr, c.type == type, among(c.foreign_id, chunk), c.deleted.is_(False))
                .values(state=TO_LINK)
            )


def _part_departments(connection: Connection, departments: Collection[Record]) -> None:
    """Have departments that the settings name linked again if they are one resource here: each is one of
    its own."""
    rows = [row for row in load_rows(connection, departments) if row.id and not row.deleted]
    ids = [row.id for row in rows]
    c = crosswalk.c
    for row in rows:
        if ids.count(row.id) > 1:
            connection.execute(
                update(crosswalk)
                .where(c.ehr == row.record.ehr, c.type == row.record.type, c.foreign_id == row.record.id)
                .values(state=TO_LINK)
            )
