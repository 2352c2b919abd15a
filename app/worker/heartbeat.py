"""That the worker makes progress: a file for the container's check, a row for /health/ready and alarms.

With each beat what the worker counted is added to the database, too; once a minute a line says that it lives.
"""

import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from celery import bootsteps

from app.broker import Publisher
from app.db import repository
from app.db.session import Database
from app.errors import BrokerUnavailable, DatabaseUnavailable
from app.logs import ALIVE_INTERVAL_SECONDS
from app.services import counting

log = structlog.get_logger()

ALIVE_FILE = Path("/tmp/worker-alive")  # noqa: S108 (the container's own tmpfs)
_INTERVAL_SECONDS = 5
_STALE_SECONDS = 15
# Celery waits up to 30 s between two tries to connect, and then begins to consume.
_RECONNECT_SECONDS = 90


class Heartbeat:
    """Beats while Celery's loop turns, or cannot because Redis is away: that is no reason to restart it."""

    def __init__(
        self, database: Database, publisher: Publisher, *, node: str, release: str, file: Path = ALIVE_FILE
    ) -> None:
        self._database = database
        self._publisher = publisher
        self._row = {"node": node, "release": release}
        self._file = file
        self._ticked_at = time.monotonic()
        self._broker_back_at: float | None = None
        self._said_at: float | None = None

    def tick(self) -> None:
        """Called from within the loop, each second."""
        self._ticked_at = time.monotonic()
        self._broker_back_at = None

    def run(self, stop: threading.Event) -> None:
        """Works until told to stop; the database being away is no reason not to touch the file."""
        while True:
            try:
                self._beat()
            except Exception:
                log.exception("heartbeat.broke")
            if stop.wait(_INTERVAL_SECONDS):
                return

    def _beat(self) -> None:
        if self.alive():
            self._file.touch()
            self._say()
            self._note()
            counting.flush(self._database)
        else:
            log.error("worker.stuck", silent_seconds=round(time.monotonic() - self._ticked_at))

    def alive(self) -> bool:
        """Whether the loop has turned lately, or has an excuse."""
        now = time.monotonic()
        if now - self._ticked_at < _STALE_SECONDS:
            return True
        try:
            self._publisher.depth()
        except BrokerUnavailable:
            self._broker_back_at = None
            return True
        if self._broker_back_at is None:
            self._broker_back_at = now
        return now - self._broker_back_at < _RECONNECT_SECONDS

    def _say(self) -> None:
        now = time.monotonic()
        if self._said_at is None or now - self._said_at >= ALIVE_INTERVAL_SECONDS:
            self._said_at = now
            log.info("worker.alive")

    def _note(self) -> None:
        # Logged where it happened; the counters are tried all the same.
        with suppress(DatabaseUnavailable), self._database.connection() as connection:
            repository.beat(connection, **self._row)


def loop_step(heartbeat: Heartbeat) -> type[bootsteps.StartStopStep]:
    """The step of Celery's consumer that ticks from within its loop, while it consumes."""

    class Tick(bootsteps.StartStopStep):  # type: ignore[misc]
        requires = ("celery.worker.consumer.tasks:Tasks",)

        def __init__(self, consumer: Any, **keywords: Any) -> None:
            super().__init__(consumer, **keywords)
            self._timer: Any = None

        def start(self, consumer: Any) -> None:
            heartbeat.tick()
            self._timer = consumer.timer.call_repeatedly(1.0, heartbeat.tick)

        def stop(self, consumer: Any) -> None:
            if self._timer is not None:
                self._timer = self._timer.cancel()

    return Tick
