"""Adds what is known of numbers and of doubts about people, and keeps what persons said until now.

Persons answered in a Task until now. Their answers become words, and open questions become doubts. The keys
of patients and orders are marked as made by older rules, so that the next sync makes them again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "person_word",
        sa.Column("ehr_a", NAME, nullable=False),
        sa.Column("id_a", NAME, nullable=False),
        sa.Column("ehr_b", NAME, nullable=False),
        sa.Column("id_b", NAME, nullable=False),
        sa.Column("word", NAME, nullable=False),
        sa.Column("who", NAME, nullable=False),
        sa.Column("said", LONG, nullable=False),
        sa.PrimaryKeyConstraint("ehr_a", "id_a", "ehr_b", "id_b", name=op.f("person_word_pk")),
    )
    op.create_index("person_word_other_idx", "person_word", ["ehr_b", "id_b"], unique=False)
    op.create_table(
        "doubt",
        sa.Column("ehr_a", NAME, nullable=False),
        sa.Column("id_a", NAME, nullable=False),
        sa.Column("ehr_b", NAME, nullable=False),
        sa.Column("id_b", NAME, nullable=False),
        sa.Column("why", NAME, nullable=False),
        sa.Column("since", LONG, nullable=False),
        sa.Column("asked", sa.Boolean(), nullable=False),
        sa.Column("look", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("ehr_a", "id_a", "ehr_b", "id_b", name=op.f("doubt_pk")),
    )
    op.create_index("doubt_other_idx", "doubt", ["ehr_b", "id_b"], unique=False)
    for column in ("look", "asked"):
        op.create_index(
            f"doubt_{column}_idx",
            "doubt",
            ["ehr_a"],
            unique=False,
            sqlite_where=sa.text(column),
            postgresql_where=sa.text(column),
        )
    op.create_table(
        "odd_number",
        sa.Column("number", NAME, nullable=False),
        sa.Column("system", NAME, nullable=False),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("odd_number_pk")),
    )
    op.create_index("odd_number_system_idx", "odd_number", ["system"], unique=False)
    op.create_table(
        "numbering",
        sa.Column("system", NAME, nullable=False),
        sa.Column("shared", LONG, nullable=False),
        sa.Column("odd", LONG, nullable=False),
        sa.Column("trusted", sa.Boolean(), nullable=False),
        sa.Column("look", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("system", name=op.f("numbering_pk")),
    )
    _keep_answers()
    op.execute(
        "INSERT INTO sync_key (type, kind, key, ehr, foreign_id) SELECT type, 'rules', '', ehr, foreign_id "
        "FROM crosswalk WHERE NOT deleted AND type IN ('Patient', 'ServiceRequest', 'Task')"
    )


def _keep_answers() -> None:
    connection = op.get_bind()
    asked: dict[str, list[tuple[str, str]]] = defaultdict(list)
    rows = connection.execute(sa.text("SELECT key, ehr, foreign_id FROM sync_key WHERE kind = 'asked'"))
    for id, ehr, foreign_id in rows:
        asked[id].append((ehr, foreign_id))
    newest = sa.text(
        "SELECT v.body, v.updated FROM version v JOIN resource r ON r.type = v.type AND r.id = v.id "
        "AND r.version = v.version WHERE v.type = 'Task' AND v.id = :id AND NOT r.deleted"
    )
    for id, records in sorted(asked.items()):
        row = connection.execute(newest, {"id": id}).first()
        if row is None or len(records) != 2:
            continue
        (ehr_a, id_a), (ehr_b, id_b) = sorted(records)
        pair = {"a": ehr_a, "x": id_a, "b": ehr_b, "y": id_b, "at": row[1], "yes": True}
        word = _word(json.loads(bytes(row[0])))
        if word:
            statement = "INSERT INTO person_word VALUES (:a, :x, :b, :y, :word, :who, :at)"
            pair |= {"word": word, "who": f"answered in Task/{id}"}
        else:
            statement = "INSERT INTO doubt VALUES (:a, :x, :b, :y, 'asked before', :at, :yes, :yes)"
        connection.execute(sa.text(statement), pair)
    connection.execute(sa.text("DELETE FROM sync_key WHERE kind = 'asked'"))


def _word(task: dict[str, Any]) -> str:
    """`same`, `different`, or "" if nobody has decided, as the sync read such a Task until now."""
    if task.get("status") == "rejected":
        return "different"
    if task.get("status") != "completed":
        return ""
    said = set()
    for output in task.get("output") or []:
        concept = output.get("valueCodeableConcept") or {}
        codings = [output.get("valueCoding") or {}, *(concept.get("coding") or ())]
        words = [output.get("valueCode"), output.get("valueString"), concept.get("text")]
        said |= {str(word).strip().casefold() for word in (*words, *(c.get("code") for c in codings))}
    answers = said & {"same", "different"}
    return answers.pop() if len(answers) == 1 else ""
