"""Accepted and overdue tasks to the broker, by name: a thread of every worker, or a process alone."""

import threading

import structlog

from app.broker import Publisher
from app.db.session import Database
from app.errors import BrokerUnavailable, DatabaseUnavailable
from app.services.recovery import republish
from app.settings import RelaySettings

log = structlog.get_logger()


def run(settings: RelaySettings, database: Database, stop: threading.Event) -> None:
    """Works until told to stop, whatever happens to the broker or the database; several may run at once."""
    publisher = Publisher(settings)
    trouble = ""
    while not stop.wait(settings.relay_interval_seconds):
        try:
            republish(database, publisher)
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
