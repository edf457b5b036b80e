"""Adds the tables of programs that may call: clients, public signing keys, and assertions that were used."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "client",
        sa.Column("name", NAME, nullable=False),
        sa.Column("scopes", NAME, nullable=False),
        sa.Column("jwks_url", NAME, nullable=False),
        sa.Column("jwks", NAME, nullable=False),
        sa.Column("per_minute", LONG, nullable=False),
        sa.Column("since", LONG, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("client_pk")),
    )
    op.create_table(
        "signing_key",
        sa.Column("kid", NAME, nullable=False),
        sa.Column("jwk", NAME, nullable=False),
        sa.Column("until", LONG, nullable=False),
        sa.PrimaryKeyConstraint("kid", name=op.f("signing_key_pk")),
    )
    op.create_table(
        "used_assertion",
        sa.Column("hash", NAME, nullable=False),
        sa.Column("until", LONG, nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("used_assertion_pk")),
    )
    op.create_index("used_assertion_until_idx", "used_assertion", ["until"])
