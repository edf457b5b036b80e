"""Every table, as SQLAlchemy Core on one MetaData: the store's own, then those of sync and watch.

    version     one row per accepted change: the log, and what every read returns
    received    the bytes as they came, beside the version they became
    resource    one row per resource: its newest version, and the `key` that the search index points to
    token, string, reference, date, number, quantity, uri
                the search index: one table per parameter type; rows exist for living resources only
    cursor      how far a follower of the log has come, written with its effects
    lease       which process does a job that only one may do
    setting     what the store knows about itself

A `param` in the index is a number made from resource type and parameter code (`index.number`), so that a
row is small and one equality finds both. `low` and `high` bound a half-open range [low, high). Points in
time are integers: microseconds since 1970 UTC in the index, milliseconds in `updated`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeEngine

REVISION = "0003"
"""The newest migration; a database made from scratch is stamped with it (a test keeps both the same)."""

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pk",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "fk": "%(table_name)s_%(column_0_N_name)s_fk",
    }
)

# SQLite aliases its row number only to a column declared INTEGER, which is 64 bits wide there.
Long: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
# Compared byte by byte on both databases: the order of a page must not depend on a locale.
Name: TypeEngine[str] = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _column(name: str, kind: TypeEngine[Any], **options: Any) -> Column[Any]:
    return Column(name, kind, nullable=False, **options)


version = Table(
    "version",
    metadata,
    Column("position", Long, primary_key=True, autoincrement=False),
    _column("type", Name),
    _column("id", Name),
    _column("version", Long),
    _column("updated", Long),
    _column("method", Name),
    _column("hash", Name),
    _column("source", Name),
    _column("body", LargeBinary()),
    UniqueConstraint("type", "id", "version"),
    Index(None, "type", "position"),
)

received = Table(
    "received",
    metadata,
    Column("position", Long, ForeignKey("version.position"), primary_key=True, autoincrement=False),
    _column("body", LargeBinary()),
)

resource = Table(
    "resource",
    metadata,
    # The position of its first version: rises with creation and never changes.
    Column("key", Long, primary_key=True, autoincrement=False),
    _column("type", Name),
    _column("id", Name),
    _column("version", Long),
    _column("position", Long),
    _column("updated", Long),
    _column("deleted", Boolean()),
    UniqueConstraint("type", "id"),
)
_alive: dict[str, Any] = {
    "sqlite_where": text("deleted = false"),
    "postgresql_where": text("deleted = false"),
}
Index("resource_alive_key_idx", resource.c.type, resource.c.key, **_alive)
Index("resource_alive_updated_idx", resource.c.type, resource.c.updated, resource.c.key, **_alive)


def _index_table(name: str, values: list[Column[Any]], *orders: tuple[str, ...]) -> Table:
    """A search table: found by resource through (key, param), by value through each of `orders`.

    Clustered by key on SQLite, so that a new resource appends there; PostgreSQL gets the same order as an
    index.
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

cursor = Table(
    "cursor",
    metadata,
    Column("name", Name, primary_key=True),
    _column("position", Long),
)

lease = Table(
    "lease",
    metadata,
    Column("name", Name, primary_key=True),
    _column("holder", Name),
    _column("until", Long),
)

setting = Table(
    "setting",
    metadata,
    Column("name", Name, primary_key=True),
    _column("value", Name),
)

# ---------------------------------------------------------------------------------------------------- sync
# Tables of fhir_coprod.sync stand below this line.
#
#   crosswalk       each record taken from an EHR: what we last took (hash), and our resource it is in
#   received_base   its bytes as they came: what the next merge starts from
#   sync_key        what records are compared by: business identifiers, birth date, names, …
#   sync_reference  what a record refers to, so that it can be written again when the target arrives
#   feed            per EHR and type: what can be seen of it, since when, and the watermark
#   dead_letter     what could not be taken in, with its bytes and the reason
#   retired         resources of ours that became one with another
#   merge_base      what the EHR said of a resource that somebody here changed too: base of the next merge

