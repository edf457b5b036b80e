"""Defines the store's own database tables, in SQLAlchemy Core.

    version     one row per accepted change: the log, and what every read returns
    received    the bytes as received, for each version
    resource    one row per resource: its newest version, and the `key` that the search index points to
    token, string, reference, date, number, quantity, uri
                the search index: one table per parameter type; only resources that are not deleted have rows
    relation    which departments have sent or received a referral, and whose referral it is (`relations.py`)
    objection   to whom a patient refuses what, as their Consents say (`objections.py`)
    joined      which patients became one, and who has confirmed it
    quality     what is wrong in resources that are kept although they break a rule; valid ones have no row
    cursor      how far a reader of the log has come, written together with its effects
    lease       which process is doing a job that only one may do
    async_request
                requests that are answered later, and their answers; a row may be lost at any time
    export_job, import_job
                exports and imports that other programs have asked for (`bulk_jobs.py`)
    setting     what the store knows about itself
    guard       the checksum of each row of the small tables (`guarded.py`)

A `param` in the index is a number made from resource type and parameter code (`index.number`), so that a row
is small and one equality finds both. `low` and `high` bound a half-open range [low, high). Points in time are
integers: microseconds since 1970 UTC in the index, milliseconds in `updated`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeEngine

from fhir_coprod.store.schema.columns import Long, Name, column, metadata

version = Table(
    "version",
    metadata,
    Column("position", Long, primary_key=True, autoincrement=False),
    column("type", Name),
    column("id", Name),
    column("version", Long),
    column("updated", Long),
    column("method", Name),
    column("hash", Name),
    column("source", Name),
    column("body", LargeBinary()),
    Column("seal", Long),  # of all other columns (`seals.py`); NULL: stored before there were any
    UniqueConstraint("type", "id", "version"),
    Index(None, "type", "position"),
)

received = Table(
    "received",
    metadata,
    Column("position", Long, ForeignKey("version.position"), primary_key=True, autoincrement=False),
    column("body", LargeBinary()),
    Column("seal", Long),
)

resource = Table(
    "resource",
    metadata,
    # The position of its first version: later resources have higher ones, and it never changes.
    Column("key", Long, primary_key=True, autoincrement=False),
    column("type", Name),
    column("id", Name),
    column("version", Long),
    column("position", Long),
    column("updated", Long),
    column("deleted", Boolean()),
    Column("marks", Long),  # the seal of its rows in `quality`; NULL: stored before there were any
    # What its security labels say (`labels.py`); all bits until somebody has looked.
    column("labels", Integer(), server_default=text("2147483647")),
    # A Patient's number of rows in `objection`.
    column("objections", Integer(), server_default=text("0")),
    # The position of the log when another was joined with this Patient, until a person confirms it.
    column("joined", Long, server_default=text("0")),
    UniqueConstraint("type", "id"),
)
_alive: dict[str, Any] = {
    "sqlite_where": text("deleted = false"),
    "postgresql_where": text("deleted = false"),
}
Index("resource_alive_key_idx", resource.c.type, resource.c.key, **_alive)
Index("resource_alive_updated_idx", resource.c.type, resource.c.updated, resource.c.key, **_alive)
for _name in ("objections", "joined"):
    _few = text(f"{_name} > 0")
    Index(f"resource_{_name}_idx", resource.c.id, sqlite_where=_few, postgresql_where=_few)


def _index_table(name: str, values: list[Column[Any]], *orders: tuple[str, ...]) -> Table:
    """A search table: looked up by resource through (key, param), by value through each of `orders`.

    On SQLite it is clustered by key, so that a new resource appends there; on PostgreSQL an index gives the
    same order.
    """
    table = Table(
        name,
        metadata,
        Column("key", Long, primary_key=True, autoincrement=False),
        Column("param", Integer(), primary_key=True, autoincrement=False),
        *values,
        sqlite_with_rowid=False,
    )
    for order in orders:
        Index(f"{name}_{'_'.join(order)}_idx", *(table.c[column] for column in ("param", *order, "key")))
    return table


def _value(name: str, kind: TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


token = _index_table("token", [_value("code", Name), _value("system", Name)], ("code",))
string = _index_table("string", [_value("value", Name), _value("exact", Name)], ("value",))
reference = _index_table(
    "reference", [_value("target_id", Name), _value("target_type", Name)], ("target_id",)
)
date = _index_table("date", [_value("low", Long), _value("high", Long)], ("low",))
number = _index_table("number", [_value("low", Float(53)), _value("high", Float(53))], ("low",))
quantity = _index_table(
    "quantity",
    [
        _value("low", Float(53)),
        _value("high", Float(53)),
        _value("system", Name),
        _value("code", Name),
        _value("unit", Name),
    ],
    ("low",),
)
uri = _index_table("uri", [_value("value", Name)], ("value",))

for _table, _width in ((date, 86_400_000_000), (number, 0), (quantity, 0)):
    _wide = text(f"high - low > {_width}")
    Index(
        f"{_table.name}_wide_idx",
        _table.c.param,
        _table.c.high,
        _table.c.key,
        sqlite_where=_wide,
        postgresql_where=_wide,
    )

INDEX_TABLES = (token, string, reference, date, number, quantity, uri)

relation = Table(
    "relation",
    metadata,
    Column("key", Long, primary_key=True, autoincrement=False),  # of a ServiceRequest or Task
    Column("party", Name, primary_key=True),  # id of an Organization that has sent or received it
    Column("patient", Name, primary_key=True),  # id of the Patient that it is about; "" for none
    Index("relation_patient_idx", "patient", "party"),
    Index("relation_party_idx", "party", "patient"),
    sqlite_with_rowid=False,
)

objection = Table(
    "objection",
    metadata,
    Column("patient", Name, primary_key=True),
    Column("consent", Name, primary_key=True),  # id of the Consent that says so
    Column("kind", Name, primary_key=True),  # everybody, department, person, name or relative
    Column(
        "party", Name, primary_key=True
    ),  # id of an Organization, Practitioner, RelatedPerson; issuer|subject
    Column("type", Name, primary_key=True),  # of what is refused; "" for the whole record
    Column("low", Name, primary_key=True),  # when it holds, as UTC without a zone: 2026-12-01 09:30:00
    Column("high", Name, primary_key=True),
    Index("objection_consent_idx", "consent"),
    sqlite_with_rowid=False,
)

joined = Table(
    "joined",
    metadata,
    Column("patient", Name, primary_key=True),  # the id that stays
    Column("former", Name, primary_key=True),  # the id of that other
    column("position", Long),  # of the log when they became one
    column("who", Name),  # the person who confirmed it; "" for nobody yet
    column("confirmed", Long),  # milliseconds; 0: not yet
)

quality = Table(
    "quality",
    metadata,
    Column("key", Long, primary_key=True, autoincrement=False),
    Column("element", Name, primary_key=True, autoincrement=False),
    Column("rule", Name, primary_key=True, autoincrement=False),
    column("type", Name),
    column("version", Long),  # the newest version, which has the fault
    column("since", Long),  # when a version with this fault was first stored; milliseconds
    column("source", Name),
    column("message", Name),
    Index("quality_type_idx", "type", "key"),
    Index("quality_kind_idx", "source", "type", "rule", "element", "since", "key"),
    sqlite_with_rowid=False,
)

cursor = Table(
    "cursor",
    metadata,
    Column("name", Name, primary_key=True),
    column("position", Long),
)

lease = Table(
    "lease",
    metadata,
    Column("name", Name, primary_key=True),
    column("holder", Name),
    column("until", Long),
)

async_request = Table(
    "async_request",
    metadata,
    Column("id", Name, primary_key=True),
    column("until", Long),  # when it is forgotten; milliseconds
    column("request", LargeBinary()),
    column("answer", LargeBinary()),  # empty until it is there
    column("seal", Long),  # of all other columns
)


def _jobs(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("id", Name, primary_key=True),
        column("owner", Name),  # who asked for it, and who alone may see it
        column("until", Long),  # when it is forgotten; milliseconds
        column("ended", Boolean()),
        column("body", LargeBinary()),  # what is wanted, and how far it is
    )


export_job = _jobs("export_job")
import_job = _jobs("import_job")

setting = Table(
    "setting",
    metadata,
    Column("name", Name, primary_key=True),
    column("value", Name),
)

guard = Table(
    "guard",
    metadata,
    Column("place", Name, primary_key=True),  # the table
    Column("key", Name, primary_key=True),  # what names the row there, as a JSON array
    column("content", Long),  # the checksum of the row
    column("seal", Long),  # of all other columns
)
