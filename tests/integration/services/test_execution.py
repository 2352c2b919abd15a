"""Claiming, doing, recording: one worker at a time, and an old one changes nothing."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import structlog

from app import kinds
from app.db import claims
from app.db.session import Database
from app.errors import DatabaseUnavailable, PermanentError, TransientError, Unconfirmed, WorkerDied
from app.kinds.tools import Tools
from app.mail.mailer import RecordingMailer
from app.operator_schemas import ByIds
from app.schemas import Operation
from app.services import operation
from app.services.execution import End, ExecutionRules, Executor, Outcome, Work
from app.services.leases import Leases
from app.services.submission import Receipt, Submission, SubmissionRules, submit
from tests.integration.machine import Machine

RULES = ExecutionRules(
    worker="worker-one",
    max_attempts=3,
    max_deaths=4,
    max_unconfirmed=3,
    retry_pause_seconds=0.1,
    retry_pause_max_seconds=1,
)
EXPIRE = "UPDATE tasks SET lease_expires_at = now() - interval '1 second'"


class HookedMailer(RecordingMailer):
    """Does something in the middle of sending."""

    def __init__(self, hook: Callable[[], Any]) -> None:
        super().__init__()
        self.hook = hook

    def send(self, message: Any) -> str:
        self.hook()
        return super().send(message)


def executor(
    database: Database,
    mailer: RecordingMailer,
    rules: ExecutionRules = RULES,
    *,
    apart: Work | None = None,
    leases: Leases | None = None,
) -> Executor:
    """A worker's, with this mailer."""
    work = partial(kinds.work, tools=Tools(mailer, "tasks@example.com"))
    leases = leases or Leases(lease_seconds=30, task_timeout_seconds=60)
    return Executor(database, leases, rules, work, apart or work)


def run(database: Database, task_id: str, mailer: RecordingMailer, rules: ExecutionRules = RULES) -> Outcome:
    return executor(database, mailer, rules).run(task_id)


@pytest.fixture
def task_id(database: Database) -> str:
    """An accepted task."""
    (accepted,) = submit(
        database,
        [Submission("notify", {"email": "a@example.com"}, recipient="a@example.com")],
        SubmissionRules(5, "smoke@example.com"),
    )
    assert isinstance(accepted, Receipt)
    return accepted.task_id


def row(parts: Machine, columns: str) -> tuple[Any, ...]:
    return parts.sql(f"SELECT {columns} FROM tasks")[0]


def test_a_task_succeeds_once(database: Database, parts: Machine, task_id: str) -> None:
    mailer = RecordingMailer()
    assert run(database, task_id, mailer).end is End.SUCCEEDED
    assert run(database, task_id, mailer).end is End.NOTHING
    assert len(mailer.sent) == 1
    assert row(parts, "status, attempts, deaths, worker, error, lease_expires_at") == (
        "succeeded", 1, 0, "worker-one", None, None,
    )  # fmt: skip
    assert row(parts, "result->>'answer', finished_at IS NOT NULL") == ("250 OK", True)


@pytest.mark.parametrize(
    "message", ["0" * 36, "garbage", "", "\x00", "'; DROP TABLE tasks; --", "x" * 100_000]
)
def test_a_message_about_no_task_does_nothing(database: Database, parts: Machine, message: str) -> None:
    assert run(database, message, RecordingMailer()).end is End.NOTHING


def test_of_many_at_once_one_has_it(database: Database, task_id: str) -> None:
    mailer = HookedMailer(lambda: time.sleep(0.2))
    barrier = threading.Barrier(5)
    ends: list[End] = []

    def race(worker: str) -> None:
        barrier.wait()
        ends.append(run(database, task_id, mailer, replace(RULES, worker=worker)).end)

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
        second.append(run(database, task_id, new_mailer).end)
        parts.sql(EXPIRE)
        newer = replace(RULES, worker="worker-two")
        failing = RecordingMailer(PermanentError("refused", "550 no"))
        second.append(run(database, task_id, failing, newer).end)

    assert run(database, task_id, HookedMailer(meanwhile)).end is End.NOTHING
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
        parts.sql(EXPIRE)
        with database.connection() as connection:
            claimed = claims.claim(
                connection,
                [task_id],
                worker="worker-two",
                lease_seconds=30,
                max_attempts=3,
                max_deaths=4,
                died="{}",
            )
        assert task_id in claimed
        newer.append(row(parts, columns))
        if failure:
            raise failure

    assert run(database, task_id, HookedMailer(meanwhile)).end is End.NOTHING
    assert newer[0][:4] == ("running", "worker-two", 2, 2)
    assert [row(parts, columns)] == newer


