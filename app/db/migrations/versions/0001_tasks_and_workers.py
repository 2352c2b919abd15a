"""Tasks and workers."""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = """
CREATE TABLE tasks (
    id text COLLATE "C" PRIMARY KEY,
    kind text NOT NULL,
    payload jsonb NOT NULL,
    recipient_digest text,
    status text NOT NULL DEFAULT 'queued'
        CHECK (status IN ('queued', 'running', 'retrying', 'succeeded', 'failed', 'cancelled')),
    attempts smallint NOT NULL DEFAULT 0,
    deaths smallint NOT NULL DEFAULT 0,
    fence bigint NOT NULL DEFAULT 0,
    worker text,
    next_run_at timestamptz NOT NULL DEFAULT now(),
    lease_expires_at timestamptz,
    publish_at timestamptz NOT NULL DEFAULT now(),
    result jsonb,
    error jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
CREATE INDEX tasks_publish_at ON tasks (publish_at) WHERE status IN ('queued', 'running', 'retrying');
CREATE INDEX tasks_due_at ON tasks ((coalesce(lease_expires_at, next_run_at)))
    WHERE status IN ('queued', 'running', 'retrying');
CREATE INDEX tasks_recipient ON tasks (recipient_digest, created_at);
CREATE TABLE workers (
    node text PRIMARY KEY,
    release text NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    """Both tables, and an index for every query."""
    op.execute(STATEMENTS)
