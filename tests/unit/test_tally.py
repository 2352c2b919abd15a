"""What a process counts: nothing is lost between threads, in a bucket that does not fit, or by a failure."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog

from app.db import counters
from app.errors import DatabaseUnavailable
from app.services import counting
from app.tally import BUCKETS, INFINITE, Counter, Key, Tally, Timing, bucket_keys, sum_key

ACCEPTED: Key = ("tasks_accepted", "")
# Sums that are exact, so that they can be compared.
SECONDS = 0.25


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads take turns a hundred times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(before / 100)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_no_count_of_many_threads_is_lost_while_another_takes() -> None:
    tally, found, over = Tally(), [], threading.Event()

    def work() -> None:
        for _ in range(5000):
            tally.count(Counter.TASKS_ACCEPTED)
            tally.observe(Timing.TASK_SECONDS, SECONDS)

    def take_on() -> None:
        while not over.is_set():
            found.append(tally.take())

    threads = [threading.Thread(target=work) for _ in range(8)]
    taker = threading.Thread(target=take_on)
    for thread in (*threads, taker):
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    taker.join()
    found.append(tally.take())
    assert sum(taken.get(ACCEPTED, 0) for taken in found) == 40_000
    assert sum(taken.get(("task_seconds", "0.25"), 0) for taken in found) == 40_000
    assert sum(taken.get(sum_key(Timing.TASK_SECONDS), 0) for taken in found) == 40_000 * SECONDS
    assert tally.take() == {}


@pytest.mark.parametrize("timing", Timing)
def test_each_duration_falls_into_the_first_bucket_that_holds_it(timing: Timing) -> None:
    bounds, keys = BUCKETS[timing], bucket_keys(timing)
    assert list(bounds) == sorted(set(bounds))
    assert keys[-1] == (timing.value, INFINITE)
    for bound, key, next_key in zip(bounds, keys, keys[1:], strict=False):
        for seconds, wanted in ((bound, key), (bound * 1.0001, next_key)):
            tally = Tally()
            tally.observe(timing, seconds)
            assert tally.take() == {wanted: 1, sum_key(timing): seconds}


def test_a_block_is_timed_when_it_fails_too() -> None:
    tally = Tally()
    with pytest.raises(ValueError, match="no"), tally.timed(Timing.ATTEMPT_SECONDS):
        raise ValueError("no")
    taken = tally.take()
    assert taken[("attempt_seconds", "0.01")] == 1
    assert taken[sum_key(Timing.ATTEMPT_SECONDS)] > 0


class OneConnection:
    """Stands in for app.db.session.Database."""

    @contextmanager
    def connection(self) -> Iterator[str]:
        yield "a connection"


@pytest.mark.parametrize("failure", [DatabaseUnavailable(), RuntimeError("anything else")])
def test_what_could_not_be_added_is_added_the_next_time(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    structlog.configure([structlog.processors.KeyValueRenderer()])
    tally, added = Tally(), []

    def fail(_: Any, numbers: dict[Key, float]) -> None:
        # Counted while the database is being asked.
        tally.count(Counter.TASKS_ACCEPTED)
        raise failure

    tally.count(Counter.TASKS_ACCEPTED, 2)
    monkeypatch.setattr(counters, "add", fail)
    counting.flush(OneConnection(), tally)  # type: ignore[arg-type]
    monkeypatch.setattr(counters, "add", lambda _, numbers: added.append(numbers))
    counting.flush(OneConnection(), tally)  # type: ignore[arg-type]
    counting.flush(OneConnection(), tally)  # type: ignore[arg-type]
    assert added == [{ACCEPTED: 3}], "once, and nothing is asked of the database for nothing"
    structlog.reset_defaults()
