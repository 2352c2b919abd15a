"""Processes that are told to end, and one that is killed."""

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.integration.conftest import Mailbox
from tests.integration.machine import Machine, eventually, final, free_port, post


def test_a_worker_that_is_told_to_end_finishes_what_it_began(
    api: httpx.Client, started: Machine, mailbox: Mailbox
) -> None:
    worker = started.start("worker", SMTP_PORT=str(mailbox.port))
    worker.says(" ready.")
    mailbox.delay_seconds = 2
    task_id = post(api, "someone@example.com")
    eventually(lambda: api.get(f"/task_status/{task_id}").json()["status"] == "running")
    assert worker.end() == 0
    task = api.get(f"/task_status/{task_id}").json()
    assert (task["status"], task["attempts"]) == ("succeeded", 1)


def test_a_worker_that_is_told_to_end_gives_back_what_it_had_fetched(
    api: httpx.Client, started: Machine, mailbox: Mailbox
) -> None:
    """Without a relay, so that nothing else can bring it back."""
    settings = {"SMTP_PORT": str(mailbox.port), "WORKER_CONCURRENCY": "2", "RELAY_INTERVAL_SECONDS": "3600"}
    old = started.start("worker", **settings)
    old.says(" ready.")
    mailbox.delay_seconds = 3
    ids = [post(api, f"a{number}@example.com") for number in range(8)]
    eventually(lambda: started.sql("SELECT count(*) FROM tasks WHERE status = 'running'") == [(2,)])
    new = started.start("worker", **settings)
    new.says(" ready.")
    assert old.end() == 0
    mailbox.delay_seconds = 0
    assert {final(api, one)["status"] for one in ids} == {"succeeded"}
    assert started.sql("SELECT max(attempts) FROM tasks") == [(1,)]
    (said,) = [json.loads(line) for line in old.log.read_text().splitlines() if "worker.drained" in line]
    assert said["finished"] == 2
    assert said["given_back"] >= 1
    assert said["left_to_relay"] == 0


def test_a_worker_that_is_killed_loses_nothing(api: httpx.Client, started: Machine, mailbox: Mailbox) -> None:
    """Both the task it was doing and those that it had fetched: Redis does not have them any more."""
    short = {"SMTP_PORT": str(mailbox.port), "LEASE_SECONDS": "6", "SMTP_TIMEOUT_SECONDS": "3",
             "DATABASE_TIMEOUT_SECONDS": "0.7", "WORKER_CONCURRENCY": "1"}  # fmt: skip
    first = started.start("worker", **short)
    first.says(" ready.")
    mailbox.delay_seconds = 1.5
    ids = [post(api, f"a{number}@example.com") for number in range(3)]
    eventually(lambda: any(api.get(f"/task_status/{one}").json()["status"] == "running" for one in ids))
    assert first.end(signal.SIGKILL) == -signal.SIGKILL
    mailbox.delay_seconds = 0
    started.start("worker", **short).says(" ready.")
    ended = [final(api, one, seconds=40) for one in ids]
    assert {task["status"] for task in ended} == {"succeeded"}
    assert sorted(task["attempts"] for task in ended) == [1, 1, 2]
    assert started.sql("SELECT sum(deaths) FROM tasks") == [(1,)]


def test_the_api_answers_and_stores_what_it_began_when_it_is_told_to_end(started: Machine) -> None:
    """Sixteen clients under way; the signal comes while a request of each waits for the database."""
    port = free_port()
    process = started.start("api", "--port", str(port), DATABASE_TIMEOUT_SECONDS="10")
    process.says("Uvicorn running")
    accepted: list[list[str]] = [[] for _ in range(16)]

    def ask_on(number: int, ids: list[str]) -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            for count in range(1000):
                try:
                    ids.append(post(client, f"a{count}@client{number}.example.com"))
                except httpx.TransportError:
                    return
        raise AssertionError("the requests ended before the API did")

    with ThreadPoolExecutor(16) as pool:
        clients = [pool.submit(ask_on, number, ids) for number, ids in enumerate(accepted)]
        eventually(lambda: all(len(ids) >= 5 for ids in accepted), what="answers to everybody")
        with started.tasks_locked():
            time.sleep(0.5)
            before = [len(ids) for ids in accepted]
            process.popen.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert [len(ids) for ids in accepted] == before
        begun = time.monotonic()
        # uvicorn ends itself by the same signal once it is done.
        assert process.popen.wait(30) == -signal.SIGTERM
        assert time.monotonic() - begun < 5
        for client in clients:
            client.result()
    assert [len(ids) for ids in accepted] == [count + 1 for count in before]
    assert "Application shutdown complete" in process.log.read_text()
    stored = {task_id for (task_id,) in started.sql("SELECT id FROM tasks")}
    assert {task_id for ids in accepted for task_id in ids} == stored
