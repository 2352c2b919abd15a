"""From accepting a task to its end: the time at light load, and tasks a second for 128 clients that wait."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from tests.bench.clients import many, one_by_one, our_store, peers_store
from tests.bench.figures import Figure, Goal, difference, in_rounds, median, ratio
from tests.bench.parts import Parts

CLIENTS = 128
_TASKS = 60
_SECONDS = 4
_ROUND_TRIPS, _MORE_MS = 3, 2


@dataclass(frozen=True)
class Ends:
    """What one round saw."""

    p50_ms: float
    per_second: float

    def __str__(self) -> str:
        return f"{self.p50_ms:.1f} ms, {self.per_second:.0f} tasks/s"


def ends(parts: Parts, rounds: int, delay_ms: int, say: Callable[[str], None]) -> list[Figure]:
    """A task does nothing on either side, so that the way is measured and not the mail."""
    with parts.ending():
        tutorial, ours = parts.peer("tutorial", copies=2), parts.ours(delay_ms, copies=2)
        names = {"the tutorial": 1, "two of the tutorial": 2, "ours": 1, "two of ours": 2}

        def measure(name: str, copies: int) -> Callable[[], Ends]:
            def once() -> Ends:
                parts.empty()
                with parts.ending():
                    if name.endswith("ours"):
                        ports, store = ours[:copies], our_store(parts.machine)
                        for _ in range(copies):
                            parts.our_worker(delay_ms)
                    else:
                        ports, store = tutorial[:copies], peers_store(parts.peers_redis_url())
                        for _ in range(copies):
                            parts.peers_worker()
                    one_by_one(ports, store, 10)
                    light = one_by_one(ports, store, _TASKS)
                    return Ends(
                        statistics.median(light), many(ports, store, clients=CLIENTS, seconds=_SECONDS)
                    )

            return once

        found = in_rounds(rounds, {name: measure(name, copies) for name, copies in names.items()}, say)
    return _figures(found, delay_ms)


def _figures(found: dict[str, list[Ends]], delay_ms: int) -> list[Figure]:
    p50 = {name: median(rounds, lambda ends: ends.p50_ms) for name, rounds in found.items()}
    rate = {name: median(rounds, lambda ends: ends.per_second) for name, rounds in found.items()}
    where = f"database at {delay_ms} ms"
    figures = []
    for ours, peer, of in (
        ("ours", "the tutorial", ""),
        ("two of ours", "two of the tutorial", ", two of each"),
    ):
        name = f"accept to done, p50 ms{of}, {where}"
        if delay_ms:
            limit = Goal(_ROUND_TRIPS * delay_ms + _MORE_MS, at_least=False, unit="ms")
            figures.append(difference(name, p50[ours], p50[peer], limit))
        else:
            figures.append(ratio(name, p50[ours], p50[peer], Goal(1.1, at_least=False)))
        goal = None if delay_ms else Goal(1.2)
        figures.append(ratio(f"tasks/s, {CLIENTS} clients{of}, {where}", rate[ours], rate[peer], goal))
    figures.append(ratio(f"tasks/s, what a second of ours adds, {where}", rate["two of ours"], rate["ours"]))
    return figures
