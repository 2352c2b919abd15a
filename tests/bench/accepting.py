"""POST /notify/ and GET /task_status/: requests a second, with one API process and with two."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.figures import Figure, Goal, in_rounds, median, ratio
from tests.bench.parts import Load, Parts, wrk
from tests.integration.machine import eventually

_WARM_SECONDS = 1
_SECONDS = 4
_IDS = 500

Say = Callable[[str], None]


def posts(parts: Parts, rounds: int, delay_ms: int, say: Say) -> list[Figure]:
    """No worker runs: what is accepted waits in the broker, and all of it has to be there."""
    with parts.ending():
        tutorial, ours = parts.peer("tutorial", copies=2), parts.ours(delay_ms, copies=2)
        targets = {
            "the tutorial": tutorial[:1],
            "two of the tutorial": tutorial,
            "the tutorial with an ORM": parts.peer("tutorial_orm", delay_ms),
            "the floor": parts.peer("floor"),
            "ours": ours[:1],
            "two of ours": ours,
        }

        def measure(name: str) -> Callable[[], Load]:
            def once() -> Load:
                parts.empty()
                wrk(targets[name], _WARM_SECONDS)
                load = wrk(targets[name], _SECONDS)
                if name.endswith("ours"):
                    eventually(lambda: parts.waiting() == parts.stored(), what="everything published")
                return load

            return once

        found = in_rounds(rounds, {name: measure(name) for name in targets}, say)
    return _post_figures(found, delay_ms)


def _post_figures(found: dict[str, list[Load]], delay_ms: int) -> list[Figure]:
    rate = {name: median(loads, lambda load: load.per_second) for name, loads in found.items()}
    p99 = {name: median(loads, lambda load: load.p99_ms) for name, loads in found.items()}
    far = bool(delay_ms)
    where = f"database at {delay_ms} ms"
    tutorial, ours = rate["the tutorial"], rate["ours"]
    return [
        ratio(f"POST/s, {where}", ours, tutorial, Goal(2.0 if far else 2.5)),
        ratio(f"POST p99 ms, {where}", p99["ours"], p99["the tutorial"], Goal(1, at_least=False)),
        ratio(f"POST/s, two of ours, {where}", rate["two of ours"], tutorial, Goal(2.0 if far else 3.0)),
        ratio(
            f"POST p99 ms, two of ours, {where}",
            p99["two of ours"], p99["the tutorial"], Goal(1, at_least=False),
        ),
        ratio(f"POST/s against the floor, {where}", ours, rate["the floor"], None if far else Goal(0.8)),
        ratio(f"POST/s against the tutorial with an ORM, {where}", ours, rate["the tutorial with an ORM"]),
        ratio(f"POST/s, two of each, {where}", rate["two of ours"], rate["two of the tutorial"]),
        ratio(f"POST/s, what a second of ours adds, {where}", rate["two of ours"], ours),
    ]  # fmt: skip


def gets(parts: Parts, rounds: int, delay_ms: int, say: Say) -> list[Figure]:
    """Of tasks that have ended, many ids in turn."""
    with parts.ending():
        tutorial, ours = parts.peer("tutorial", copies=2), parts.ours(delay_ms, copies=2)
        parts.empty()
        with parts.ending():
            parts.peers_worker()
            parts.our_worker(0)
            ids = {"the tutorial": parts.ended(tutorial[0], _IDS), "ours": parts.ended(ours[0], _IDS)}
        targets: dict[str, tuple[Sequence[int], Path]] = {
            "the tutorial": (tutorial[:1], ids["the tutorial"]),
            "two of the tutorial": (tutorial, ids["the tutorial"]),
            "ours": (ours[:1], ids["ours"]),
            "two of ours": (ours, ids["ours"]),
        }

        def measure(name: str) -> Callable[[], Load]:
            ports, file = targets[name]

            def once() -> Load:
                wrk(ports, _WARM_SECONDS, ids=file)
                return wrk(ports, _SECONDS, ids=file)

            return once

        found = in_rounds(rounds, {name: measure(name) for name in targets}, say)
    rate = {name: median(loads, lambda load: load.per_second) for name, loads in found.items()}
    where = f"database at {delay_ms} ms"
    return [
        ratio(f"GET/s, {where}", rate["ours"], rate["the tutorial"], None if delay_ms else Goal(1)),
        ratio(f"GET/s, two of each, {where}", rate["two of ours"], rate["two of the tutorial"]),
        ratio(f"GET/s, what a second of ours adds, {where}", rate["two of ours"], rate["ours"]),
    ]
