"""Adds the tables of exports and imports that other programs have asked for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    for name in ("export_job", "import_job"):
        op.create_table(
            name,
            sa.Column("id", NAME, nullable=False),
            sa.Column("owner", NAME, nullable=False),
            sa.Column("until", LONG, nullable=False),
            sa.Column("ended", sa.Boolean(), nullable=False),
            sa.Column("body", sa.LargeBinary(), nullable=False),
            sa.PrimaryKeyConstraint("id", name=op.f(f"{name}_pk")),
        )
