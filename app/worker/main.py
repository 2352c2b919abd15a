"""The worker: Celery's consumer with one thin task, and beside it the relay and the heartbeat."""

import socket
import threading
from functools import partial
from typing import Any

from celery import Celery, signals
from celery.exceptions import Ignore, Retry

from app import broker, kinds, logs, relay
from app.db.session import Database
from app.errors import DatabaseUnavailable
from app.kinds.tools import Tools
from app.mail.mailer import SmtpMailer
from app.services import counting
from app.services.execution import End, ExecutionRules, Executor
from app.services.leases import Leases
from app.settings import WorkerSettings
from app.worker import apart
from app.worker.consumer import Consumer, Transport
from app.worker.events import PacedEvents
from app.worker.heartbeat import Heartbeat, loop_step
from app.worker.pool import thread_pool

# Its threads claim together and record together, and beside them stand relay, leases and heartbeat.
_CONNECTIONS = 5


class TaskFailed(Exception):
    """Tells Celery, and so Flower, that a task has failed for good; the row says why."""


def run(settings: WorkerSettings) -> None:
    """Consumes until SIGTERM, which ends it when what was begun is done."""
    # With the release in it, so that the old and the new worker of a deployment are two nodes.
    node = f"worker-{settings.colour}-{settings.release}@{socket.gethostname()}"
    database = Database(settings, pool_size=_CONNECTIONS)
    heartbeat = Heartbeat(database, broker.Publisher(settings), node=node, release=settings.release)
    executor = create_executor(settings, database, node)
    stop = threading.Event()
    threads = [
        threading.Thread(target=relay.run, args=(settings, database, stop), name="relay", daemon=True),
        threading.Thread(target=executor.leases.run, args=(database, stop), name="leases", daemon=True),
        threading.Thread(target=heartbeat.run, args=(stop,), name="heartbeat", daemon=True),
    ]
    for thread in threads:
        thread.start()
    app = create_worker(settings, executor)
    app.steps["consumer"].update({PacedEvents, loop_step(heartbeat)})
    try:
        app.worker_main(_arguments(settings, node))
    finally:
        stop.set()
        counting.flush(database)


def create_executor(settings: WorkerSettings, database: Database, node: str) -> Executor:
    """What does the tasks."""
    tools = Tools(SmtpMailer(settings), settings.mail_from)
    return Executor(
        database=database,
        leases=Leases(
            lease_seconds=settings.lease_seconds, task_timeout_seconds=settings.task_timeout_seconds
        ),
        rules=ExecutionRules(
            worker=node,
            max_attempts=settings.max_attempts,
            max_deaths=settings.max_deaths,
            max_unconfirmed=settings.max_unconfirmed,
            retry_pause_seconds=settings.retry_pause_seconds,
            retry_pause_max_seconds=settings.retry_pause_max_seconds,
        ),
        work=partial(kinds.work, tools=tools),
        work_apart=partial(apart.work, timeout_seconds=settings.task_timeout_seconds),
    )


def create_worker(settings: WorkerSettings, executor: Executor) -> Celery:
    """The Celery application with its task; in threads, as the work is waiting for mail servers."""
    app = broker.celery_app(settings)
    # By name: workers tell Flower of their connection, in JSON.
    app.conf.broker_transport = f"{Transport.__module__}:{Transport.__name__}"
    app.conf.worker_consumer = Consumer
    app.conf.worker_pool = thread_pool(lambda task_ids: broker.Publisher(settings).publish(task_ids))

    @app.task(name=broker.RUN_TASK, throws=(TaskFailed,))  # type: ignore[untyped-decorator]
    def run_task(task_id: str) -> None:
        translate(executor, task_id)

    @signals.setup_logging.connect(weak=False)  # type: ignore[untyped-decorator]
    def set_up_logging(**_: Any) -> None:
        logs.configure(settings)

    return app


def translate(executor: Executor, task_id: str) -> None:
    """Does the task and says to Celery how it ended.

    Celery's own retry is never used: the row says when, and the relay publishes it then.
    """
    try:
        outcome = executor.run(task_id)
    except DatabaseUnavailable as error:
        raise Retry("the database is away; the relay repeats it", exc=error) from error
    match outcome.end:
        case End.NOTHING:
            # No event at all: a second message of a failed task must not turn it into a success in Flower.
            raise Ignore
        case End.RETRYING:
            raise Retry(outcome.words)
        case End.FAILED:
            raise TaskFailed(outcome.words)


def _arguments(settings: WorkerSettings, node: str) -> list[str]:
    """No gossip or mingle, as workers need no others."""
    return [
        "--quiet",
        "worker",
        f"--concurrency={settings.worker_concurrency}",
        f"--hostname={node}",
        f"--loglevel={settings.log_level}",
        "--task-events",
        "--without-gossip",
        "--without-mingle",
    ]
