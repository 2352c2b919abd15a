"""Every line is one JSON object; nothing private stands in it and nothing can forge another."""

import json
import logging
import sys
from collections.abc import Callable, Iterator
from io import StringIO

import pytest
import structlog

from app import logs
from app.settings import WorkerSettings, load


@pytest.fixture
def lines(environment: Callable[..., None]) -> Iterator[Callable[[], list[dict[str, str]]]]:
    """What was written, read as JSON."""
    environment(SMTP_USERNAME="mailer", app_smtp_password='q"uoted\\secret')
    before = logging.root.handlers, logging.root.level
    logs.configure(load(WorkerSettings))
    (handler,) = logging.root.handlers
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stderr
    written = StringIO()
    handler.setStream(written)
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    logging.root.handlers, logging.root.level = before
    structlog.reset_defaults()


Lines = Callable[[], list[dict[str, str]]]


def test_our_events_carry_the_release_and_a_time(lines: Lines) -> None:
    structlog.get_logger().info("task.accepted", task_id="42")
    (line,) = lines()
    assert line["event"] == "task.accepted"
    assert (line["task_id"], line["release"], line["colour"], line["level"]) == (
        "42",
        "abc123",
        "blue",
        "info",
    )
    assert line["at"].endswith("Z")


def test_libraries_go_through_the_same_form(lines: Lines) -> None:
    logging.getLogger("celery.worker").warning("connection to %s lost", "redis")
    logging.getLogger("uvicorn.error").error("oops\nFAKE LINE")
    celery, uvicorn = lines()
    assert (celery["event"], celery["message"]) == ("celery.logged", "connection to redis lost")
    assert (uvicorn["event"], uvicorn["message"]) == ("uvicorn.logged", "oops\nFAKE LINE")


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\r", "\u2028", "\u2029", "\x85", "\x0b", "\x0c"])
def test_a_value_cannot_begin_a_line(lines: Lines, separator: str) -> None:
    forged = f'x{separator}{{"event": "task.succeeded"}}'
    structlog.get_logger().warning("task.refused", said=forged, **{forged: 1})
    (line,) = lines()
    assert line["said"] == forged
    assert line["event"] == "task.refused"


def test_addresses_are_masked_wherever_they_stand(lines: Lines) -> None:
    said = "550 <someone.else+tag@mail.example.com>: no such user"
    structlog.get_logger().error("task.failed", said=said, nested={"to": ["someone@example.com"]})
    logging.getLogger("kombu").error("for someone@example.com")
    ours, theirs = lines()
    assert ours["said"] == "550 <s***@mail.example.com>: no such user"
    assert ours["nested"] == {"to": ["s***@example.com"]}
    assert theirs["message"] == "for s***@example.com"


def test_a_node_is_no_address(lines: Lines) -> None:
    structlog.get_logger().info("worker.ready", node="worker-blue-abc@3f2a91")
    assert lines()[0]["node"] == "worker-blue-abc@3f2a91"


def test_secrets_are_cut_out_of_lines_and_tracebacks(lines: Lines) -> None:
    secrets = ["d4tabase-Pa55-of-the-test", "r3dis/Pa55+of@the:test", 'q"uoted\\secret']
    structlog.get_logger().error("database.failed", problem=f"dsn {secrets[0]}", other=secrets[1])
    try:
        raise ValueError(secrets[2])
    except ValueError:
        logging.getLogger("celery").exception("failed with %s", secrets[1])
    written = json.dumps(lines())
    assert "ValueError" in written
    for secret in secrets:
        assert json.dumps(secret)[1:-1] not in written
        assert secret not in written


def test_below_the_level_nothing_is_written(lines: Lines) -> None:
    structlog.get_logger().debug("task.seen")
    logging.getLogger("anything").debug("seen")
    logging.getLogger("celery.app.trace").info("succeeded in 3 s")
    assert lines() == []


def test_ids_in_lines_are_all_there_and_no_line_is_cut() -> None:
    task_ids = [f"{number:036}" for number in range(1001)]
    parts = list(logs.whole_lines(task_ids))
    assert [task_id for part in parts for task_id in part] == task_ids
    assert max(len(json.dumps(part)) for part in parts) < 15_000
    assert list(logs.whole_lines([])) == []
