"""Looks up records by their keys, and what is known of them, for linking."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, select

from fhir_coprod.store.schema.many import array, listed
from fhir_coprod.store.schema.sync import crosswalk, sync_key
from fhir_coprod.sync.staging.identity import CROWD, Keys
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.waking import chunks, keys_of

# These run for every few records, so they are built once.
_c, _k = crosswalk.c, sync_key.c
_carried = (_k.type == bindparam("type")) & (_k.kind == bindparam("kind")) & listed(_k.key, "keys")
_CARRIERS = select(_k.ehr, _k.foreign_id).where(_carried)
_CARRIED = select(_k.key, func.count()).where(_carried).group_by(_k.key)
_SAME_RESOURCE = select(_c.ehr, _c.type, _c.foreign_id).where(
    _c.type == bindparam("type"), listed(_c.id, "ids")
)
_ROWS = select(_c.foreign_id, _c.id, _c.deleted).where(
    _c.ehr == bindparam("ehr"), _c.type == bindparam("type"), listed(_c.foreign_id, "ids")
)

Grouped = tuple[tuple[Record, ...], ...]
"""Records that are the same, together; groups and their members are sorted."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record that was taken: our id for it ("" until it is linked), and whether its EHR deleted it."""

    record: Record
    id: str
    deleted: bool


def by_ehr(records: Iterable[Record]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for record in records:
        found[record.ehr].append(record.id)
    return found


def load_keys(connection: Connection, type: str, records: Collection[Record]) -> dict[Record, Keys]:
    found: dict[Record, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for ehr, ids in by_ehr(records).items():
        for chunk in chunks(ids):
            for id, kind, key in keys_of(connection, ehr, type, chunk):
                found[Record(ehr, type, id)][kind].add(key)
    return {
        record: {kind: frozenset(values) for kind, values in by_kind.items()}
        for record, by_kind in found.items()
    }


def carriers_of(
    connection: Connection, type: str, wanted: Collection[tuple[str, str]]
) -> tuple[set[Record], set[str]]:
    """Records that have one of these keys, and the keys that are not followed because too many have them."""
    records: set[Record] = set()
    crowded: set[str] = set()
    for kind in sorted({kind for kind, _ in wanted}):
        for chunk in chunks(key for own, key in wanted if own == kind):
            own = {"type": type, "kind": kind}
            counts = connection.execute(_CARRIED, {**own, "keys": array(chunk)}).all()
            shared = {key: number for key, number in counts if number > 1}
            crowd = {key for key, number in shared.items() if number > CROWD}
            crowded |= crowd
            few = sorted(shared.keys() - crowd)
            if few:
                rows = connection.execute(_CARRIERS, {**own, "keys": array(few)}).all()
                records |= {Record(ehr, type, id) for ehr, id in rows}
    return records, crowded


def same_resource(connection: Connection, type: str, ids: Collection[str]) -> set[Record]:
    """All records of these resources of ours."""
    found: set[Record] = set()
    for chunk in chunks(ids):
        rows = connection.execute(_SAME_RESOURCE, {"type": type, "ids": array(chunk)}).all()
        found |= {Record(*row) for row in rows}
    return found


def load_rows(connection: Connection, records: Iterable[Record]) -> list[Row]:
    """Those of the records that were ever taken, sorted."""
    found: list[Row] = []
    by_type: dict[tuple[str, str], list[str]] = defaultdict(list)
    for record in records:
        by_type[record.ehr, record.type].append(record.id)
    for (ehr, type), ids in by_type.items():
        for chunk in chunks(ids):
            rows = connection.execute(_ROWS, {"ehr": ehr, "type": type, "ids": array(chunk)}).all()
            found += [Row(Record(ehr, type, id), own, deleted) for id, own, deleted in rows]
    return sorted(found, key=lambda row: row.record)
