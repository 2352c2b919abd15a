"""Doing one task: claim, work, record. The work lies between two short statements, never in a transaction."""

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import structlog
from sqlalchemy import RowMapping

from app.db import claims
from app.db.claims import Ending
from app.db.session import Database
from app.deadline import Deadline
from app.errors import DatabaseUnavailable, PermanentError, TaskError, Unconfirmed, WorkerDied
from app.schemas import TASK_ID, Status
from app.services.group_commit import GroupCommit
from app.services.leases import Leases
from app.tally import TALLY, Counter, Timing

log = structlog.get_logger()

_DIED = json.dumps({"reason": "worker_died", "message": "Its worker died or froze each time that it ran it."})
# So often a task may take its worker with it, and what else runs there; from then on it runs apart from them.
_DEATHS_IN_COMPANY = 2
_RECORD_PAUSE_SECONDS = 0.5


@dataclass(frozen=True)
class ExecutionRules:
    """What an operator sets about doing tasks."""

    worker: str
    max_attempts: int
    max_deaths: int
    max_unconfirmed: int
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

# Does the work of a task's id, kind and payload, and returns the result; raises TaskError.
Work = Callable[[str, str, dict[str, Any]], dict[str, Any]]


@dataclass
class Executor:
    """Does tasks, in as many threads as call it; they claim and record together."""

    database: Database
    leases: Leases
    rules: ExecutionRules
    work: Work
    # Where it can kill nothing else.
    work_apart: Work

    def __post_init__(self) -> None:
        self._claims: GroupCommit[str, RowMapping | None] = GroupCommit(self._claim_together)
        self._records: GroupCommit[Ending, bool] = GroupCommit(self._record_together)

    def run(self, task_id: str) -> Outcome:
        """Does the task if it is due and nobody has it. Raises DatabaseUnavailable if it is not claimed."""
        if not TASK_ID.match(task_id):
            log.warning("message.refused", task_id=task_id[:100])
            return NOTHING
        task = self._claim(task_id)
        claimed_at = time.monotonic()
        if task is None:
            return NOTHING
        if task["status"] == Status.FAILED:
            TALLY.count(Counter.TASKS_FAILED)
            log.error(
                "task.failed", task_id=task_id, kind=task["kind"], deaths=task["deaths"], **task["error"]
            )
            return Outcome(End.FAILED, task["error"]["message"])
        work = self.work if task["deaths"] < _DEATHS_IN_COMPANY else self.work_apart
        with self.leases.hold(task_id, task["fence"]) as deadline:
            try:
                with TALLY.timed(Timing.ATTEMPT_SECONDS):
                    result = work(task_id, task["kind"], task["payload"])
            except TaskError as error:
                return self._record_failure(task, error, deadline)
            if not self._record(task, deadline, status=Status.SUCCEEDED, result=json.dumps(result)):
                return NOTHING
        TALLY.count(Counter.TASKS_SUCCEEDED)
        TALLY.observe(Timing.TASK_SECONDS, task["age_seconds"] + time.monotonic() - claimed_at)
        log.info("task.succeeded", task_id=task_id, kind=task["kind"], attempt=task["attempts"])
        return Outcome(End.SUCCEEDED)

    def _claim_together(self, task_ids: list[str]) -> list[RowMapping | None]:
        with self.database.connection() as connection:
            found = claims.claim(
                connection,
                task_ids,
                worker=self.rules.worker,
                lease_seconds=self.leases.lease_seconds,
                max_attempts=self.rules.max_attempts,
                max_deaths=self.rules.max_deaths,
                died=_DIED,
            )
        # Of two messages with one id the first has it.
        return [found.pop(task_id, None) for task_id in task_ids]

    def _record_together(self, endings: list[Ending]) -> list[bool]:
        with self.database.connection() as connection:
            return claims.record(connection, endings)

    def _claim(self, task_id: str) -> RowMapping | None:
        task = self._claims.ask(task_id)
        if task is not None and (task["deaths"] or task["unconfirmed"]):
            # The one case in which work may be done twice: it was perhaps done, and could not be recorded.
            marks = {"deaths": task["deaths"], "unconfirmed": task["unconfirmed"]}
            log.warning("task.claimed_again", task_id=task_id, attempt=task["attempts"], **marks)
            TALLY.count(Counter.TASKS_CLAIMED_AGAIN)
        return task

    def _record_failure(self, task: RowMapping, failure: TaskError, deadline: Deadline) -> Outcome:
        rules, died = self.rules, isinstance(failure, WorkerDied)
        lost = isinstance(failure, Unconfirmed)
        if lost and task["unconfirmed"] + 1 >= rules.max_unconfirmed:
            failure = _given_up(task, failure)
        error = {"reason": failure.reason, "message": str(failure)}
        words = {"task_id": task["id"], "kind": task["kind"], "attempt": task["attempts"], **error}
        change = {"error": json.dumps(error), "deaths": int(died), "unconfirmed": int(lost)}
        if (
            isinstance(failure, PermanentError)
            or task["attempts"] >= rules.max_attempts
            or task["deaths"] + died >= rules.max_deaths
        ):
            if not self._record(task, deadline, status=Status.FAILED, **change):
                return NOTHING
            log.error("task.failed", **words)
            TALLY.count(Counter.TASKS_FAILED)
            return Outcome(End.FAILED, str(failure))
        # Each repeat may be a copy then, so these pauses grow eightfold and not twofold.
        pause = pause_seconds(task["attempts"] + 2 * lost * task["unconfirmed"], rules)
        if not self._record(task, deadline, status=Status.RETRYING, pause_seconds=pause, **change):
            return NOTHING
        TALLY.count(Counter.TASKS_RETRIED)
        log.warning("task.postponed", pause_seconds=round(pause, 1), **words)
        return Outcome(End.RETRYING, str(failure))

    def _record(self, task: RowMapping, deadline: Deadline, **change: Any) -> bool:
        """Writes the end of the claim. As the work is done, it is tried for long: while nobody else has
        claimed the task, even an end that comes after the lease counts.
        """
        ending = Ending(task["id"], task["fence"], **change)
        while True:
            try:
                recorded = self._records.ask(ending)
            except DatabaseUnavailable:
                if not deadline.remaining():
                    log.error("task.unrecorded", task_id=task["id"], status=ending.status)
                    return False
                time.sleep(min(_RECORD_PAUSE_SECONDS, deadline.remaining()))
                continue
            if not recorded:
                log.warning("task.lease_lost", task_id=task["id"], status=ending.status)
            return recorded


def _given_up(task: RowMapping, failure: TaskError) -> PermanentError:
    times = task["deaths"] + task["unconfirmed"] + 1
    return PermanentError(
        "unconfirmed",
        f"It may have been done up to {times} times and is given up; replay begins it anew. {failure}",
    )


def pause_seconds(attempts: int, rules: ExecutionRules) -> float:
    """Doubles up to a limit; a fifth more or less, so that what failed together does not return together."""
    # Bounded first: two to the thousandth is no float.
    doubled = rules.retry_pause_seconds * 2 ** min(attempts - 1, 32)
    pause: float = min(doubled, rules.retry_pause_max_seconds)
    return pause * random.uniform(0.8, 1.2)  # noqa: S311 (not a secret)
