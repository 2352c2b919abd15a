"""The claims that this process holds, and their renewal: long work keeps its lease, a dead worker's ends."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from app.db import claims
from app.db.session import Database
from app.deadline import Deadline
from app.errors import DatabaseUnavailable

log = structlog.get_logger()


class Leases:
    """Shared by all threads of a worker."""

    def __init__(self, *, lease_seconds: float, task_timeout_seconds: float) -> None:
        self.lease_seconds = lease_seconds
        # In time for a second try if the database answers the first too late.
        self.interval_seconds = lease_seconds / 4
        self._timeout_seconds = task_timeout_seconds
        self._lock = threading.Lock()
        self._held: dict[str, tuple[int, Deadline]] = {}

    @contextmanager
    def hold(self, task_id: str, fence: int) -> Iterator[Deadline]:
        """Renewed until the block ends, or its deadline: work that hangs is given up."""
        deadline = Deadline(self._timeout_seconds)
        with self._lock:
            self._held[task_id] = (fence, deadline)
        try:
            yield deadline
        finally:
            with self._lock:
                # Not a newer claim's, of another thread of this process.
                if self._held.get(task_id) == (fence, deadline):
                    del self._held[task_id]

    def renew(self, database: Database) -> None:
        """Raises DatabaseUnavailable."""
        with self._lock:
            held = dict(self._held)
        due = {task: fence for task, (fence, deadline) in held.items() if deadline.remaining()}
        for task_id in held.keys() - due.keys():
            log.error("task.overdue", task_id=task_id, limit_seconds=self._timeout_seconds)
        if due:
            with database.connection() as connection:
                claims.renew(connection, due, lease_seconds=self.lease_seconds)

    def run(self, database: Database, stop: threading.Event) -> None:
        """Renews until told to stop, whatever happens to the database."""
        while not stop.wait(self.interval_seconds):
            try:
                self.renew(database)
            except DatabaseUnavailable:
                pass  # logged where it happened; the claims stay ours until somebody else takes them
            except Exception:
                log.exception("leases.broke")
