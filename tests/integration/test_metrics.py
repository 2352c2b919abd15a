"""What any API process tells of the whole system, whoever counted it; and work refused because of that."""

import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.conftest import Mailbox
from tests.integration.machine import Machine, eventually, final, free_port, post

DUE = "UPDATE tasks SET publish_at = now()"
Told = Callable[[], dict[str, float]]
Client = Callable[..., httpx.Client]


def samples(answer: httpx.Response) -> dict[str, float]:
    """Each sample by its name, and its label where it has one."""
    assert answer.status_code == 200, answer.text
    return {
        "/".join([sample.name.removeprefix("steadfast_"), *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.fixture
def told(api: httpx.Client) -> Told:
    """What was counted since the test began, told by a process that counted nothing of it."""

    def ask() -> dict[str, float]:
        return samples(api.get("/metrics"))

    time.sleep(2.5)  # that process may have counts of the test before, which it adds each two seconds
    before = ask()
    gauges = ("tasks/", "oldest", "worker", "queue", "redis")

    def since() -> dict[str, float]:
        return {
            name: value if name.startswith(gauges) else value - before[name] for name, value in ask().items()
        }

    return since


@pytest.fixture
def another_api(started: Machine) -> Iterator[Client]:
    """Starts an API process that ends with the test."""
    clients = []

    def start(**settings: str) -> httpx.Client:
        port = free_port()
        started.start("api", "--port", str(port), **settings).says("Uvicorn running")
        clients.append(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10))
        return clients[-1]

    yield start
    for client in clients:
        client.close()


def test_all_that_happens_to_tasks_is_counted_whoever_counts(
    started: Machine, another_api: Client, told: Told, mailbox: Mailbox
) -> None:
    """Each process adds what it counted when it ends, if not before."""
    client = another_api()
    mailbox.answers = {"later@example.com": ["451 later"], "never@example.com": ["550 no"]}
    names = ("smoothly", "later", "never", "again")
    ids = {name: post(client, f"{name}@example.com") for name in names}
    # The broker forgets all four, and one had a worker which died.
    started.redis_cli("FLUSHALL")
    started.sql(f"{DUE}, created_at = created_at - interval '20 seconds'")
    started.sql(
        "UPDATE tasks SET status = 'running', attempts = 1, lease_expires_at = now() WHERE id = %s",
        ids["again"],
    )
    worker = started.start("worker", SMTP_PORT=str(mailbox.port))
    ended = {name: final(client, task_id)["status"] for name, task_id in ids.items()}
    assert ended == dict.fromkeys(names, "succeeded") | {"never": "failed"}
    assert worker.end() == 0
    started.processes[-2].end()
    found = told()
    counted = {name: found[f"tasks_{name}_total"] for name in
               ("accepted", "succeeded", "failed", "retried", "claimed_again")}  # fmt: skip
    assert counted == {"accepted": 4, "succeeded": 3, "failed": 1, "retried": 1, "claimed_again": 1}
    assert found["tasks_republished_total"] >= 5, "four that were lost, and one whose turn came again"
    assert found["accept_seconds_count"] == 4
    assert found["attempt_seconds_count"] == 5
    assert found["task_seconds_count"] == 3
    assert found["task_seconds_bucket/10.0"] == 0, "from the acceptance on, which seems 20 s ago"
    assert found["task_seconds_bucket/60.0"] == 3
    assert 0 < found["attempt_seconds_sum"] < 10
    assert (found["tasks/failed"], found["tasks/queued"], found["submissions_shed_total"]) == (1, 0, 0)
    assert found["workers"] == 1
    assert found["worker_seen_seconds"] < 30


def test_processes_that_live_add_what_they_counted_every_few_seconds(
    started: Machine, another_api: Client, told: Told, mailbox: Mailbox
) -> None:
    client = another_api()
    started.start("worker", SMTP_PORT=str(mailbox.port)).says(" ready.")
    post(client, "someone@example.com")
    for name in ("accepted", "succeeded"):
        eventually(lambda name=name: told()[f"tasks_{name}_total"] == 1, seconds=10, what=name)


def test_a_relay_alone_counts_too(started: Machine, api: httpx.Client, told: Told) -> None:
    relay = started.start("relay")
    post(api, "someone@example.com")
    eventually(lambda: started.redis_cli("LLEN", "steadfast") == "1")
    started.redis_cli("FLUSHALL")
    started.sql(DUE)
    eventually(lambda: started.redis_cli("LLEN", "steadfast") == "1", what="published again")
    assert relay.end() == 0
    assert told()["tasks_republished_total"] == 1
    assert told()["queue_depth"] == 1


def test_gauges_are_of_this_moment(parts: Machine, api: httpx.Client, told: Told) -> None:
    assert "worker_seen_seconds" not in told(), "none was ever seen"
    for number in range(3):
        post(api, f"a{number}@example.com")
    eventually(lambda: told()["queue_depth"] == 3)
    parts.sql("UPDATE tasks SET next_run_at = now() - interval '2 minutes'")
    parts.sql("INSERT INTO workers VALUES ('one', 'r', now()), ('two', 'r', now() - interval '1 minute')")
    found = told()
    assert (found["tasks/queued"], found["workers"], found["redis_up"]) == (3, 1, 1)
    assert 120 <= found["oldest_due_task_seconds"] < 125
    assert found["worker_seen_seconds"] < 5


@pytest.mark.parametrize("outage", ["frozen", "stopped"])
def test_without_redis_the_rest_is_told_in_time(parts: Machine, told: Told, outage: str) -> None:
    with getattr(parts.redis, outage)():
        begun = time.monotonic()
        found = told()
        assert time.monotonic() - begun < 2
    parts.wait_ready()
    assert found["redis_up"] == 0
    assert "queue_depth" not in found
    assert "tasks_accepted_total" in found


def test_without_the_database_the_answer_is_503_in_time_and_no_count_is_lost(
    parts: Machine, api: httpx.Client, told: Told
) -> None:
    for number in range(3):
        post(api, f"a{number}@example.com")
    with parts.postgres.frozen():
        begun = time.monotonic()
        answer = api.get("/metrics")
        assert time.monotonic() - begun < 2
        time.sleep(3)
    assert (answer.status_code, answer.json()["error"]) == (503, "database_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    parts.wait_ready()
    eventually(lambda: told()["tasks_accepted_total"] >= 3, seconds=10, what="what was counted")


def test_no_more_is_accepted_while_what_was_accepted_waits_for_too_long(
    parts: Machine, another_api: Client, told: Told
) -> None:
    client = another_api(ACCEPT_MAX_TASK_AGE_SECONDS="60")
    under_key = {"Idempotency-Key": "a-key-of-this-very-test"}
    body = {"email": "someone@example.com"}
    assert client.post("/notify/", json=body, headers=under_key).status_code == 202
    parts.sql("UPDATE tasks SET next_run_at = now() - interval '50 seconds'")
    time.sleep(2.5)
    post(client, "in.time@example.com")
    parts.sql("UPDATE tasks SET next_run_at = now() - interval '61 seconds'")
    addresses = (f"a{number}@example.com" for number in range(1000))

    def refusal() -> httpx.Response | None:
        answer = client.post("/notify/", json={"email": next(addresses)})
        return None if answer.status_code == 202 else answer

    refused = eventually(refusal, seconds=5)
    assert (refused.status_code, refused.json()["error"]) == (503, "overloaded")
    assert refused.headers["retry-after"] == "30"
    before = parts.sql("SELECT count(*) FROM tasks")
    assert client.post("/notify/", json=body, headers=under_key).status_code == 503, "a repeat, too"
    assert client.get("/health/ready").status_code == 503
    assert parts.sql("SELECT count(*) FROM tasks") == before
    post(client, "smoke@example.com")
    eventually(lambda: told()["submissions_shed_total"] == 2, seconds=5, what="two that were refused")
    parts.sql("UPDATE tasks SET status = 'succeeded', finished_at = now()")
    eventually(lambda: refusal() is None, seconds=5, what="a task that is accepted again")
