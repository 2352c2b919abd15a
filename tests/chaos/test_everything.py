"""Everything at once, for minutes, by chance."""

import contextlib
import random
import threading
import time
from collections.abc import Callable

from tests.chaos.stack import command
from tests.chaos.trial import Trial

_SECONDS = 120
# Of some forty; the other breaker, or a slow machine, may be in the way of some.
_FAULTS_AT_LEAST = 20
# What the mail server took three times without an answer waits 320 seconds, a fifth more or less, and what it
# failed five times 5 + 10 + 20 + 40 + 80: so the pauses are set, and that is no fault.
_PAUSES_SECONDS = 390


def test_everything(trial: Trial, seed: int) -> None:
    """Two breakers side by side, each with the next fault of its own dice; the load goes on."""
    ends = time.monotonic() + _SECONDS
    took_hold: list[str] = []
    breakers = [
        threading.Thread(target=break_things, args=(trial, chance, ends, took_hold))
        for chance in (random.Random(seed * 10), random.Random(seed * 10 + 1))  # noqa: S311
    ]
    with trial.load(rate=8, kinds=("", "slow-1", "defer-1", "")):
        for breaker in breakers:
            breaker.start()
        for breaker in breakers:
            breaker.join()
        command("docker", "start", f"{trial.stack.name}-rds")
        trial.stack.await_well()
        trial.over()
    trial.figures["faults"] = len(took_hold)
    trial.require(len(took_hold) >= _FAULTS_AT_LEAST, f"only {len(took_hold)} faults took hold")
    trial.conclude(settle_seconds=_PAUSES_SECONDS + 60, limit_seconds=_PAUSES_SECONDS)


def break_things(trial: Trial, chance: random.Random, ends: float, took_hold: list[str]) -> None:
    """One fault after the other. One that the other breaker's made impossible is no matter."""
    while time.monotonic() < ends:
        fault = chance.choice([*_FAULTS])
        seconds = chance.uniform(1, 6)
        trial.say(f"  {trial.name}: {fault} ({seconds:.1f} s)")
        with contextlib.suppress(AssertionError):
            _FAULTS[fault](trial, seconds)
            took_hold.append(fault)
        time.sleep(chance.uniform(1, 5))


def _freeze(trial: Trial, service: str, seconds: float) -> None:
    with trial.stack.frozen(service):
        time.sleep(seconds)


def _without_database(trial: Trial, seconds: float) -> None:
    with trial.stack.database_away():
        time.sleep(seconds)


def _misbehave(trial: Trial, behaviour: str, seconds: float) -> None:
    with trial.stack.mail_server(behaviour):
        time.sleep(seconds)


def _silence(trial: Trial, seconds: float) -> None:
    with trial.stack.network("redis").dropping(6379):
        time.sleep(seconds)


_FAULTS: dict[str, Callable[[Trial, float], None]] = {
    "the worker is killed": lambda trial, _: trial.stack.kill("worker"),
    "the API is killed": lambda trial, _: trial.stack.kill("api"),
    "Redis is killed": lambda trial, _: trial.stack.kill("redis"),
    "nginx is killed": lambda trial, _: trial.stack.kill("nginx"),
    "Redis forgets everything": lambda trial, _: trial.stack.flush_redis(),
    "the worker is frozen": lambda trial, seconds: _freeze(trial, "worker", seconds),
    "Redis is frozen": lambda trial, seconds: _freeze(trial, "redis", seconds),
    "the database is away": _without_database,
    "Redis is not heard": _silence,
    "the mail server is closed": lambda trial, seconds: _misbehave(trial, "closed", seconds),
    "the mail server drops its answers": lambda trial, seconds: _misbehave(trial, "drop", seconds),
}
