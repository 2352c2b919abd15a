"""All queries. Only the database's clock counts; every change of a status says where it may come from."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from app.db.models import DUE_AT, IS_UNFINISHED
from app.schemas import Status, origins

# The limit is heeded in the statement that stores, so that a batch counts its own rows too. Two API processes
# (while a release is switched) may each let the last one through.
_INSERT = text("""
WITH incoming AS (
    SELECT * FROM unnest(
        CAST(:ids AS text[]), CAST(:kinds AS text[]), CAST(:payloads AS jsonb[]), CAST(:digests AS text[])
    ) WITH ORDINALITY AS incoming(id, kind, payload, recipient_digest, position)
), ranked AS (
    SELECT incoming.*, earlier.oldest_at,
        earlier.count + row_number() OVER (PARTITION BY recipient_digest ORDER BY position) AS rank
    FROM incoming CROSS JOIN LATERAL (
        SELECT count(*) AS count, min(created_at) AS oldest_at FROM tasks
        WHERE tasks.recipient_digest = incoming.recipient_digest AND created_at > now() - interval '1 hour'
    ) AS earlier
), stored AS (
    INSERT INTO tasks (id, kind, payload, recipient_digest, publish_at)
    SELECT id, kind, payload, recipient_digest, now() + make_interval(secs => :grace) FROM ranked
    WHERE recipient_digest IS NULL OR rank <= :limit
    RETURNING id
)
SELECT ranked.id, stored.id IS NOT NULL AS stored,
    ceil(extract(epoch FROM coalesce(oldest_at, now()) + interval '1 hour' - now()))::int AS retry_after
FROM ranked LEFT JOIN stored USING (id) ORDER BY position
""")

# A lease that ran out on the last attempt ends the task: its work may be what kills workers.
# A running task that is due has lost its worker. One that waits for another attempt has an error of its own,
# and keeps it when the limit was lowered meanwhile.
_CLAIM = text(f"""
UPDATE tasks SET
    status = CASE WHEN attempts < :max_attempts THEN '{Status.RUNNING}' ELSE '{Status.FAILED}' END,
    attempts = attempts + CASE WHEN attempts < :max_attempts THEN 1 ELSE 0 END,
    deaths = deaths + CASE WHEN status = '{Status.RUNNING}' THEN 1 ELSE 0 END,
    fence = fence + 1,
    worker = :worker,
    lease_expires_at = CASE WHEN attempts < :max_attempts THEN now() + make_interval(secs => :lease) END,
    publish_at = now() + make_interval(secs => :lease),
    error = CASE WHEN attempts >= :max_attempts AND status = '{Status.RUNNING}'
        THEN CAST(:exhausted AS jsonb) ELSE error END,
    finished_at = CASE WHEN attempts < :max_attempts THEN NULL ELSE now() END,
    updated_at = now()
WHERE id = :id AND status = ANY(:origins) AND {DUE_AT} <= now()
RETURNING id, kind, payload, status, attempts, deaths, fence, error
""")

_RECORD = text(f"""
UPDATE tasks SET
    status = CAST(:status AS text),
    result = CAST(:result AS jsonb),
    error = CAST(:error AS jsonb),
    next_run_at = now() + make_interval(secs => :pause),
    publish_at = now() + make_interval(secs => :pause),
    lease_expires_at = NULL,
    finished_at = CASE WHEN :status = '{Status.RETRYING}' THEN NULL ELSE now() END,
    updated_at = now()
WHERE id = :id AND fence = :fence AND status = ANY(:origins)
""")

_FIND = text("""
SELECT id AS task_id, kind, status, attempts, created_at, updated_at, finished_at, result, error,
    CASE WHEN status IN ('queued', 'retrying') THEN next_run_at END AS next_run_at
FROM tasks WHERE id = ANY(:ids)
""")

# What was published and still not claimed is published again, ever less often the longer it has been due: it
# may just be waiting its turn in the queue.
_TAKE_UNPUBLISHED = text(f"""
UPDATE tasks SET publish_at = now() + greatest(:pause_min, least(:pause_max, now() - {DUE_AT}))
WHERE id IN (
    SELECT id FROM tasks WHERE {IS_UNFINISHED} AND publish_at <= now()
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
    """Stores rows of id, kind, payload (JSON text) and recipient_digest, but for those over the limit.

    Returns, in their order, whether each was stored and in how many seconds its recipient has room again. The
    relay leaves new rows alone for the grace, since they are published at once.
    """
    columns = {f"{name}s": [row[name] for row in rows] for name in ("id", "kind", "payload")}
    parameters = {
        **columns,
        "digests": [row["recipient_digest"] for row in rows],
        "limit": limit,
        "grace": grace_seconds,
    }
    return connection.execute(_INSERT, parameters).mappings().all()


def claim(
    connection: Connection,
    task_id: str,
    *,
    worker: str,
    lease_seconds: float,
    max_attempts: int,
    exhausted: str,
) -> RowMapping | None:
    """Takes a task that is due, if nobody else has it; one without attempts left comes back as failed."""
    parameters = {
        "id": task_id,
        "worker": worker,
        "lease": lease_seconds,
        "max_attempts": max_attempts,
        "exhausted": exhausted,
        "origins": origins(Status.RUNNING),
    }
    return connection.execute(_CLAIM, parameters).mappings().one_or_none()


def record(
    connection: Connection,
    task_id: str,
    *,
    fence: int,
    status: Status,
    result: str | None = None,
    error: str | None = None,
    pause_seconds: float = 0,
) -> bool:
    """Ends the claim with that fence. False when it is not the newest any more: then nothing has changed."""
    parameters = {
        "id": task_id,
        "fence": fence,
        "status": status.value,
        "result": result,
        "error": error,
        "pause": pause_seconds,
        # And itself: the same claim's end may be written again, because the first answer was lost.
        "origins": [*origins(status), status.value],
    }
    return connection.execute(_RECORD, parameters).rowcount == 1


def find(connection: Connection, task_ids: Sequence[str]) -> dict[str, RowMapping]:
    """The tasks that exist among these ids."""
    rows = connection.execute(_FIND, {"ids": list(task_ids)}).mappings()
    return {row["task_id"]: row for row in rows}


def take_unpublished(connection: Connection, *, limit: int) -> list[str]:
    """Ids that should be published now; each is taken by one relay only and left alone for a while."""
    parameters = {"limit": limit, "pause_min": "5 s", "pause_max": "1 min"}
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
