"""From a request to a mail and back, with real processes."""

import json
import os
import pickle
import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from celery.events import EventReceiver
from kombu import Producer

from app.broker import QUEUE, RUN_TASK, Publisher, celery_app
from app.settings import ApiSettings, load
from tests.integration.conftest import Mailbox
from tests.integration.machine import Machine, Process, eventually, final, post


@pytest.fixture(scope="module")
def worker(running: Machine, mail_server: Mailbox) -> Iterator[Process]:
    """A real worker that sends to the mailbox."""
    before = len(running.processes)
    process = running.start("worker", SMTP_PORT=str(mail_server.port))
    process.says(" ready.")
    yield process
    running.end_all(before)


Events = dict[str, list[str]]


@pytest.fixture
def events(parts: Machine) -> Iterator[Events]:
    """What Flower is told, by task: the events of Celery, as they come."""
    found: Events = defaultdict(list)

    def keep(event: dict[str, Any]) -> None:
        if event["type"].startswith("task-"):
            found[event["uuid"]].append(event["type"])

    app = celery_app(load(ApiSettings))
    with app.connection() as connection:
        receiver = EventReceiver(connection, handlers={"*": keep}, app=app)
        thread = threading.Thread(target=receiver.capture, kwargs={"wakeup": False}, daemon=True)
        thread.start()
        eventually(lambda: parts.redis_cli("PUBSUB", "NUMPAT") != "0", what="a receiver of events")
        yield found
        receiver.should_stop = True
        thread.join(5)


def test_an_accepted_task_becomes_a_mail_and_everybody_says_so(
    api: httpx.Client, worker: Process, mailbox: Mailbox, events: Events, parts: Machine
) -> None:
    task_id = post(api, "someone@example.com", message="Grüße\n<b>")
    task = final(api, task_id)
    assert (task["status"], task["attempts"], task["kind"]) == ("succeeded", 1, "notify")
    assert task["result"] == {"message_id": f"<{task_id}@example.com>", "answer": "250 taken as 42"}
    assert task["error"] is task["next_run_at"] is None
    (mail,) = mailbox.mails
    assert mail.rcpt_tos == ["someone@example.com"]
    assert f"X-Task-Id: {task_id}".encode() in bytes(mail.content or b"")
    eventually(lambda: events[task_id][-1:] == ["task-succeeded"], what="Flower's task-succeeded")
    node = f"worker-blue-test@{os.uname().nodename}"
    eventually(lambda: parts.sql("SELECT node, release FROM workers") == [(node, "test")], what="its row")


def test_a_mail_server_that_hesitates_is_asked_again(
    api: httpx.Client, worker: Process, mailbox: Mailbox, events: Events
) -> None:
    mailbox.answers["slow@example.com"] = ["451 later", "421 shutting down"]
    task_id = post(api, "slow@example.com")
    task = final(api, task_id)
    assert (task["status"], task["attempts"], task["error"]) == ("succeeded", 3, None)
    assert len(mailbox.to("slow@example.com")) == 1
    eventually(lambda: events[task_id][-1:] == ["task-succeeded"], what="Flower's task-succeeded")
    assert events[task_id].count("task-retried") == 2


def test_a_refused_mail_is_a_failed_task_in_the_servers_words(
    api: httpx.Client, worker: Process, mailbox: Mailbox, events: Events
) -> None:
    mailbox.answers["nobody@example.com"] = ["550 5.1.1 No such user"]
    task_id = post(api, "nobody@example.com")
    task = final(api, task_id)
    assert (task["status"], task["attempts"]) == ("failed", 1)
    assert task["error"] == {"reason": "refused_by_mail_server", "message": "550 5.1.1 No such user"}
    eventually(lambda: events[task_id][-1:] == ["task-failed"], what="Flower's task-failed")


