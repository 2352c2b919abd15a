"""Accepted and overdue tasks to the broker, by name: a thread of every worker, or a process alone.

It also tidies finished tasks up, from time to time.
"""

import threading
import time

import structlog

from app.broker import Publisher
from app.db.session import Database
from app.errors import BrokerUnavailable, DatabaseUnavailable
from app.services.recovery import Recovery
from app.services.retention import RetentionRules, tidy
from app.settings import RelaySettings

log = structlog.get_logger()

_TIDY_INTERVAL_SECONDS = 60
# So much sooner comes the next round when a backlog is larger than what the broker is given at once.
_HASTE = 5


def run(settings: RelaySettings, database: Database, stop: threading.Event) -> None:
    """Works until told to stop, whatever happens to the broker or the database; several may run at once."""
    publisher = Publisher(settings)
    recovery = Recovery(database, publisher, interval_seconds=settings.relay_interval_seconds)
    retention = RetentionRules(settings.retention_days, settings.erase_after_days)
    tidy_at = time.monotonic() + _TIDY_INTERVAL_SECONDS
    trouble = ""
    while not stop.wait(settings.relay_interval_seconds / (_HASTE if recovery.more_is_due else 1)):
        try:
            recovery.round()
            if time.monotonic() >= tidy_at:
                tidy_at = time.monotonic() + _TIDY_INTERVAL_SECONDS
                tidy(database, retention)
        except (BrokerUnavailable, DatabaseUnavailable) as error:
            if type(error).__name__ != trouble:
                log.warning("relay.stalled", problem=f"{type(error).__name__}: {error}")
            trouble = type(error).__name__
        except Exception:
            log.exception("relay.broke")
        else:
            if trouble:
                log.info("relay.recovered")
            trouble = ""
    publisher.close()
