"""Reads what a batch of resources is made from: living records, and the targets of their references."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import ColumnElement, Connection, select

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Json
from fhir_coprod.store.quality import Marks, unpacked
from fhir_coprod.store.schema.many import among
from fhir_coprod.store.schema.sync import crosswalk, received_base, sync_key, sync_reference
from fhir_coprod.sync.staging.references import Bases, Holder, Record
from fhir_coprod.sync.staging.stage import chunks


@dataclass(frozen=True, slots=True)
class Context:
    """The settings that decide how a resource is made."""

    bases: Bases
    order: tuple[str, ...]
    """EHRs in the order of the settings: the first one leads if no other rule decides."""
    departments: Mapping[str, Record]
    """EHR → the Organization that it belongs to, if the settings name one."""


@dataclass(frozen=True)
class Source:
    """One living record of a resource; `hash` is the hash it was staged with."""

    record: Record
    raw: bytes
    hash: str
    updated: str
    marks: Marks = ()
    """What is wrong in it."""

    @cached_property
    def data(self) -> Json:
        """Its content; parsed only if several records are compared."""
        found: Json = jsontext.decode(self.raw)
        return found


@dataclass(frozen=True, slots=True)
class Targets:
    """What the references of one batch point to here."""

    ids: Mapping[Record, str]
    """Our ids for the records they name, and for the EHRs' own departments."""
    holders: Mapping[Holder, str]
    """Our reference to the resource with a business identifier, if exactly one has it."""
    workplaces: Mapping[Record, frozenset[str]]
    """Our ids for the Organization of each PractitionerRole among them."""


def read_sources(connection: Connection, type: str, ids: Sequence[str]) -> dict[str, list[Source]]:
    c, b = crosswalk.c, received_base.c
    rows = connection.execute(
        select(c.id, c.ehr, c.type, c.foreign_id, b.body, c.hash, c.updated, b.marks)
        .join(received_base, (b.ehr == c.ehr) & (b.type == c.type) & (b.foreign_id == c.foreign_id))
        .where(c.type == type, among(c.id, ids), c.deleted.is_(False))
    )
    found: dict[str, list[Source]] = defaultdict(list)
    for id, ehr, own_type, foreign_id, body, hash, updated, wrong in rows:
        record = Record(ehr, own_type, foreign_id)
        found[id].append(Source(record, bytes(body), hash, updated, _marks(wrong, ehr)))
    return found


def _marks(wrong: bytes | None, ehr: str) -> Marks:
    return tuple(mark._replace(source=f"ehr:{ehr}") for mark in unpacked(wrong)) if wrong else ()


def read_targets(connection: Connection, records: Sequence[Record], context: Context) -> Targets:
    """What the references of these records point to here."""
    r = sync_reference.c
    ids: dict[Record, str] = {}
    keys: set[str] = set()
    for mine in _among(records, r.ehr, r.type, r.foreign_id):
        ids |= {target: id for _, target, id in _arrived(connection, mine)}
        held = connection.execute(select(r.target).distinct().where(mine, r.target_ehr == ""))
        keys |= {row[0] for row in held}
    ids |= _departments(connection, context)
    roles = [target for target in ids if target.type == "PractitionerRole"]
    return Targets(ids, _holders(connection, keys), _workplaces(connection, roles))


def _among(records: Iterable[Record], *columns: ColumnElement[str]) -> Iterator[ColumnElement[bool]]:
    """Conditions that a row belongs to one of these records, each for a portion of the records.

    They do not use a list of triples, because SQLite would scan the whole table for that.
    """
    ids: dict[tuple[str, str], list[str]] = defaultdict(list)
    for record in records:
        ids[record.ehr, record.type].append(record.id)
    for (ehr, type), own in ids.items():
        for chunk in chunks(own):
            yield (columns[0] == ehr) & (columns[1] == type) & among(columns[2], chunk)


def _arrived(connection: Connection, mine: ColumnElement[bool]) -> list[tuple[Record, Record, str]]:
    """(record, its target, our id for the target) for rows of sync_reference whose target has arrived."""
    r, c = sync_reference.c, crosswalk.c
    rows = connection.execute(
        select(r.ehr, r.type, r.foreign_id, c.ehr, c.type, c.foreign_id, c.id)
        .select_from(sync_reference)
        .join(crosswalk, (c.ehr == r.target_ehr) & (c.type == r.target_type) & (c.foreign_id == r.target))
        .where(mine, c.id != "")
    )
    return [(Record(*row[:3]), Record(*row[3:6]), row[6]) for row in rows]


def _departments(connection: Connection, context: Context) -> dict[Record, str]:
    c = crosswalk.c
    columns = (c.ehr, c.type, c.foreign_id)
    return {
        Record(*row[:3]): row[3]
        for mine in _among(context.departments.values(), *columns)
        for row in connection.execute(select(*columns, c.id).where(mine, c.id != ""))
    }


def _workplaces(connection: Connection, roles: Sequence[Record]) -> dict[Record, frozenset[str]]:
    r = sync_reference.c
    found: dict[Record, set[str]] = defaultdict(set)
    for some in _among(roles, r.ehr, r.type, r.foreign_id):
        for role, _, id in _arrived(connection, some & (r.target_type == "Organization")):
            found[role].add(id)
    return {role: frozenset(ids) for role, ids in found.items()}


def _holders(connection: Connection, keys: Iterable[str]) -> dict[Holder, str]:
    k, c = sync_key.c, crosswalk.c
    found: dict[Holder, set[str]] = defaultdict(set)
    for chunk in chunks(keys):
        rows = connection.execute(
            select(k.type, k.key, c.id)
            .join(crosswalk, (c.ehr == k.ehr) & (c.type == k.type) & (c.foreign_id == k.foreign_id))
            .where(k.kind == "identifier", among(k.key, chunk), c.id != "")
        )
        for type, key, id in rows:
            found[Holder(type, key)].add(f"{type}/{id}")
            found[Holder("", key)].add(f"{type}/{id}")
    return {holder: next(iter(who)) for holder, who in found.items() if len(who) == 1}
