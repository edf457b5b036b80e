"""Adds a checksum to each row of the log, to the bytes received, to the marks of a resource, and
to each standing.

Rows of before have none until `db check --repair` adds it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("version", sa.Column("seal", LONG))
    op.add_column("received", sa.Column("seal", LONG))
    op.add_column("resource", sa.Column("marks", LONG))
    op.add_column("standing", sa.Column("seal", LONG))
