"""Tasks and workers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

UNFINISHED = "status IN ('queued', 'running', 'retrying')"


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def upgrade() -> None:
    """Both tables and the indexes of every query."""
    op.create_table(
        "tasks",
        sa.Column("id", sa.Text(collation="C"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("payload", JSONB, nullable=False),
        sa.Column("recipient_digest", sa.Text, comment="who is counted by the hourly limit; null: nobody"),
        sa.Column("status", sa.Text, nullable=False, server_default="queued"),
        sa.Column(
            "attempts",
            sa.SmallInteger,
            nullable=False,
            server_default=sa.text("0"),
            comment="how often it was claimed",
        ),
        sa.Column(
            "deaths",
            sa.SmallInteger,
            nullable=False,
            server_default=sa.text("0"),
            comment="how often a lease ran out: after each, the work may have been done and not recorded",
        ),
        sa.Column(
            "fence",
            sa.BigInteger,
            nullable=False,
            server_default=sa.text("0"),
            comment="the number of the newest claim",
        ),
        sa.Column("worker", sa.Text, comment="which node made it"),
        _moment("next_run_at"),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True)),
        _moment("publish_at"),
        sa.Column("result", JSONB),
        sa.Column("error", JSONB),
        _moment("created_at"),
        _moment("updated_at"),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("id", name="pk_tasks"),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'retrying', 'succeeded', 'failed', 'cancelled')",
            name="ck_tasks_status",
        ),
    )
    op.create_index("ix_tasks_publish_at", "tasks", ["publish_at"], postgresql_where=sa.text(UNFINISHED))
    op.create_index(
        "ix_tasks_due_at",
        "tasks",
        [sa.text("coalesce(lease_expires_at, next_run_at)")],
        postgresql_where=sa.text(UNFINISHED),
    )
    op.create_index(
        "ix_tasks_recipient",
        "tasks",
        ["recipient_digest", "created_at"],
        postgresql_where=sa.text("recipient_digest IS NOT NULL"),
    )
    op.create_table(
        "workers",
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("release", sa.Text, nullable=False),
        _moment("seen_at"),
        sa.PrimaryKeyConstraint("node", name="pk_workers"),
    )
