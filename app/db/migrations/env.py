"""Runs the migrations on the connection that migrate.py hands over."""

from alembic import context

from app.db.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # One migration, one transaction: an interrupted upgrade leaves whole steps behind it.
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
