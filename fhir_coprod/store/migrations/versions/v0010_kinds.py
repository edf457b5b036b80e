"""Adds the index by which the kinds of marks are counted."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    kind = ["source", "type", "rule", "element", "since", "key"]
    op.create_index("quality_kind_idx", "quality", kind, unique=False)
