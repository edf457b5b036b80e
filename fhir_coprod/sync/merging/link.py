"""Links each staged record to the resource of ours that it belongs to, a batch at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, bindparam, select

from fhir_coprod.store import Transaction
from fhir_coprod.store.schema.many import array, listed
from fhir_coprod.store.schema.sync import crosswalk, sync_key
from fhir_coprod.sync.merging import doubts, things
from fhir_coprod.sync.merging.assign import assign, new_id, settle
from fhir_coprod.sync.merging.link_people import link_people
from fhir_coprod.sync.merging.lookup import Row, carriers_of, load_keys, load_rows, same_resource
from fhir_coprod.sync.merging.sources import Context
from fhir_coprod.sync.staging.identity import MATCHED, ORDERS, PEOPLE, Candidate, Keys
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.stage import OPEN
from fhir_coprod.sync.staging.waking import TO_LINK, chunks

_MATCHING = ("identifier", "order")
"""The kinds of keys that find things that are the same; the other kinds only tell whether they agree."""


# These run for every few records, so they are built once.
_c, _k = crosswalk.c, sync_key.c
_TO_LINK = (
    select(_c.ehr, _c.type, _c.foreign_id, _c.id, _c.deleted)
    .where(OPEN, _c.state == TO_LINK, _c.type == bindparam("type"))
    .limit(bindparam("most"))
)
_PATIENTS_NAMED = (
    select(_k.key, _c.id)
    .join(crosswalk, (_c.ehr == _k.ehr) & (_c.type == _k.type) & (_c.foreign_id == _k.foreign_id))
    .where(_k.type == "Patient", _k.kind == "identifier", listed(_k.key, "keys"), _c.id != "")
)


def link(transaction: Transaction, type: str, context: Context, most: int) -> int:
    """Link at most `most` staged records of `type`; returns how many there were."""
    connection = transaction.connection
    found = connection.execute(_TO_LINK, {"type": type, "most": most}).all()
    rows = sorted((Row(Record(*row[:3]), row[3], row[4]) for row in found), key=lambda row: row.record)
    if not rows:
        return 0
    if type in PEOPLE:
        link_people(transaction, rows, context)
    elif type in MATCHED:
        _link_things(connection, type, rows, context)
    else:
        assign(connection, {row.record: row.id or new_id(row.record) for row in rows}, rows)
    if type in doubts.DEPENDING:
        doubts.look_again(connection, [row.record for row in rows])
    return len(rows)


def _link_things(connection: Connection, type: str, seeds: Sequence[Row], context: Context) -> None:
    rows, keys, crowded = _closure(connection, type, seeds)
    subjects = _subjects(connection, keys, context) if type in ORDERS else {}
    performers = _performers(connection, keys, context) if type in ORDERS else {}
    candidates = [
        Candidate(
            row.record,
            keys.get(row.record, {}),
            subjects.get(row.record, ""),
            performers.get(row.record, frozenset()),
        )
        for row in rows.values()
        if not row.deleted
    ]
    settle(connection, type, rows, things.resolve(candidates, crowded, context.departments.values()))


def _closure(
    connection: Connection, type: str, seeds: Sequence[Row]
) -> tuple[dict[Record, Row], dict[Record, Keys], set[str]]:
    """All that matching the seeds could depend on: rows, their keys, and keys that too many records share."""
    rows = {row.record: row for row in seeds}
    keys: dict[Record, Keys] = {}
    crowded: set[str] = set()
    asked: set[tuple[str, str]] = set()
    frontier: list[Row] = list(seeds)
    while frontier:
        loaded = load_keys(connection, type, [row.record for row in frontier])
        keys.update(loaded)
        wanted = {
            (kind, key) for by_kind in loaded.values() for kind in _MATCHING for key in by_kind.get(kind, ())
        } - asked
        asked |= wanted
        records, crowd = carriers_of(connection, type, wanted)
        crowded |= crowd
        mates = same_resource(connection, type, {row.id for row in frontier if row.id})
        frontier = load_rows(connection, (records | mates) - rows.keys())
        rows.update((row.record, row) for row in frontier)
    return rows, keys, crowded


def _subjects(connection: Connection, keys: Mapping[Record, Keys], context: Context) -> dict[Record, str]:
    """Our id of each order's patient who has arrived, named by reference or by identifier."""
    wanted: dict[Record, Record] = {}
    by_number: dict[str, list[Record]] = defaultdict(list)
    for record, by_kind in keys.items():
        for reference in by_kind.get("subject", ()):
            target = context.bases.target(reference, record.ehr)
            if target is not None:
                wanted[record] = target
        for key in by_kind.get("subject-number", ()):
            by_number[key].append(record)
    ids = _ids(connection, set(wanted.values()))
    found = {record: ids[subject] for record, subject in wanted.items() if subject in ids}
    for key, id in _holders(connection, by_number).items():
        found |= dict.fromkeys(by_number[key], id)
    return found


def _holders(connection: Connection, numbers: Collection[str]) -> dict[str, str]:
    """Business identifier → our id of the patient who has it, if exactly one has."""
    found: dict[str, set[str]] = defaultdict(set)
    for chunk in chunks(numbers):
        for key, id in connection.execute(_PATIENTS_NAMED, {"keys": array(chunk)}):
            found[key].add(id)
    return {key: next(iter(ids)) for key, ids in found.items() if len(ids) == 1}


def _performers(
    connection: Connection, keys: Mapping[Record, Keys], context: Context
) -> dict[Record, frozenset[str] | None]:
    """Our ids of the performers of each order that has a requisition; None if not all have arrived."""
    named = {
        record: [context.bases.target(text, record.ehr) for text in by_kind["performer"]]
        for record, by_kind in keys.items()
        if "performer" in by_kind
    }
    ids = _ids(connection, {target for targets in named.values() for target in targets if target is not None})
    return {
        record: frozenset(f"{t.type}/{ids[t]}" for t in targets if t is not None)
        if all(t in ids for t in targets)
        else None
        for record, targets in named.items()
    }


def _ids(connection: Connection, records: Collection[Record]) -> dict[Record, str]:
    """Our ids for those of the records that live."""
    return {row.record: row.id for row in load_rows(connection, records) if not row.deleted and row.id}
