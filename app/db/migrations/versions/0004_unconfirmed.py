"""A row counts how often the outcome of its work was lost though its worker lived."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """A column that the release before leaves alone, and its index, made as those of 0003 are.

    The column is there before the index is begun, and stays should that be broken off.
    """
    op.execute("ALTER TABLE tasks ADD COLUMN IF NOT EXISTS unconfirmed smallint NOT NULL DEFAULT 0")
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS tasks_unconfirmed")
        op.execute("CREATE INDEX CONCURRENTLY tasks_unconfirmed ON tasks (id) WHERE unconfirmed > 0")
