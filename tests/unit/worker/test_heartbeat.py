"""Alive means that the loop turns, or that it has an excuse."""

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.errors import BrokerUnavailable, DatabaseUnavailable
from app.worker import heartbeat as module
from app.worker.heartbeat import Heartbeat


class Clock:
    """Stands in for time.monotonic."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Broker:
    """Stands in for app.broker.Publisher."""

    away = False

    def depth(self) -> int:
        if self.away:
            raise BrokerUnavailable("away")
        return 0


class Away:
    """Stands in for app.db.session.Database: it is away."""

    @contextmanager
    def connection(self) -> Any:
        raise DatabaseUnavailable
        yield


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module.time, "monotonic", clock)
    return clock


def made(tmp_path: Path) -> tuple[Heartbeat, Broker]:
    broker = Broker()
    beat = Heartbeat(Away(), broker, node="n@h", release="r", file=tmp_path / "alive")  # type: ignore[arg-type]
    return beat, broker


def test_a_loop_that_turns_is_alive(clock: Clock, tmp_path: Path) -> None:
    beat, _ = made(tmp_path)
    for _ in range(100):
        clock.now += 10
        beat.tick()
        assert beat.alive()


def test_a_loop_that_is_stuck_while_redis_answers_is_not_alive(clock: Clock, tmp_path: Path) -> None:
    beat, _ = made(tmp_path)
    clock.now += 20
    assert beat.alive(), "it may still be about to reconnect"
    clock.now += 100
    assert not beat.alive()
    beat.tick()
    assert beat.alive()


def test_redis_away_is_an_excuse_however_long(clock: Clock, tmp_path: Path) -> None:
    beat, broker = made(tmp_path)
    broker.away = True
    for _ in range(20):
        clock.now += 60
        assert beat.alive()
    broker.away = False
    clock.now += 5
    assert beat.alive()
    clock.now += 100
    assert not beat.alive()


def test_the_database_away_does_not_stop_the_beat(tmp_path: Path) -> None:
    beat, _ = made(tmp_path)
    stop = threading.Event()
    stop.set()
    beat.run(stop)
    assert (tmp_path / "alive").exists()


def test_a_disk_that_is_full_does_not_stop_the_beat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beat, _ = made(tmp_path)
    stop = threading.Event()
    stop.set()

    def full(_: Path) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "touch", full)
    with capture_logs() as lines:
        beat.run(stop)
    assert [line["event"] for line in lines] == ["heartbeat.broke"]


def test_a_worker_that_is_alive_says_so_once_a_minute(clock: Clock, tmp_path: Path) -> None:
    beat, _ = made(tmp_path)
    stop = threading.Event()
    stop.set()
    with capture_logs() as lines:
        for _ in range(36):
            beat.tick()
            beat.run(stop)
            clock.now += 5
    assert [line["event"] for line in lines].count("worker.alive") == 3


def test_a_worker_that_is_stuck_says_nothing_of_the_kind(clock: Clock, tmp_path: Path) -> None:
    beat, _ = made(tmp_path)
    clock.now += 20
    beat.alive()
    clock.now += 100
    stop = threading.Event()
    stop.set()
    with capture_logs() as lines:
        beat.run(stop)
    assert [line["event"] for line in lines] == ["worker.stuck"]
