"""PostgreSQL or Redis away or frozen: an answer in time that is true, and nothing lost."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.db.schema import HEAD
from tests.integration.conftest import Mailbox
from tests.integration.machine import Machine, Process, eventually

BODY = {"email": "smoke@example.com"}
Outage = Callable[[], AbstractContextManager[None]]


def timed(call: Callable[[], httpx.Response]) -> tuple[httpx.Response, float]:
    begun = time.monotonic()
    return call(), time.monotonic() - begun


@pytest.fixture
def worker(started: Machine, mailbox: Mailbox) -> Process:
    process = started.start("worker", SMTP_PORT=str(mailbox.port))
    process.says(" ready.")
    return process


@pytest.fixture(params=["frozen", "stopped"])
def no_database(request: pytest.FixtureRequest, parts: Machine) -> Iterator[Outage]:
    yield getattr(parts.postgres, request.param)
    parts.wait_ready()


@pytest.fixture(params=["frozen", "stopped"])
def no_redis(request: pytest.FixtureRequest, parts: Machine) -> Iterator[Outage]:
    yield getattr(parts.redis, request.param)
    parts.wait_ready()


def test_without_the_database_every_answer_is_503_in_time(
    api: httpx.Client, parts: Machine, no_database: Outage
) -> None:
    known = api.post("/notify/", json=BODY).json()["status_url"]
    assert api.get(known).status_code == 200

    def keep_asking(path: str) -> list[tuple[httpx.Response, float]]:
        """Again and again, so that some come in the middle of another's wait."""
        call = (lambda: api.post(path, json=BODY)) if path == "/notify/" else (lambda: api.get(path))
        answers, ends = [], time.monotonic() + 4
        while time.monotonic() < ends:
            answers.append(timed(call))
        return answers

    with no_database(), ThreadPoolExecutor(12) as pool:
        answers = [one for found in pool.map(keep_asking, ["/notify/", known] * 6) for one in found]
        assert api.get("/health").status_code == 200
    assert len(answers) >= 12
    for answer, seconds in answers:
        assert answer.status_code == 503, answer.text
        assert answer.json()["error"] == "database_unavailable"
        assert int(answer.headers["retry-after"]) > 0
        assert seconds < 2
    parts.wait_ready()
    eventually(lambda: api.post("/notify/", json=BODY).status_code == 202, seconds=5)
    assert api.get(known).status_code == 200


def test_a_commit_that_fails_is_never_a_2xx(api: httpx.Client, parts: Machine) -> None:
    parts.sql("""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN RAISE EXCEPTION ''not now''; END';
        CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON tasks DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION refuse()
    """)
    try:
        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(lambda _: api.post("/notify/", json=BODY), range(30)))
    finally:
        parts.sql("DROP TRIGGER at_commit ON tasks; DROP FUNCTION refuse")
    assert {answer.status_code for answer in answers} == {500}
    assert parts.sql("SELECT count(*) FROM tasks") == [(0,)]
    assert "not now" not in answers[0].text


def test_without_redis_a_task_is_accepted_at_once_and_done_later(
    api: httpx.Client, parts: Machine, worker: Process, mailbox: Mailbox, no_redis: Outage
) -> None:
    with no_redis():
        answers = [timed(lambda: api.post("/notify/", json=BODY)) for _ in range(20)]
        time.sleep(2.5)
        answers += [timed(lambda: api.post("/notify/", json=BODY)) for _ in range(5)]
    assert {answer.status_code for answer, _ in answers} == {202}
    assert max(seconds for _, seconds in answers) < 1
    done = "SELECT count(*) FROM tasks WHERE status = 'succeeded'"
    eventually(lambda: parts.sql(done) == [(25,)], seconds=45, what="25 mails")
    assert len(mailbox.mails) == 25


def test_ids_that_a_worker_holds_when_redis_goes_leave_no_file(
    api: httpx.Client, started: Machine, mailbox: Mailbox
) -> None:
    mailbox.delay_seconds = 1
    worker = started.start("worker", SMTP_PORT=str(mailbox.port))
    worker.says(" ready.")
    for _ in range(40):
        assert api.post("/notify/", json=BODY).status_code == 202
    eventually(lambda: mailbox.mails, what="a first mail")
    with started.redis.stopped():
        worker.says("Connection to broker lost")
        time.sleep(3)
    mailbox.delay_seconds = 0
    eventually(lambda: len(mailbox.mails) == 40, seconds=60, what="all mails")
    assert "DUMP STATE" not in worker.log.read_text()


