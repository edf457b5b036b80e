"""Takes versions out of the log for good, as if they had never been: for a patient who may ask for that.

All else only ever adds to the log. Positions that were erased are remembered, so that nobody misses them and
nobody gets them again.
"""
# ruff: noqa: S608 - only names written in this package are put into SQL; every value is bound

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from fhir_coprod import jsontext
from fhir_coprod.instants import from_milliseconds, last_updated
from fhir_coprod.jsontext import Json
from fhir_coprod.store import guarded, seals
from fhir_coprod.store.database import Session
from fhir_coprod.store.schema import core, erased, sign_in
from fhir_coprod.store.schema.many import among
from fhir_coprod.store.transaction import Transaction
from fhir_coprod.store.versions import COLUMNS, Version, from_row

Reference = tuple[str, str]
AT_ONCE: Final = 500
REDACTED: Final = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "REDACTED"}
"""The label of a version whose content was erased."""


def holding(transaction: Transaction, texts: Sequence[bytes]) -> Iterator[Version]:
    """Every version in whose body, or received bytes, one of these texts is, in the order of the log. Reads
    the whole log: there is no index over what old and deleted versions hold."""
    session = transaction.session
    is_sqlite = transaction.connection.dialect.name == "sqlite"
    within = "instr({0}, ?) > 0" if is_sqlite else "position(?::bytea IN {0}) > 0"
    either = " OR ".join(within.format(column) for column in ("v.body", "x.body") for _ in texts)
    after = 0
    while True:
        rows = session.rows(
            f"SELECT {COLUMNS} FROM version v LEFT JOIN received x ON x.position = v.position"
            f" WHERE v.position > ? AND ({either}) ORDER BY v.position LIMIT ?",
            (after, *texts, *texts, AT_ONCE),
        )
        yield from map(from_row, rows)
        if len(rows) < AT_ONCE:
            return
        after = rows[-1][3]


def erase(transaction: Transaction, references: Iterable[Reference]) -> int:
    """Erase these resources, with all versions, received bytes, and rows of the index; returns how many
    versions that were."""
    transaction.lock()
    session = transaction.session
    wanted = sorted(set(references))
    positions: list[int] = []
    for type, group in groupby(wanted, key=lambda reference: reference[0]):
        ids = [id for _, id in group]
        for start in range(0, len(ids), AT_ONCE):
            positions += _erase(session, type, ids[start : start + AT_ONCE])
            if type == "Patient":
                _forget_who(transaction, ids[start : start + AT_ONCE])
    _remember(transaction, positions)
    transaction.forget(wanted)
    return len(positions)


def _erase(session: Session, type: str, ids: Sequence[str]) -> list[int]:
    condition, values = session.among("id", ids)
    own = f"type = ? AND {condition}"
    keys = [row[0] for row in session.rows(f"SELECT key FROM resource WHERE {own}", (type, *values))]
    positions = [row[0] for row in session.rows(f"SELECT position FROM version WHERE {own}", (type, *values))]
    for start in range(0, len(keys), AT_ONCE):
        by_key, some = session.among("key", keys[start : start + AT_ONCE])
        for table in (*core.INDEX_TABLES, core.relation, core.quality, core.resource):
            session.run(f"DELETE FROM {table.name} WHERE {by_key}", some)
    for start in range(0, len(positions), AT_ONCE):
        by_position, some = session.among("position", positions[start : start + AT_ONCE])
        for table in (core.received, core.version):
            session.run(f"DELETE FROM {table.name} WHERE {by_position}", some)
    return positions


def _forget_who(transaction: Transaction, patients: Sequence[str]) -> None:
    """Erase what patients have refused, who became one with them, and for whom the glass was broken: that it
    was stands in the audit."""
    connection = transaction.connection
    j, g = core.joined.c, sign_in.glass.c
    condition, values = transaction.session.among("patient", patients)
    transaction.session.run(f"DELETE FROM objection WHERE {condition}", values)
    guarded.take(connection, core.joined, among(j.patient, patients) | among(j.former, patients))
    guarded.take(connection, sign_in.glass, among(g.patient, patients))


def _remember(transaction: Transaction, positions: Iterable[int]) -> None:
    spans: list[tuple[int, int]] = []
    for position in sorted(positions):
        if spans and spans[-1][1] == position - 1:
            spans[-1] = (spans[-1][0], position)
        else:
            spans.append((position, position))
    guarded.put(transaction.connection, erased.span, spans)


def blank(transaction: Transaction, versions: Iterable[Version]) -> None:
    """Erase the content of these versions, which are not the newest ones of their resources. They stay in
    the history, with a label that says so."""
    session = transaction.session
    for version in versions:
        meta: Json = {
            "versionId": str(version.version),
            "lastUpdated": last_updated(from_milliseconds(version.milliseconds)),
            "security": [REDACTED],
        }
        body = jsontext.encode({"resourceType": version.type, "id": version.id, "meta": meta})
        hash = jsontext.content_hash(jsontext.parse(body))
        named = (version.position, version.type, version.id, version.version, version.milliseconds)
        row = (*named, version.method, hash, version.source, body)
        session.run(
            "UPDATE version SET body = ?, hash = ?, seal = ? WHERE position = ?",
            (body, hash, seals.seal(row), version.position),
        )
        session.run(
            "UPDATE received SET body = ?, seal = ? WHERE position = ?",
            (body, seals.seal((version.position, body)), version.position),
        )
