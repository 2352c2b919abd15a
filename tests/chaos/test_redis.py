"""Redis dies, forgets, freezes, fills up, is cut off: it carries ids, and accepting goes on without it."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.chaos.stack import Stack, eventually
from tests.chaos.trial import Trial

# From the moment at which Redis has forgotten everything until all that waited in it is delivered.
FORGOTTEN_LIMIT_SECONDS = 10
# While Redis is away the API answers as ever.
ANSWER_LIMIT_SECONDS = 3


def expect_quick_answers(trial: Trial) -> None:
    """Publishing decides no answer and delays none."""
    assert trial.clients.slowest_seconds < ANSWER_LIMIT_SECONDS
    assert set(trial.clients.statuses) == {202}, trial.clients.statuses


def test_redis_killed(trial: Trial) -> None:
    """Three times under load; what it had on disk it has again."""
    with trial.load():
        for _ in range(3):
            time.sleep(4)
            trial.stack.kill("redis")
        eventually(lambda: trial.stack.is_up("redis"), seconds=60, what="Redis is back")
        trial.over()
        time.sleep(3)
    expect_quick_answers(trial)
    trial.conclude(settle_seconds=90, limit_seconds=60)


@pytest.mark.short
def test_redis_forgets_everything(trial: Trial) -> None:
    """FLUSHALL while tasks wait in it, and nothing is published after it that would show the hole."""
    with trial.stack.frozen("worker"):
        trial.submit(40)
        trial.stack.flush_redis()
        trial.over()
    expect_quick_answers(trial)
    trial.conclude(settle_seconds=60, limit_seconds=FORGOTTEN_LIMIT_SECONDS)


def test_redis_forgets_under_load(trial: Trial) -> None:
    """Eight times, between a push and a pop wherever that may be."""
    with trial.load(rate=15, kinds=("slow-1", "", "")):
        for _ in range(8):
            time.sleep(2)
            trial.stack.flush_redis()
        trial.over()
        time.sleep(2)
    expect_quick_answers(trial)
    trial.conclude(settle_seconds=60, limit_seconds=FORGOTTEN_LIMIT_SECONDS)


@pytest.mark.short
def test_redis_killed_and_flushed(trial: Trial) -> None:
    """It dies and its disk is lost with it: what comes back is an empty Redis."""
    stack = trial.stack
    with stack.frozen("worker"):
        trial.submit(20)
        container = stack.container("redis")
        stack.host("docker", "kill", container)
        stack.host("sh", "-c", "rm -rf /var/lib/docker/volumes/steadfast_redis-data/_data/*")
        trial.submit(10)
        stack.host("docker", "start", container)
        eventually(lambda: stack.redis("PING") == ["PONG"], seconds=30, what="Redis answers")
        assert stack.queue_depth() == 0
        trial.over()
    expect_quick_answers(trial)
    trial.conclude(settle_seconds=90, limit_seconds=60)


def test_redis_frozen(trial: Trial) -> None:
    """For two minutes: its connections stay, and nobody is answered."""
    with trial.load(rate=2):
        with trial.stack.frozen("redis"):
            time.sleep(120)
        trial.over()
    expect_quick_answers(trial)
    trial.conclude(settle_seconds=120, limit_seconds=60)


def test_redis_full(trial: Trial) -> None:
    """No room for one more id for twenty seconds: it refuses, and drops nothing silently."""
    stack = trial.stack
    # Each refused once there is no room; strings grow without a word of their content being sent.
    fill = [f"SETRANGE chaos-{number} {size} x" for size in (1_000_000, 10_000, 500) for number in range(110)]
    with trial.load():
        said = stack.redis(*(line.replace("chaos-", f"chaos-{at}-") for at, line in enumerate(fill)))
        try:
            assert [answer for answer in said if "OOM" in answer], said[-3:]
            time.sleep(20)
        finally:
            for at in range(0, len(fill), 100):
                names = [line.replace("chaos-", f"chaos-{n}-").split()[1] for n, line in enumerate(fill)][
                    at : at + 100
                ]
                stack.redis("UNLINK " + " ".join(names))
        trial.over()
        time.sleep(2)
    expect_quick_answers(trial)
    trial.conclude(settle_seconds=90, limit_seconds=60)


@contextlib.contextmanager
def small_disk(stack: Stack) -> Iterator[str]:
    """Redis on a disk of 8 MB, empty at first; yields where the host sees it."""
    container, data = stack.container("redis"), "/var/lib/docker/volumes/steadfast_redis-data/_data"
    stack.host("docker", "stop", container)
    stack.host("mount", "-t", "tmpfs", "-o", "size=8m,uid=10003,gid=10003", "tmpfs", data)
    try:
        stack.host("docker", "start", container)
        eventually(lambda: stack.is_up("redis"), seconds=60, what="Redis is up on the small disk")
        yield data
    finally:
        stack.host("docker", "stop", container)
        stack.host("umount", data)
        stack.host("docker", "start", container)
        eventually(lambda: stack.is_up("redis"), seconds=60, what="Redis is back on its own disk")


def test_redis_disk_full(trial: Trial) -> None:
    """Twenty seconds without a byte of room for its file."""
    with trial.load(), small_disk(trial.stack) as data:
        trial.stack.host("dd", "if=/dev/zero", f"of={data}/filler", "bs=64k", check=False)
        time.sleep(20)
        trial.stack.host("rm", f"{data}/filler")
        trial.over()
        time.sleep(5)
    expect_quick_answers(trial)
    trial.conclude(settle_seconds=90, limit_seconds=60)


def test_redis_cut_from_the_worker(trial: Trial) -> None:
    """For 70 seconds the API publishes and the worker does not hear of it."""
    with trial.load(rate=3):
        with trial.stack.unplugged("worker"):
            time.sleep(70)
        trial.over()
        time.sleep(2)
    expect_quick_answers(trial)
    trial.conclude(settle_seconds=90, limit_seconds=60)


def test_redis_packets_dropped(trial: Trial) -> None:
    """Thirty seconds in which nothing comes through, and no connection hears of its end."""
    with trial.load(rate=4):
        with trial.stack.network("redis").dropping(6379):
            time.sleep(30)
        trial.over()
        time.sleep(2)
    expect_quick_answers(trial)
    trial.conclude(settle_seconds=90, limit_seconds=60)


def test_redis_slow_and_lossy(trial: Trial) -> None:
    """300 ± 100 ms there and back, one packet of twenty lost, one of a hundred twice."""
    slow = trial.stack.network("redis").slow(6379, delay_seconds=0.15, jitter_seconds=0.05, loss_percent=5)
    with trial.load(rate=5):
        time.sleep(2)
        with slow:
            time.sleep(40)
        trial.over()
        time.sleep(2)
    expect_quick_answers(trial)
    trial.conclude(settle_seconds=90, limit_seconds=60)
