"""Run by Alembic: migrates over the connection that `renga.store.schema` opened, inside its transaction."""

from __future__ import annotations

from alembic import context

from renga.store.tables.definitions import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,
    transaction_per_migration=False,
)
context.run_migrations()
