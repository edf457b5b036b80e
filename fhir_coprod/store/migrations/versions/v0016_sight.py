"""Adds what authorization looks at: the labels of each resource, and which departments a referral is about.

Both are made with the search index, which is made anew after this (`reindex.py`). Until then every resource
has all labels and no referral is any department's, so nothing opens before it is known.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column(
        "resource", sa.Column("labels", sa.Integer(), nullable=False, server_default=sa.text("2147483647"))
    )
    op.create_table(
        "relation",
        sa.Column("key", LONG, autoincrement=False, nullable=False),
        sa.Column("party", NAME, nullable=False),
        sa.Column("patient", NAME, nullable=False),
        sa.PrimaryKeyConstraint("key", "party", "patient", name=op.f("relation_pk")),
        sqlite_with_rowid=False,
    )
    op.create_index("relation_patient_idx", "relation", ["patient", "party"], unique=False)
    op.create_index("relation_party_idx", "relation", ["party", "patient"], unique=False)
