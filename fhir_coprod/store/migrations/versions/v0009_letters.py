"""Adds which patients a dead letter names, and when it last came.

Letters that are there get the patients that they name by a relative reference; replaying them finds others.
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
STANDING = "state IN ('open', 'dismissed')"
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_PATIENT = re.compile(rb'"reference"\s*:\s*"Patient\\?/([A-Za-z0-9.\-]{1,64})["/\\]')


def upgrade() -> None:
    op.add_column("dead_letter", sa.Column("seen", LONG, nullable=False, server_default="0"))
    op.execute("UPDATE dead_letter SET seen = received")
    op.create_index(
        "dead_letter_standing_idx",
        "dead_letter",
        ["type"],
        unique=False,
        sqlite_where=sa.text(STANDING),
        postgresql_where=sa.text(STANDING),
    )
    op.create_table(
        "letter_patient",
        sa.Column("letter", LONG, nullable=False),
        sa.Column("ehr", NAME, nullable=False),
        sa.Column("foreign_id", NAME, nullable=False),
        sa.Column("made", NAME, nullable=False),
        sa.PrimaryKeyConstraint("letter", "ehr", "foreign_id", name=op.f("letter_patient_pk")),
    )
    connection = op.get_bind()
    letter = sa.table("dead_letter", sa.column("id"))
    standing = sa.select(letter.c.id).where(sa.text(STANDING)).order_by(letter.c.id)
    body = sa.text("SELECT ehr, body FROM dead_letter WHERE id = :id")
    name = sa.text("INSERT INTO letter_patient VALUES (:id, :ehr, :patient, '')")
    for (id,) in connection.execute(standing).all():
        ehr, raw = connection.execute(body, {"id": id}).one()
        for patient in sorted(set(_PATIENT.findall(bytes(raw)))):
            connection.execute(name, {"id": id, "ehr": ehr, "patient": patient.decode()})
