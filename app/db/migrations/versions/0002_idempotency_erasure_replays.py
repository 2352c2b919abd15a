"""A task can be asked for under a key, be erased, and be replayed."""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = """
ALTER TABLE tasks
    ADD COLUMN idempotency_digest text,
    ADD COLUMN fingerprint text,
    ADD COLUMN erased_at timestamptz,
    ADD COLUMN replays smallint NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX tasks_idempotency_digest ON tasks (idempotency_digest)
    WHERE idempotency_digest IS NOT NULL;
CREATE INDEX tasks_unerased ON tasks (finished_at) WHERE finished_at IS NOT NULL AND erased_at IS NULL;
"""


def upgrade() -> None:
    """New columns that the release before leaves alone, and an index for each new query."""
    op.execute(STATEMENTS)
