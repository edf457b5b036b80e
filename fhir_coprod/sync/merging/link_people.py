"""Links the records of people: finds those that are surely the same, and notes what is in doubt.

From each record only those are followed that are surely the same, or that a person or their EHR said to be,
so that the work does not grow with the number of people. Those that only may be the same are looked at once,
from the record that changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, select

from fhir_coprod.store import Transaction
from fhir_coprod.store.schema.many import array, listed
from fhir_coprod.store.schema.sync import person_word, sync_key
from fhir_coprod.sync.merging import doubts, people, trusted
from fhir_coprod.sync.merging.assign import settle
from fhir_coprod.sync.merging.lookup import (
    Row,
    by_ehr,
    carriers_of,
    load_keys,
    load_rows,
    same_resource,
)
from fhir_coprod.sync.merging.people import FINDING, People, Trust
from fhir_coprod.sync.merging.sources import Context
from fhir_coprod.sync.staging.identity import Candidate, Decisions, Keys, Pair, pair_of
from fhir_coprod.sync.staging.references import Record
from fhir_coprod.sync.staging.waking import chunks

_TYPE = "Patient"

# These run for every few records, so they are built once.
_k, _w = sync_key.c, person_word.c
_REPLACES = select(_k.ehr, _k.foreign_id).where(
    _k.type == _TYPE, _k.kind == "replaced-by", listed(_k.key, "keys")
)
_word = (_w.ehr_a, _w.id_a, _w.ehr_b, _w.id_b, _w.word)
_WORDS = select(*_word).where(_w.ehr_a == bindparam("ehr"), listed(_w.id_a, "ids"))
_WORDS_OF_OTHERS = select(*_word).where(_w.ehr_b == bindparam("ehr"), listed(_w.id_b, "ids"))


@dataclass(slots=True)
class _Known:
    """What has been looked up so far: records that are followed (`core`), and others around them."""

    rows: dict[Record, Row] = field(default_factory=dict)
    keys: dict[Record, Keys] = field(default_factory=dict)
    core: set[Record] = field(default_factory=set)
    same: set[Pair] = field(default_factory=set)
    different: set[Pair] = field(default_factory=set)
    crowded: set[str] = field(default_factory=set)
    pairs: set[Pair] = field(default_factory=set)

    def candidate(self, record: Record) -> Candidate:
        return Candidate(record, self.keys.get(record, {}))

    @property
    def living(self) -> set[Record]:
        return {record for record in self.core if not self.rows[record].deleted}


def link_people(transaction: Transaction, seeds: Sequence[Row], context: Context) -> None:
    """Link these records, and all that are the same as one of them."""
    connection = transaction.connection
    trust = Trust(
        days=context.bases.numbering.days, today=transaction.now.date().isoformat(),
        systems=trusted.distrusted(connection),
    )  # fmt: skip
    known, found = _follow(connection, seeds, trust)
    decisions = Decisions(frozenset(known.same), frozenset(known.different))
    resolution = people.resolved(found, known.living, known.pairs, decisions)
    core = {record: known.rows[record] for record in known.core}
    ids = settle(connection, _TYPE, core, resolution.groups)
    moved = {record for record, id in ids.items() if id != core[record].id}
    doubts.replace(connection, known.core, resolution.doubts, moved, transaction.now)
    trusted.note(connection, _numbers(known), known.crowded, found)


def _follow(connection: Connection, seeds: Sequence[Row], trust: Trust) -> tuple[_Known, People]:
    """Look up the seeds, all that are the same as one of them, and all that may be the same as those."""
    known = _Known(rows={row.record: row for row in seeds})
    found = People((), trust)
    frontier = {row.record for row in seeds}
    while frontier:
        known.core |= frontier
        _load(connection, known, frontier)
        mates = _tied(connection, known, frontier)
        wanted = {
            (kind, key)
            for record in frontier
            for kind in FINDING
            for key in known.keys.get(record, {}).get(kind, ())
        }
        records, crowded = carriers_of(connection, _TYPE, wanted)
        known.crowded |= crowded
        _load(connection, known, records | mates)
        looked_at = frontier | records | mates
        carried = {number for record in looked_at for number in known.keys[record].get("number", ())}
        nobody = trusted.nobody(connection, carried) | known.crowded
        found.learn((known.candidate(record) for record in looked_at), nobody)
        near = _pairs(known, frontier, records)
        known.pairs |= near
        sure = {other for pair in near if found.compare(*pair).verdict == "one" for other in pair}
        frontier = {record for record in (sure | mates) - known.core if record in known.rows}
    return known, found


def _load(connection: Connection, known: _Known, records: Collection[Record]) -> None:
    new = [record for record in records if record not in known.keys]
    known.keys.update({record: {} for record in new})
    known.keys.update(load_keys(connection, _TYPE, new))
    rows = load_rows(connection, [record for record in new if record not in known.rows])
    known.rows.update((row.record, row) for row in rows)


def _pairs(known: _Known, frontier: Set[Record], records: Set[Record]) -> set[Pair]:
    """Pairs of a record of the frontier and another with a key in common by which people are found."""
    by_key: dict[tuple[str, str], set[Record]] = {}
    for record in frontier | records:
        for kind in FINDING:
            for key in known.keys[record].get(kind, ()):
                if key not in known.crowded:
                    by_key.setdefault((kind, key), set()).add(record)
    found: set[Pair] = set()
    for carriers in by_key.values():
        for one in carriers & frontier:
            found |= {pair_of(one, other) for other in carriers if other != one}
    return found


def _tied(connection: Connection, known: _Known, frontier: Collection[Record]) -> set[Record]:
    """Records that belong with these whatever they look like: in one resource until now, by a person's
    word, or by what their EHR says."""
    mates = same_resource(connection, _TYPE, {known.rows[r].id for r in frontier if known.rows[r].id})
    for record in frontier:
        mates |= set(people.replaced_by(known.keys[record]))
    mates |= _replaces(connection, frontier)
    for a, b, word in _words(connection, frontier):
        (known.same if word == "same" else known.different).add((a, b))
        if word == "same":
            mates |= {a, b}
    return mates


def _replaces(connection: Connection, records: Iterable[Record]) -> set[Record]:
    """The records that were given up for one of these at their EHR."""
    found: set[Record] = set()
    for chunk in chunks("/".join(record) for record in records):
        rows = connection.execute(_REPLACES, {"keys": array(chunk)})
        found |= {Record(ehr, _TYPE, id) for ehr, id in rows}
    return found


def _words(connection: Connection, records: Collection[Record]) -> list[tuple[Record, Record, str]]:
    """What people said of pairs with one of these records."""
    found: set[tuple[Record, Record, str]] = set()
    for ehr, ids in by_ehr(records).items():
        for chunk in chunks(ids):
            for statement in (_WORDS, _WORDS_OF_OTHERS):
                rows = connection.execute(statement, {"ehr": ehr, "ids": array(chunk)})
                found |= {(Record(a, _TYPE, x), Record(b, _TYPE, y), word) for a, x, b, y, word in rows}
    return sorted(found)


def _numbers(known: _Known) -> Mapping[str, set[Record]]:
    """Every number of the records that were followed → all who carry it."""
    found: dict[str, set[Record]] = {
        number: set() for record in known.core for number in known.keys[record].get("number", ())
    }
    for record, keys in known.keys.items():
        for number in keys.get("number", ()):
            if number in found:
                found[number].add(record)
    return found
