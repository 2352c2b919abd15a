"""Accepting tasks: many at once, in one statement that commits itself. One is a list of one."""

import hashlib
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from app.db import repository
from app.db.session import Database, is_server_trouble
from app.errors import AppError, InternalError, RecipientLimitReached
from app.schemas import mailbox

log = structlog.get_logger()

_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
# The API publishes what it has stored at once; the relay looks after what is not claimed by then.
_GRACE_SECONDS = 5


@dataclass(frozen=True)
class Submission:
    """What somebody wants done; the payload has passed its kind's schema."""

    kind: str
    payload: dict[str, Any]
    recipient: str | None = None


@dataclass(frozen=True)
class SubmissionRules:
    """What an operator sets about accepting."""

    recipient_limit_per_hour: int
    exempt_recipient: str


def new_task_id() -> str:
    """36 characters of base32hex: 48 bits of milliseconds, which keep the index dense, and 128 random ones.

    So many, because whoever has an id may read its task.
    """
    number = (time.time_ns() // 1_000_000 & (1 << 48) - 1) << 128 | secrets.randbits(128)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(175, -1, -5))


def submit(
    database: Database, submissions: Sequence[Submission], rules: SubmissionRules
) -> list[str | AppError]:
    """For each submission, in order: the id under which it is stored for good, or why it is not stored.

    Raises DatabaseUnavailable for all of them.
    """
    rows = [_row(submission, rules) for submission in submissions]
    with database.connection() as connection:
        try:
            answers = _store(connection, rows, rules)
        except (SQLAlchemyError, ValueError) as error:
            if is_server_trouble(error):
                raise
            # One row that the database refuses must not fail its neighbours.
            answers = [_store_alone(connection, row, rules) for row in rows]
    stored = [answer for answer in answers if isinstance(answer, str)]
    if stored:
        log.info("task.accepted", task_ids=stored)
    return answers


def _row(submission: Submission, rules: SubmissionRules) -> dict[str, Any]:
    counted = submission.recipient is not None and submission.recipient != rules.exempt_recipient
    return {
        "id": new_task_id(),
        "kind": submission.kind,
        "payload": json.dumps(submission.payload),
        "recipient_digest": _digest(submission.recipient) if counted and submission.recipient else None,
    }


def _digest(recipient: str) -> str:
    return hashlib.blake2b(mailbox(recipient).encode(), digest_size=16).hexdigest()


def _store(
    connection: Connection, rows: list[dict[str, Any]], rules: SubmissionRules
) -> list[str | AppError]:
    limit = rules.recipient_limit_per_hour
    answers = repository.insert(connection, rows, limit=limit, grace_seconds=_GRACE_SECONDS)
    return [
        answer["id"] if answer["stored"] else RecipientLimitReached(retry_after_seconds=answer["retry_after"])
        for answer in answers
    ]


def _store_alone(connection: Connection, row: dict[str, Any], rules: SubmissionRules) -> str | AppError:
    try:
        return _store(connection, [row], rules)[0]
    except (SQLAlchemyError, ValueError) as error:
        if is_server_trouble(error):
            raise
        log.exception("task.refused_by_database", task_id=row["id"])
        return InternalError()
