"""Reads what a batch of resources is made from: living records, and the targets of their references."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection, bindparam, select

from fhir_coprod import jsontext
from fhir_coprod.jsontext import Json
from fhir_coprod.store.quality import Marks, unpacked
from fhir_coprod.store.schema.many import array, listed
from fhir_coprod.store.schema.sync import crosswalk, received_base, sync_key, sync_reference
from fhir_coprod.sync.staging.references import Bases, Holder, Record
from fhir_coprod.sync.staging.waking import chunks


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


# These run for every few resources, so they are built once. None uses a list of triples (EHR, type, id),
# because SQLite would scan the whole table for that.
_c, _b, _r, _k = crosswalk.c, received_base.c, sync_reference.c, sync_key.c
_SOURCES = (
    select(_c.id, _c.ehr, _c.type, _c.foreign_id, _b.body, _c.hash, _c.updated, _b.marks)
    .join(received_base, (_b.ehr == _c.ehr) & (_b.type == _c.type) & (_b.foreign_id == _c.foreign_id))
    .where(_c.type == bindparam("type"), listed(_c.id, "ids"), _c.deleted.is_(False))
)
_theirs = (_r.ehr == bindparam("ehr")) & (_r.type == bindparam("type")) & listed(_r.foreign_id, "ids")
_ARRIVED = (
    select(_r.ehr, _r.type, _r.foreign_id, _c.ehr, _c.type, _c.foreign_id, _c.id)
    .select_from(sync_reference)
    .join(crosswalk, (_c.ehr == _r.target_ehr) & (_c.type == _r.target_type) & (_c.foreign_id == _r.target))
    .where(_theirs, _c.id != "")
)
_ARRIVED_WORKPLACES = _ARRIVED.where(_r.target_type == "Organization")
_NAMED_BY_IDENTIFIER = select(_r.target).distinct().where(_theirs, _r.target_ehr == "")
_LINKED = select(_c.ehr, _c.type, _c.foreign_id, _c.id).where(
    _c.ehr == bindparam("ehr"), _c.type == bindparam("type"), listed(_c.foreign_id, "ids"), _c.id != ""
)
_HOLDERS = (
    select(_k.type, _k.key, _c.id)
    .join(crosswalk, (_c.ehr == _k.ehr) & (_c.type == _k.type) & (_c.foreign_id == _k.foreign_id))
    .where(_k.kind == "identifier", listed(_k.key, "keys"), _c.id != "")
)


def read_sources(connection: Connection, type: str, ids: Sequence[str]) -> dict[str, list[Source]]:
    rows = connection.execute(_SOURCES, {"type": type, "ids": array(ids)}).all()
    found: dict[str, list[Source]] = defaultdict(list)
    for id, ehr, own_type, foreign_id, body, hash, updated, wrong in rows:
        record = Record(ehr, own_type, foreign_id)
        found[id].append(Source(record, bytes(body), hash, updated, _marks(wrong, ehr)))
    return found


def _marks(wrong: bytes | None, ehr: str) -> Marks:
    return tuple(mark._replace(source=f"ehr:{ehr}") for mark in unpacked(wrong)) if wrong else ()


def read_targets(connection: Connection, records: Sequence[Record], context: Context) -> Targets:
    """What the references of these records point to here."""
    ids: dict[Record, str] = {}
    keys: set[str] = set()
    for some in _in_chunks(records):
        rows = connection.execute(_ARRIVED, some).all()
        ids |= {Record(*row[3:6]): row[6] for row in rows}
        keys |= {row[0] for row in connection.execute(_NAMED_BY_IDENTIFIER, some)}
    ids |= _departments(connection, context)
    roles = [target for target in ids if target.type == "PractitionerRole"]
    return Targets(ids, _holders(connection, keys), _workplaces(connection, roles))


def _in_chunks(records: Iterable[Record]) -> Iterator[dict[str, str]]:
    """The records as parameters of a statement, a portion each."""
    ids: dict[tuple[str, str], list[str]] = defaultdict(list)
    for record in records:
        ids[record.ehr, record.type].append(record.id)
    for (ehr, type), own in ids.items():
        for chunk in chunks(own):
            yield {"ehr": ehr, "type": type, "ids": array(chunk)}


def _departments(connection: Connection, context: Context) -> dict[Record, str]:
    return {
        Record(*row[:3]): row[3]
        for some in _in_chunks(context.departments.values())
        for row in connection.execute(_LINKED, some)
    }


def _workplaces(connection: Connection, roles: Sequence[Record]) -> dict[Record, frozenset[str]]:
    found: dict[Record, set[str]] = defaultdict(set)
    for some in _in_chunks(roles):
        for row in connection.execute(_ARRIVED_WORKPLACES, some):
            found[Record(*row[:3])].add(row[6])
    return {role: frozenset(ids) for role, ids in found.items()}


def _holders(connection: Connection, keys: Iterable[str]) -> dict[Holder, str]:
    found: dict[Holder, set[str]] = defaultdict(set)
    for chunk in chunks(keys):
        for type, key, id in connection.execute(_HOLDERS, {"keys": array(chunk)}):
            found[Holder(type, key)].add(f"{type}/{id}")
            found[Holder("", key)].add(f"{type}/{id}")
    return {holder: next(iter(who)) for holder, who in found.items() if len(who) == 1}
