"""Writes the first migration anew from the schema. After the first release, add a new migration instead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sqlalchemy
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext

from fhir_coprod.store import schema

FILE = Path(__file__).parent.parent / "fhir_coprod/store/migrations/versions/v0001_first.py"

HEAD = '''"""The first schema: versions, log, index; the tables of sync and watch."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# As in schema.py on the day of this migration; a migration never looks at today's schema.
NAME = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")
LONG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
'''


def operations() -> str:
    """The body of `upgrade`."""
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        context = MigrationContext.configure(connection)
        code = render_python_code(produce_migrations(context, schema.metadata).upgrade_ops)
    code = code.replace("sa.Text().with_variant(sa.TEXT(collation='C'), 'postgresql')", "NAME")
    code = code.replace("sa.BigInteger().with_variant(sa.Integer(), 'sqlite')", "LONG")
    lines = [line for line in code.splitlines() if line.strip() and not line.strip().startswith("#")]
    return "\n".join(line if line.startswith("    ") else f"    {line}" for line in lines)


def main() -> None:
    FILE.write_text(HEAD + operations() + "\n")
    for arguments in (["check", "--fix", "-q", "--ignore", "E501"], ["format", "-q"]):
        subprocess.run([sys.executable, "-m", "ruff", *arguments, str(FILE)], check=True)


if __name__ == "__main__":
    main()
