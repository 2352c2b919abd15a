"""All queries. Only the database's clock counts; every change of a status says where it may come from."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from app.db.models import DUE_AT, IS_UNFINISHED
from app.schemas import Status, origins

# The limit is heeded in the statement that stores, so that a batch counts its own rows too. Two API processes
# (while a release is switched) may each let the last one through.
_INSERT = text("""
WITH incoming AS (
    SELECT * FROM unnest(
        CAST(:ids AS text[]), CAST(:kinds AS text[]), CAST(:payloads AS jsonb[]), CAST(:digests AS text[]),
        CAST(:keys AS text[]), CAST(:fingerprints AS text[])
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
""")

# A running task that is due has lost its worker, or the worker its lease.
_DIED = f"CASE WHEN status = '{Status.RUNNING}' THEN 1 ELSE 0 END"
_USED_UP = f"(attempts >= :max_attempts OR deaths + {_DIED} >= :max_deaths)"

# Its status is hidden from the planner: it would take one of the partial indexes, which are small most of the
# time, and after a burst read all of it to find one row.
# One that has died too often ends here: its work may be what kills workers. One that waits for another
# attempt has an error of its own, and keeps it when the limit was lowered meanwhile.
_CLAIM = text(f"""
UPDATE tasks SET
    status = CASE WHEN {_USED_UP} THEN '{Status.FAILED}' ELSE '{Status.RUNNING}' END,
    attempts = attempts + CASE WHEN {_USED_UP} THEN 0 ELSE 1 END,
    deaths = deaths + {_DIED},
    fence = fence + 1,
    worker = :worker,
    lease_expires_at = CASE WHEN {_USED_UP} THEN NULL ELSE now() + make_interval(secs => :lease) END,
    publish_at = now() + make_interval(secs => :lease),
    error = CASE WHEN {_USED_UP} AND status = '{Status.RUNNING}' THEN CAST(:died AS jsonb) ELSE error END,
    finished_at = CASE WHEN {_USED_UP} THEN now() END,
    updated_at = now()
WHERE id = :id AND status || '' = ANY(:origins) AND {DUE_AT} <= now()
RETURNING id, kind, payload, status, attempts, deaths, unconfirmed, fence, error
""")

_RENEW = text(f"""
UPDATE tasks SET
    lease_expires_at = now() + make_interval(secs => :lease),
    publish_at = now() + make_interval(secs => :lease)
FROM unnest(CAST(:ids AS text[]), CAST(:fences AS bigint[])) AS held(id, fence)
WHERE tasks.id = held.id AND tasks.fence = held.fence AND status = '{Status.RUNNING}'
RETURNING tasks.id
""")

_RECORD = text(f"""
UPDATE tasks SET
    status = CAST(:status AS text),
    deaths = deaths + CASE WHEN status = '{Status.RUNNING}' THEN :deaths ELSE 0 END,
    unconfirmed = unconfirmed + CASE WHEN status = '{Status.RUNNING}' THEN :unconfirmed ELSE 0 END,
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
    return connection.execute(_INSERT, parameters).mappings().all()


def claim(
    connection: Connection,
    task_id: str,
    *,
    worker: str,
    lease_seconds: float,
    max_attempts: int,
    max_deaths: int,
    died: str,
) -> RowMapping | None:
    """Takes a task that is due, if nobody else has it; one that is used up comes back as failed."""
    parameters = {
        "id": task_id,
        "worker": worker,
        "lease": lease_seconds,
        "max_attempts": max_attempts,
        "max_deaths": max_deaths,
        "died": died,
        "origins": origins(Status.RUNNING),
    }
    return connection.execute(_CLAIM, parameters).mappings().one_or_none()


def renew(connection: Connection, fences: Mapping[str, int], *, lease_seconds: float) -> set[str]:
    """Begins anew the leases of these claims (fence by task); returns the tasks whose claim still holds."""
    parameters = {"ids": list(fences), "fences": list(fences.values()), "lease": lease_seconds}
    return set(connection.execute(_RENEW, parameters).scalars())


def record(
    connection: Connection,
    task_id: str,
    *,
    fence: int,
    status: Status,
    result: str | None = None,
    error: str | None = None,
    deaths: int = 0,
    unconfirmed: int = 0,
    pause_seconds: float = 0,
) -> bool:
    """Ends the claim with that fence. False when it is not the newest any more: then nothing has changed."""
    parameters = {
        "id": task_id,
        "fence": fence,
        "status": status.value,
        "result": result,
        "error": error,
        "deaths": deaths,
        "unconfirmed": unconfirmed,
        "pause": pause_seconds,
        # And itself: the same claim's end may be written again, because the first answer was lost.
        "origins": [*origins(status), status.value],
    }
    return connection.execute(_RECORD, parameters).rowcount == 1


def find(connection: Connection, task_ids: Sequence[str]) -> dict[str, RowMapping]:
    """The tasks that exist among these ids."""
    rows = connection.execute(_FIND, {"ids": list(task_ids)}).mappings()
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
