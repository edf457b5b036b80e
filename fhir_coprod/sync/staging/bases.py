"""Remembers other base addresses of EHRs, and finds again what records refer to when one becomes known.

What a record refers to is worked out when it is staged. If an address becomes known later, from the settings
or from the EHR's own pages, the records that contain it are worked out again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, delete, select, tuple_, update

from fhir_coprod import jsontext
from fhir_coprod.readable import readable
from fhir_coprod.store import guarded
from fhir_coprod.store.schema.many import insert_rows
from fhir_coprod.store.schema.sync import crosswalk, ehr_base, received_base, sync_reference
from fhir_coprod.sync.staging.references import Bases, Record, targets
from fhir_coprod.sync.staging.waking import TO_LINK

AT_ONCE = 500
"""Records looked at in one step."""


def known(connection: Connection) -> list[tuple[str, str]]:
    """(EHR, other base address) that all staged records have been worked out with."""
    rows = connection.execute(select(ehr_base.c.ehr, ehr_base.c.base).order_by(*ehr_base.c))
    return [(ehr, base) for ehr, base in rows]


def remember(connection: Connection, bases: Iterable[tuple[str, str]]) -> None:
    """Note that all staged records have been worked out with these."""
    guarded.put(connection, ehr_base, list(bases))


def rework(connection: Connection, after: Record, new: Sequence[str], bases: Bases) -> Record | None:
    """Work out again what some records refer to, those after `after`; returns the last one, None at the end.

    new: the addresses that were not known before; records that contain none of them are left alone
    """
    b = received_base.c
    key = (b.ehr, b.type, b.foreign_id)
    rows = connection.execute(
        select(*key, b.body).where(tuple_(*key) > tuple_(*after)).order_by(*key).limit(AT_ONCE)
    ).all()
    wanted = [base.encode() for base in new]
    for ehr, type, id, body in rows:
        raw = bytes(body)
        if any(base in raw for base in wanted):
            _again(connection, Record(ehr, type, id), raw, bases)
    return Record(*rows[-1][:3]) if len(rows) == AT_ONCE else None


def _again(connection: Connection, record: Record, raw: bytes, bases: Bases) -> None:
    r, c = sync_reference.c, crosswalk.c
    own = (r.ehr == record.ehr) & (r.type == record.type) & (r.foreign_id == record.id)
    before = set(connection.execute(select(r.target_ehr, r.target_type, r.target).where(own)).all())
    now = targets(raw, readable(jsontext.parse(raw).data).data, record.ehr, bases)
    if now == before:
        return
    connection.execute(delete(sync_reference).where(own))
    insert_rows(connection, sync_reference, [(*record, *target) for target in sorted(now)])
    connection.execute(
        update(crosswalk)
        .where(c.ehr == record.ehr, c.type == record.type, c.foreign_id == record.id)
        .where(c.deleted.is_(False))
        .values(state=TO_LINK)
    )
