"""Finished tasks: erased of what tells of a person, later removed. Unfinished ones are never touched."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from app.db import retention
from app.db.session import Database
from app.services.submission import task_id_at

log = structlog.get_logger()

_BATCH = 1000
# A round ends after so many batches, so that it never holds up what else its thread does.
_BATCHES = 10
_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class RetentionRules:
    """So many days after its end a task is removed, and erased before that; 0: not before."""

    retention_days: int
    erase_after_days: int


def tidy(database: Database, rules: RetentionRules) -> tuple[int, int]:
    """Erases and removes what is due; returns how many of each. Raises DatabaseUnavailable."""
    erased = removed = 0
    with database.connection() as connection:
        if 0 < rules.erase_after_days < rules.retention_days:
            erased = _in_batches(
                lambda: retention.erase(connection, days=rules.erase_after_days, limit=_BATCH)
            )
    with database.connection() as connection:
        # What ended so long ago was made even longer ago.
        bound = task_id_at(int((time.time() - rules.retention_days * _DAY_SECONDS) * 1000), 0)
        removed = _in_batches(
            lambda: retention.remove(connection, bound=bound, days=rules.retention_days, limit=_BATCH)
        )
    if erased or removed:
        log.info("tasks.tidied", erased=erased, removed=removed)
    return erased, removed


def _in_batches(batch: Callable[[], int]) -> int:
    done = 0
    for _ in range(_BATCHES):
        changed = batch()
        done += changed
        if changed < _BATCH:
            break
    return done