def test_a_transient_failure_is_tried_again_when_its_time_has_come(
    database: Database, parts: Machine, task_id: str
) -> None:
    mailer = RecordingMailer(TransientError("put_off", "451 later"))
    assert run(database, task_id, mailer).end is End.RETRYING
    assert row(parts, "status, attempts, error->>'message', finished_at") == (
        "retrying",
        1,
        "451 later",
        None,
    )
    assert row(parts, "next_run_at > now() - interval '5 s' AND publish_at = next_run_at") == (True,)
    parts.sql("UPDATE tasks SET next_run_at = now() + interval '1 minute'")
    assert run(database, task_id, mailer).end is End.NOTHING
    parts.sql("UPDATE tasks SET next_run_at = now()")
    mailer.failure = None
    assert run(database, task_id, mailer).end is End.SUCCEEDED
    assert row(parts, "status, attempts, error") == ("succeeded", 2, None)


def test_the_last_transient_failure_is_final(database: Database, parts: Machine, task_id: str) -> None:
    mailer = RecordingMailer(TransientError("put_off", "451 later"))
    ends = []
    for _ in range(4):
        parts.sql("UPDATE tasks SET next_run_at = now()")
        ends.append(run(database, task_id, mailer).end)
    assert ends == [End.RETRYING, End.RETRYING, End.FAILED, End.NOTHING]
    assert row(parts, "status, attempts, error->>'reason'") == ("failed", 3, "put_off")


def test_a_permanent_failure_is_final_in_the_servers_words(
    database: Database, parts: Machine, task_id: str
) -> None:
    mailer = RecordingMailer(PermanentError("refused_by_mail_server", "550 No such user here"))
    outcome = run(database, task_id, mailer)
    assert (outcome.end, outcome.words) == (End.FAILED, "550 No such user here")
    assert row(parts, "status, attempts, error") == (
        "failed", 1, {"reason": "refused_by_mail_server", "message": "550 No such user here"},
    )  # fmt: skip


class Killed(BaseException):
    """What the handler cannot catch, as the process's end."""


def die() -> None:
    raise Killed


def test_a_task_that_kills_its_workers_runs_apart_and_ends_as_failed(
    database: Database, parts: Machine, task_id: str
) -> None:
    def die_apart(*_: Any) -> dict[str, Any]:
        raise WorkerDied("Its process ended with code -9.")

    rules = replace(RULES, max_attempts=10)
    worker = executor(database, HookedMailer(die), rules, apart=die_apart)
    for _ in range(2):
        with pytest.raises(Killed):
            worker.run(task_id)
        parts.sql(EXPIRE)
    assert worker.run(task_id).end is End.RETRYING
    assert row(parts, "attempts, deaths, error->>'reason'") == (3, 3, "worker_died")
    parts.sql("UPDATE tasks SET next_run_at = now()")
    assert worker.run(task_id).end is End.FAILED
    assert row(parts, "status, deaths, error->>'reason', lease_expires_at, finished_at IS NOT NULL") == (
        "failed", 4, "worker_died", None, True,
    )  # fmt: skip


def test_one_whose_workers_died_of_something_else_succeeds_apart(
    database: Database, parts: Machine, task_id: str
) -> None:
    mailer = RecordingMailer()
    apart = partial(kinds.work, tools=Tools(mailer, "tasks@example.com"))
    worker = executor(database, HookedMailer(die), apart=apart)
    for _ in range(2):
        with pytest.raises(Killed):
            worker.run(task_id)
        parts.sql(EXPIRE)
    assert worker.run(task_id).end is End.SUCCEEDED
    assert len(mailer.sent) == 1
    assert row(parts, "status, attempts, deaths, error") == ("succeeded", 3, 2, None)


def test_a_lease_that_ran_out_too_often_ends_the_task_when_it_is_claimed(
    database: Database, parts: Machine, task_id: str
) -> None:
    parts.sql("UPDATE tasks SET status = 'running', deaths = 3, lease_expires_at = now()")
    mailer = RecordingMailer()
    assert run(database, task_id, mailer).end is End.FAILED
    assert not mailer.sent
    assert row(parts, "status, attempts, deaths, error->>'reason'") == ("failed", 0, 4, "worker_died")


