"""Celery's events, which Flower shows: sent a few times a second instead of one by one."""

from typing import Any

from celery import bootsteps

# Flower draws its page anew every few seconds.
_INTERVAL_SECONDS = 0.25
# More than these gather only when a thousand tasks a second end.
_MOST = 1000


class PacedEvents(bootsteps.StartStopStep):  # type: ignore[misc]
    """The step of Celery's consumer that has events gather: sending them costs more than a small task."""

    requires = ("celery.worker.consumer.events:Events",)

    def __init__(self, consumer: Any, **keywords: Any) -> None:
        super().__init__(consumer, **keywords)
        self._timer: Any = None

    def start(self, consumer: Any) -> None:
        # Otherwise each turn of the loop publishes; a full buffer still goes at once.
        consumer.event_dispatcher.on_send_buffered = None
        consumer.event_dispatcher.buffer_limit = _MOST
        self._timer = consumer.timer.call_repeatedly(_INTERVAL_SECONDS, consumer.event_dispatcher.flush)

    def stop(self, consumer: Any) -> None:
        if self._timer is not None:
            self._timer = self._timer.cancel()
            # What cannot be sent any more, Celery keeps for the next connection.
            consumer.event_dispatcher.flush()
