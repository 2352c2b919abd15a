"""What this process has counted and timed, until services/counting.py adds it to the database's rows."""

import threading
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum


class Counter(StrEnum):
    """What is counted. A row's name for ever: a new meaning is a new name."""

    TASKS_ACCEPTED = "tasks_accepted"  # stored for good
    TASKS_SUCCEEDED = "tasks_succeeded"  # done, and recorded
    TASKS_FAILED = "tasks_failed"  # ended without success; a replay may end again
    TASKS_RETRIED = "tasks_retried"  # an attempt was put off to a later one
    TASKS_CLAIMED_AGAIN = "tasks_claimed_again"  # claimed although perhaps done before
    TASKS_REPUBLISHED = "tasks_republished"  # ids that the relay published
    SUBMISSIONS_SHED = "submissions_shed"  # refused because accepted work waits for too long


class Timing(StrEnum):
    """What is timed, in seconds."""

    ACCEPT_SECONDS = "accept_seconds"  # of a submission that was accepted: from the endpoint to its answer
    TASK_SECONDS = "task_seconds"  # from the acceptance to the recorded success
    ATTEMPT_SECONDS = "attempt_seconds"  # the work alone, however it ended


# The buckets' upper bounds. They may change: rows hold each bucket's own count, and old bounds stay readable.
BUCKETS: dict[Timing, tuple[float, ...]] = {
    Timing.ACCEPT_SECONDS: (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
    Timing.TASK_SECONDS: (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21_600),
    Timing.ATTEMPT_SECONDS: (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60),
}
INFINITE = "+Inf"

# A row's name and its bucket's bound, as Prometheus writes it (`le`); without a bound: a counter, or a sum.
Key = tuple[str, str]


def bucket_keys(timing: Timing) -> list[Key]:
    """The rows of its buckets, in order; the last has no bound."""
    return [(timing.value, str(float(bound))) for bound in BUCKETS[timing]] + [(timing.value, INFINITE)]


def sum_key(timing: Timing) -> Key:
    """The row that holds all its seconds together."""
    return f"{timing}_sum", ""


_COUNTERS: dict[Counter, Key] = {counter: (counter.value, "") for counter in Counter}
_TIMINGS = {timing: (BUCKETS[timing], bucket_keys(timing), sum_key(timing)) for timing in Timing}


class Tally:
    """Safe in any number of threads; counting takes well under a microsecond and never waits for I/O."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: defaultdict[Key, float] = defaultdict(float)

    def count(self, counter: Counter, number: int = 1) -> None:
        """So many more."""
        key = _COUNTERS[counter]
        with self._lock:
            self._counted[key] += number

    def observe(self, timing: Timing, seconds: float) -> None:
        """It took so long this time."""
        bounds, keys, total = _TIMINGS[timing]
        key = keys[bisect_left(bounds, seconds)]
        with self._lock:
            self._counted[key] += 1
            self._counted[total] += seconds

    @contextmanager
    def timed(self, timing: Timing) -> Iterator[None]:
        """It takes as long as the block, whichever way that ends."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.observe(timing, time.monotonic() - begun)

    def take(self) -> dict[Key, float]:
        """All that was counted since the last time; the tally is empty then."""
        with self._lock:
            taken, self._counted = self._counted, defaultdict(float)
        return dict(taken)

    def put_back(self, taken: Mapping[Key, float]) -> None:
        """What could not be handed on; it is taken again with whatever was counted meanwhile."""
        with self._lock:
            for key, number in taken.items():
                self._counted[key] += number


# The process's own, reached by its name as a logger is: whoever counts need not be handed it.
TALLY = Tally()
