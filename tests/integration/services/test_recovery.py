"""The relay: what is due and not with a worker is published, and nothing is published too often."""

import threading
import time
from typing import Any

import pytest

from app.broker import Publisher
from app.db import repository
from app.db.session import Database
from app.errors import BrokerUnavailable, DatabaseUnavailable
from app.relay import run as run_relay
from app.services import recovery
from app.services.recovery import Recovery
from app.services.submission import Receipt, Submission, SubmissionRules, submit
from app.settings import ApiSettings, WorkerSettings, load
from tests.integration.machine import Machine, eventually

DUE = "UPDATE tasks SET publish_at = now()"


class Broker:
    """Stands in for app.broker.Publisher."""

    def __init__(self, depth: int = 0) -> None:
        self.waiting = depth
        self.published: list[str] = []

    def publish(self, task_ids: list[str]) -> None:
        self.published += task_ids

    def depth(self) -> int:
        return self.waiting


def republish(database: Database, broker: Any) -> int:
    """One round of a relay."""
    return Recovery(database, broker, interval_seconds=1).round()


def store(database: Database, count: int) -> list[str]:
    submissions = [Submission("notify", {"email": f"a{number}@example.com"}) for number in range(count)]
    answers = submit(database, submissions, SubmissionRules(5, ""))
    return [answer.task_id for answer in answers if isinstance(answer, Receipt)]


def test_a_new_task_is_left_alone_until_its_first_message_must_be_lost(
    database: Database, parts: Machine
) -> None:
    ids = store(database, 3)
    broker = Broker()
    assert republish(database, broker) == 0
    parts.sql("UPDATE tasks SET publish_at = publish_at - interval '5 seconds'")
    assert republish(database, broker) == 3
    assert sorted(broker.published) == sorted(ids)
    assert republish(database, broker) == 0, "and then again for a while"


def test_what_is_not_claimed_is_published_again_after_a_few_seconds(
    database: Database, parts: Machine
) -> None:
    store(database, 1)
    for due in ("1 second", "3 hours"):
        parts.sql(f"UPDATE tasks SET publish_at = now(), next_run_at = now() - interval '{due}'")
        assert republish(database, Broker()) == 1
        ((seconds,),) = parts.sql("SELECT extract(epoch FROM publish_at - now())::float FROM tasks")
        assert seconds == pytest.approx(5, abs=1)


@pytest.mark.parametrize("held_up", ["an outage", "a freeze"])
def test_after_a_hold_up_the_holder_of_a_lease_is_first_given_time_to_record(
    database: Database, parts: Machine, monkeypatch: pytest.MonkeyPatch, held_up: str
) -> None:
    monkeypatch.setattr(recovery, "_CALM_SECONDS", 1)
    expired, waiting = store(database, 2)
    parts.sql(DUE)
    parts.sql(f"UPDATE tasks SET status = 'running', lease_expires_at = now() WHERE id = '{expired}'")
    broker = Broker()
    relay = Recovery(database, broker, interval_seconds=0.1)
    if held_up == "an outage":
        with parts.postgres.frozen(), pytest.raises(DatabaseUnavailable):
            relay.round()
        # The server may have done that round's statement after all, when nobody listened any more.
        eventually(lambda: parts.sql("SELECT 1"), what="the database's return")
        parts.sql(DUE)
    else:
        monkeypatch.setattr(relay, "_last_round_at", time.monotonic() - 60)
    assert relay.round() == 1
    assert broker.published == [waiting]
    eventually(lambda: relay.round() == 1, what="the end of the calm")
    assert broker.published == [waiting, expired]


@pytest.mark.parametrize(
    ("state", "published"),
    [
        ("status = 'retrying', publish_at = now()", 1),
        ("status = 'running', lease_expires_at = now(), publish_at = now()", 1),
        ("status = 'running', publish_at = now() + interval '1 minute'", 0),
        ("status = 'succeeded', publish_at = now()", 0),
        ("status = 'failed', publish_at = now()", 0),
        ("status = 'cancelled', publish_at = now()", 0),
    ],
)
def test_only_unfinished_tasks_whose_time_has_come(
    database: Database, parts: Machine, state: str, published: int
) -> None:
    store(database, 1)
    parts.sql(f"UPDATE tasks SET {state}")
    assert republish(database, Broker()) == published