def test_when_the_limit_was_lowered_a_task_ends_with_its_own_error(
    database: Database, parts: Machine, task_id: str
) -> None:
    mailer = RecordingMailer(TransientError("put_off", "451 later"))
    for _ in range(2):
        parts.sql("UPDATE tasks SET next_run_at = now()")
        assert run(database, task_id, mailer).end is End.RETRYING
    parts.sql("UPDATE tasks SET next_run_at = now()")
    outcome = run(database, task_id, mailer, replace(RULES, max_attempts=1))
    assert (outcome.end, outcome.words) == (End.FAILED, "451 later")
    assert row(parts, "status, attempts, deaths, error->>'reason', finished_at IS NOT NULL") == (
        "failed", 2, 0, "put_off", True,
    )  # fmt: skip


def test_a_fault_of_ours_is_tried_again_and_shows_no_detail(
    database: Database, parts: Machine, task_id: str
) -> None:
    mailer = RecordingMailer(KeyError("private detail"))
    assert run(database, task_id, mailer).end is End.RETRYING
    (error,) = row(parts, "error::text")
    assert "internal_error" in error
    assert "private" not in error


def test_a_kind_of_a_newer_release_waits_for_it(database: Database, parts: Machine, task_id: str) -> None:
    parts.sql("UPDATE tasks SET kind = 'tomorrow'")
    assert run(database, task_id, RecordingMailer()).end is End.RETRYING
    assert row(parts, "error->>'reason'") == ("unknown_kind",)


def test_an_end_is_recorded_once_the_database_is_back(
    database: Database, parts: Machine, task_id: str
) -> None:
    def freeze_for_a_while() -> None:
        frozen = parts.postgres.frozen()
        frozen.__enter__()
        threading.Timer(2.5, frozen.__exit__, (None, None, None)).start()

    outcome = run(database, task_id, HookedMailer(freeze_for_a_while))
    assert outcome.end is End.SUCCEEDED
    assert row(parts, "status, attempts") == ("succeeded", 1)


def test_work_that_takes_longer_than_its_lease_keeps_it(
    database: Database, parts: Machine, task_id: str
) -> None:
    leases = Leases(lease_seconds=1, task_timeout_seconds=60)
    stop = threading.Event()
    renewing = threading.Thread(target=leases.run, args=(database, stop))
    renewing.start()
    others: list[End] = []

    def work() -> None:
        for _ in range(5):
            time.sleep(0.5)
            others.append(run(database, task_id, RecordingMailer()).end)

    mailer = HookedMailer(work)
    assert executor(database, mailer, leases=leases).run(task_id).end is End.SUCCEEDED
    stop.set()
    renewing.join()
    assert others == [End.NOTHING] * 5
    assert row(parts, "status, attempts, deaths, fence") == ("succeeded", 1, 0, 1)


def test_work_that_hangs_loses_its_lease(database: Database, parts: Machine, task_id: str) -> None:
    leases = Leases(lease_seconds=30, task_timeout_seconds=0.2)

    def hang() -> None:
        leases.renew(database)
        first.append(row(parts, "lease_expires_at"))
        time.sleep(0.3)
        leases.renew(database)
        first.append(row(parts, "lease_expires_at"))

    first: list[tuple[Any, ...]] = []
    executor(database, HookedMailer(hang), leases=leases).run(task_id)
    assert first[0] == first[1]


def test_an_old_claim_is_not_renewed(database: Database, parts: Machine, task_id: str) -> None:
    parts.sql("UPDATE tasks SET status = 'running', fence = 7, lease_expires_at = now()")
    with database.connection() as connection:
        assert claims.renew(connection, {task_id: 6}, lease_seconds=30) == set()
        assert claims.renew(connection, {task_id: 7}, lease_seconds=30) == {task_id}
    assert row(parts, "lease_expires_at > now() + interval '20 s', publish_at = lease_expires_at") == (
        True,
        True,
    )


def test_an_end_after_the_lease_counts_while_nobody_else_has_claimed_the_task(
    database: Database, parts: Machine, task_id: str
) -> None:
    mailer = HookedMailer(lambda: parts.sql(EXPIRE))
    assert run(database, task_id, mailer).end is End.SUCCEEDED
    assert row(parts, "status, deaths") == ("succeeded", 0)


