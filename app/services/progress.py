"""Reading tasks: many at once, in one query."""

from collections.abc import Sequence

from app.db import repository
from app.db.session import Database
from app.errors import TaskNotFound
from app.schemas import TASK_ID, TaskStatus


def look_up(database: Database, task_ids: Sequence[str]) -> list[TaskStatus | TaskNotFound]:
    """For each id, in order: where its task stands. An id that cannot be one never reaches the database."""
    possible = [task_id for task_id in task_ids if TASK_ID.match(task_id)]
    found = {}
    if possible:
        with database.connection() as connection:
            found = repository.find(connection, possible)
    return [TaskStatus(**found[task_id]) if task_id in found else TaskNotFound() for task_id in task_ids]
