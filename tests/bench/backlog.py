"""How quickly one worker, to which a task is nothing, works off what waits."""

import time
from functools import partial

from app import broker
from app.services.submission import new_task_id
from tests.bench.parts import Parts
from tests.integration.machine import eventually

_PATIENCE_SECONDS = 600
_LOOK_SECONDS = 0.2
# In the words of the index that has what is unfinished.
_UNFINISHED = (
    "status IN ('queued', 'running', 'retrying') AND coalesce(lease_expires_at, next_run_at) > '-infinity'"
)


def queue(parts: Parts, database_name: str, count: int) -> None:
    """So many tasks that are due, and that no relay looks at before tomorrow."""
    parts.sql(
        database_name,
        "INSERT INTO tasks (id, kind, payload, next_run_at, publish_at)"
        " SELECT id, 'notify', '{\"email\": \"somebody@example.com\"}', now(), now() + interval '1 day'"
        " FROM unnest(%s) AS id",
        [new_task_id() for _ in range(count)],
    )


def drained(parts: Parts, database_name: str, *, published: bool) -> float:
    """Tasks ended a second until none is left of those in the table.

    Published: the broker has each of them; otherwise it has none, and the relay brings them.
    """
    sql = partial(parts.sql, database_name)
    task_ids = [row[0] for row in sql(f"SELECT id FROM tasks WHERE {_UNFINISHED} ORDER BY id")]
    if published:
        publisher = broker.Publisher(parts.settings(0, database_name))
        publisher.publish(task_ids)
        publisher.close()
    else:
        sql(f"UPDATE tasks SET publish_at = now() WHERE {_UNFINISHED}")

    def left() -> int:
        return int(sql(f"SELECT count(*) FROM tasks WHERE {_UNFINISHED}")[0][0])

    with parts.ending():
        parts.our_worker(0, DATABASE_NAME=database_name)
        eventually(lambda: left() < len(task_ids), seconds=30, what="a first task's end")
        before, begun = left(), time.perf_counter()
        # Counting would be work of its own, and more of it for the longer queue.
        while sql(f"SELECT 1 FROM tasks WHERE {_UNFINISHED} LIMIT 1"):
            if time.perf_counter() - begun > _PATIENCE_SECONDS:
                raise TimeoutError(f"{left()} of {len(task_ids)} tasks are left")
            time.sleep(_LOOK_SECONDS)
        return before / (time.perf_counter() - begun)
