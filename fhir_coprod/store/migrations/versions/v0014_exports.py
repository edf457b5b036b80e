"""Adds the tables of bulk exports: the one of each EHR that is under way, and what is left to do of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "bulk_job",
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("ehr", name=op.f("bulk_job_pk")),
    )
    op.create_table(
        "bulk_file",
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("type", NAME, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", NAME, nullable=False),
        sa.Column("url", NAME, nullable=False),
        sa.Column("count", LONG, nullable=False),
        sa.Column("here", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("ehr", "type", "number", name=op.f("bulk_file_pk")),
    )
