"""Publishing again whatever is due and not with a worker: lost messages, retries, tasks whose worker died."""

import time
from typing import Protocol

import structlog

from app.db import repository
from app.db.session import Database
from app.errors import DatabaseUnavailable
from app.logs import whole_lines
from app.tally import TALLY, Counter

log = structlog.get_logger()

# So long a published id is left alone; then it waits in a long queue, or is lost.
_PAUSE_SECONDS = 5
# With so many ids waiting, workers lack nothing: publishing more would only fill the broker with doubles.
_QUEUE_TARGET = 1000
# A longer queue gets so many of those that wait longest: they may be the lost ones. It has its limit, too.
_AT_LEAST = 10
_QUEUE_LIMIT = 10_000
# So long after an outage, or after this process was frozen, a lease that ran out is left alone: its holder,
# if it lives, records now what it did meanwhile, and the work need not be done twice.
_CALM_SECONDS = 2.5


class Broker(Protocol):
    """Where ids are published."""

    def publish(self, task_ids: list[str]) -> None:
        """Raises BrokerUnavailable."""

    def depth(self) -> int:
        """How many ids wait. Raises BrokerUnavailable."""


class Recovery:
    """What one relay does, round by round."""

    def __init__(self, database: Database, broker: Broker, *, interval_seconds: float) -> None:
        self._database = database
        self._broker = broker
        # A round that comes later than this was held up, and so perhaps were the workers.
        self._longest_gap_seconds = interval_seconds + 2 * database.timeout_seconds + _CALM_SECONDS
        self._last_round_at = time.monotonic()
        self._disturbed = False
        self._calm_until = 0.0
        # Whether the last round filled the queue and left more: workers may empty it sooner than usual.
        self.more_is_due = False

    def round(self) -> int:
        """Returns how many ids were published. Raises BrokerUnavailable or DatabaseUnavailable."""
        self._heed_a_gap()
        try:
            published = self._republish()
        except DatabaseUnavailable:
            self._disturbed = True
            raise
        if self._disturbed:
            self._disturbed, self._calm_until = False, self._last_round_at + _CALM_SECONDS
        return published

    def _heed_a_gap(self) -> None:
        now = time.monotonic()
        self._disturbed |= now - self._last_round_at > self._longest_gap_seconds
        self._last_round_at = now

    def _republish(self) -> int:
        self.more_is_due = False
        # The broker is asked first, so that one that is away costs no row its turn.
        depth = self._broker.depth()
        # While it was asked, all may have been frozen.
        self._heed_a_gap()
        expired = not self._disturbed and self._last_round_at >= self._calm_until
        limit = max(_AT_LEAST, _QUEUE_TARGET - depth) if depth < _QUEUE_LIMIT else 0
        with self._database.connection() as connection:
            task_ids = repository.take_unpublished(
                connection, limit=limit, pause_seconds=_PAUSE_SECONDS, expired=expired
            )
        if task_ids:
            self._broker.publish(task_ids)
            for some in whole_lines(task_ids):
                log.info("task.republished", task_ids=some)
            TALLY.count(Counter.TASKS_REPUBLISHED, len(task_ids))
        self.more_is_due = len(task_ids) == limit > _AT_LEAST
        return len(task_ids)