def test_what_redis_forgot_is_published_again(api: httpx.Client, started: Machine, mailbox: Mailbox) -> None:
    for _ in range(10):
        assert api.post("/notify/", json=BODY).status_code == 202
    eventually(lambda: started.redis_cli("LLEN", "steadfast") == "10", what="ten published ids")
    started.redis_cli("FLUSHALL")
    started.start("worker", SMTP_PORT=str(mailbox.port)).says(" ready.")
    eventually(lambda: len(mailbox.mails) == 10, seconds=20, what="ten mails")
    assert started.sql("SELECT sum(deaths), max(attempts) FROM tasks") == [(0, 1)]


def test_a_relay_alone_publishes_too(api: httpx.Client, started: Machine) -> None:
    api.post("/notify/", json=BODY)
    eventually(lambda: started.redis_cli("LLEN", "steadfast") == "1")
    started.redis_cli("FLUSHALL")
    relay = started.start("relay")
    eventually(lambda: started.redis_cli("LLEN", "steadfast") == "1", what="published again")
    assert relay.end() == 0


def test_a_worker_outlives_both_and_stays_healthy(
    parts: Machine, worker: Process, api: httpx.Client, mailbox: Mailbox
) -> None:
    """Its own health must not depend on them: a restart would help nobody."""
    alive = Path("/tmp/worker-alive")  # noqa: S108
    with parts.postgres.frozen(), parts.redis.frozen():
        time.sleep(8)
        assert time.time() - alive.stat().st_mtime < 30
        ages = []
        for _ in range(10):
            ages.append(time.time() - alive.stat().st_mtime)
            time.sleep(1)
        assert max(ages) < 15
        assert worker.popen.poll() is None
    parts.wait_ready()
    assert api.post("/notify/", json=BODY).status_code == 202
    eventually(lambda: len(mailbox.mails) == 1, seconds=40, what="the mail")


def ready(api: httpx.Client) -> tuple[int, dict[str, Any], list[str]]:
    """Status, body, and the names of what is not well; never late."""
    answer, seconds = timed(lambda: api.get("/health/ready"))
    assert seconds < 2
    body = answer.json()
    assert set(body["checks"]) == {"database", "schema", "redis", "worker", "oldest_due_task"}
    return answer.status_code, body, sorted(name for name, check in body["checks"].items() if not check["ok"])


@pytest.fixture
def live_worker(parts: Machine) -> Callable[[], None]:
    """As if one had just been seen."""
    node = f"worker-blue-test@{os.uname().nodename}"

    def see() -> None:
        parts.sql(
            "INSERT INTO workers VALUES (%s, 'test', now()) ON CONFLICT (node) DO UPDATE SET seen_at = now()",
            node,
        )

    return see


def test_ready_says_what_is_not(api: httpx.Client, parts: Machine, live_worker: Callable[[], None]) -> None:
    assert ready(api)[2] == ["worker"]
    live_worker()
    status, body, broken = ready(api)
    assert (status, body["status"], broken) == (200, "ok", [])
    parts.sql("UPDATE workers SET seen_at = now() - interval '1 minute'")
    assert ready(api)[2] == ["worker"]
    live_worker()
    api.post("/notify/", json=BODY)
    parts.sql("UPDATE tasks SET next_run_at = now() - interval '2 minutes'")
    status, body, broken = ready(api)
    assert (status, body["status"], broken) == (503, "not_ready", ["oldest_due_task"])
    parts.sql("UPDATE tasks SET status = 'succeeded'")
    parts.sql("UPDATE alembic_version SET version_num = '0000'")
    assert ready(api)[2] == ["schema"]
    parts.sql("UPDATE alembic_version SET version_num = '9999'")
    assert ready(api)[2] == [], "a newer schema is no reason"
    parts.sql("UPDATE alembic_version SET version_num = %s", HEAD)


def test_ready_is_in_time_when_parts_are_frozen(
    api: httpx.Client, parts: Machine, live_worker: Callable[[], None]
) -> None:
    live_worker()
    assert ready(api)[0] == 200
    in_database = ["database", "oldest_due_task", "schema", "worker"]
    with parts.redis.frozen():
        assert ready(api)[2] == ["redis"]
        with parts.postgres.frozen():
            assert ready(api)[2] == sorted([*in_database, "redis"])
    with parts.postgres.stopped(), parts.redis.stopped():
        assert ready(api)[2] == sorted([*in_database, "redis"])
    parts.wait_ready()
    live_worker()
    eventually(lambda: ready(api)[2] == [], seconds=5)


def test_a_burst_is_one_commit_or_few(api: httpx.Client, parts: Machine) -> None:
    barrier = threading.Barrier(32)

    def one(_: int) -> int:
        barrier.wait()
        return api.post("/notify/", json=BODY).status_code

    with ThreadPoolExecutor(32) as pool:
        assert set(pool.map(one, range(32))) == {202}
    ((commits,),) = parts.sql("SELECT count(DISTINCT xmin::text) FROM tasks")
    assert commits < 32
