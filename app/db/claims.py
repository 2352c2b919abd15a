"""Claiming tasks, keeping claims and ending them, many in one statement. Only the database's clock counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping

from app.db.models import DUE_AT
from app.db.statements import Statement
from app.schemas import Status, origins

# A running task that is due has lost its worker, or the worker its lease.
_DIED = f"CASE WHEN status = '{Status.RUNNING}' THEN 1 ELSE 0 END"
_USED_UP = f"(attempts >= :max_attempts OR deaths + {_DIED} >= :max_deaths)"

# A row that is locked just now is being claimed, kept, ended, published or changed by somebody else; if it
# needs a message after that, it gets a new one. So none is waited for, and a batch can have no deadlock.
# Its status is hidden from the planner: it would take one of the partial indexes, which are small most of the
# time, and after a burst read all of it to find one row.
# One that has died too often ends here: its work may be what kills workers. One that waits for another
# attempt has an error of its own, and keeps it when the limit was lowered meanwhile.
_CLAIM = Statement(
    "claim_tasks",
    f"""
WITH chosen AS (
    SELECT id FROM tasks WHERE id = ANY(:ids) FOR UPDATE SKIP LOCKED
)
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
FROM chosen
WHERE tasks.id = chosen.id AND status || '' = ANY(:origins) AND {DUE_AT} <= now()
RETURNING tasks.id, kind, payload, status, attempts, deaths, unconfirmed, fence, error,
    greatest(extract(epoch FROM now() - created_at), 0)::float AS age_seconds
""",  # noqa: S608 (built of our own constants)
    ids="text[]",
    origins="text[]",
    worker="text",
    lease="float8",
    max_attempts="int",
    max_deaths="int",
    died="text",
)

# What is locked is about to end, or is another's already.
_RENEW = Statement(
    "renew_claims",
    f"""
WITH chosen AS (
    SELECT tasks.id FROM tasks JOIN unnest(:ids, :fences) AS held(id, fence) USING (id)
    WHERE tasks.fence = held.fence AND status || '' = '{Status.RUNNING}'
    FOR UPDATE OF tasks SKIP LOCKED
)
UPDATE tasks SET
    lease_expires_at = now() + make_interval(secs => :lease),
    publish_at = now() + make_interval(secs => :lease)
FROM chosen
WHERE tasks.id = chosen.id
RETURNING tasks.id
""",  # noqa: S608 (as above)
    ids="text[]",
    fences="bigint[]",
    lease="float8",
)

# What was done is worth waiting for. In one order everywhere, so that nobody waits in a circle.
# From its own status, too: the same claim's end may be written again, because the first answer was lost.
_RECORD = Statement(
    "record_ends",
    f"""
WITH chosen AS (
    SELECT id FROM tasks WHERE id = ANY(:ids) ORDER BY id FOR UPDATE
)
UPDATE tasks SET
    status = ended.status,
    deaths = tasks.deaths + CASE WHEN tasks.status = '{Status.RUNNING}' THEN ended.deaths ELSE 0 END,
    unconfirmed = tasks.unconfirmed
        + CASE WHEN tasks.status = '{Status.RUNNING}' THEN ended.unconfirmed ELSE 0 END,
    result = CAST(ended.result AS jsonb),
    error = CAST(ended.error AS jsonb),
    next_run_at = now() + make_interval(secs => ended.pause),
    publish_at = now() + make_interval(secs => ended.pause),
    lease_expires_at = NULL,
    finished_at = CASE WHEN ended.status = '{Status.RETRYING}' THEN NULL ELSE now() END,
    updated_at = now()
FROM chosen JOIN unnest(
    :ids, :fences, :statuses, :results, :errors, :deaths, :unconfirmed, :pauses
) AS ended(id, fence, status, result, error, deaths, unconfirmed, pause) USING (id)
WHERE tasks.id = chosen.id AND tasks.fence = ended.fence
    AND tasks.status IN ('{Status.RUNNING}', ended.status)
RETURNING tasks.id, tasks.fence
""",  # noqa: S608 (as above)
    ids="text[]",
    fences="bigint[]",
    statuses="text[]",
    results="text[]",
    errors="text[]",
    deaths="int[]",
    unconfirmed="int[]",
    pauses="float8[]",
)


@dataclass(frozen=True)
class Ending:
    """How a claim ends: result and error are JSON text, the counts are added to the row's."""

    task_id: str
    fence: int
    status: Status
    result: str | None = None
    error: str | None = None
    deaths: int = 0
    unconfirmed: int = 0
    pause_seconds: float = 0


def claim(
    connection: Connection,
    task_ids: Sequence[str],
    *,
    worker: str,
    lease_seconds: float,
    max_attempts: int,
    max_deaths: int,
    died: str,
) -> dict[str, RowMapping]:
    """Takes those of the tasks that are due and nobody's; one that is used up comes back as failed."""
    parameters = {
        "ids": list(task_ids),
        "origins": origins(Status.RUNNING),
        "worker": worker,
        "lease": lease_seconds,
        "max_attempts": max_attempts,
        "max_deaths": max_deaths,
        "died": died,
    }
    return {task["id"]: task for task in _CLAIM.run(connection, parameters).mappings()}


def renew(connection: Connection, fences: Mapping[str, int], *, lease_seconds: float) -> set[str]:
    """Begins anew the leases of these claims (fence by task); returns the tasks whose claim still holds."""
    parameters = {"ids": list(fences), "fences": list(fences.values()), "lease": lease_seconds}
    return set(_RENEW.run(connection, parameters).scalars())


def record(connection: Connection, endings: Sequence[Ending]) -> list[bool]:
    """Ends claims. False where it is not the newest any more: then nothing has changed."""
    parameters = {
        "ids": [ending.task_id for ending in endings],
        "fences": [ending.fence for ending in endings],
        "statuses": [ending.status.value for ending in endings],
        "results": [ending.result for ending in endings],
        "errors": [ending.error for ending in endings],
        "deaths": [ending.deaths for ending in endings],
        "unconfirmed": [ending.unconfirmed for ending in endings],
        "pauses": [ending.pause_seconds for ending in endings],
    }
    recorded = {(row.id, row.fence) for row in _RECORD.run(connection, parameters)}
    return [(ending.task_id, ending.fence) in recorded for ending in endings]
