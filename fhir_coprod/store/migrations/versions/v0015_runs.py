"""Adds the tables of EHRs that are paused, of what the last runs of the sync did, and an index by which
open dead letters are counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "pause",
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("since", LONG, nullable=False),
        sa.Column("until", LONG, nullable=False),
        sa.Column("because", NAME, nullable=False),
        sa.PrimaryKeyConstraint("ehr", name=op.f("pause_pk")),
    )
    op.create_table(
        "sync_run",
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("run", NAME, nullable=False),
        sa.Column("began", LONG, nullable=False),
        sa.Column("ended", LONG, nullable=False),
        sa.Column("result", NAME, nullable=False),
        sa.Column("words", NAME, nullable=False),
        sa.Column("read", LONG, nullable=False),
        sa.Column("changed", LONG, nullable=False),
        sa.Column("dead", LONG, nullable=False),
        sa.PrimaryKeyConstraint("ehr", "run", name=op.f("sync_run_pk")),
    )
    op.create_index("sync_run_began_idx", "sync_run", ["ehr", "began"])
    op.create_index(
        "dead_letter_open_idx",
        "dead_letter",
        ["ehr"],
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
