"""Claiming, doing, recording: one worker at a time, and an old one changes nothing."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from app.db import repository
from app.db.session import Database
from app.errors import PermanentError, TransientError
from app.kinds.tools import Tools
from app.mail.mailer import RecordingMailer
from app.services import execution
from app.services.execution import End, ExecutionRules
from app.services.submission import Submission, SubmissionRules, submit
from tests.integration.machine import Machine

RULES = ExecutionRules(
    worker="worker-one", lease_seconds=30, max_attempts=3, retry_pause_seconds=0.1, retry_pause_max_seconds=1
)


class HookedMailer(RecordingMailer):
    """Does something in the middle of sending."""

    def __init__(self, hook: Callable[[], Any]) -> None:
        super().__init__()
        self.hook = hook

    def send(self, message: Any) -> str:
        self.hook()
        return super().send(message)


def tools(mailer: RecordingMailer) -> Tools:
    return Tools(mailer, "tasks@example.com")


@pytest.fixture
def task_id(database: Database) -> str:
    """An accepted task."""
    (accepted,) = submit(
        database,
        [Submission("notify", {"email": "a@example.com"}, recipient="a@example.com")],
        SubmissionRules(5, "smoke@example.com"),
    )
    assert isinstance(accepted, str)
    return accepted


def row(parts: Machine, columns: str) -> tuple[Any, ...]:
    return parts.sql(f"SELECT {columns} FROM tasks")[0]


def test_a_task_succeeds_once(database: Database, parts: Machine, task_id: str) -> None:
    mailer = RecordingMailer()
    assert execution.run(database, task_id, tools(mailer), RULES).end is End.SUCCEEDED
    assert execution.run(database, task_id, tools(mailer), RULES).end is End.NOTHING
    assert len(mailer.sent) == 1
    assert row(parts, "status, attempts, deaths, worker, error, lease_expires_at") == (
        "succeeded", 1, 0, "worker-one", None, None,
    )  # fmt: skip
    assert row(parts, "result->>'answer', finished_at IS NOT NULL") == ("250 OK", True)


@pytest.mark.parametrize(
    "message", ["0" * 36, "garbage", "", "\x00", "'; DROP TABLE tasks; --", "x" * 100_000]
)
def test_a_message_about_no_task_does_nothing(database: Database, parts: Machine, message: str) -> None:
    assert execution.run(database, message, tools(RecordingMailer()), RULES).end is End.NOTHING


def test_of_many_at_once_one_has_it(database: Database, task_id: str) -> None:
    mailer = HookedMailer(lambda: time.sleep(0.2))
    barrier = threading.Barrier(5)
    ends: list[End] = []

    def race(worker: str) -> None:
        barrier.wait()
        ends.append(execution.run(database, task_id, tools(mailer), replace(RULES, worker=worker)).end)

    threads = [threading.Thread(target=race, args=(f"worker-{number}",)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(end.name for end in ends) == ["NOTHING"] * 4 + ["SUCCEEDED"]
    assert len(mailer.sent) == 1


def test_while_a_lease_runs_nobody_else_has_it_and_afterwards_the_old_one_changes_nothing(
    database: Database, parts: Machine, task_id: str
) -> None:
    second: list[End] = []
    new_mailer = RecordingMailer()

    def meanwhile() -> None:
        """The first worker is in the middle of its mail; then it sleeps past its lease."""
        second.append(execution.run(database, task_id, tools(new_mailer), RULES).end)
        parts.sql("UPDATE tasks SET lease_expires_at = now() - interval '1 second'")
        newer = replace(RULES, worker="worker-two")
        failing = RecordingMailer(PermanentError("refused", "550 no"))
        second.append(execution.run(database, task_id, tools(failing), newer).end)

    assert execution.run(database, task_id, tools(HookedMailer(meanwhile)), RULES).end is End.NOTHING
    assert second == [End.NOTHING, End.FAILED]
    assert row(parts, "status, worker, fence, attempts, deaths, result") == (
        "failed", "worker-two", 2, 2, 1, None,
    )  # fmt: skip


@pytest.mark.parametrize(
    "failure", [None, TransientError("put_off", "451"), PermanentError("refused", "550")]
)
def test_an_old_worker_that_wakes_up_changes_nothing_of_the_newer_claim(
    database: Database, parts: Machine, task_id: str, failure: Exception | None
) -> None:
    columns = "status, worker, fence, attempts, result, error, lease_expires_at, updated_at"
    newer: list[tuple[Any, ...]] = []

    def meanwhile() -> None:
        parts.sql("UPDATE tasks SET lease_expires_at = now() - interval '1 second'")
        with database.connection() as connection:
            claimed = repository.claim(
                connection, task_id, worker="worker-two", lease_seconds=30, max_attempts=3, exhausted="{}"
            )
        assert claimed is not None
        newer.append(row(parts, columns))
        if failure:
            raise failure

    assert execution.run(database, task_id, tools(HookedMailer(meanwhile)), RULES).end is End.NOTHING
    assert newer[0][:4] == ("running", "worker-two", 2, 2)
    assert [row(parts, columns)] == newer


def test_a_transient_failure_is_tried_again_when_its_time_has_come(
    database: Database, parts: Machine, task_id: str
) -> None:
    mailer = RecordingMailer(TransientError("put_off", "451 later"))
    assert execution.run(database, task_id, tools(mailer), RULES).end is End.RETRYING
    assert row(parts, "status, attempts, error->>'message', finished_at") == (
        "retrying",
        1,
        "451 later",
        None,
    )
    assert row(parts, "next_run_at > now() - interval '5 s' AND publish_at = next_run_at") == (True,)
    parts.sql("UPDATE tasks SET next_run_at = now() + interval '1 minute'")
    assert execution.run(database, task_id, tools(mailer), RULES).end is End.NOTHING
    parts.sql("UPDATE tasks SET next_run_at = now()")
    mailer.failure = None
    assert execution.run(database, task_id, tools(mailer), RULES).end is End.SUCCEEDED
    assert row(parts, "status, attempts, error") == ("succeeded", 2, None)


def test_the_last_transient_failure_is_final(database: Database, parts: Machine, task_id: str) -> None:
    mailer = RecordingMailer(TransientError("put_off", "451 later"))
    ends = []
    for _ in range(4):
        parts.sql("UPDATE tasks SET next_run_at = now()")
        ends.append(execution.run(database, task_id, tools(mailer), RULES).end)
    assert ends == [End.RETRYING, End.RETRYING, End.FAILED, End.NOTHING]
    assert row(parts, "status, attempts, error->>'reason'") == ("failed", 3, "put_off")


def test_a_permanent_failure_is_final_in_the_servers_words(
    database: Database, parts: Machine, task_id: str
) -> None:
    mailer = RecordingMailer(PermanentError("refused_by_mail_server", "550 No such user here"))
    outcome = execution.run(database, task_id, tools(mailer), RULES)
    assert (outcome.end, outcome.words) == (End.FAILED, "550 No such user here")
    assert row(parts, "status, attempts, error") == (
        "failed", 1, {"reason": "refused_by_mail_server", "message": "550 No such user here"},
    )  # fmt: skip


def test_a_task_that_kills_its_workers_ends_as_failed(
    database: Database, parts: Machine, task_id: str
) -> None:
    class Killed(BaseException):
        """What the handler cannot catch, as the process's end."""

    def die() -> None:
        raise Killed

    for _ in range(RULES.max_attempts):
        with pytest.raises(Killed):
            execution.run(database, task_id, tools(HookedMailer(die)), RULES)
        parts.sql("UPDATE tasks SET lease_expires_at = now() - interval '1 second'")
    outcome = execution.run(database, task_id, tools(RecordingMailer()), RULES)
    assert outcome.end is End.FAILED
    assert row(parts, "status, attempts, deaths, error->>'reason', lease_expires_at") == (
        "failed", 3, 3, "worker_died", None,
    )  # fmt: skip


