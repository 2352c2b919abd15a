"""PostgreSQL dies, is away, is full, answers nobody: then nothing is accepted, and nothing is lost."""

import contextlib
import random
import time
from collections.abc import Iterator

import pytest

from tests.chaos.stack import Stack, command, eventually
from tests.chaos.trial import Trial

# From a database that takes connections again until the first mail.
FIRST_DELIVERY_LIMIT_SECONDS = 5
# A database that is away or frozen is a 503 within its deadline, and a queue of those who came before.
ANSWER_LIMIT_SECONDS = 5


def expect_honest_answers(trial: Trial, *, refused: bool = True) -> None:
    """Stored, or 503 within a second or two; never a hang. Where nothing was refused, nothing broke."""
    trial.require(not refused or 503 in trial.clients.statuses, "nothing was refused: the fault took no hold")
    assert set(trial.clients.statuses) <= {202, 503}, trial.clients.statuses
    assert trial.clients.slowest_seconds < ANSWER_LIMIT_SECONDS


@pytest.mark.short
def test_database_killed(trial: Trial) -> None:
    """Once under load, and back after three seconds."""
    with trial.load(rate=10):
        time.sleep(2)
        with trial.stack.database_away():
            time.sleep(3)
        trial.over()
        time.sleep(2)
    expect_honest_answers(trial)
    trial.conclude(settle_seconds=60, limit_seconds=30)


def test_database_killed_at_random(trial: Trial, seed: int) -> None:
    """Four times, 5 to 40 seconds apart."""
    chance = random.Random(seed)  # noqa: S311
    with trial.load(rate=5, kinds=("", "slow-1")):
        for _ in range(4):
            time.sleep(chance.uniform(5, 40))
            with trial.stack.database_away():
                time.sleep(chance.uniform(0, 2))
        trial.over()
        time.sleep(3)
    expect_honest_answers(trial)
    trial.conclude(settle_seconds=90, limit_seconds=30)


def test_database_away(trial: Trial) -> None:
    """For two minutes, as in a failover that goes badly; the first delivery comes soon after it is back."""
    stack = trial.stack
    with stack.frozen("worker"):
        trial.submit(20)
        command("docker", "kill", f"{stack.name}-rds")
    try:
        with trial.load(rate=2):
            time.sleep(120)
            command("docker", "start", f"{stack.name}-rds")
            eventually(stack.database_answers, seconds=60, what="the database is back")
            trial.over()
            back_at = time.time()
            eventually(stack.mails, seconds=60, what="a first mail")
    finally:
        command("docker", "start", f"{stack.name}-rds")
    first = min(mail.received_at.timestamp() for mail in stack.mails()) - back_at
    trial.figures["first delivery, seconds"] = round(max(0.0, first), 1)
    expect_honest_answers(trial)
    trial.require(first <= FIRST_DELIVERY_LIMIT_SECONDS, f"the first mail came only after {first:.1f} s")
    trial.conclude(settle_seconds=90, limit_seconds=30)


def test_database_frozen(trial: Trial) -> None:
    """For thirty seconds it takes connections and says nothing."""
    stack = trial.stack
    with trial.load(rate=3):
        time.sleep(2)
        with stack.frozen_beside("rds"):
            time.sleep(30)
        trial.over()
        time.sleep(2)
    expect_honest_answers(trial)
    trial.conclude(settle_seconds=60, limit_seconds=30)


def test_answer_of_commit_lost(trial: Trial) -> None:
    """Ten times what the API and the worker commit is committed, and the answer never arrives."""
    stack = trial.stack
    with trial.load(rate=10):
        for _ in range(5):
            for service in ("api", "worker"):
                time.sleep(1.5)
                with stack.network(service).rules("tcp sport 5432 drop"):
                    time.sleep(2)
        trial.over()
        time.sleep(2)
    expect_honest_answers(trial)
    trial.conclude(settle_seconds=90, limit_seconds=30)


