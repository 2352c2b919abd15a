"""PostgreSQL 17, Redis 8 and a mail server, all real, started once; each test begins with empty ones."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest
import structlog
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from app.db.session import Database
from app.settings import ApiSettings, WorkerSettings, load
from tests.integration.machine import Machine, free_port, machine


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The real parts. Without Docker this fails: nothing here can be shown without them."""
    with machine(tmp_path_factory.mktemp("machine")) as found:
        yield found


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """What a test configures by calling a program's main() does not outlive it."""
    handlers, level = logging.root.handlers, logging.root.level
    # structlog's own default draws tracebacks in colour, and takes seconds for it.
    structlog.configure([structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])
    yield
    logging.root.handlers, logging.root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture
def parts(running: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The real parts, emptied, with their settings in this process's environment too."""
    running.sql("TRUNCATE tasks, workers, counters")
    running.redis_cli("FLUSHALL")
    for name, value in running.environment.items():
        if name.startswith("APP_"):
            monkeypatch.setenv(name, value)
    return running


@pytest.fixture
def database(parts: Machine) -> Iterator[Database]:
    """As the application connects."""
    found = Database(load(ApiSettings))
    yield found
    found.close()


@pytest.fixture
def worker_settings(parts: Machine) -> WorkerSettings:
    """A worker's, of this machine."""
    return load(WorkerSettings)


@dataclass
class Mailbox:
    """A mail server that keeps what it is sent, and answers each recipient as told."""

    port: int
    mails: list[Envelope] = field(default_factory=list)
    # What the next mails to a recipient are answered; after the last, 250.
    answers: dict[str, list[str]] = field(default_factory=dict)
    delay_seconds: float = 0
    logins: list[tuple[str, str]] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        await asyncio.sleep(self.delay_seconds)
        answers = self.answers.get(envelope.rcpt_tos[0])
        if answers:
            return answers.pop(0)
        self.mails.append(envelope)
        return "250 taken as 42"

    def to(self, recipient: str) -> list[Envelope]:
        """The mails to one address."""
        return [mail for mail in self.mails if recipient in mail.rcpt_tos]


@pytest.fixture(scope="session")
def mail_server() -> Iterator[Mailbox]:
    """One for all tests, so that a worker may outlive a test."""
    found = Mailbox(free_port())
    server = Controller(found, hostname="127.0.0.1", port=found.port)
    server.start()
    yield found
    server.stop()


@pytest.fixture
def mailbox(mail_server: Mailbox) -> Mailbox:
    """The mail server, emptied."""
    mail_server.mails.clear()
    mail_server.answers.clear()
    mail_server.delay_seconds = 0
    return mail_server


@pytest.fixture
def started(parts: Machine) -> Iterator[Machine]:
    """For starting processes that end with the test."""
    before = len(parts.processes)
    yield parts
    parts.end_all(before)


@pytest.fixture(scope="session")
def api_address(running: Machine) -> str:
    """One API process for all tests: it has to outlive every outage of them."""
    port = free_port()
    running.start("api", "--port", str(port)).says("Uvicorn running")
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def api(parts: Machine, api_address: str) -> Iterator[httpx.Client]:
    """A client of the API process."""
    with httpx.Client(base_url=api_address, timeout=10) as client:
        yield client
