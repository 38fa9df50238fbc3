"""Alembic's entry: runs the steps on the connection that `server.database.store` hands over. There is no
alembic.ini."""

from __future__ import annotations

from alembic import context

from server.database.store import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
