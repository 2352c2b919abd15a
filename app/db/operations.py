"""What operators ask and have done. Each change is one statement, and says where it may come from."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, TextClause, text

from app.schemas import OPERABLE, Operation, Status

_LISTED = """
SELECT id AS task_id, kind, status, attempts, deaths, replays, worker, created_at, updated_at, finished_at,
    result, error, CASE WHEN status IN ('queued', 'retrying') THEN next_run_at END AS next_run_at
FROM tasks
"""
# What a listing may be narrowed by, each beside its parameter. The bound is an id: as ids begin with their
# time, it spares the walk over all that is younger; what decides is created_at, by the database's own clock.
_CONDITIONS = {
    "status": "status = :status",
    "before": "id < :before",
    "bound": "id < :bound",
    "older_than": "created_at <= now() - make_interval(secs => :older_than)",
}

# Fences never go back, so that a worker which still holds an old claim can record nothing.
_CHANGES = {
    Operation.CANCEL: f"status = '{Status.CANCELLED}', finished_at = now()",
    Operation.RETRY: "next_run_at = now(), publish_at = now()",
    Operation.REPLAY: f"""status = '{Status.QUEUED}', attempts = 0, deaths = 0, replays = replays + 1,
    result = NULL, error = NULL, finished_at = NULL, next_run_at = now(), publish_at = now()""",
}
# Of an erased task nothing is left that could be done.
_CHANGE = """
WITH chosen AS (
    SELECT id FROM tasks WHERE id = ANY(:ids) ORDER BY id FOR UPDATE
)
UPDATE tasks SET {change}, updated_at = now()
FROM chosen WHERE tasks.id = chosen.id AND status = ANY(:origins) AND erased_at IS NULL
RETURNING tasks.id
"""

# Nearly all tasks have succeeded: these are counted up to a limit, and above it the table's statistics tell.
_COUNT = text(f"SELECT status, count(*) FROM tasks WHERE status <> '{Status.SUCCEEDED}' GROUP BY status")
_COUNT_SUCCEEDED = text(f"""
SELECT count(*) FROM (SELECT 1 FROM tasks WHERE status = '{Status.SUCCEEDED}' LIMIT :limit) AS counted
""")
_ESTIMATE_ALL = text("SELECT reltuples::bigint FROM pg_class WHERE oid = 'tasks'::regclass")
_COUNT_CLAIMED_AGAIN = text("SELECT count(*) FROM tasks WHERE deaths > 0")
_COUNTED_UP_TO = 100_000


def listing(parameters: dict[str, Any], *, newest_first: bool, erased: bool = True) -> TextClause:
    """Lists tasks, narrowed by those of status, before, bound and older_than that are given."""
    conditions = [condition for name, condition in _CONDITIONS.items() if name in parameters]
    if not erased:
        conditions.append("erased_at IS NULL")
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    return text(f"{_LISTED}{where}ORDER BY id {'DESC' if newest_first else 'ASC'} LIMIT :limit")


def page(connection: Connection, parameters: dict[str, Any]) -> Sequence[RowMapping]:
    """The newest tasks, `limit` of them; without payloads, as these hold what people wrote."""
    return connection.execute(listing(parameters, newest_first=True), parameters).mappings().all()


def choose(
    connection: Connection, operation: Operation, status: Status | None, parameters: dict[str, Any]
) -> list[str]:
    """The oldest tasks of that status, or without one of all those that the operation may be done to."""
    found: list[str] = []
    for wanted in OPERABLE[operation] if status is None else [status.value]:
        given = parameters | {"status": wanted}
        statement = listing(given, newest_first=False, erased=operation is not Operation.REPLAY)
        found += connection.execute(statement, given).scalars()
    return sorted(found)[: parameters["limit"]]


def change(connection: Connection, operation: Operation, task_ids: Sequence[str]) -> set[str]:
    """Does it to those of the tasks whose status allows it; returns which these were."""
    statement = text(_CHANGE.format(change=_CHANGES[operation]))
    parameters = {"ids": list(task_ids), "origins": OPERABLE[operation]}
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
    """How many tasks lost a worker at least once: their work may have been done twice."""
    return int(connection.execute(_COUNT_CLAIMED_AGAIN).scalar_one())
