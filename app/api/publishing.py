"""Publishing what was just stored, aside: it decides and delays no answer. The relay does what it leaves."""

import queue
import threading
import time

import structlog

from app.broker import Publisher
from app.deadline import Deadline
from app.errors import BrokerUnavailable

log = structlog.get_logger()

_CAPACITY = 200


class PublishingThread:
    """Takes lists of ids and gives them to the broker, one connection for all."""

    def __init__(self, publisher: Publisher, *, pause_seconds: float = 2) -> None:
        self._publisher = publisher
        self._pause_seconds = pause_seconds
        self._queue: queue.Queue[list[str] | None] = queue.Queue(_CAPACITY)
        self._paused_until = 0.0
        self._thread = threading.Thread(target=self._run, name="publish", daemon=True)
        self._thread.start()

    def publish(self, task_ids: list[str]) -> None:
        """Never waits or fails: what finds no room, or comes just after a failure, is left to the relay."""
        if time.monotonic() < self._paused_until:
            return
        try:
            self._queue.put_nowait(task_ids)
        except queue.Full:
            log.warning("publishing.full", left_to_relay=len(task_ids))

    def close(self, timeout_seconds: float = 3) -> None:
        """Publishes what is waiting, if that is quick, and ends the thread."""
        deadline = Deadline(timeout_seconds)
        try:
            self._queue.put(None, timeout=deadline.remaining())
        except queue.Full:
            return
        self._thread.join(deadline.remaining())

    def _run(self) -> None:
        more = True
        while more:
            task_ids, more = self._waiting()
            if not task_ids or time.monotonic() < self._paused_until:
                continue
            try:
                self._publisher.publish(task_ids)
            except BrokerUnavailable as error:
                self._paused_until = time.monotonic() + self._pause_seconds
                log.warning("publishing.failed", problem=str(error), left_to_relay=len(task_ids))
            except Exception:
                log.exception("publishing.broke", left_to_relay=len(task_ids))
        self._publisher.close()

    def _waiting(self) -> tuple[list[str], bool]:
        """All that has gathered as one list, fewer calls being cheaper; and whether more may come."""
        task_ids: list[str] = []
        while not task_ids or not self._queue.empty():
            some = self._queue.get()
            if some is None:
                return task_ids, False
            task_ids += some
        return task_ids, True