def test_a_long_queue_is_not_made_longer(database: Database, parts: Machine) -> None:
    store(database, 1500)
    parts.sql(DUE)
    assert republish(database, Broker(depth=0)) == 1000
    parts.sql(DUE)
    assert republish(database, Broker(depth=700)) == 300
    parts.sql(DUE)
    assert republish(database, Broker(depth=5_000)) == 10
    parts.sql(DUE)
    assert republish(database, Broker(depth=50_000)) == 0, "or it would grow for ever while no worker runs"


def test_more_is_due_while_a_backlog_is_larger_than_what_the_broker_is_given(
    database: Database, parts: Machine
) -> None:
    store(database, 1500)
    parts.sql(DUE)
    broker = Broker()
    relay = Recovery(database, broker, interval_seconds=1)

    def one_round(depth: int) -> tuple[int, bool]:
        broker.waiting = depth
        return relay.round(), relay.more_is_due

    assert one_round(0) == (1000, True)
    assert one_round(800) == (200, True)
    assert one_round(1000) == (10, False), "the queue is full"
    assert one_round(0) == (290, False), "nothing is left"


def test_a_freeze_while_the_broker_is_asked_is_heeded(database: Database, parts: Machine) -> None:
    (expired,) = store(database, 1)
    parts.sql(f"UPDATE tasks SET status = 'running', lease_expires_at = now() WHERE id = '{expired}'")
    parts.sql(DUE)
    relay = Recovery(database, broker := Broker(), interval_seconds=0.1)

    class FreezesHere(Broker):
        def depth(self) -> int:
            relay._last_round_at -= 60
            return 0

    relay._broker = FreezesHere()
    assert relay.round() == 0, "its holder may be recording now"
    relay._broker = broker
    relay._calm_until = 0
    assert relay.round() == 1


class Pauses(threading.Event):
    """Waits for nothing and notes how long it should have; with the third pause all is over."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        return len(self.seconds) > 2


def test_while_more_is_due_the_relay_comes_back_sooner(
    database: Database, parts: Machine, worker_settings: WorkerSettings
) -> None:
    store(database, 1500)
    parts.sql(DUE)
    pauses = Pauses()
    run_relay(worker_settings.model_copy(update={"relay_interval_seconds": 1.0}), database, pauses)
    assert pauses.seconds == [1, 0.2, 1], "usual, more is due, the queue is full"
    assert parts.redis_cli("LLEN", "steadfast") == "1010"


def test_two_relays_share_the_work(database: Database, parts: Machine) -> None:
    ids = store(database, 600)
    parts.sql(DUE)
    brokers = [Broker(depth=700) for _ in range(2)]
    barrier = threading.Barrier(2)

    def work(broker: Broker) -> None:
        barrier.wait()
        republish(database, broker)

    threads = [threading.Thread(target=work, args=(broker,)) for broker in brokers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(brokers[0].published + brokers[1].published) == sorted(ids)


def test_a_broker_that_is_away_costs_no_task_its_turn(database: Database, parts: Machine) -> None:
    store(database, 1)
    parts.sql(DUE)
    publisher = Publisher(load(ApiSettings))
    with parts.redis.stopped(), pytest.raises(BrokerUnavailable):
        republish(database, publisher)
    assert parts.sql("SELECT publish_at <= now() FROM tasks") == [(True,)]
    parts.wait_ready()
    assert republish(database, publisher) == 1
    assert publisher.depth() == 1
    publisher.close()


def test_the_search_for_unpublished_tasks_uses_its_index(database: Database, parts: Machine) -> None:
    store(database, 2000)
    parts.sql("UPDATE tasks SET status = 'succeeded'")
    store(database, 5)
    parts.sql("ANALYZE tasks")
    plan = parts.sql(
        "EXPLAIN SELECT id FROM tasks WHERE status IN ('queued', 'running', 'retrying')"
        " AND publish_at <= now() ORDER BY publish_at LIMIT 10"
    )
    assert "tasks_publish_at" in str(plan)
    with database.connection() as connection:
        assert repository.oldest_due_seconds(connection) < 60
    plan = parts.sql(
        "EXPLAIN SELECT min(coalesce(lease_expires_at, next_run_at)) FROM tasks"
        " WHERE status IN ('queued', 'running', 'retrying')"
    )
    assert "tasks_due_at" in str(plan)
