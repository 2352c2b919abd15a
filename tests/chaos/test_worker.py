"""The worker dies, freezes, starves; with it its relay."""

import contextlib
import random
import time
from collections.abc import Iterator
from functools import partial

import pytest

from tests.chaos.stack import Stack, eventually
from tests.chaos.trial import Trial

# From a kill -9 until all that the worker had is delivered, p99: a lease that runs out, a round of the relay,
# and a send.
WORKER_LIMIT_SECONDS = 20


@pytest.mark.short
def test_worker_killed(trial: Trial) -> None:
    """With twelve sends under way, which nobody else knows of."""
    trial.submit(12, "slow-2")
    eventually(lambda: len(trial.stack.running_tasks()) >= 10, seconds=10, what="the worker is at work")
    trial.kill_worker()
    trial.submit(10)
    trial.conclude(settle_seconds=90, limit_seconds=WORKER_LIMIT_SECONDS)


def test_worker_killed_at_random(trial: Trial, seed: int) -> None:
    """Five times under load, at moments of chance."""
    chance = random.Random(seed)  # noqa: S311
    with trial.load(rate=8, kinds=("slow-1", "", "")):
        for _ in range(5):
            time.sleep(chance.uniform(3, 9))
            trial.kill_worker()
            eventually(
                lambda: trial.stack.pid("worker"), seconds=60, what="the engine starts the worker again"
            )
        time.sleep(5)
    trial.conclude(settle_seconds=120, limit_seconds=WORKER_LIMIT_SECONDS)


@pytest.mark.short
def test_message_lost_with_the_worker(trial: Trial) -> None:
    """The sure case: a message that a worker has taken from Redis and not yet noted dies with it."""
    with trial.stack.frozen("worker"):
        trial.submit(20)
        trial.stack.kill("worker")
        trial.over()
    trial.conclude(settle_seconds=90, limit_seconds=WORKER_LIMIT_SECONDS)


@pytest.mark.short
def test_worker_killed_in_the_send_window(trial: Trial) -> None:
    """The mail server has taken it and the row does not say so: exactly that one may come twice."""
    (window,) = trial.submit(1, "slow-5")
    eventually(
        lambda: [mail for mail in trial.stack.mails() if mail.task_id == window], seconds=10, what="its mail"
    )
    trial.kill_worker()
    trial.submit(10)
    trial.settle(90)
    twice = trial.verdict().duplicates
    assert set(twice) <= {window}, f"others came twice: {twice}"
    assert trial.stack.rows([window])[window].deaths >= 1, "it is not marked"
    trial.conclude(limit_seconds=WORKER_LIMIT_SECONDS)


def test_worker_out_of_memory(trial: Trial) -> None:
    """The kernel ends the worker's first process, because the container is full."""
    stack = trial.stack
    trial.submit(10, "slow-2")
    eventually(lambda: len(stack.running_tasks()) >= 8, seconds=10, what="the worker is at work")
    struck_at, pid = time.time(), stack.pid("worker")
    trial.note_struck(stack.running_tasks(), struck_at)
    # Of two processes in the container, the kernel takes the one with the higher score.
    stack.host("sh", "-c", f"echo 1000 > /proc/{pid}/oom_score_adj")
    stack.host(
        "docker", "exec", stack.container("worker"), "python", "-c",
        "import time; hog = bytearray(400_000_000); time.sleep(5)", check=False,
    )  # fmt: skip
    eventually(lambda: stack.pid("worker") not in (0, pid), seconds=60, what="another worker process")
    trial.submit(10)
    trial.conclude(settle_seconds=90, limit_seconds=WORKER_LIMIT_SECONDS)


def test_poison(trial: Trial) -> None:
    """What kills its worker twice runs apart from then on, and what it kills there is itself alone."""
    stack = trial.stack
    (poison,) = trial.submit(1, "slow-8")
    for deaths in range(2):
        eventually(partial(has, stack, poison, deaths), seconds=60, what="the worker has the poison")
        time.sleep(1)
        trial.submit(4)
        stack.kill("worker")
        eventually(lambda: stack.pid("worker"), seconds=60, what="the engine starts the worker again")
    worker, child = 0, ""
    for _ in range(3):
        child = eventually(partial(apart, stack, but=child), seconds=60, what="the poison runs apart")
        assert worker in (0, stack.pid("worker")), "the worker died with it"
        worker = stack.pid("worker")
        trial.submit(4)
        time.sleep(2)
        stack.host("kill", "-9", child)
    eventually(lambda: stack.rows([poison])[poison].status == "failed", seconds=60, what="it is given up")
    trial.expected_failures.add(poison)
    trial.conclude(settle_seconds=30)


def has(stack: Stack, task_id: str, deaths: int) -> bool:
    """Whether a worker does a task of which so many have died."""
    row = stack.rows([task_id])[task_id]
    return row.status == "running" and row.deaths == deaths


def apart(stack: Stack, *, but: str) -> str:
    """The process in which a task runs apart from others, as the host numbers it, if it is another one."""
    found = stack.host("pgrep", "-f", "^[^ ]*python[^ ]* -m app.worker.apart", check=False)
    return found if found != but else ""


@contextlib.contextmanager
def two_workers(stack: Stack) -> Iterator[None]:
    """A second one beside the first, for the block."""

    def scale(count: int) -> None:
        worker = f"worker_{stack.colour}"
        stack.compose("up", "--detach", "--no-recreate", "--scale", f"{worker}={count}", worker)

    scale(2)
    try:
        yield
    finally:
        scale(1)


def test_worker_frozen_past_its_lease(trial: Trial) -> None:
    """Woken, it finds that its tasks are another's: with a second worker there, they are done meanwhile."""
    stack = trial.stack
    with two_workers(stack):
        trial.submit(16, "slow-3")
        eventually(lambda: len(stack.running_tasks()) >= 12, seconds=10, what="both are at work")
        with stack.frozen("worker"):
            trial.over()
            time.sleep(30)
            trial.submit(8)
        trial.conclude(settle_seconds=120)


def test_two_relays(trial: Trial) -> None:
    """Two workers, so two relays, and a Redis that forgets everything again and again."""
    stack = trial.stack
    with two_workers(stack):
        with trial.load(rate=10):
            for _ in range(6):
                time.sleep(3)
                stack.flush_redis()
            trial.over()
        trial.conclude(settle_seconds=60, limit_seconds=10)


def test_relay_killed(trial: Trial) -> None:
    """Redis forgets what waits, and one of two relays dies in the same moment: the other publishes it."""
    stack = trial.stack
    with two_workers(stack):
        trial.submit(40, "slow-2")
        stack.flush_redis()
        trial.kill_worker()
        trial.conclude(settle_seconds=120, limit_seconds=WORKER_LIMIT_SECONDS)
