"""Run by Alembic: applies the migrations on the connection that `engine.migrate` opened."""

from __future__ import annotations

from alembic import context

from shared.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
