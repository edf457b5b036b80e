"""Answers questions about staged records that are rarely asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select

from fhir_coprod.store.schema.many import among
from fhir_coprod.store.schema.sync import crosswalk, received_base, sync_reference
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.waking import chunks


def about_patients(connection: Connection, ehr: str, type: str, patients: Sequence[str]) -> set[str]:
    """The ids of living records of the type that refer to any of these patients of the EHR."""
    r, c = sync_reference.c, crosswalk.c
    found: set[str] = set()
    for chunk in chunks(patients):
        rows = connection.execute(
            select(r.foreign_id)
            .join(crosswalk, (c.ehr == r.ehr) & (c.type == r.type) & (c.foreign_id == r.foreign_id))
            .where(r.target_ehr == ehr, r.target_type == "Patient", among(r.target, chunk))
            .where(r.ehr == ehr, r.type == type, c.deleted.is_(False))
        )
        found |= {row[0] for row in rows}
    return found


def taken_in_part(connection: Connection, ehr: str, type: str, ids: Sequence[str]) -> set[str]:
    """Those of these records whose bytes say that they are only a part (SUBSETTED)."""
    b = received_base.c
    found: set[str] = set()
    for chunk in chunks(ids):
        rows = connection.execute(
            select(b.foreign_id, b.body).where(b.ehr == ehr, b.type == type, among(b.foreign_id, chunk))
        )
        found |= {id for id, body in rows if b'"SUBSETTED"' in bytes(body)}
    return found


def missing_targets(connection: Connection, ehr: str, types: Iterable[str]) -> set[Record]:
    """Records of `ehr` that its other records refer to, but that we have never taken."""
    r, c = sync_reference.c, crosswalk.c
    rows = connection.execute(
        select(r.target_ehr, r.target_type, r.target)
        .distinct()
        .outerjoin(
            crosswalk, (c.ehr == r.target_ehr) & (c.type == r.target_type) & (c.foreign_id == r.target)
        )
        .where(r.target_ehr == ehr, r.target_type.in_(list(types)), c.foreign_id.is_(None))
    )
    return {Record(*row) for row in rows}
