"""The first schema: versions, log, index; the tables of sync and watch."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# As in schema.py on the day of this migration; a migration never looks at today's schema.
NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "crosswalk",
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("foreign_id", NAME, nullable=False),
        sa.Column("id", NAME, nullable=False),
        sa.Column("version", NAME, nullable=False),
        sa.Column("updated", NAME, nullable=False),
        sa.Column("hash", NAME, nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("ehr", "type", "foreign_id", name=op.f("crosswalk_pk")),
    )
    op.create_index(
        "crosswalk_open_idx",
        "crosswalk",
        ["state", "type"],
        unique=False,
        sqlite_where=sa.text("state > 0"),
        postgresql_where=sa.text("state > 0"),
    )
    op.create_index("crosswalk_resource_idx", "crosswalk", ["type", "id"], unique=False)
    op.create_table(
        "cursor",
        sa.Column("name", NAME, nullable=False),
        sa.Column("position", LONG, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("cursor_pk")),
    )
    op.create_table(
        "date",
        sa.Column("key", LONG, autoincrement=False, nullable=False),
        sa.Column("param", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("low", LONG, autoincrement=False, nullable=False),
        sa.Column("high", LONG, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("key", "param", "low", "high", name=op.f("date_pk")),
        sqlite_with_rowid=False,
    )
    op.create_index("date_low_idx", "date", ["param", "low", "key"], unique=False)
    op.create_index(
        "date_wide_idx",
        "date",
        ["param", "high", "key"],
        unique=False,
        sqlite_where=sa.text("high - low > 86400000000"),
        postgresql_where=sa.text("high - low > 86400000000"),
    )
    op.create_table(
        "dead_letter",
        sa.Column("id", LONG, autoincrement=True, nullable=False),
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("foreign_id", NAME, nullable=False),
        sa.Column("hash", NAME, nullable=False),
        sa.Column("position", NAME, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("outcome", NAME, nullable=False),
        sa.Column("received", LONG, nullable=False),
        sa.Column("state", NAME, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("dead_letter_pk")),
        sa.UniqueConstraint(
            "ehr", "type", "foreign_id", "hash", name=op.f("dead_letter_ehr_type_foreign_id_hash_key")
        ),
    )
    op.create_table(
        "feed",
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("state", NAME, nullable=False),
        sa.Column("since", LONG, nullable=False),
        sa.Column("reason", NAME, nullable=False),
        sa.Column("watermark", NAME, nullable=False),
        sa.Column("first_success", LONG, nullable=False),
        sa.Column("last_success", LONG, nullable=False),
        sa.PrimaryKeyConstraint("ehr", "type", name=op.f("feed_pk")),
    )
    op.create_table(
        "lease",
        sa.Column("name", NAME, nullable=False),
        sa.Column("holder", NAME, nullable=False),
        sa.Column("until", LONG, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("lease_pk")),
    )
    op.create_table(
        "merge_base",
        sa.Column("type", NAME, nullable=False),
        sa.Column("id", NAME, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("type", "id", name=op.f("merge_base_pk")),
    )
    op.create_table(
        "number",
        sa.Column("key", LONG, autoincrement=False, nullable=False),
        sa.Column("param", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("low", sa.Float(precision=53), autoincrement=False, nullable=False),
        sa.Column("high", sa.Float(precision=53), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("key", "param", "low", "high", name=op.f("number_pk")),
        sqlite_with_rowid=False,
    )
    op.create_index("number_low_idx", "number", ["param", "low", "key"], unique=False)
    op.create_index(
        "number_wide_idx",
        "number",
        ["param", "high", "key"],
        unique=False,
        sqlite_where=sa.text("high - low > 0"),
        postgresql_where=sa.text("high - low > 0"),
    )
    op.create_table(
        "quantity",
        sa.Column("key", LONG, autoincrement=False, nullable=False),
        sa.Column("param", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("low", sa.Float(precision=53), autoincrement=False, nullable=False),
        sa.Column("high", sa.Float(precision=53), autoincrement=False, nullable=False),
        sa.Column("system", NAME, autoincrement=False, nullable=False),
        sa.Column("code", NAME, autoincrement=False, nullable=False),
        sa.Column("unit", NAME, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint(
            "key", "param", "low", "high", "system", "code", "unit", name=op.f("quantity_pk")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("quantity_low_idx", "quantity", ["param", "low", "key"], unique=False)
    op.create_index(
        "quantity_wide_idx",
        "quantity",
        ["param", "high", "key"],
        unique=False,
        sqlite_where=sa.text("high - low > 0"),
        postgresql_where=sa.text("high - low > 0"),
    )
    op.create_table(
        "received_base",
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("foreign_id", NAME, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("ehr", "type", "foreign_id", name=op.f("received_base_pk")),
    )
    op.create_table(
        "reference",
        sa.Column("key", LONG, autoincrement=False, nullable=False),
        sa.Column("param", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("target_id", NAME, autoincrement=False, nullable=False),
        sa.Column("target_type", NAME, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("key", "param", "target_id", "target_type", name=op.f("reference_pk")),
        sqlite_with_rowid=False,
    )
    op.create_index("reference_target_id_idx", "reference", ["param", "target_id", "key"], unique=False)
    op.create_table(
        "resource",
        sa.Column("key", LONG, autoincrement=False, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("id", NAME, nullable=False),
        sa.Column("version", LONG, nullable=False),
        sa.Column("position", LONG, nullable=False),
        sa.Column("updated", LONG, nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("resource_pk")),
        sa.UniqueConstraint("type", "id", name=op.f("resource_type_id_key")),
    )
    op.create_index(
        "resource_alive_key_idx",
        "resource",
        ["type", "key"],
        unique=False,
        sqlite_where=sa.text("deleted = false"),
        postgresql_where=sa.text("deleted = false"),
    )
    op.create_index(
        "resource_alive_updated_idx",
        "resource",
        ["type", "updated", "key"],
        unique=False,
        sqlite_where=sa.text("deleted = false"),
        postgresql_where=sa.text("deleted = false"),
    )
    op.create_table(
        "retired",
        sa.Column("type", NAME, nullable=False),
        sa.Column("id", NAME, nullable=False),
        sa.Column("successor", NAME, nullable=False),
        sa.Column("written", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("type", "id", name=op.f("retired_pk")),
    )
    op.create_table(
        "setting",
        sa.Column("name", NAME, nullable=False),
        sa.Column("value", NAME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("setting_pk")),
    )
    op.create_table(
        "string",
        sa.Column("key", LONG, autoincrement=False, nullable=False),
        sa.Column("param", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", NAME, autoincrement=False, nullable=False),
        sa.Column("exact", NAME, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("key", "param", "value", "exact", name=op.f("string_pk")),
        sqlite_with_rowid=False,
    )
    op.create_index("string_value_idx", "string", ["param", "value", "key"], unique=False)
    op.create_table(
        "sync_key",
        sa.Column("type", NAME, nullable=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("foreign_id", NAME, nullable=False),
        sa.PrimaryKeyConstraint("type", "kind", "key", "ehr", "foreign_id", name=op.f("sync_key_pk")),
    )
    op.create_index("sync_key_record_idx", "sync_key", ["ehr", "type", "foreign_id"], unique=False)
    op.create_index("sync_key_value_idx", "sync_key", ["kind", "key"], unique=False)
    op.create_table(
        "sync_reference",
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("foreign_id", NAME, nullable=False),
        sa.Column("target_ehr", NAME, nullable=False),
        sa.Column("target_type", NAME, nullable=False),
        sa.Column("target", NAME, nullable=False),
        sa.PrimaryKeyConstraint(
            "ehr", "type", "foreign_id", "target_ehr", "target_type", "target", name=op.f("sync_reference_pk")
        ),
    )
    op.create_index(
        "sync_reference_target_idx", "sync_reference", ["target_ehr", "target_type", "target"], unique=False
    )
    op.create_table(
        "token",
        sa.Column("key", LONG, autoincrement=False, nullable=False),
        sa.Column("param", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("code", NAME, autoincrement=False, nullable=False),
        sa.Column("system", NAME, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("key", "param", "code", "system", name=op.f("token_pk")),
        sqlite_with_rowid=False,
    )
    op.create_index("token_code_idx", "token", ["param", "code", "key"], unique=False)
    op.create_table(
        "uri",
        sa.Column("key", LONG, autoincrement=False, nullable=False),
        sa.Column("param", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("value", NAME, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("key", "param", "value", name=op.f("uri_pk")),
        sqlite_with_rowid=False,
    )
    op.create_index("uri_value_idx", "uri", ["param", "value", "key"], unique=False)
    op.create_table(
        "version",
        sa.Column("position", LONG, autoincrement=False, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("id", NAME, nullable=False),
        sa.Column("version", LONG, nullable=False),
        sa.Column("updated", LONG, nullable=False),
        sa.Column("method", NAME, nullable=False),
        sa.Column("hash", NAME, nullable=False),
        sa.Column("source", NAME, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("version_pk")),
        sa.UniqueConstraint("type", "id", "version", name=op.f("version_type_id_version_key")),
    )
    op.create_index(op.f("version_type_position_idx"), "version", ["type", "position"], unique=False)
    op.create_table(
        "received",
        sa.Column("position", LONG, autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["position"], ["version.position"], name=op.f("received_position_fk")),
        sa.PrimaryKeyConstraint("position", name=op.f("received_pk")),
    )