def test_a_message_may_come_a_hundred_times(
    api: httpx.Client, worker: Process, mailbox: Mailbox, events: Events
) -> None:
    mailbox.answers["nobody@example.com"] = ["550 no"]
    good, bad = post(api, "often@example.com"), post(api, "nobody@example.com")
    publisher = Publisher(load(ApiSettings))
    for _ in range(100):
        publisher.publish([good, bad])
    assert final(api, good)["status"] == "succeeded"
    assert final(api, bad)["status"] == "failed"
    eventually(lambda: publisher.depth() == 0, what="an empty queue")
    publisher.close()
    last = post(api, "last@example.com")
    eventually(lambda: events[last][-1:] == ["task-succeeded"], what="the last one's end")
    assert len(mailbox.to("often@example.com")) == 1
    assert not mailbox.to("nobody@example.com")
    ends = [event for event in events[bad] if event in ("task-succeeded", "task-failed", "task-retried")]
    assert ends == ["task-failed"], "a double must not turn it into a success"


def test_garbage_in_the_queue_harms_nobody(api: httpx.Client, worker: Process, mailbox: Mailbox) -> None:
    app = celery_app(load(ApiSettings))

    class Evil:
        def __reduce__(self) -> Any:
            return os.abort, ()

    with app.connection() as connection:
        producer = Producer(connection, routing_key=QUEUE)
        pickled = {"content_type": "application/x-python-serialize", "content_encoding": "binary"}
        producer.publish(pickle.dumps(Evil()), **pickled, headers={"task": RUN_TASK, "id": "evil"})
        producer.publish("not a task at all", serializer="json")
        producer.publish(b"\xff\x00", content_type="application/json", content_encoding="utf-8")
        calls = [("steadfast.unknown", ["x"]), (RUN_TASK, [])]
        for name, arguments in calls + [
            (RUN_TASK, [one]) for one in ({"a": 1}, "\x00", "0" * 36, "x" * 10_000)
        ]:
            message = app.amqp.as_task_v2("some-id", name, args=arguments)
            producer.publish(message.body, headers=message.headers, serializer="json", **message.properties)
    assert final(api, post(api, "someone@example.com"))["status"] == "succeeded"
    assert worker.popen.poll() is None


def test_what_is_no_message_ends_no_worker(parts: Machine, api: httpx.Client, worker: Process) -> None:
    app = celery_app(load(ApiSettings))
    with app.connection() as connection:
        producer = Producer(connection, routing_key=QUEUE)
        # More often than a worker takes messages at once: one that it never gave back would leave it deaf.
        for body in ([], {}, [1], [[], {}], "text", 1) * 10:
            message = app.amqp.as_task_v2("some-id", RUN_TASK, args=())
            producer.publish(body, headers=message.headers, serializer="json", **message.properties)
    for envelope in (
        "no JSON",
        "[1, 2]",
        "null",
        "{}",
        '{"properties": {}}',
        '{"properties": {"delivery_tag": 1}}',
    ):
        parts.redis_cli("LPUSH", QUEUE, envelope)
    assert final(api, post(api, "someone@example.com"))["status"] == "succeeded"
    worker.says("message.unreadable")
    assert worker.popen.poll() is None
    assert parts.redis_cli("HLEN", "unacked") == "0"


def test_no_log_names_a_recipient_or_a_secret(
    api: httpx.Client, worker: Process, mailbox: Mailbox, parts: Machine
) -> None:
    mailbox.answers["private.person@example.com"] = ["451 private.person@example.com is busy"] * 2
    final(api, post(api, "private.person@example.com", message="private words"))
    secrets = [file.read_text() for file in (parts.directory / "secrets").iterdir()]
    for process in parts.processes:
        text = process.log.read_text()
        assert "private" not in text
        assert not [secret for secret in secrets if secret in text]
        for line in text.splitlines():
            if not line.startswith("schema "):
                assert re.fullmatch(r"[a-z_]+\.[a-z_]+", json.loads(line)["event"]), line