def test_database_packets_dropped(trial: Trial) -> None:
    """Twenty seconds in which nothing comes through in either direction."""
    with trial.load(rate=5):
        time.sleep(2)
        with trial.stack.network_beside("rds").dropping(5432):
            time.sleep(20)
        trial.over()
        time.sleep(2)
    expect_honest_answers(trial)
    trial.conclude(settle_seconds=60, limit_seconds=30)


def over_a_bad_way(trial: Trial, *, delay_seconds: float, jitter_seconds: float, refused: bool) -> None:
    """For thirty seconds each way takes so long, and one packet of twenty is lost."""
    way = trial.stack.network_beside("rds")
    with trial.load(rate=5):
        time.sleep(2)
        with way.slow(5432, delay_seconds=delay_seconds, jitter_seconds=jitter_seconds, loss_percent=5):
            time.sleep(30)
        trial.over()
        time.sleep(2)
    expect_honest_answers(trial, refused=refused)
    trial.figures["503"] = trial.clients.statuses.get(503, 0)
    trial.conclude(settle_seconds=60, limit_seconds=30)


def test_database_slow_and_lossy(trial: Trial) -> None:
    """100 ± 33 ms there and back, one packet of twenty lost: a connection alone takes seven ways."""
    over_a_bad_way(trial, delay_seconds=0.05, jitter_seconds=0.016, refused=False)


def test_database_far_away(trial: Trial) -> None:
    """300 ± 100 ms: a new connection takes longer than its deadline, so all is refused."""
    over_a_bad_way(trial, delay_seconds=0.15, jitter_seconds=0.05, refused=True)


@contextlib.contextmanager
def no_connection_left(stack: Stack) -> Iterator[None]:
    """The application's role may have none, and has lost those that it had."""
    stack.sql(
        "ALTER ROLE app CONNECTION LIMIT 0;"
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'"
    )
    try:
        yield
    finally:
        stack.sql("ALTER ROLE app CONNECTION LIMIT -1")


def test_connections_used_up(trial: Trial) -> None:
    """For twenty seconds the server has no connection for the application."""
    with trial.load(rate=5):
        time.sleep(2)
        with no_connection_left(trial.stack):
            time.sleep(20)
        trial.over()
        time.sleep(2)
    expect_honest_answers(trial)
    trial.conclude(settle_seconds=60, limit_seconds=30)


@contextlib.contextmanager
def small_disk(stack: Stack) -> Iterator[None]:
    """The tasks lie on a disk of 64 MB that is full; the write-ahead log has room."""
    rds = ("docker", "exec", f"{stack.name}-rds")
    command(*rds, "install", "-d", "-o", "postgres", "-g", "postgres", "/dev/shm/tasks")  # noqa: S108
    stack.sql("CREATE TABLESPACE small LOCATION '/dev/shm/tasks'")
    try:
        stack.sql(
            "ALTER TABLE tasks SET TABLESPACE small;"
            "ALTER INDEX ALL IN TABLESPACE pg_default SET TABLESPACE small"
        )
        command(*rds, "dd", "if=/dev/zero", "of=/dev/shm/filler", "bs=8k", check=False)
        yield
    finally:
        command(*rds, "rm", "-f", "/dev/shm/filler")  # noqa: S108
        stack.sql(
            "ALTER TABLE tasks SET TABLESPACE pg_default;"
            "ALTER INDEX ALL IN TABLESPACE small SET TABLESPACE pg_default"
        )
        stack.sql("DROP TABLESPACE small")


def test_disk_full(trial: Trial) -> None:
    """The database can store nothing more for twenty seconds."""
    with trial.load(rate=40, threads=24):
        time.sleep(2)
        with small_disk(trial.stack):
            time.sleep(20)
        trial.over()
        time.sleep(2)
    trial.figures["503"] = trial.clients.statuses.get(503, 0)
    expect_honest_answers(trial)
    trial.conclude(settle_seconds=90, limit_seconds=60)
