"""What comes in and what goes out; no I/O."""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from unicodedata import category

from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from app.errors import AppError

# 48 bits of time and 128 random ones, in base32hex: see services/submission.py.
TASK_ID = re.compile(r"[0-9a-v]{36}\Z")


class Status(StrEnum):
    """Where a task stands."""

    QUEUED = "queued"  # accepted, not begun
    RUNNING = "running"  # a worker holds its lease
    RETRYING = "retrying"  # an attempt failed; the next begins at next_run_at
    SUCCEEDED = "succeeded"  # done; final
    FAILED = "failed"  # given up; final
    CANCELLED = "cancelled"  # called off before it began; final


# Every allowed move. A running task may be claimed again: that is a lease that ran out.
MOVES: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED}),
    Status.RUNNING: frozenset({Status.RUNNING, Status.RETRYING, Status.SUCCEEDED, Status.FAILED}),
    Status.RETRYING: frozenset({Status.RUNNING, Status.CANCELLED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}
FINAL = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)
# An operator's replay, and nothing else, leads out of a final status: back to queued. Success is never left.
REPLAYABLE = (Status.FAILED, Status.CANCELLED)
UNFINISHED = tuple(status for status in Status if status not in FINAL)


def origins(target: Status) -> list[str]:
    """The statuses from which a task may move to this one."""
    return [status.value for status, moves in MOVES.items() if target in moves]


class Operation(StrEnum):
    """What an operator may have done with tasks."""

    CANCEL = "cancel"  # what has not begun, or waits for its next attempt, is called off
    RETRY = "retry"  # what waits for its next attempt is due now
    REPLAY = "replay"  # what failed or was cancelled begins anew, as if it had just been accepted


# The statuses that each may be done to. A retry changes no status.
OPERABLE: dict[Operation, tuple[Status, ...]] = {
    Operation.CANCEL: tuple(Status(origin) for origin in origins(Status.CANCELLED)),
    Operation.RETRY: (Status.RETRYING,),
    Operation.REPLAY: REPLAYABLE,
}


# Most addresses look like this: in their normal form, within every limit of length. They need no reading by
# the grammar, which takes longer than storing them.
_PLAINEST = re.compile(
    r"(?=.{3,64}\Z)[a-z0-9]+(?:[._+-][a-z0-9]+)*@(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+[a-z]{2,}\Z"
)


def plain_address(value: str) -> str:
    """A deliverable-looking address in its normal form: ASCII, domain in lower case.

    Refused beyond the grammar: what mail servers may read as a route or as encoded text (`%`, `!`, `?`).
    """
    if _PLAINEST.match(value) and value.rpartition(".")[2] not in SPECIAL_USE_DOMAIN_NAMES:
        return value
    if set(value) & set("%!?"):
        raise ValueError("must be a plain address, without %, ! or ?")
    try:
        address = validate_email(
            value, check_deliverability=False, allow_smtputf8=False, strict=True
        ).ascii_email
    except EmailNotValidError as error:
        raise ValueError(f"must be an e-mail address: {error}") from error
    if address is None:
        raise ValueError("must be an address that is plain ASCII before the @")
    return address


def mailbox(address: str) -> str:
    """What the hourly limit counts by: case and a +tag do not make another recipient."""
    local, _, domain = address.lower().rpartition("@")
    return f"{local.split('+', 1)[0] or local}@{domain}"


def printable(value: str) -> str:
    """Text without control characters; line breaks and tabs are text."""
    if not value.isprintable() and any(
        category(character) == "Cc" and character not in "\t\n\r" for character in value
    ):
        raise ValueError("must not contain control characters")
    return value


# For the description of the API: no address of this form is refused. Some others are taken too (domains that
# are not ASCII, more hyphens); second alternatives keep a part within the grammar's 64 or 63 characters.
_ATOM = "[A-Za-z0-9#$&'*+/=^_`{|}~-]"
_LOCAL = rf"({_ATOM}{{1,64}}|{_ATOM}{{1,12}}(\.{_ATOM}{{1,12}}){{1,4}})"
_LABEL = "([A-Za-z0-9]{1,63}|[A-Za-z0-9]{1,15}(-[A-Za-z0-9]{1,15}){1,3})"
EMAIL_PATTERN = rf"^{_LOCAL}@({_LABEL}\.){{1,3}}[A-Za-z]{{2,63}}$"
TEXT_PATTERN = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$"

Email = Annotated[
    str,
    StringConstraints(strict=True, max_length=254),
    AfterValidator(plain_address),
    Field(json_schema_extra={"pattern": EMAIL_PATTERN}, examples=["someone@example.com"]),
]


class Accepted(BaseModel):
    """The answer to an accepted task."""

    task_id: str
    status: Status
    status_url: str


class TaskStatus(BaseModel):
    """Where a task stands."""

    task_id: str
    kind: str
    status: Status
    attempts: int = Field(description="how often it was begun")
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    next_run_at: datetime | None = Field(description="when the next attempt may begin")
    result: dict[str, Any] | None
    error: dict[str, Any] | None


class FieldError(BaseModel):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(BaseModel):
    """The body of every answer that is not a success."""

    error: str = Field(description="the name of the error, for machines")
    message: str = Field(description="what to do about it, for people")
    fields: list[FieldError] | None = Field(None, description="which fields are wrong; only with 422")


def problems(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """How the description of a path names what it may refuse with."""
    return {error.status: {"model": Problem, "description": error.message} for error in errors}


class Check(BaseModel):
    """One part of readiness."""

    ok: bool
    seconds: float = Field(description="how long the check took")
    detail: str


class Ready(BaseModel):
    """Whether this release can do its work."""

    status: str
    release: str
    checks: dict[str, Check]


class Health(BaseModel):
    """That this process answers."""

    status: str
    release: str
