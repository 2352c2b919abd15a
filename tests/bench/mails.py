"""Mails a second from one worker while the mail server takes 50 ms for each, and what memory that takes."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.figures import Figure, Goal, in_rounds, median
from tests.bench.parts import Parts, memory_mb, wrk
from tests.integration.machine import Process, eventually

_SERVER_MS = 50
_THREADS = "32"
_WARM_SECONDS = 2.0
_SECONDS = 8.0
_WAITING = 6000


@dataclass(frozen=True)
class Mails:
    """What one round saw."""

    per_second: float
    memory_mb: float

    def __str__(self) -> str:
        return f"{self.per_second:.0f} mails/s, {self.memory_mb:.0f} MB"


def mails(parts: Parts, rounds: int, delay_ms: int, say: Callable[[str], None]) -> list[Figure]:
    """Claiming and recording included; the tutorial's worker beside it, with a process for each core."""
    with parts.ending():
        sink, tutorial, ours = parts.sink(_SERVER_MS), parts.peer("tutorial"), parts.ours(delay_ms)

        def us() -> Mails:
            _fill(parts, ours, parts.stored, _WAITING)
            with parts.ending():
                worker = parts.our_worker(delay_ms, smtp_port=sink, WORKER_CONCURRENCY=_THREADS)
                return _measured(worker, parts.ours_done)

        def them() -> Mails:
            _fill(parts, tutorial, parts.peers_waiting, _WAITING // 10)
            with parts.ending():
                return _measured(parts.peers_worker(smtp_port=sink), parts.peers_done)

        found = in_rounds(rounds, {"the tutorial": them, "ours": us}, say)
    rate = {name: median(seen, lambda mails: mails.per_second) for name, seen in found.items()}
    memory = {name: median(seen, lambda mails: mails.memory_mb) for name, seen in found.items()}
    ours_rate, ours_memory, where = rate["ours"], memory["ours"], f"database at {delay_ms} ms"
    name = f"mails/s from one worker, {where}"
    goals = (None, None) if delay_ms else (Goal(400, unit="/s"), Goal(100, at_least=False, unit="MB"))
    return [
        Figure(name, ours_rate, rate["the tutorial"], ours_rate, goals[0], "/s"),
        Figure(f"its memory, {where}", ours_memory, memory["the tutorial"], ours_memory, goals[1], "MB"),
    ]


def _fill(parts: Parts, ports: list[int], waiting: Callable[[], int], enough: int) -> None:
    parts.empty()
    while waiting() < enough:
        wrk(ports, 1)


def _measured(worker: Process, done: Callable[[], int]) -> Mails:
    eventually(done, seconds=30, what="a first mail")
    time.sleep(_WARM_SECONDS)
    before, begun = done(), time.perf_counter()
    time.sleep(_SECONDS)
    rate = (done() - before) / (time.perf_counter() - begun)
    return Mails(rate, memory_mb(worker.popen.pid))
