"""What operators send and get; no I/O."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from app.schemas import Status, TaskStatus


class OperatorTask(TaskStatus):
    """The same and what only operators see; addresses are masked."""

    deaths: int = Field(description="how often a lease ran out since it was accepted or replayed")
    unconfirmed: int = Field(description="how often its outcome was lost though its worker lived, since then")
    replays: int = Field(description="how often an operator had it begin anew")
    worker: str | None = Field(description="who claimed it last")


class TaskPage(BaseModel):
    """Some tasks, the newest first."""

    tasks: list[OperatorTask]
    next: str | None = Field(description="`before` of the next page; null: this is the last one")


class Counts(BaseModel):
    """How many tasks stand where."""

    counts: dict[Status, int]
    estimated: list[Status] = Field(description="whose count is of the table's statistics")
    claimed_again: int = Field(description="how many have deaths or are unconfirmed: perhaps done twice")
    oldest_due_seconds: float


TaskId = Annotated[str, StringConstraints(pattern="^[0-9a-v]{36}$")]


def _number(value: object) -> object:
    """JSON has numbers of its own, of which 3.0 is an integer and false is none."""
    if isinstance(value, bool | str):
        raise ValueError("must be a number")
    return value


_AGE_MAX_SECONDS = 100 * 365 * 86_400
_Age = Field(le=_AGE_MAX_SECONDS, description="only those accepted longer ago")
AnyAge = Annotated[int, Field(ge=0), _Age, BeforeValidator(_number)]
SomeAge = Annotated[int, Field(ge=1), _Age, BeforeValidator(_number)]
Limit = Annotated[
    int,
    Field(ge=1, le=1000, description="no more than so many, the oldest first"),
    BeforeValidator(_number),
]


class _Selection(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Listing(_Selection):
    """What a listing may be narrowed by."""

    status: Status | None = None
    older_than_seconds: int = Field(
        0, ge=0, le=_AGE_MAX_SECONDS, description="only those accepted longer ago"
    )
    limit: int = Field(100, ge=1, le=1000)
    before: TaskId | None = Field(None, description="`next` of the page before")


class ByIds(_Selection):
    """These tasks."""

    task_ids: list[TaskId] = Field(min_length=1, max_length=250)


class ByStatus(_Selection):
    """Those of one status."""

    status: Status
    older_than_seconds: AnyAge = 0
    limit: Limit = 1000


class ByAge(_Selection):
    """Those of any status to which it may be done."""

    older_than_seconds: SomeAge
    limit: Limit = 1000


Filter = ByStatus | ByAge
Selection = ByIds | Filter


class Changed(BaseModel):
    """What became of the tasks that were chosen."""

    task_ids: list[str] = Field(description="to which it was done")
    left: list[str] = Field(description="whose status does not allow it, or which are not there")
