"""Accepting tasks: many at once, in one statement that commits itself. One is a list of one."""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import RowMapping
from sqlalchemy.exc import SQLAlchemyError

from app.db import repository
from app.db.session import Database
from app.deadline import Deadline
from app.errors import (
    AppError,
    DatabaseUnavailable,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    InternalError,
    RecipientLimitReached,
    RowLocked,
)
from app.schemas import mailbox

log = structlog.get_logger()

_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
# The API publishes what it has stored at once; the relay looks after what is not claimed by then.
_GRACE_SECONDS = 5
# For a batch whose rows must be stored one by one.
_ALONE_SECONDS = 1


@dataclass(frozen=True)
class Submission:
    """What somebody wants done; the payload has passed its kind's schema."""

    kind: str
    payload: dict[str, Any]
    recipient: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True)
class SubmissionRules:
    """What an operator sets about accepting."""

    recipient_limit_per_hour: int
    exempt_recipient: str


@dataclass(frozen=True)
class Receipt:
    """The id under which a task is stored for good."""

    task_id: str
    # False: an earlier submission under the same key did that, and this one is answered the same.
    stored: bool


Row = dict[str, Any]
Insert = Callable[[list[Row]], Sequence[RowMapping]]


def task_id_at(milliseconds: int, number: int) -> str:
    """36 characters of base32hex: 48 bits of time, which keep the index dense, and 128 of the number."""
    bits = (milliseconds & (1 << 48) - 1) << 128 | number
    return "".join(_ALPHABET[bits >> shift & 31] for shift in range(175, -1, -5))


def new_task_id() -> str:
    """With 128 random bits, because whoever has an id may read its task."""
    return task_id_at(time.time_ns() // 1_000_000, secrets.randbits(128))


def submit(
    database: Database, submissions: Sequence[Submission], rules: SubmissionRules
) -> list[Receipt | AppError]:
    """For each submission, in order: its receipt, or why it is not stored.

    Raises DatabaseUnavailable for all of them.
    """

    def insert(rows: list[Row]) -> Sequence[RowMapping]:
        with database.connection() as connection:
            return repository.insert(
                connection, rows, limit=rules.recipient_limit_per_hour, grace_seconds=_GRACE_SECONDS
            )

    rows = [_row(submission, rules) for submission in submissions]
    # Of several under one key the first is stored; the others are answered as if they had come later.
    leading: dict[str, Row] = {}
    for row in rows:
        leading.setdefault(row["idempotency_digest"] or row["id"], row)
    answers = dict(zip(leading, _store([*leading.values()], insert), strict=True))
    return [_answer_to(row, leading, answers) for row in rows]


def _row(submission: Submission, rules: SubmissionRules) -> Row:
    recipient, key = submission.recipient, submission.idempotency_key
    counted = recipient is not None and recipient != rules.exempt_recipient
    payload = json.dumps(submission.payload, sort_keys=True)
    return {
        "id": new_task_id(),
        "kind": submission.kind,
        "payload": payload,
        "recipient_digest": _digest(mailbox(recipient)) if recipient is not None and counted else None,
        "idempotency_digest": None if key is None else _digest(key),
        # With the key, which is stored nowhere: without it nobody can try for whom an erased task was.
        "fingerprint": None if key is None else _digest(f"{key} {submission.kind} {payload}"),
    }


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _store(rows: list[Row], insert: Insert) -> list[Receipt | AppError]:
    try:
        found = insert(rows)
    except (RowLocked, SQLAlchemyError, ValueError):
        # One that waits for another transaction, or that the database refuses, must not fail its neighbours.
        # Within a limit, for what holds one may hold all.
        deadline = Deadline(_ALONE_SECONDS)
        return [_store_alone(row, insert, deadline) for row in rows]
    return [
        _answer(row, outcome) or _store_alone(row, insert, Deadline(_ALONE_SECONDS))
        for row, outcome in zip(rows, found, strict=True)
    ]


def _store_alone(row: Row, insert: Insert, deadline: Deadline) -> Receipt | AppError:
    # Neighbours may be stored by now: so what cannot be is this row's own answer.
    if not deadline.remaining():
        return DatabaseUnavailable()
    try:
        # The second time sees what another transaction stored during the first.
        return _answer(row, insert([row])[0]) or _answer(row, insert([row])[0]) or IdempotencyKeyInUse()
    except RowLocked:
        return DatabaseUnavailable() if row["idempotency_digest"] is None else IdempotencyKeyInUse()
    except DatabaseUnavailable as away:
        return away
    except (SQLAlchemyError, ValueError) as error:
        # Neither its whole text nor a traceback: they repeat the row, which is what somebody wrote.
        problem = getattr(getattr(error, "orig", None), "diag", None)
        words = getattr(problem, "message_primary", None) or type(error).__name__
        log.error("task.refused_by_database", task_id=row["id"], problem=words)
        return InternalError()


def _answer(row: Row, outcome: RowMapping) -> Receipt | AppError | None:
    """None: the key was stored by another transaction while this one looked."""
    if outcome["stored"]:
        return Receipt(outcome["id"], stored=True)
    if outcome["known_fingerprint"] is not None:
        return _repeated(row, outcome["known_fingerprint"], outcome["id"])
    if outcome["over_limit"]:
        return RecipientLimitReached(retry_after_seconds=outcome["retry_after"])
    return None


def _answer_to(
    row: Row, leading: dict[str, Row], answers: dict[str, Receipt | AppError]
) -> Receipt | AppError:
    key = row["idempotency_digest"] or row["id"]
    answer = answers[key]
    if row is leading[key] or isinstance(answer, AppError):
        return answer
    return _repeated(row, leading[key]["fingerprint"], answer.task_id)


def _repeated(row: Row, fingerprint: str, task_id: str) -> Receipt | AppError:
    # The second is what releases until 2026-11 stored, without the key.
    possible = (row["fingerprint"], _digest(f"{row['kind']} {row['payload']}"))
    if any(hmac.compare_digest(fingerprint, one) for one in possible):
        return Receipt(task_id, stored=False)
    return IdempotencyKeyReused()
