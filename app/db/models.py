"""The tables. What a column is for stands beside it; how rows change stands in repository.py."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Index,
    MetaData,
    SmallInteger,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP

from app.schemas import UNFINISHED, Status

metadata = MetaData()


def _in(statuses: tuple[Status, ...]) -> str:
    return "status IN ({})".format(", ".join(f"'{status}'" for status in statuses))


# Spelt the same in every query, so that the partial indexes fit them.
IS_UNFINISHED = _in(UNFINISHED)
# From when a worker may claim the row: its turn, or the end of the lease of the worker that has it.
DUE_AT = "coalesce(lease_expires_at, next_run_at)"


def _now(name: str) -> Column[object]:
    return Column(name, TIMESTAMP(timezone=True), nullable=False, server_default=func.now())


def _count(name: str, size: type[SmallInteger | BigInteger] = SmallInteger) -> Column[int]:
    return Column(name, size, nullable=False, server_default=text("0"))


tasks = Table(
    "tasks",
    metadata,
    # Byte order, because ids begin with their time: the index grows at one end.
    Column("id", Text(collation="C"), primary_key=True),
    Column("kind", Text, nullable=False),
    Column("payload", JSONB, nullable=False),
    Column("recipient_digest", Text),  # who is counted by the hourly limit; null: nobody
    Column("idempotency_digest", Text),  # of the key under which it was asked for; null: none
    Column("fingerprint", Text),  # of what was asked for under that key
    Column("status", Text, nullable=False, server_default=Status.QUEUED.value),
    _count("attempts"),  # how often it was claimed
    _count("replays"),  # how often an operator had it begin anew
    _count("deaths"),  # how often a lease ran out: each time the work may have been done and not recorded
    _count("unconfirmed"),  # how often the work's outcome was lost though its worker lived
    _count("fence", BigInteger),  # the number of the newest claim
    Column("worker", Text),  # which node made it
    _now("next_run_at"),
    Column("lease_expires_at", TIMESTAMP(timezone=True)),
    _now("publish_at"),  # not before then does the relay publish the id (again)
    Column("result", JSONB),
    Column("error", JSONB),
    _now("created_at"),
    _now("updated_at"),
    Column("finished_at", TIMESTAMP(timezone=True)),
    Column("erased_at", TIMESTAMP(timezone=True)),  # from then on nothing in it tells of a person
    CheckConstraint(_in(tuple(Status)), name="tasks_status_check"),
)
Index("tasks_publish_at", tasks.c.publish_at, postgresql_where=text(IS_UNFINISHED))
Index("tasks_due_at", text(DUE_AT), postgresql_where=text(IS_UNFINISHED), _table=tasks)
Index("tasks_recipient", tasks.c.recipient_digest, tasks.c.created_at)
Index(
    "tasks_idempotency_digest",
    tasks.c.idempotency_digest,
    unique=True,
    postgresql_where=tasks.c.idempotency_digest.is_not(None),
)
Index(
    "tasks_unerased",
    tasks.c.finished_at,
    postgresql_where=tasks.c.finished_at.is_not(None) & tasks.c.erased_at.is_(None),
)
Index("tasks_status", tasks.c.status, tasks.c.id, postgresql_where=text(f"status <> '{Status.SUCCEEDED}'"))
Index("tasks_claimed_again", tasks.c.id, postgresql_where=text("deaths > 0"))
Index("tasks_unconfirmed", tasks.c.id, postgresql_where=text("unconfirmed > 0"))

workers = Table(
    "workers",
    metadata,
    Column("node", Text, primary_key=True),
    Column("release", Text, nullable=False),
    _now("seen_at"),
)

# Sums of what all processes counted, of whatever release; the names are those of app/tally.py.
counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("le", Text, primary_key=True),  # a bucket's upper bound; empty: not a bucket
    Column("value", Double, nullable=False),  # what fell into this bucket alone
)
