"""Adds the tables of the audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "audit_call",
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("chain", NAME, nullable=False),
        sa.Column("number", LONG, nullable=False),
        sa.Column("at", LONG, nullable=False),
        *(
            sa.Column(name, NAME, nullable=False)
            for name in ("kind", "who", "session", "address", "departments", "purpose", "interaction", "type")
        ),
        sa.Column("id", NAME, nullable=False),
        sa.Column("version", NAME, nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("query", NAME, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("month", "chain", "number", name=op.f("audit_call_pk")),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (month)",
    )
    op.create_index("audit_call_at_idx", "audit_call", ["month", "at", "chain", "number"])
    op.create_table(
        "audit_resource",
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("chain", NAME, nullable=False),
        sa.Column("number", LONG, nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("at", LONG, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("id", NAME, nullable=False),
        sa.Column("version", LONG, nullable=False),
        sa.Column("patient", NAME, nullable=False),
        sa.PrimaryKeyConstraint("month", "chain", "number", "place", name=op.f("audit_resource_pk")),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (month)",
    )
    op.create_index(
        "audit_resource_patient_idx", "audit_resource", ["patient", "month", "at", "chain", "number"]
    )
    op.create_table(
        "audit_checkpoint",
        sa.Column("month", sa.Integer(), nullable=False),
        sa.Column("chain", NAME, nullable=False),
        sa.Column("number", LONG, nullable=False),
        sa.Column("hash", NAME, nullable=False),
        sa.Column("calls", LONG, nullable=False),
        sa.Column("at", LONG, nullable=False),
        sa.PrimaryKeyConstraint("month", "chain", name=op.f("audit_checkpoint_pk")),
    )
