"""Operators find tasks by their status, however many there are."""

from alembic import op

revision = "0003"
down_revision = "0002"

# Without the tasks that succeeded, which are nearly all: those are found along the primary key.
INDEXES = {
    "tasks_status": "ON tasks (status, id) WHERE status <> 'succeeded'",
    "tasks_claimed_again": "ON tasks (id) WHERE deaths > 0",
}


def upgrade() -> None:
    """Concurrently, because a plain build would hold up every submission while it reads the whole table."""
    with op.get_context().autocommit_block():
        for name, definition in INDEXES.items():
            # One that was broken off is there, and of no use.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} {definition}")
