"""Every refusal and failure that has a name; an answer's `error` is the class's name in snake_case.

AppError                        an answer over HTTP
├── BadRequest             400  ├── RequestTooLarge        413  ├── InternalError          500
├── Unauthorized           401  ├── InvalidInput           422  └── ServiceUnavailable     503
├── NotFound               404  │   └── IdempotencyKeyReused        ├── DatabaseUnavailable
│   └── TaskNotFound            ├── TooManyRequests        429      │   └── RowLocked
├── MethodNotAllowed       405  │   └── RecipientLimitReached       └── Overloaded
└── IdempotencyKeyInUse    409
TaskError                       why an attempt did not succeed
├── TransientError              another attempt may succeed
│   ├── Unconfirmed             the work may have been done; its confirmation did not come
│   └── WorkerDied              the process that did the work died of it, perhaps after it was done
└── PermanentError              no further attempt will
BrokerUnavailable               the broker did not take a message; the relay repeats it
"""

import re
from typing import ClassVar


class AppError(Exception):
    """Base of all answers that are not a success."""

    status: ClassVar[int] = 500
    message: ClassVar[str] = ""
    headers: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        message: str | None = None,
        *,
        fields: list[dict[str, str]] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message or self.message)
        self.fields = fields
        self.retry_after_seconds = retry_after_seconds

    @property
    def name(self) -> str:
        """The machine's name of this error: the class's own, in snake_case."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()


class BadRequest(AppError):
    status = 400
    message = "The request could not be read. Send a well-formed one."


class Unauthorized(AppError):
    """The same, whatever is wrong with the token."""

    status = 401
    message = "This address is for operators. Send their token."
    headers: ClassVar[dict[str, str]] = {"WWW-Authenticate": "Bearer"}


class NotFound(AppError):
    status = 404
    message = "Nothing is at this address."


class TaskNotFound(NotFound):
    message = "There is no task with this id. Check the id that the submission answered with."


class MethodNotAllowed(AppError):
    status = 405
    message = "This address does not take that method."


class IdempotencyKeyInUse(AppError):
    status = 409
    message = "The first request with this Idempotency-Key is not answered yet. Repeat this one in a moment."

    def __init__(self) -> None:
        super().__init__(retry_after_seconds=2)


class RequestTimeout(AppError):
    """Answered by nginx alone, when a request does not arrive in time."""

    status = 408
    message = "The request did not arrive in time. Send it again."


class RequestTooLarge(AppError):
    status = 413
    message = "The request is too large. Send a shorter one."


class InvalidInput(AppError):
    status = 422
    message = "The request is not valid. Correct the fields that are named."


class IdempotencyKeyReused(InvalidInput):
    message = "This Idempotency-Key was used for another request. Use a new key for each new request."


class TooManyRequests(AppError):
    status = 429
    message = "Too many requests. Wait as long as Retry-After says."


class RecipientLimitReached(TooManyRequests):
    message = (
        "This recipient was sent as many mails as one may get an hour. Wait as long as Retry-After says."
    )


class InternalError(AppError):
    status = 500
    message = "Something went wrong here and was logged. Try again later."


class ServiceUnavailable(AppError):
    status = 503
    message = "The service cannot answer just now. Try again in a moment."

    def __init__(self, message: str | None = None, *, retry_after_seconds: int = 2) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)


class DatabaseUnavailable(ServiceUnavailable):
    message = "The database does not answer just now. Nothing is known to be stored; try again in a moment."


class RowLocked(DatabaseUnavailable):
    """Another transaction holds a row that the statement needs, for longer than one waits."""


class Overloaded(ServiceUnavailable):
    message = "Too many requests are waiting. Nothing was stored; try again in a moment."


class TaskError(Exception):
    """An attempt that did not succeed; `reason` is for machines, the message for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TransientError(TaskError):
    """Another attempt may succeed."""


class Unconfirmed(TransientError):
    """The work may have been done; its confirmation did not come. Another attempt may do it twice."""


class WorkerDied(TransientError):
    """The process that did the work died of it, or was ended; perhaps the work was done."""

    def __init__(self, message: str) -> None:
        super().__init__("worker_died", message)


class PermanentError(TaskError):
    """No further attempt will succeed."""


class BrokerUnavailable(Exception):
    """The broker did not take a message, or it is not known whether it did."""
