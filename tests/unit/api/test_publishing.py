"""Publishing never gets in the way of an answer."""

import threading
import time

from app.api.publishing import PublishingThread
from app.errors import BrokerUnavailable


class Broker:
    """Stands in for app.broker.Publisher: slow or away, as told."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.calls = 0
        self.away = False
        self.hold = threading.Event()
        self.hold.set()

    def publish(self, task_ids: list[str]) -> None:
        self.calls += 1
        self.hold.wait(5)
        if self.away:
            raise BrokerUnavailable("away")
        self.published += task_ids

    def close(self) -> None:
        """Nothing to end."""


def test_everything_that_waits_is_published_before_the_end() -> None:
    broker = Broker()
    thread = PublishingThread(broker)  # type: ignore[arg-type]
    for number in range(50):
        thread.publish([str(number)])
    thread.close()
    assert broker.published == [str(number) for number in range(50)]


def test_what_gathers_while_the_broker_is_busy_is_published_in_one_call() -> None:
    broker = Broker()
    broker.hold.clear()
    thread = PublishingThread(broker)  # type: ignore[arg-type]
    thread.publish(["first"])
    while not broker.calls:
        time.sleep(0.01)
    for number in range(49):
        thread.publish([str(number)])
    broker.hold.set()
    thread.close()
    assert (broker.calls, len(broker.published)) == (2, 50)


def test_a_frozen_broker_delays_nobody_and_its_overflow_is_left() -> None:
    broker = Broker()
    broker.hold.clear()
    thread = PublishingThread(broker)  # type: ignore[arg-type]
    begun = time.monotonic()
    for number in range(1000):
        thread.publish([str(number)])
    assert time.monotonic() - begun < 1
    broker.hold.set()
    thread.close()
    assert len(broker.published) < 1000


def test_after_a_failure_it_pauses_and_then_goes_on() -> None:
    broker = Broker()
    broker.away = True
    thread = PublishingThread(broker, pause_seconds=0.2)  # type: ignore[arg-type]
    thread.publish(["lost"])
    time.sleep(0.1)
    thread.publish(["while it pauses"])
    time.sleep(0.05)
    assert broker.calls == 1
    broker.away = False
    time.sleep(0.2)
    thread.publish(["again"])
    thread.close()
    assert broker.published == ["again"]
