"""The tables. What a column is for stands beside it; how rows change stands in repository.py."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    MetaData,
    SmallInteger,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from app.schemas import UNFINISHED, Status

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(column_0_N_label)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _sql_list(statuses: tuple[Status, ...]) -> str:
    return ", ".join(f"'{status.value}'" for status in statuses)


# Spelt the same in every query, so that the partial indexes fit them.
IS_UNFINISHED = f"status IN ({_sql_list(UNFINISHED)})"
# From when a worker may claim the row: its turn, or the end of the lease of the worker that has it.
DUE_AT = "coalesce(lease_expires_at, next_run_at)"


def _moment(name: str, *, optional: bool = False) -> Column[object]:
    default = None if optional else func.now()
    return Column(name, DateTime(timezone=True), nullable=optional, server_default=default)


tasks = Table(
    "tasks",
    metadata,
    # Byte order, because ids begin with their time: the index grows at one end.
    Column("id", Text(collation="C"), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("recipient_digest", Text, comment="who is counted by the hourly limit; null: nobody"),
    Column("status", Text, nullable=False, server_default=Status.QUEUED.value),
    Column(
        "attempts", SmallInteger, nullable=False, server_default=text("0"), comment="how often it was claimed"
    ),
    Column(
        "deaths",
        SmallInteger,
        nullable=False,
        server_default=text("0"),
        comment="how often a lease ran out: after each, the work may have been done and not recorded",
    ),
    Column(
        "fence",
        BigInteger,
        nullable=False,
        server_default=text("0"),
        comment="the number of the newest claim",
    ),
    Column("worker", Text, comment="which node made it"),
    _moment("next_run_at"),
    _moment("lease_expires_at", optional=True),
    # The relay's own column: not before then does it publish the id (again).
    _moment("publish_at"),
    Column("result", JSONB(none_as_null=True)),
    Column("error", JSONB(none_as_null=True)),
    _moment("created_at"),
    _moment("updated_at"),
    _moment("finished_at", optional=True),
    CheckConstraint(f"status IN ({_sql_list(tuple(Status))})", name="status"),
)
Index("ix_tasks_publish_at", tasks.c.publish_at, postgresql_where=text(IS_UNFINISHED))
Index("ix_tasks_due_at", text(DUE_AT), postgresql_where=text(IS_UNFINISHED), _table=tasks)
Index(
    "ix_tasks_recipient",
    tasks.c.recipient_digest,
    tasks.c.created_at,
    postgresql_where=tasks.c.recipient_digest.isnot(None),
)

workers = Table(
    "workers",
    metadata,
    Column("node", Text, primary_key=True),
    Column("release", Text, nullable=False),
    _moment("seen_at"),
)
