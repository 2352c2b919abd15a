"""Publishing again whatever is due and not with a worker: lost messages, retries, tasks whose worker died."""

from typing import Protocol

import structlog

from app.db import repository
from app.db.session import Database

log = structlog.get_logger()

# With so many ids waiting, workers lack nothing: publishing more would only fill the broker with doubles.
_QUEUE_TARGET = 1000
# However long the queue is, so many of those that wait longest are published: they may be the lost ones.
_AT_LEAST = 10


class Broker(Protocol):
    """Where ids are published."""

    def publish(self, task_ids: list[str]) -> None:
        """Raises BrokerUnavailable."""

    def depth(self) -> int:
        """How many ids wait. Raises BrokerUnavailable."""


def republish(database: Database, broker: Broker) -> int:
    """One round; returns how many ids were published. Raises BrokerUnavailable or DatabaseUnavailable.

    The broker is asked first, so that one that is away costs no row its turn.
    """
    limit = max(_AT_LEAST, _QUEUE_TARGET - broker.depth())
    with database.connection() as connection:
        task_ids = repository.take_unpublished(connection, limit=limit)
    if task_ids:
        broker.publish(task_ids)
        log.info("task.republished", task_ids=task_ids)
    return len(task_ids)
