"""Whether accepted work waits for too long: then more of it is refused, instead of lying around too."""

import threading
import time

import structlog

from app.db import repository
from app.db.session import Database
from app.errors import DatabaseUnavailable, Overloaded
from app.services import counting
from app.settings import ApiSettings
from app.tally import TALLY, Counter

log = structlog.get_logger()

_INTERVAL_SECONDS = 2
# A look that is older says nothing any more. While the database is away, its own refusal is the answer.
_STALE_SECONDS = 10
_RETRY_AFTER_SECONDS = 30
_WORDS = (
    "Accepted tasks have been waiting for too long already. Nothing was stored for this request; "
    "send it again later."
)


class OverloadWatch:
    """A thread that looks how long the oldest due task has waited, and adds up what this process counted."""

    def __init__(
        self, database: Database, settings: ApiSettings, *, interval_seconds: float = _INTERVAL_SECONDS
    ) -> None:
        self._database = database
        self._limit_seconds = settings.accept_max_task_age_seconds
        self._exempt_recipient = settings.smoke_test_recipient
        self._interval_seconds = interval_seconds
        self._overloaded = False
        self._looked_at = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="overload", daemon=True)
        self._thread.start()

    def refuse(self, recipient: str) -> None:
        """Raises Overloaded while work waits for too long. Costs nothing: it asks nobody.

        Repeats of what is stored are refused too, as only the database could tell that they are; the smoke
        test's recipient is not, or the release that mends the workers could not be seen to work.
        """
        if self._overloaded and recipient != self._exempt_recipient:
            TALLY.count(Counter.SUBMISSIONS_SHED)
            raise Overloaded(_WORDS, retry_after_seconds=_RETRY_AFTER_SECONDS)

    def close(self, timeout_seconds: float = 3) -> None:
        """Adds what was counted since, and ends the thread."""
        self._stop.set()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while True:
            self._look()
            counting.flush(self._database)
            if self._stop.wait(self._interval_seconds):
                break
        counting.flush(self._database)

    def _look(self) -> None:
        try:
            with self._database.connection() as connection:
                age_seconds = repository.oldest_due_seconds(connection)
        except DatabaseUnavailable:
            pass  # logged where it happened
        except Exception:
            log.exception("overload.broke")
        else:
            self._looked_at = time.monotonic()
            self._note(age_seconds > self._limit_seconds, oldest_due_seconds=round(age_seconds))
        if time.monotonic() - self._looked_at > _STALE_SECONDS:
            self._note(False, oldest_due_seconds=None)

    def _note(self, overloaded: bool, *, oldest_due_seconds: int | None) -> None:
        if overloaded != self._overloaded:
            event = "overload.began" if overloaded else "overload.ended"
            log.warning(event, oldest_due_seconds=oldest_due_seconds, limit_seconds=self._limit_seconds)
        self._overloaded = overloaded
