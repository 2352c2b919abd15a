"""What endpoints are given: the threads that do their work."""

from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import Depends, Request

from app.api.batching import Batcher
from app.api.overload import OverloadWatch
from app.api.publishing import PublishingThread
from app.broker import Publisher
from app.db.session import Database
from app.deadline import Deadline
from app.errors import AppError
from app.logs import whole_lines
from app.schemas import TaskStatus
from app.services import progress, submission
from app.services.submission import Receipt, Submission, SubmissionRules
from app.settings import ApiSettings
from app.tally import TALLY, Counter

log = structlog.get_logger()

# All threads together.
CLOSE_SECONDS = 10
_OPERATORS_CONNECTIONS = 2
_FIGURES_CONNECTIONS = 1


@dataclass
class Runtime:
    """One writer, one reader, one publisher, one watch, and what operators need."""

    settings: ApiSettings
    database: Database
    publishing: PublishingThread
    writer: Batcher[Submission, Receipt]
    reader: Batcher[str, TaskStatus]
    # Connections of their own: what operators ask may take long, and keeps no user waiting.
    operators_database: Database
    # And so have the figures: neither a user nor an operator waits for who reads them.
    figures_database: Database
    overload: OverloadWatch

    def close(self, timeout_seconds: float = CLOSE_SECONDS) -> None:
        """Ends the threads; what was accepted is published first, unless that takes too long."""
        deadline = Deadline(timeout_seconds)
        self.writer.close(deadline.remaining())
        self.reader.close(deadline.remaining())
        self.publishing.close(deadline.remaining())
        self.overload.close(deadline.remaining())
        for database in (self.database, self.operators_database, self.figures_database):
            database.close()


def start(settings: ApiSettings) -> Runtime:
    """Starts the threads. The database and the broker may come up later."""
    database = Database(settings)
    # One for the writer and one for the reader: after a switch all users come at once.
    database.warm(2)
    publishing = PublishingThread(Publisher(settings))
    rules = SubmissionRules(settings.recipient_limit_per_hour, settings.smoke_test_recipient)

    def write(submissions: list[Submission]) -> list[Receipt | AppError]:
        answers = submission.submit(database, submissions, rules)
        stored = [answer.task_id for answer in answers if isinstance(answer, Receipt) and answer.stored]
        if stored:
            publishing.publish(stored)
            for some in whole_lines(stored):
                log.info("task.accepted", task_ids=some)
            TALLY.count(Counter.TASKS_ACCEPTED, len(stored))
        return answers

    def read(task_ids: list[str]) -> list[TaskStatus | AppError]:
        return [*progress.look_up(database, task_ids)]

    figures_database = Database(settings, pool_size=_FIGURES_CONNECTIONS)
    return Runtime(
        settings,
        database,
        publishing,
        Batcher("write", write),
        Batcher("read", read),
        Database(settings, pool_size=_OPERATORS_CONNECTIONS),
        figures_database,
        OverloadWatch(figures_database, settings),
    )


async def runtime(request: Request) -> Runtime:
    """A coroutine, because FastAPI would call a plain function in another thread."""
    found: Runtime = request.app.state.runtime
    return found


Given = Annotated[Runtime, Depends(runtime)]
