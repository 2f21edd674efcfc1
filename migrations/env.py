"""Alembic's entry point: runs on the connection that `service.database.migrate` hands over."""

from alembic import context

from service.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite alters a table by rebuilding it
)
with context.begin_transaction():
    context.run_migrations()
