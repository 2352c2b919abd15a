"""The API and nginx die: what got its 202 is delivered, and what got none is stored once, if repeated."""

import random
import time

import pytest

from tests.chaos.stack import eventually
from tests.chaos.trial import Trial

_RELOAD = ("nginx", "-c", "/etc/steadfast/nginx.conf", "-s", "reload")
# As soon as it is free, for three seconds.
_TAKE_PORT = (
    "timeout 20 python3 -c 'import socket, time\n"
    "while True:\n"
    '  try: taken = socket.create_server(("", 8501)); break\n'
    "  except OSError: pass\n"
    "time.sleep(3)'"
)


def test_api_killed_at_random(trial: Trial, seed: int) -> None:
    """Six times in the middle of requests; each client repeats with its key."""
    chance = random.Random(seed)  # noqa: S311
    with trial.load(rate=30, threads=24):
        for _ in range(6):
            time.sleep(chance.uniform(1, 5))
            trial.stack.kill("api")
            eventually(lambda: trial.stack.pid("api"), seconds=60, what="the engine starts the API again")
        eventually(lambda: trial.stack.is_up("api"), seconds=60, what="the API is back")
        trial.over()
        time.sleep(2)
    trial.conclude(settle_seconds=60, limit_seconds=30)


@pytest.mark.short
def test_api_killed_between_commit_and_publish(trial: Trial) -> None:
    """Stored and answered, and no message of it ever leaves."""
    stack = trial.stack
    with stack.network("api").dropping(6379):
        trial.submit(15)
        stack.kill("api")
        trial.over()
    assert all(task_id in stack.rows([task_id]) for task_id in trial.clients.accepted)
    eventually(lambda: stack.is_up("api"), seconds=60, what="the API is back")
    trial.conclude(settle_seconds=60, limit_seconds=20)


def test_nginx_killed(trial: Trial) -> None:
    """Three times under load."""
    with trial.load(rate=20, threads=24):
        for _ in range(3):
            time.sleep(3)
            trial.stack.kill("nginx")
        eventually(lambda: trial.stack.is_up("nginx"), seconds=60, what="nginx is back")
        trial.over()
        time.sleep(2)
    trial.conclude(settle_seconds=60, limit_seconds=20)


def test_nginx_given_up(trial: Trial) -> None:
    """Its port is taken for a moment: the engine's one try to start it fails; the host's watch comes next."""
    name = trial.stack.container("nginx")
    kill = f"kill -9 {trial.stack.pid('nginx')}"
    with trial.load(rate=20, threads=24):
        time.sleep(2)
        trial.stack.host("sh", "-c", f"{kill}; {_TAKE_PORT}")
        error = trial.stack.host("docker", "inspect", "--format", "{{.State.Error}}", name)
        trial.require("address already in use" in error, f"the engine did not give up: {error!r}")
        eventually(lambda: trial.stack.is_up("nginx"), seconds=60, what="nginx is back")
        trial.over()
        time.sleep(2)
    trial.conclude(settle_seconds=60, limit_seconds=20)


def test_nginx_reloaded(trial: Trial) -> None:
    """Ten times under load."""
    with trial.load(rate=20, threads=24):
        for _ in range(10):
            time.sleep(1)
            # As a deployment does. `docker kill --signal=HUP` would count as stopped by hand: see stack.py.
            trial.stack.host("docker", "exec", trial.stack.container("nginx"), *_RELOAD)
        trial.over()
        time.sleep(2)
    trial.conclude(settle_seconds=60, limit_seconds=20)