crosswalk = Table(
    "crosswalk",
    metadata,
    Column("ehr", Name, primary_key=True),
    Column("type", Name, primary_key=True),
    Column("foreign_id", Name, primary_key=True),
    _column("id", Name),  # of our resource; empty until it is linked
    _column("version", Name),  # meta.versionId there
    _column("updated", Name),  # meta.lastUpdated there, UTC, sortable; empty when it says none
    _column("hash", Name),
    _column("deleted", Boolean()),
    _column("state", Integer()),  # 0 written, 1 to be written, 2 to be linked and written
    Index("crosswalk_resource_idx", "type", "id"),
)
Index(
    "crosswalk_open_idx",
    crosswalk.c.state,
    crosswalk.c.type,
    sqlite_where=crosswalk.c.state > 0,
    postgresql_where=crosswalk.c.state > 0,
)

received_base = Table(
    "received_base",
    metadata,
    Column("ehr", Name, primary_key=True),
    Column("type", Name, primary_key=True),
    Column("foreign_id", Name, primary_key=True),
    _column("body", LargeBinary()),
)

sync_key = Table(
    "sync_key",
    metadata,
    Column("type", Name, primary_key=True),
    Column("kind", Name, primary_key=True),
    Column("key", Name, primary_key=True),
    Column("ehr", Name, primary_key=True),
    Column("foreign_id", Name, primary_key=True),
    Index("sync_key_record_idx", "ehr", "type", "foreign_id"),
    Index("sync_key_value_idx", "kind", "key"),
)

sync_reference = Table(
    "sync_reference",
    metadata,
    Column("ehr", Name, primary_key=True),
    Column("type", Name, primary_key=True),
    Column("foreign_id", Name, primary_key=True),
    Column("target_ehr", Name, primary_key=True),  # empty: `target` is a business identifier
    Column("target_type", Name, primary_key=True),
    Column("target", Name, primary_key=True),
    Index("sync_reference_target_idx", "target_ehr", "target_type", "target"),
)

feed = Table(
    "feed",
    metadata,
    Column("ehr", Name, primary_key=True),
    Column("type", Name, primary_key=True),
    _column("state", Name),
    _column("since", Long),
    _column("reason", Name),
    _column("watermark", Name),
    _column("first_success", Long),  # 0: never yet
    _column("last_success", Long),
)

dead_letter = Table(
    "dead_letter",
    metadata,
    Column("id", Long, primary_key=True, autoincrement=True),
    _column("ehr", Name),
    _column("type", Name),
    _column("foreign_id", Name),
    _column("hash", Name),  # SHA-256 of the bytes
    _column("position", Name),
    _column("body", LargeBinary()),
    _column("outcome", Name),
    _column("received", Long),
    _column("state", Name),  # open, resolved, superseded
    UniqueConstraint("ehr", "type", "foreign_id", "hash"),
)

merge_base = Table(
    "merge_base",
    metadata,
    Column("type", Name, primary_key=True),
    Column("id", Name, primary_key=True),
    _column("body", LargeBinary()),
)

retired = Table(
    "retired",
    metadata,
    Column("type", Name, primary_key=True),
    Column("id", Name, primary_key=True),
    _column("successor", Name),
    _column("written", Boolean()),
)

# --------------------------------------------------------------------------------------------------- watch
# Tables of fhir_coprod.watch stand below this line.
#
#   standing    what the watch last said of each referral, and when to look at it again

standing = Table(
    "standing",
    metadata,
    Column("referral", Name, primary_key=True),  # ServiceRequest/id or Communication/id
    _column("ehr", Name),  # the EHR it came from; empty: none
    _column("interest", Integer()),  # 0 closed or none, 1 closed as far as seen, 2 moving, 3 stalled, 4 fault
    _column("old", Boolean()),  # stalled already when its EHR was first read
    _column("stage", Name),
    _column("since", Long),  # milliseconds
    _column("due", Long),  # when what is said may change by itself, or its alerts; milliseconds
    _column("body", LargeBinary()),  # the standing itself, in MessagePack
    Column("facts", LargeBinary()),  # by which it was judged; NULL: to be read from the record
    Index("standing_due_idx", "due"),
)
Index(
    "standing_interest_idx",
    standing.c.interest,
    standing.c.referral,
    sqlite_where=standing.c.interest > 0,
    postgresql_where=standing.c.interest > 0,
)
Index("standing_old_idx", standing.c.ehr, sqlite_where=text("old"), postgresql_where=text("old"))
