"""Messages and requests that nobody should send."""

import base64
import json
import pickle
import secrets
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.chaos.stack import Stack, eventually
from tests.chaos.trial import Trial


def message(task_id: object, *, body: bytes | None = None, content_type: str = "application/json") -> str:
    """What Celery puts into Redis, as redis-cli takes it."""
    content = body if body is not None else json.dumps([[task_id], {}, {}]).encode()
    envelope = {
        "body": base64.b64encode(content).decode(),
        "content-encoding": "binary" if body is not None else "utf-8",
        "content-type": content_type,
        "headers": {"lang": "py", "task": "steadfast.run_task", "id": str(task_id), "retries": 0},
        "properties": {
            "correlation_id": str(task_id),
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": "steadfast"},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": secrets.token_hex(16),
        },
    }
    return json.dumps(json.dumps(envelope))


def push(stack: Stack, *messages: str) -> None:
    """Puts them where the worker takes them from."""
    stack.redis(*(f"LPUSH steadfast {text}" for text in messages))


def drained(stack: Stack) -> None:
    eventually(lambda: stack.queue_depth() == 0, seconds=60, what="the queue is empty")


def test_same_id_a_thousand_times(trial: Trial) -> None:
    """Whoever claims it does it, and nobody else."""
    with trial.stack.frozen("worker"):
        ids = trial.submit(5)
        push(trial.stack, *(message(ids[0]) for _ in range(1000)))
        trial.over()
    drained(trial.stack)
    trial.conclude(limit_seconds=30)


def test_unknown_id(trial: Trial) -> None:
    """Well-formed or not, it is nobody's task; the next one is done."""
    ids = [
        "0" * 36,
        "v" * 36,
        "",
        "../../etc/passwd",
        "x" * 10_000,
        "'; DROP TABLE tasks; --",
        17,
        None,
        ["a"],
    ]
    push(trial.stack, *(message(task_id) for task_id in ids))
    trial.submit(10)
    drained(trial.stack)
    trial.conclude(limit_seconds=20)


def test_garbage(trial: Trial) -> None:
    """What is no message at all, and what is only nearly one."""
    stack = trial.stack
    nearly = [
        message("x", body=b"\xff\xfe\x00"),
        message("x", body=b"{}"),
        message("x", body=b"[[],{},{}]"),
        message("x", body=b"not json"),
        message("x", body=b"x", content_type="application/x-python-serialize"),
        json.dumps(json.dumps({"body": "?", "headers": {}, "properties": {}})),
        json.dumps(json.dumps({})),
        json.dumps(json.dumps([1, 2, 3])),
    ]
    push(stack, *nearly, '"not a message"', '""', r'"\x00\xff\xfe"', '"{"', '"null"')
    trial.submit(10)
    trial.over()
    drained(stack)
    trial.submit(10)
    trial.conclude(settle_seconds=90, limit_seconds=60)


def test_pickle(trial: Trial) -> None:
    """A body that would run a command when it is read is not read."""

    class Command:
        def __reduce__(self) -> tuple[object, tuple[str, str]]:
            return open, ("/tmp/pickle-was-read", "w")  # noqa: S108

    stack = trial.stack
    for content_type in ("application/x-python-serialize", "application/data", "application/json"):
        push(stack, message("x", body=pickle.dumps(Command()), content_type=content_type))
    trial.submit(10)
    drained(stack)
    there = stack.host("docker", "exec", stack.container("worker"), "ls", "/tmp")  # noqa: S108
    assert "pickle-was-read" not in there
    trial.conclude(settle_seconds=90, limit_seconds=60)


def test_same_post_a_hundred_times(trial: Trial) -> None:
    """At once, with one key: one task, and the same answer for all who got one."""
    recipient, headers = trial.clients.recipient(), {"Idempotency-Key": secrets.token_hex(16)}

    def post(_: int) -> httpx.Response:
        with httpx.Client(timeout=20, trust_env=False) as client:
            return client.post(f"{trial.stack.page}/notify/", json={"email": recipient}, headers=headers)

    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(post, range(100)))
    assert {answer.status_code for answer in answers} <= {202, 409}, [answer.text for answer in answers]
    ids = {answer.json()["task_id"] for answer in answers if answer.status_code == 202}
    assert len(ids) == 1, f"{len(ids)} tasks for one key"
    trial.clients.accept(ids.pop(), recipient)
    trial.figures["answered 202"] = sum(answer.status_code == 202 for answer in answers)
    trial.conclude()
