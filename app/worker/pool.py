"""The worker's threads, and what becomes of tasks at its end: what was begun is finished, the rest goes back.

Celery's own pool forgets what was fetched and not begun; the relay would publish it again seconds later.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import structlog
from celery.concurrency.thread import TaskPool

from app.errors import BrokerUnavailable

log = structlog.get_logger()

# Hands ids to the broker; raises BrokerUnavailable.
GiveBack = Callable[[list[str]], None]


def thread_pool(give_back: GiveBack) -> type[TaskPool]:
    """Celery's threads, with an end that gives back at once and says how everything ended."""

    class Threads(TaskPool):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **keywords: Any) -> None:
            super().__init__(*arguments, **keywords)
            # Unfinished: the task's id, and what will run or runs it.
            self.futures: dict[Future[Any], str] = {}

        def on_apply(self, target: Any, args: Any = None, *arguments: Any, **keywords: Any) -> Any:
            applied = super().on_apply(target, args, *arguments, **keywords)
            # Celery's call of a task: its name, its id, and more.
            self.futures[applied.f] = args[1]
            applied.f.add_done_callback(lambda future: self.futures.pop(future, None))
            return applied

        def on_stop(self) -> None:
            begun_at = time.monotonic()
            left = [task_id for future, task_id in list(self.futures.items()) if future.cancel()]
            running = len(self.futures)
            # Before what runs is waited for: others may begin these now.
            given_back = _give_back(give_back, left)
            super().on_stop()
            log.info(
                "worker.drained",
                finished=running,
                given_back=given_back,
                left_to_relay=len(left) - given_back,
                seconds=round(time.monotonic() - begun_at, 1),
            )

    return Threads


def _give_back(give_back: GiveBack, task_ids: list[str]) -> int:
    if not task_ids:
        return 0
    try:
        give_back(task_ids)
    except BrokerUnavailable as error:
        log.warning("tasks.not_given_back", problem=str(error), left_to_relay=len(task_ids))
        return 0
    except Exception:
        # What runs is waited for, whatever this was.
        log.exception("tasks.not_given_back", left_to_relay=len(task_ids))
        return 0
    return len(task_ids)
