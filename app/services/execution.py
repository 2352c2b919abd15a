"""Doing one task: claim, work, record. The work lies between two short statements, never in a transaction."""

import json
import random
import time
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import structlog
from sqlalchemy import RowMapping

from app.db import repository
from app.db.session import Database
from app.deadline import Deadline
from app.errors import DatabaseUnavailable, PermanentError, TaskError, TransientError
from app.kinds import HANDLERS
from app.kinds.tools import Tools
from app.schemas import TASK_ID, Status

log = structlog.get_logger()

_EXHAUSTED = json.dumps({"reason": "worker_died", "message": "Its worker died or froze on every attempt."})


@dataclass(frozen=True)
class ExecutionRules:
    """What an operator sets about doing tasks."""

    worker: str
    lease_seconds: float
    max_attempts: int
    retry_pause_seconds: float
    retry_pause_max_seconds: float


class End(Enum):
    """How one message ended."""

    NOTHING = auto()  # the task is not there, not due, or another worker's
    SUCCEEDED = auto()
    RETRYING = auto()
    FAILED = auto()


@dataclass(frozen=True)
class Outcome:
    """How one message ended, and the words for it."""

    end: End
    words: str = ""


NOTHING = Outcome(End.NOTHING)


def run(database: Database, task_id: str, tools: Tools, rules: ExecutionRules) -> Outcome:
    """Does the task if it is due and nobody has it. Raises DatabaseUnavailable if it cannot be claimed."""
    if not TASK_ID.match(task_id):
        log.warning("message.refused", task_id=task_id[:100])
        return NOTHING
    lease = Deadline(rules.lease_seconds)
    task = _claim(database, task_id, rules)
    if task is None:
        return NOTHING
    if task["status"] == Status.FAILED:
        log.error("task.failed", task_id=task_id, kind=task["kind"], deaths=task["deaths"], **task["error"])
        return Outcome(End.FAILED, task["error"]["message"])
    try:
        result = _work(task, tools)
    except TaskError as error:
        return _record_failure(database, task, error, rules, lease)
    if not _record(database, task, lease, status=Status.SUCCEEDED, result=json.dumps(result)):
        return NOTHING
    log.info("task.succeeded", task_id=task_id, kind=task["kind"], attempt=task["attempts"])
    return Outcome(End.SUCCEEDED)


def _claim(database: Database, task_id: str, rules: ExecutionRules) -> RowMapping | None:
    with database.connection() as connection:
        task = repository.claim(
            connection,
            task_id,
            worker=rules.worker,
            lease_seconds=rules.lease_seconds,
            max_attempts=rules.max_attempts,
            exhausted=_EXHAUSTED,
        )
    if task is not None and task["deaths"]:
        # The one case in which work may be done twice: it was perhaps done, and could not be recorded.
        log.warning("task.claimed_again", task_id=task_id, attempt=task["attempts"], deaths=task["deaths"])
    return task


def _work(task: RowMapping, tools: Tools) -> dict[str, Any]:
    handler = HANDLERS.get(task["kind"])
    if handler is None:
        # While a release is rolled out, an older worker may meet a newer kind.
        raise TransientError("unknown_kind", f"This release does not know the kind {task['kind']}.")
    try:
        return handler(task["id"], task["payload"], tools)
    except TaskError:
        raise
    except Exception as error:
        # A fault of ours may be mended by the next release before the attempts are used up.
        log.exception("task.broke", task_id=task["id"], kind=task["kind"])
        raise TransientError("internal_error", "Something went wrong here and was logged.") from error


def _record_failure(
    database: Database, task: RowMapping, failure: TaskError, rules: ExecutionRules, lease: Deadline
) -> Outcome:
    error = {"reason": failure.reason, "message": str(failure)}
    words = {"task_id": task["id"], "kind": task["kind"], "attempt": task["attempts"], **error}
    if isinstance(failure, PermanentError) or task["attempts"] >= rules.max_attempts:
        if not _record(database, task, lease, status=Status.FAILED, error=json.dumps(error)):
            return NOTHING
        log.error("task.failed", **words)
        return Outcome(End.FAILED, str(failure))
    pause = pause_seconds(task["attempts"], rules)
    if not _record(
        database, task, lease, status=Status.RETRYING, error=json.dumps(error), pause_seconds=pause
    ):
        return NOTHING
    log.warning("task.postponed", pause_seconds=round(pause, 1), **words)
    return Outcome(End.RETRYING, str(failure))


def pause_seconds(attempts: int, rules: ExecutionRules) -> float:
    """Doubles up to a limit; a fifth more or less, so that what failed together does not return together."""
    pause: float = min(rules.retry_pause_seconds * 2 ** (attempts - 1), rules.retry_pause_max_seconds)
    return pause * random.uniform(0.8, 1.2)  # noqa: S311 (not a secret)


def _record(database: Database, task: RowMapping, lease: Deadline, **change: Any) -> bool:
    """Writes the end of the claim; as the work is done, it is tried until the lease is over."""
    while True:
        try:
            with database.connection() as connection:
                recorded = repository.record(connection, task["id"], fence=task["fence"], **change)
        except DatabaseUnavailable:
            if not lease.remaining():
                log.error("task.unrecorded", task_id=task["id"], status=change["status"])
                return False
            time.sleep(min(1.0, lease.remaining()))
            continue
        if not recorded:
            log.warning("task.lease_lost", task_id=task["id"], status=change["status"])
        return recorded
