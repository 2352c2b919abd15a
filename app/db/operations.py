"""What operators ask and have done. Each change is one statement, and says where it may come from."""

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, TextClause, text

from app.schemas import OPERABLE, Operation, Status

_LISTED = """
SELECT id AS task_id, kind, status, attempts, deaths, unconfirmed, replays, worker, created_at, updated_at,
    finished_at, result, error, CASE WHEN status IN ('queued', 'retrying') THEN next_run_at END AS next_run_at
FROM tasks
"""
# A listing begins at an id, below which all that it shows lies. What succeeded is nearly all, and lies close
# together along the primary key. The others are compared as pairs, and so are found in their own index alone:
# however many there are, and whatever the planner believes about that, nothing else is read.
_BELOW = "id < :below"
_SUCCEEDED_BELOW = f"status = '{Status.SUCCEEDED}' AND id < :below"
_OTHERS_BELOW = f"""
status <> '{Status.SUCCEEDED}' AND (status, id) > (:status, '') AND (status, id) < (:status, :below)"""

# Fences never go back, so that a worker which still holds an old claim can record nothing.
_CHANGES = {
    Operation.CANCEL: f"status = '{Status.CANCELLED}', finished_at = now()",
    Operation.RETRY: "next_run_at = now(), publish_at = now()",
    Operation.REPLAY: f"""status = '{Status.QUEUED}', attempts = 0, deaths = 0, unconfirmed = 0,
    replays = least(replays + 1, 32767), result = NULL, error = NULL, finished_at = NULL, next_run_at = now(),
    publish_at = now()""",
}
# Of an erased task nothing is left to do. IS TRUE keeps the planner from the indexes of whole statuses.
_CHANGE = """
WITH chosen AS (
    SELECT id FROM tasks WHERE id = ANY(:ids) ORDER BY id FOR UPDATE
)
UPDATE tasks SET {change}, updated_at = now()
FROM chosen WHERE tasks.id = chosen.id AND (status = ANY(:origins)) IS TRUE AND erased_at IS NULL
RETURNING tasks.id
"""

# Nearly all tasks have succeeded: these are counted up to a limit, and above it the table's statistics tell.
_COUNT = text(f"SELECT status, count(*) FROM tasks WHERE status <> '{Status.SUCCEEDED}' GROUP BY status")
_COUNT_SUCCEEDED = text(f"""
SELECT count(*) FROM (SELECT 1 FROM tasks WHERE status = '{Status.SUCCEEDED}' LIMIT :limit) AS counted
""")
_ESTIMATE_ALL = text("SELECT reltuples::bigint FROM pg_class WHERE oid = 'tasks'::regclass")
_COUNT_CLAIMED_AGAIN = text("SELECT count(*) FROM tasks WHERE deaths > 0 OR unconfirmed > 0")
_COUNTED_UP_TO = 100_000

# After every id, byte by byte.
ABOVE_ALL = "w"


def listing(status: Status | None, *, aged: bool, newest_first: bool, erased: bool = True) -> TextClause:
    """Lists tasks of one status or of all: those below an id, and if aged, older than so many seconds."""
    order = "DESC" if newest_first else "ASC"
    by = f"id {order}"
    conditions = [_BELOW if status is None else _SUCCEEDED_BELOW]
    if status not in (None, Status.SUCCEEDED):
        conditions, by = [_OTHERS_BELOW], f"status {order}, id {order}"
    if aged:
        conditions.append("created_at <= now() - make_interval(secs => :older_than)")
    if not erased:
        conditions.append("erased_at IS NULL")
    return text(f"{_LISTED}WHERE {' AND '.join(conditions)} ORDER BY {by} LIMIT :limit")


def page(
    connection: Connection, status: Status | None, *, below: str, older_than_seconds: int, limit: int
) -> Sequence[RowMapping]:
    """The newest tasks below an id; without payloads, as these hold what people wrote."""
    statement = listing(status, aged=older_than_seconds > 0, newest_first=True)
    parameters = {"status": status, "below": below, "older_than": older_than_seconds, "limit": limit}
    return connection.execute(statement, parameters).mappings().all()


def choose(
    connection: Connection,
    operation: Operation,
    status: Status | None,
    *,
    older_than_seconds: int,
    limit: int,
) -> list[str]:
    """The oldest tasks of that status, or without one of all those that the operation may be done to."""
    found: list[str] = []
    for wanted in OPERABLE[operation] if status is None else [status]:
        statement = listing(
            wanted,
            aged=older_than_seconds > 0,
            newest_first=False,
            erased=operation is not Operation.REPLAY,
        )
        parameters = {"status": wanted, "below": ABOVE_ALL, "older_than": older_than_seconds, "limit": limit}
        found += connection.execute(statement, parameters).scalars()
    return sorted(found)[:limit]


def change(connection: Connection, operation: Operation, task_ids: Sequence[str]) -> set[str]:
    """Does it to those of the tasks whose status allows it; returns which these were."""
    statement = text(_CHANGE.format(change=_CHANGES[operation]))
    parameters = {"ids": list(task_ids), "origins": [origin.value for origin in OPERABLE[operation]]}
    return set(connection.execute(statement, parameters).scalars())


def count(connection: Connection) -> dict[str, int]:
    """How many tasks of each status there are, but for those that succeeded."""
    return {status: int(number) for status, number in connection.execute(_COUNT)}


def count_succeeded(connection: Connection, others: int) -> tuple[int, bool]:
    """How many succeeded beside so many others, and whether that is an estimate."""
    counted = int(connection.execute(_COUNT_SUCCEEDED, {"limit": _COUNTED_UP_TO}).scalar_one())
    if counted < _COUNTED_UP_TO:
        return counted, False
    return max(counted, int(connection.execute(_ESTIMATE_ALL).scalar_one()) - others), True


def claimed_again(connection: Connection) -> int:
    """How many tasks lost a worker or their outcome at least once: their work may have been done twice."""
    return int(connection.execute(_COUNT_CLAIMED_AGAIN).scalar_one())
