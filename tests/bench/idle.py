"""What each part of the stack takes while nobody asks for anything; the database is no part of it."""

import time
from collections.abc import Callable

from tests.bench.behind_nginx import nginx
from tests.bench.figures import Figure, Goal
from tests.bench.parts import Parts, memory_mb
from tests.integration.machine import eventually, run

# Until what starting took is given back, and Flower has heard of the worker.
_SETTLED_SECONDS = 20


def idle(parts: Parts, say: Callable[[str], None]) -> list[Figure]:
    """In megabytes (PSS: what processes share is divided among them), after a task has gone all the way."""
    with parts.ending():
        parts.empty()
        (port,) = parts.ours(0)
        api = parts.machine.processes[-1]
        worker = parts.our_worker(0, smtp_port=parts.sink(0))
        socket = parts.machine.directory / "flower.sock"
        flower = parts.run_module("tests.bench.idle_flower", socket)
        eventually(socket.exists, what="Flower")
        with nginx(parts, [port]) as (ports, container):
            parts.ended(ports[0], 1)
            time.sleep(_SETTLED_SECONDS)
            taken = {
                "worker": memory_mb(worker.popen.pid),
                "API": memory_mb(api.popen.pid),
                "Flower": memory_mb(flower.popen.pid),
                "nginx": memory_mb(_pid(container)),
                "Redis": memory_mb(_pid(parts.machine.redis.name)),
            }
    for name, megabytes in taken.items():
        say(f"{name}: {megabytes:.0f} MB")
    total = sum(taken.values())
    whole = Figure(
        "memory at idle, the stack", total, None, total, Goal(256, at_least=False, unit="MB"), "MB"
    )
    return [
        whole,
        *(Figure(f"memory at idle, {name}", mb, None, mb, None, "MB") for name, mb in taken.items()),
    ]


def _pid(container: str) -> int:
    """Of its first process, as this machine numbers it."""
    return int(run("docker", "inspect", "--format", "{{.State.Pid}}", container))
