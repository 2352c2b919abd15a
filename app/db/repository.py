"""Storing, finding and publishing tasks, and what is known of workers. Only the database's clock counts."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from app.db.models import DUE_AT, IS_UNFINISHED
from app.db.statements import Statement
from app.schemas import Status

# The limit is heeded in the statement that stores, so that a batch counts its own rows too. Two API processes
# (while a release is switched) may each let the last one through.
_INSERT = Statement(
    "insert_tasks",
    """
WITH incoming AS (
    SELECT * FROM unnest(
        :ids, :kinds, CAST(:payloads AS jsonb[]), :digests, :keys, :fingerprints
    ) WITH ORDINALITY AS incoming(id, kind, payload, recipient_digest, key, fingerprint, position)
), known AS (
    SELECT position, first.id, first.fingerprint FROM incoming CROSS JOIN LATERAL (
        SELECT tasks.id, tasks.fingerprint FROM tasks WHERE tasks.idempotency_digest = incoming.key
    ) AS first
), ranked AS (
    SELECT incoming.*, earlier.oldest_at,
        earlier.count + row_number() OVER (PARTITION BY recipient_digest ORDER BY position) AS rank
    FROM incoming CROSS JOIN LATERAL (
        SELECT count(*) AS count, min(created_at) AS oldest_at FROM tasks
        WHERE tasks.recipient_digest = incoming.recipient_digest AND created_at > now() - interval '1 hour'
    ) AS earlier
    WHERE position NOT IN (SELECT position FROM known)
), stored AS (
    INSERT INTO tasks (id, kind, payload, recipient_digest, idempotency_digest, fingerprint, publish_at)
    SELECT id, kind, payload, recipient_digest, key, fingerprint, now() + make_interval(secs => :grace)
    FROM ranked WHERE recipient_digest IS NULL OR rank <= :limit
    ON CONFLICT (idempotency_digest) WHERE idempotency_digest IS NOT NULL DO NOTHING
    RETURNING id
)
SELECT coalesce(known.id, incoming.id) AS id, stored.id IS NOT NULL AS stored,
    known.fingerprint AS known_fingerprint,
    coalesce(ranked.recipient_digest IS NOT NULL AND rank > :limit, false) AS over_limit,
    ceil(extract(epoch FROM coalesce(oldest_at, now()) + interval '1 hour' - now()))::int AS retry_after
FROM incoming LEFT JOIN known USING (position) LEFT JOIN ranked USING (position)
    LEFT JOIN stored ON stored.id = incoming.id
ORDER BY position
""",
    ids="text[]",
    kinds="text[]",
    payloads="text[]",
    digests="text[]",
    keys="text[]",
    fingerprints="text[]",
    limit="bigint",
    grace="float8",
)

_FIND = Statement(
    "find_tasks",
    """
SELECT id AS task_id, kind, status, attempts, created_at, updated_at, finished_at, result, error,
    CASE WHEN status IN ('queued', 'retrying') THEN next_run_at END AS next_run_at
FROM tasks WHERE id = ANY(:ids)
""",
    ids="text[]",
)

# A message that was published is either claimed within the pause, or waits in a long queue (and then another
# one does no harm), or is lost. A lease that ran out is left alone while `expired` is false.
_TAKE_UNPUBLISHED = text(f"""
UPDATE tasks SET publish_at = now() + make_interval(secs => :pause)
WHERE id IN (
    SELECT id FROM tasks
    WHERE {IS_UNFINISHED} AND publish_at <= now() AND (:expired OR status <> '{Status.RUNNING}')
    ORDER BY publish_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
RETURNING id
""")

_BEAT = text("""
WITH gone AS (DELETE FROM workers WHERE seen_at < now() - interval '1 day')
INSERT INTO workers (node, release, seen_at) VALUES (:node, :release, now())
ON CONFLICT (node) DO UPDATE SET release = excluded.release, seen_at = excluded.seen_at
""")

_OLDEST_DUE = text(f"""
SELECT greatest(coalesce(extract(epoch FROM now() - min({DUE_AT})), 0), 0)::float
FROM tasks WHERE {IS_UNFINISHED}
""")


def insert(
    connection: Connection, rows: Sequence[dict[str, Any]], *, limit: int, grace_seconds: float
) -> Sequence[RowMapping]:
    """Stores rows of id, kind, payload (JSON text), recipient_digest, idempotency_digest and fingerprint.

    Returns, in their order: the id (the first one's, where the key is known), whether it was stored, the
    fingerprint of the task that is known by that key, whether it is over the limit, and in how many seconds
    its recipient has room again. None of the three: another transaction stored that key just now. The relay
    leaves new rows alone for the grace, since they are published at once.
    """
    columns = ("id", "kind", "payload", "recipient_digest", "idempotency_digest", "fingerprint")
    names = ("ids", "kinds", "payloads", "digests", "keys", "fingerprints")
    parameters: dict[str, Any] = {
        name: [row[column] for row in rows] for name, column in zip(names, columns, strict=True)
    }
    parameters |= {"limit": limit, "grace": grace_seconds}
    return _INSERT.run(connection, parameters).mappings().all()


def find(connection: Connection, task_ids: Sequence[str]) -> dict[str, RowMapping]:
    """The tasks that exist among these ids."""
    rows = _FIND.run(connection, {"ids": list(task_ids)}).mappings()
    return {row["task_id"]: row for row in rows}


def take_unpublished(
    connection: Connection, *, limit: int, pause_seconds: float, expired: bool = True
) -> list[str]:
    """Ids that should be published now; each is taken by one relay only and left alone for the pause."""
    parameters = {"limit": limit, "pause": pause_seconds, "expired": expired}
    return list(connection.execute(_TAKE_UNPUBLISHED, parameters).scalars())


def beat(connection: Connection, *, node: str, release: str) -> None:
    """Notes that a worker lives, and forgets those not seen for a day."""
    connection.execute(_BEAT, {"node": node, "release": release})


def oldest_due_seconds(connection: Connection) -> float:
    """For how long the task that waits longest has been due."""
    return float(connection.execute(_OLDEST_DUE).scalar_one())


def worker_seen_seconds(connection: Connection) -> float | None:
    """How long ago a worker was last seen; None: never."""
    age = connection.execute(
        text("SELECT extract(epoch FROM now() - max(seen_at))::float FROM workers")
    ).scalar_one()
    return None if age is None else float(age)


def schema_revision(connection: Connection) -> str | None:
    """The migration that the database stands at."""
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
