"""`make bench`: the project and its peers side by side on this machine; ends with 1 when a goal is missed.

ROUNDS, ROWS and ONLY (some of post, get, done, mails, millions, idle, nginx) make it shorter and weaker.
"""

import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.accepting import gets, posts
from tests.bench.behind_nginx import behind_nginx
from tests.bench.ending import ends
from tests.bench.figures import Figure
from tests.bench.idle import idle
from tests.bench.mails import mails
from tests.bench.millions import millions
from tests.bench.parts import CONNECTIONS, DELAY_MS, Parts, parts
from tests.bench.report import write
from tests.integration.machine import ROOT

REPORTS = ROOT / "reports"
LINES = ("post", "get", "done", "mails", "millions", "idle", "nginx")
_BEGUN = time.monotonic()


def say(words: str) -> None:
    """A line with how long the run has taken."""
    seconds = int(time.monotonic() - _BEGUN)
    sys.stdout.write(f"{seconds // 60:3d}:{seconds % 60:02d} {words}\n")
    sys.stdout.flush()


def measure(found: Parts, only: tuple[str, ...], rounds: int, rows: int) -> tuple[list[Figure], list[Figure]]:
    """The figures, and those behind nginx."""
    lines: dict[str, Callable[..., list[Figure]]] = {"post": posts, "get": gets, "done": ends, "mails": mails}
    figures: list[Figure] = []
    for line in only:
        for delay_ms in (0, DELAY_MS) if line in lines else ():
            say(f"→ {line}, the database at {delay_ms} ms")
            figures += lines[line](found, rounds, delay_ms, say)
    if "millions" in only:
        say("→ millions")
        figures += millions(found, rounds, rows, say)
    if "idle" in only:
        say("→ idle")
        figures += idle(found, say)
    reported: list[Figure] = []
    if "nginx" in only:
        say("→ nginx")
        reported = behind_nginx(found, rounds, say)
    return figures, reported


def main() -> int:
    """Exit code 0: every goal that was measured is reached."""
    rounds, rows = int(os.environ.get("ROUNDS") or 3), int(os.environ.get("ROWS") or 10_000_000)
    only = tuple((os.environ.get("ONLY") or " ".join(LINES)).replace(",", " ").split())
    if unknown := set(only) - set(LINES):
        sys.stderr.write(f"ONLY={' '.join(sorted(unknown))}: name some of {', '.join(LINES)}.\n")
        return 2
    # So that what was started is ended, however this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    say("→ PostgreSQL and Redis")
    with tempfile.TemporaryDirectory(prefix="steadfast-bench-") as directory, parts(Path(directory)) as found:
        figures, reported = measure(found, only, rounds, rows)
    conditions = (
        f"{os.cpu_count()} cores, Python {platform.python_version()}, {CONNECTIONS} connections, "
        f"medians of {rounds} rounds; only ratios within one run count"
    )
    sys.stdout.write(f"\n{write(REPORTS, figures, reported, conditions)}\n\n")
    missed = [figure for figure in figures if figure.reached is False]
    for figure in missed:
        sys.stderr.write(f"✗ {figure.figure}: {figure.value:.3g} {figure.unit}, the goal is {figure.goal}\n")
    say(f"Table, figures and picture are in {REPORTS.relative_to(ROOT)}/bench.{{md,json,svg}}.")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
