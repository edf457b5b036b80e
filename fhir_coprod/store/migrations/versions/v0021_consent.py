"""Adds what patients refuse to whom, which patients became one, and for whom the glass was broken.

The search index is made anew after this (`reindex.py`), and the objections with it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column(
        "resource", sa.Column("objections", sa.Integer(), nullable=False, server_default=sa.text("0"))
    )
    op.add_column("resource", sa.Column("joined", LONG, nullable=False, server_default=sa.text("0")))
    for name in ("objections", "joined"):
        few = sa.text(f"{name} > 0")
        op.create_index(f"resource_{name}_idx", "resource", ["id"], sqlite_where=few, postgresql_where=few)
    names = ("patient", "consent", "kind", "party", "type", "low", "high")
    op.create_table(
        "objection",
        *(sa.Column(name, NAME, nullable=False) for name in names),
        sa.PrimaryKeyConstraint(*names, name=op.f("objection_pk")),
        sqlite_with_rowid=False,
    )
    op.create_index("objection_consent_idx", "objection", ["consent"])
    op.create_table(
        "joined",
        sa.Column("patient", NAME, nullable=False),
        sa.Column("former", NAME, nullable=False),
        sa.Column("position", LONG, nullable=False),
        sa.Column("who", NAME, nullable=False),
        sa.Column("confirmed", LONG, nullable=False),
        sa.PrimaryKeyConstraint("patient", "former", name=op.f("joined_pk")),
    )
    op.create_table(
        "glass",
        sa.Column("id", NAME, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("shown", NAME, nullable=False),
        sa.Column("session", NAME, nullable=False),
        sa.Column("patient", NAME, nullable=False),
        sa.Column("reason", NAME, nullable=False),
        sa.Column("note", NAME, nullable=False),
        sa.Column("began", LONG, nullable=False),
        sa.Column("ends", LONG, nullable=False),
        sa.Column("reviewer", NAME, nullable=False),
        sa.Column("reviewed", LONG, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("glass_pk")),
    )
    op.create_index("glass_session_idx", "glass", ["session"])
