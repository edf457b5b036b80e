"""Adds the table guard with a checksum of each row of the small tables, and checksums to what was taken from
EHRs and to when a standing is due.

The rows of the small tables that are there get theirs as they are now. What was taken from EHRs gets it when
it is next written, or by `db check --repair`; standings when they are next judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from fhir_coprod import jsontext
from fhir_coprod.store.seals import seal

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
AT_ONCE = 1000
_PAIR = ("ehr_a", "id_a", "ehr_b", "id_b")
TABLES: dict[str, tuple[int, tuple[str, ...]]] = {
    "cursor": (1, ("name", "position")),
    "setting": (1, ("name", "value")),
    "feed": (
        2,
        (
            *("ehr", "type", "state", "since", "reason", "watermark"),
            *("first_success", "last_success", "last_full", "short_looks"),
        ),
    ),
    "unfinished": (2, ("ehr", "type", "body")),
    "unread": (3, ("ehr", "type", "what", "reason", "since")),
    "ehr_base": (2, ("ehr", "base")),
    "letter_patient": (3, ("letter", "ehr", "foreign_id", "made")),
    "retired": (2, ("type", "id", "successor", "written")),
    "person_word": (4, (*_PAIR, "word", "who", "said")),
    "doubt": (4, (*_PAIR, "why", "since", "asked", "look")),
    "odd_number": (1, ("number", "system", "people")),
    "numbering": (1, ("system", "shared", "odd", "trusted", "look")),
    "merge_base": (2, ("type", "id", "body")),
    "share": (3, ("day", "ehr", "thing", "orders", "hidden")),
    "habit": (4, ("ehr", "asked", "thing", "step", "referrals", "shown", "use", "was_used")),
    "dead_letter": (
        4,
        (
            *("id", "ehr", "type", "foreign_id", "hash", "position", "outcome", "received", "state"),
            *("dismissed_by", "dismissed_because", "dismissed_at", "seen"),
        ),
    ),
}
"""By table how many columns name a row, and the columns that its checksum covers, those of the name first."""
LETTER_NAME = ("ehr", "type", "foreign_id", "hash")
"""What names a dead letter."""


def upgrade() -> None:
    op.create_table(
        "guard",
        sa.Column("place", NAME, nullable=False),
        sa.Column("key", NAME, nullable=False),
        sa.Column("content", LONG, nullable=False),
        sa.Column("seal", LONG, nullable=False),
        sa.PrimaryKeyConstraint("place", "key", name=op.f("guard_pk")),
    )
    op.add_column("crosswalk", sa.Column("seal", LONG))
    op.add_column("crosswalk", sa.Column("linked", LONG))
    op.add_column("received_base", sa.Column("seal", LONG))
    op.add_column("standing", sa.Column("due_seal", LONG))
    for place, (width, columns) in TABLES.items():
        named = LETTER_NAME if place == "dead_letter" else columns[:width]
        _guard(place, named, columns)


def _guard(place: str, named: Sequence[str], columns: Sequence[str]) -> None:
    connection = op.get_bind()
    guard = sa.table("guard", *(sa.column(name) for name in ("place", "key", "content", "seal")))
    rows: sa.Result[Any] = connection.execute(
        sa.select(*(sa.column(name) for name in columns)).select_from(sa.table(place))
    )
    where = [columns.index(name) for name in named]
    while some := rows.fetchmany(AT_ONCE):
        guards = []
        for row in some:
            key = jsontext.encode([row[at] for at in where]).decode()
            content = seal((place, *map(_plain, row)))
            own = seal((place, key, content))
            guards.append({"place": place, "key": key, "content": content, "seal": own})
        connection.execute(guard.insert(), guards)


def _plain(value: Any) -> Any:
    if isinstance(value, memoryview):
        return bytes(value)
    return int(value) if isinstance(value, bool) else value
