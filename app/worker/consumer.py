"""What Celery reads from Redis, whatever lies there: what is no message is logged and dropped.

By itself Celery ends the worker on an envelope or a body of the wrong shape; a body goes back into the queue,
so that the next worker ends as well.
"""

from typing import Any

import structlog
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.transport import redis

log = structlog.get_logger()

# What comes of taking apart what has another shape than expected; never what a connection raises.
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError)
_SHOWN_CHARACTERS = 200


class Channel(redis.Channel):  # type: ignore[misc]
    """Puts back nothing when a connection ends: the relay does, and Redis away would leave a file."""

    do_restore = False


class Transport(redis.Transport):  # type: ignore[misc]
    """Redis, where what is no envelope costs the connection, which is made anew, and not the worker."""

    Channel = Channel
    connection_errors = (*redis.Transport.connection_errors, *_UNREADABLE)


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Rejects a message whose body is no call of a task."""

    def create_task_handler(self, *arguments: Any, **keywords: Any) -> Any:
        handle = super().create_task_handler(*arguments, **keywords)

        def handle_readable(message: Any) -> None:
            try:
                handle(message)
            except _UNREADABLE as error:
                log.error("message.unreadable", problem=repr(error)[:_SHOWN_CHARACTERS])
                message.reject_log_error(log, self.connection_errors)

        return handle_readable