def test_when_the_limit_was_lowered_a_task_ends_with_its_own_error(
    database: Database, parts: Machine, task_id: str
) -> None:
    mailer = RecordingMailer(TransientError("put_off", "451 later"))
    for _ in range(2):
        parts.sql("UPDATE tasks SET next_run_at = now()")
        assert execution.run(database, task_id, tools(mailer), RULES).end is End.RETRYING
    parts.sql("UPDATE tasks SET next_run_at = now()")
    outcome = execution.run(database, task_id, tools(mailer), replace(RULES, max_attempts=1))
    assert (outcome.end, outcome.words) == (End.FAILED, "451 later")
    assert row(parts, "status, attempts, deaths, error->>'reason', finished_at IS NOT NULL") == (
        "failed", 2, 0, "put_off", True,
    )  # fmt: skip


def test_a_fault_of_ours_is_tried_again_and_shows_no_detail(
    database: Database, parts: Machine, task_id: str
) -> None:
    mailer = RecordingMailer(KeyError("private detail"))
    assert execution.run(database, task_id, tools(mailer), RULES).end is End.RETRYING
    (error,) = row(parts, "error::text")
    assert "internal_error" in error
    assert "private" not in error


def test_a_kind_of_a_newer_release_waits_for_it(database: Database, parts: Machine, task_id: str) -> None:
    parts.sql("UPDATE tasks SET kind = 'tomorrow'")
    assert execution.run(database, task_id, tools(RecordingMailer()), RULES).end is End.RETRYING
    assert row(parts, "error->>'reason'") == ("unknown_kind",)


def test_an_end_is_recorded_once_the_database_is_back(
    database: Database, parts: Machine, task_id: str
) -> None:
    def freeze_for_a_while() -> None:
        frozen = parts.postgres.frozen()
        frozen.__enter__()
        threading.Timer(2.5, frozen.__exit__, (None, None, None)).start()

    outcome = execution.run(database, task_id, tools(HookedMailer(freeze_for_a_while)), RULES)
    assert outcome.end is End.SUCCEEDED
    assert row(parts, "status, attempts") == ("succeeded", 1)
