"""One configure(): every line on standard error is one JSON object with an `event` named noun.verb.

Addresses are masked and secrets cut out wherever they stand. No value can begin a line: JSON escapes it.
"""

import json
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

import structlog
from pydantic import SecretStr
from structlog.typing import EventDict, WrappedLogger

from app.settings import Settings

_ADDRESS = re.compile(r"([^\s@\"'<>:,;(\[{=])[^\s@\"'<>:,;(\[{=]*@([\w-]+(?:\.[\w-]+)+)")
_IDS_A_LINE = 250
# How often API and worker say that they are alive: silence means that lines are lost, or nobody is there.
ALIVE_INTERVAL_SECONDS = 60
# Quiet unless something is wrong: what they say at INFO, the tasks' own events say better.
_CHATTY = ("celery.app.trace", "celery.worker.strategy", "alembic", "kombu", "tornado.access")


def whole_lines(task_ids: list[str]) -> Iterator[list[str]]:
    """The ids in parts, each of which stays whole as one line: the engine cuts what is longer than 16 KiB."""
    for first in range(0, len(task_ids), _IDS_A_LINE):
        yield task_ids[first : first + _IDS_A_LINE]


def masked(value: Any) -> Any:
    """The value with every address in it reduced to `a***@example.com`, however deep it stands."""
    match value:
        case str():
            return _ADDRESS.sub(r"\1***@\2", value) if "@" in value else value
        case dict():
            return {key: masked(inner) for key, inner in value.items()}
        case list() | tuple():
            return [masked(inner) for inner in value]
        case _:
            return value


def _mask(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {key: masked(value) for key, value in event.items()}


def _name_foreign(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A line of a library: its words become `message`, and the event says whose they are."""
    record = event.get("_record")
    if record is not None and not event.get("_from_structlog"):
        event["message"] = str(event["event"]).strip()
        event["event"] = f"{record.name.split('.', 1)[0].lower()}.logged"
    return event


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Renders a record and then takes the process's own secrets out of the line."""

    def __init__(self, secrets: list[str], **keywords: Any) -> None:
        super().__init__(**keywords)
        self.secrets = [json.dumps(secret)[1:-1] for secret in secrets if secret]

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        for secret in self.secrets:
            line = line.replace(secret, "***")
        return line


def configure(settings: Settings | None = None) -> None:
    """Sends all logging, libraries' too, through one form. Without settings: for refusing them."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper() if settings else "INFO"]
    common = {"release": settings.release, "colour": settings.colour} if settings else {}

    def add_common(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {**common, **event}

    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        add_common,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _Formatter(
            [value.get_secret_value() for _, value in settings or () if isinstance(value, SecretStr)],
            foreign_pre_chain=shared,
            processors=[
                _name_foreign,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _mask,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.root.handlers = [handler]
    logging.captureWarnings(True)
    logging.root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )
