"""What the sync holds of a patient: found for a copy, or taken away with the records that were erased."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table, and_, delete, or_, select

from fhir_coprod.store import guarded
from fhir_coprod.store.schema import sync
from fhir_coprod.store.schema.many import among
from fhir_coprod.sync.staging import erased
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.waking import chunks, forget_keys

Reference = tuple[str, str]


class Held(NamedTuple):
    """What is of a patient.

    records:  records of EHRs, staged ones as well
    patients: of these, those of the patient
    letters:  the ids of dead letters that name the patient
    others:   of these, those that name others too
    only:     the records of those that do not
    """

    records: list[Record]
    patients: list[Record]
    letters: list[int]
    others: list[int]
    only: list[Record]


def given_up_for(connection: Connection, patient: str) -> set[str]:
    """The ids of the Patients that were merged into this one, also by way of others."""
    t = sync.retired.c
    found: set[str] = set()
    level = {patient}
    while level:
        rows = connection.execute(
            select(t.id).where(t.type == "Patient", among(t.successor, sorted(level)))
        ).scalars()
        level = set(rows) - found - {patient}
        found |= level
    return found


def successor(connection: Connection, patient: str) -> str:
    """The id of the Patient into which this one was merged; "" if it was not."""
    t = sync.retired.c
    row = connection.execute(select(t.successor).where(t.type == "Patient", t.id == patient)).scalar()
    return str(row or "")


def held(connection: Connection, patients: Collection[str], resources: Collection[Reference]) -> Held:
    """What the sync holds of these resources, and of what waits to become one.

    patients: ids of the Patients here that are this patient
    """
    c, r = sync.crosswalk.c, sync.sync_reference.c
    found: set[Record] = set()
    for type, ids in _by_type(resources):
        for chunk in chunks(ids):
            rows = connection.execute(
                select(c.ehr, c.type, c.foreign_id).where(c.type == type, among(c.id, chunk))
            )
            found |= {Record(*row) for row in rows}
    own = sorted(record for record in found if record.type == "Patient")
    for one in own:
        naming = select(c.ehr, c.type, c.foreign_id).join(
            sync.sync_reference,
            and_(r.ehr == c.ehr, r.type == c.type, r.foreign_id == c.foreign_id),
        )
        waiting = naming.where(
            c.id == "", r.target_ehr == one.ehr, r.target_type == "Patient", r.target == one.id
        )
        for row in connection.execute(waiting).all():
            record = Record(*row)
            if _patients_of(connection, record) <= set(own):
                found.add(record)
    return Held(sorted(found), own, *_letters(connection, patients, own))


def _by_type(references: Iterable[Reference]) -> Iterator[tuple[str, list[str]]]:
    for type, group in groupby(sorted(references), key=lambda reference: reference[0]):
        yield type, [id for _, id in group]


def _patients_of(connection: Connection, record: Record) -> set[Record]:
    r = sync.sync_reference.c
    rows = connection.execute(
        select(r.target_ehr, r.target_type, r.target).where(
            r.ehr == record.ehr,
            r.type == record.type,
            r.foreign_id == record.id,
            r.target_ehr != "",
            r.target_type == "Patient",
        )
    )
    return {Record(*row) for row in rows}


def _letters(
    connection: Connection, patients: Collection[str], own: Sequence[Record]
) -> tuple[list[int], list[int], list[Record]]:
    d, p = sync.dead_letter.c, sync.letter_patient.c
    names = {("", id) for id in patients} | {(record.ehr, record.id) for record in own}
    ids: set[int] = set()
    for ehr, id in sorted(names):
        ids |= set(connection.execute(select(p.letter).where(p.ehr == ehr, p.foreign_id == id)).scalars())
        themselves = (d.ehr == ehr) & (d.type == "Patient") & (d.foreign_id == id)
        ids |= set(connection.execute(select(d.id).where(themselves)).scalars())
    only: list[Record] = []
    others: list[int] = []
    for letter in sorted(ids):
        rows = connection.execute(select(p.ehr, p.foreign_id).where(p.letter == letter)).all()
        row = connection.execute(select(d.ehr, d.type, d.foreign_id).where(d.id == letter)).first()
        if not {(ehr, id) for ehr, id in rows} <= names:
            others.append(letter)
        elif row is not None and row.foreign_id:
            only.append(Record(*row))
    return sorted(ids), others, only


def rows_of(connection: Connection, found: Held) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows that were found and name nobody else, each with its table: for a copy."""
    for record in found.records:
        for table in (sync.crosswalk, sync.received_base, sync.sync_key, sync.sync_reference):
            for row in connection.execute(select(table).where(_own(table, record))):
                yield str(table.name), dict(row._mapping)
    for letter in sorted(set(found.letters) - set(found.others)):
        of_letter = sync.letter_patient.c.letter == letter
        for table, which in (
            (sync.dead_letter, sync.dead_letter.c.id == letter),
            (sync.letter_patient, of_letter),
        ):
            for row in connection.execute(select(table).where(which)):
                yield str(table.name), dict(row._mapping)


def _own(table: Table, record: Record) -> Any:
    return (table.c.ehr == record.ehr) & (table.c.type == record.type) & (table.c.foreign_id == record.id)


def take_away(
    connection: Connection, found: Held, resources: Collection[Reference], now: datetime, *, again: bool
) -> None:
    """Take away all rows of what was found, and what is kept beside these resources.

    again: let the next sync take the records again; otherwise none does
    """
    for (ehr, type), group in groupby(found.records, key=lambda record: (record.ehr, record.type)):
        for ids in chunks(record.id for record in group):
            forget_keys(connection, ehr, type, ids)
            for table in (sync.received_base, sync.sync_reference, sync.crosswalk):
                of_them = (table.c.ehr == ehr) & (table.c.type == type) & among(table.c.foreign_id, ids)
                connection.execute(delete(table).where(of_them))
    for record in found.records:
        u = sync.unread.c
        what = u.what.in_((record.reference, record.id))
        guarded.take(connection, sync.unread, (u.ehr == record.ehr) & what)
    for record in found.patients:
        for table in (sync.person_word, sync.doubt):
            c = table.c
            a = (c.ehr_a == record.ehr) & (c.id_a == record.id)
            guarded.take(connection, table, or_(a, (c.ehr_b == record.ehr) & (c.id_b == record.id)))
    for letter in found.letters:
        guarded.take_all(connection, sync.letter_patient, letter)
        guarded.take(connection, sync.dead_letter, sync.dead_letter.c.id == letter)
    for type, ids in _by_type(resources):
        for chunk in chunks(ids):
            m, t = sync.merge_base.c, sync.retired.c
            guarded.take(connection, sync.merge_base, (m.type == type) & among(m.id, chunk))
            given_up = (t.type == type) & or_(among(t.id, chunk), among(t.successor, chunk))
            guarded.take(connection, sync.retired, given_up)
    if not again:
        erased.remember(connection, [*found.records, *found.only], now)
