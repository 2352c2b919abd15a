"""The whole system's figures: every process adds what it counted to the database, where anyone reads it."""

import threading
from dataclasses import dataclass

import structlog

from app.db import counters, repository
from app.db.session import Database
from app.errors import DatabaseUnavailable
from app.schemas import UNFINISHED, Status
from app.tally import TALLY, Key, Tally

log = structlog.get_logger()

_INTERVAL_SECONDS = 5
# A worker that is silent for longer is not counted among the living.
WORKER_SILENT_SECONDS = 30
_SHOWN = (*UNFINISHED, Status.FAILED)
# More tasks of one status than these are not told apart.
COUNTED_UP_TO = 100_000


def flush(database: Database, tally: Tally = TALLY) -> None:
    """Adds what was counted to the rows; what cannot be added now is kept for the next time. Never fails.

    The rows of `tasks` are the truth, and these are statistics: a process that is killed takes its last
    seconds' counts with it, and counts whose commit went well but was not answered are added once more.
    """
    taken = tally.take()
    if not taken:
        return
    try:
        with database.connection() as connection:
            counters.add(connection, taken)
    except DatabaseUnavailable:
        tally.put_back(taken)  # logged where it happened
    except Exception:
        tally.put_back(taken)
        log.exception("counting.broke")


def run(database: Database, stop: threading.Event) -> None:
    """Adds every few seconds until told to stop; who tells it so flushes what came since."""
    while not stop.wait(_INTERVAL_SECONDS):
        flush(database)


@dataclass(frozen=True)
class Figures:
    """What the database knows of the whole system."""

    counted: dict[Key, float]
    tasks: dict[Status, int]
    oldest_due_seconds: float
    worker_seen_seconds: float | None  # None: never
    workers: int


def read(database: Database) -> Figures:
    """All under one deadline. Raises DatabaseUnavailable."""
    with database.connection() as connection:
        seen_seconds, living = counters.workers(connection, silent_seconds=WORKER_SILENT_SECONDS)
        return Figures(
            counted=counters.read(connection),
            tasks=counters.count(connection, _SHOWN, limit=COUNTED_UP_TO),
            oldest_due_seconds=repository.oldest_due_seconds(connection),
            worker_seen_seconds=seen_seconds,
            workers=living,
        )
