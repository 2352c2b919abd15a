"""What operators do: look at many tasks, and cancel, retry or replay those that they name or that fit."""

import time

import structlog

from app.db import operations, repository
from app.db.session import Database
from app.logs import masked, whole_lines
from app.operator_schemas import ByIds, ByStatus, Changed, Counts, Listing, OperatorTask, Selection, TaskPage
from app.schemas import Operation, Status
from app.services.submission import task_id_at

log = structlog.get_logger()

# Longer than a user would wait, and shorter than nginx does.
_PATIENCE_SECONDS = 8
# An id's time is the clock of an API. One that differs by more from the database's is refused by AWS itself.
_CLOCKS_DIFFER_SECONDS = 300
_EVENTS = {
    Operation.CANCEL: "task.cancelled",
    Operation.RETRY: "task.retried",
    Operation.REPLAY: "task.replayed",
}


def look(database: Database, which: Listing) -> TaskPage:
    """The newest tasks that fit, `limit` of them, and the id before which the next page begins."""
    below = which.before or operations.ABOVE_ALL
    if which.older_than_seconds:
        youngest = time.time() - which.older_than_seconds + _CLOCKS_DIFFER_SECONDS
        below = min(below, task_id_at(max(0, int(youngest * 1000)), 0))
    with database.connection(_PATIENCE_SECONDS) as connection:
        rows = operations.page(
            connection,
            which.status,
            below=below,
            older_than_seconds=which.older_than_seconds,
            limit=which.limit,
        )
    # What a mail server says may repeat the recipient's address.
    tasks = [
        OperatorTask(**{**row, "result": masked(row["result"]), "error": masked(row["error"])})
        for row in rows
    ]
    return TaskPage(tasks=tasks, next=tasks[-1].task_id if len(tasks) == which.limit else None)


def count(database: Database) -> Counts:
    """How many tasks stand where, and for how long the oldest has been due."""
    with database.connection(_PATIENCE_SECONDS) as connection:
        found = operations.count(connection)
        succeeded, estimated = operations.count_succeeded(connection, sum(found.values()))
        return Counts(
            counts={status: found.get(status, 0) for status in Status} | {Status.SUCCEEDED: succeeded},
            estimated=[Status.SUCCEEDED] if estimated else [],
            claimed_again=operations.claimed_again(connection),
            oldest_due_seconds=repository.oldest_due_seconds(connection),
        )


def change(database: Database, operation: Operation, which: Selection) -> Changed:
    """Does it to the tasks that are named, or to the oldest that fit; the relay publishes what became due."""
    with database.connection(_PATIENCE_SECONDS) as connection:
        if isinstance(which, ByIds):
            chosen = sorted(set(which.task_ids))
        else:
            chosen = operations.choose(
                connection,
                operation,
                which.status if isinstance(which, ByStatus) else None,
                older_than_seconds=which.older_than_seconds,
                limit=which.limit,
            )
        done = operations.change(connection, operation, chosen)
    task_ids = [task_id for task_id in chosen if task_id in done]
    for some in whole_lines(task_ids):
        log.info(_EVENTS[operation], task_ids=some)
    return Changed(task_ids=task_ids, left=[task_id for task_id in chosen if task_id not in done])
