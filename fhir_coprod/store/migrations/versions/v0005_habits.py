"""Adds to each standing its scope, and what it tells of the steps in use there; and what is learned of them.

Standings are made anew by every other version of the program, so the table is, too.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.drop_table("standing")
    op.create_table(
        "standing",
        sa.Column("referral", NAME, nullable=False),
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("interest", sa.Integer(), nullable=False),
        sa.Column("old", sa.Boolean(), nullable=False),
        sa.Column("stage", NAME, nullable=False),
        sa.Column("since", LONG, nullable=False),
        sa.Column("due", LONG, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("facts", sa.LargeBinary(), nullable=True),
        sa.Column("scope", NAME, nullable=False),
        sa.Column("why", NAME, nullable=False),
        sa.Column("thing", NAME, nullable=False),
        sa.Column("written", LONG, nullable=False),
        sa.Column("counted", NAME, nullable=False),
        sa.Column("department", NAME, nullable=False),
        sa.Column("waits", LONG, nullable=False),
        sa.Column("asked", NAME, nullable=False),
        sa.Column("steps", NAME, nullable=False),
        sa.PrimaryKeyConstraint("referral", name=op.f("standing_pk")),
    )
    op.create_index("standing_due_idx", "standing", ["due"], unique=False)
    op.create_index("standing_written_idx", "standing", ["written", "ehr", "thing", "scope"], unique=False)
    for name, columns, where in (
        ("standing_interest_idx", ["interest", "referral"], "interest > 0"),
        ("standing_old_idx", ["ehr"], "old"),
        (
            "standing_apart_idx",
            ["scope", "why", "stage", "counted", "department", "waits", "written"],
            "scope IN ('diagnostic', 'out', 'unclear')",
        ),
        ("standing_counted_idx", ["counted", "department", "waits"], "counted <> ''"),
    ):
        op.create_index(
            name,
            "standing",
            columns,
            unique=False,
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )
    op.create_table(
        "habit",
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("asked", NAME, nullable=False),
        sa.Column("thing", NAME, nullable=False),
        sa.Column("step", NAME, nullable=False),
        sa.Column("referrals", sa.Integer(), nullable=False),
        sa.Column("shown", sa.Integer(), nullable=False),
        sa.Column("use", NAME, nullable=False),
        sa.Column("was_used", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("ehr", "asked", "thing", "step", name=op.f("habit_pk")),
    )