LOST = Unconfirmed("mail_unconfirmed", "The mail server may have taken the mail, and did not answer.")
DUE = "UPDATE tasks SET next_run_at = now()"


def test_work_that_is_never_confirmed_is_counted_and_given_up(
    database: Database, parts: Machine, task_id: str
) -> None:
    rules = replace(RULES, max_attempts=100)
    mailer = RecordingMailer(LOST)
    for count in (1, 2):
        assert run(database, task_id, mailer, rules).end is End.RETRYING
        assert row(parts, "status, attempts, deaths, unconfirmed, error->>'reason'") == (
            "retrying", count, 0, count, "mail_unconfirmed",
        )  # fmt: skip
        parts.sql(DUE)
    outcome = run(database, task_id, mailer, rules)
    assert outcome.end is End.FAILED
    assert row(parts, "status, unconfirmed, error->>'reason', finished_at IS NOT NULL") == (
        "failed", 3, "unconfirmed", True,
    )  # fmt: skip
    assert "up to 3 times" in outcome.words
    assert "replay" in outcome.words
    assert outcome.words.endswith(str(LOST)), "the cause is not named"
    assert row(parts, "error->>'message'") == (outcome.words,)


def test_the_limit_is_of_unconfirmed_attempts_alone_and_a_replay_begins_anew(
    database: Database, parts: Machine, task_id: str
) -> None:
    rules = replace(RULES, max_attempts=100, max_unconfirmed=2)
    for failure in (LOST, *[TransientError("put_off", "451 later")] * 5):
        assert run(database, task_id, RecordingMailer(failure), rules).end is End.RETRYING
        parts.sql(DUE)
    assert run(database, task_id, RecordingMailer(LOST), rules).end is End.FAILED
    assert operation.change(database, Operation.REPLAY, ByIds(task_ids=[task_id])).task_ids == [task_id]
    assert row(parts, "status, attempts, unconfirmed, replays") == ("queued", 0, 0, 1)
    assert run(database, task_id, RecordingMailer(LOST), rules).end is End.RETRYING
    assert row(parts, "unconfirmed") == (1,)


def test_an_unconfirmed_end_that_is_written_twice_counts_once(
    database: Database, parts: Machine, task_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, asked = claims.record, []

    def without_an_answer(*given: Any) -> list[bool]:
        recorded = record(*given)
        asked.append(recorded)
        if len(asked) == 1:
            raise DatabaseUnavailable
        return recorded

    monkeypatch.setattr(claims, "record", without_an_answer)
    assert run(database, task_id, RecordingMailer(LOST)).end is End.RETRYING
    assert asked == [[True], [True]]
    assert row(parts, "status, attempts, unconfirmed") == ("retrying", 1, 1)


@pytest.mark.parametrize("confirmed", [True, False])
def test_each_repeat_of_unconfirmed_work_waits_eight_times_as_long(
    database: Database, parts: Machine, task_id: str, confirmed: bool
) -> None:
    rules = replace(
        RULES, max_attempts=9, max_unconfirmed=9, retry_pause_seconds=5, retry_pause_max_seconds=900
    )
    failure = TransientError("put_off", "451 later") if confirmed else LOST
    for expected in (5, 10, 20, 40) if confirmed else (5, 40, 320, 900):
        run(database, task_id, RecordingMailer(failure), rules)
        (pause,) = row(parts, "extract(epoch FROM next_run_at - updated_at)::float")
        assert 0.8 * expected <= pause <= 1.2 * expected
        parts.sql(DUE)


def test_unconfirmed_work_is_marked_when_it_is_claimed_again_and_keeps_its_company(
    database: Database, parts: Machine, task_id: str
) -> None:
    def never(*_: Any) -> dict[str, Any]:
        raise AssertionError("it ran apart")

    parts.sql("UPDATE tasks SET unconfirmed = 2, attempts = 2")
    mailer = RecordingMailer()
    with structlog.testing.capture_logs() as lines:
        assert executor(database, mailer, apart=never).run(task_id).end is End.SUCCEEDED
    (marked,) = [line for line in lines if line["event"] == "task.claimed_again"]
    assert (marked["attempt"], marked["deaths"], marked["unconfirmed"]) == (3, 0, 2)
    assert row(parts, "status, unconfirmed") == ("succeeded", 2), "what is done twice stays counted"
