"""Alembic's entry point: runs migrations on the connection from `opening` or from a developer's command."""

from __future__ import annotations

from alembic import context

from fhir_coprod.store import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
