"""Every process adds what it counted to rows that all hosts and releases share."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """A table that the release before leaves alone."""
    op.execute("""
    CREATE TABLE IF NOT EXISTS counters (
        name text NOT NULL,
        le text NOT NULL,
        value double precision NOT NULL,
        PRIMARY KEY (name, le)
    )
    """)
