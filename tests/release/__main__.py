"""`make release-drill`: releases, bad ones and restarts under load; ends with 1 when a promise was not held.

EVENTS (names with commas between them, or `short`) makes it shorter, RATE (requests a second) lighter. The
host's live release is the one that all others are made from.
"""

import os
import signal
import sys
import time

from tests.chaos.oracle import Evidence, Verdict, judge
from tests.chaos.stack import ROOT, Stack
from tests.release.events import Drill, Event
from tests.release.host import Host
from tests.release.load import Load, p99_ms
from tests.release.report import Row, table, write

SHORT = ("deploy-1", "roll-back", "settings-refused")
_RATE = 400
# How long the load runs before an event, so that there is something to compare with, and after it.
_QUIET_SECONDS = 8
_AFTER_SECONDS = 2
_SETTLE_SECONDS = 90
# What nobody may notice, and over how many requests a whole drill shows that nobody does.
_UNNOTICED = ("deploy-", "roll-back", "rotate-")
_UNNOTICED_REQUESTS = 100_000
_BEGUN = time.monotonic()


def say(words: str) -> None:
    """A line with how long the drill has taken."""
    seconds = int(time.monotonic() - _BEGUN)
    sys.stdout.write(f"{seconds // 60:3d}:{seconds % 60:02d} {words}\n")
    sys.stdout.flush()


def drill(name: str, event: Event, stack: Stack, rate: float) -> tuple[Row, list[str]]:
    """One event under load: its row, and what was not as promised."""
    event.prepare()
    stack.forget_mails()
    complaints: list[str] = []
    with Load(stack.page, rate=rate) as load:
        time.sleep(_QUIET_SECONDS)
        begun = time.time()
        try:
            event.happen()
        except Exception as error:  # whatever it is, the load has to end and the row to be told
            complaints.append(f"{type(error).__name__}: {error}")
        ended = time.time()
        time.sleep(_AFTER_SECONDS)
    verdict = settle(stack, load.accepted)
    during = [request for request in load.requests if begun <= request.at <= ended]
    outside = [request for request in load.requests if not begun <= request.at <= ended]
    failures = [request for request in load.requests if request.failure]
    row = Row(
        event=name,
        requests=len(load.requests),
        failed=len(failures),
        goal_failed=event.goal_failed,
        accepted=verdict.accepted,
        delivered=verdict.delivered,
        lost=len(verdict.lost),
        duplicates=sum(verdict.duplicates.values()),
        p99_during_ms=p99_ms(during),
        p99_outside_ms=p99_ms(outside),
        seconds=round(ended - begun, 1),
    )
    complaints += row.complaints + verdict.complaints
    if event.goal_failed is not None:
        complaints += [f"at {request.at - begun:.1f} s: {request.failure}" for request in failures[:10]]
    return row, complaints


def settle(stack: Stack, accepted: dict[str, str]) -> Verdict:
    """The verdict once every accepted task has its end, or has had the time for it."""
    ends = time.monotonic() + _SETTLE_SECONDS
    rows = stack.rows(list(accepted))
    while len(rows) < len(accepted) or any(row.finished_at is None for row in rows.values()):
        if time.monotonic() > ends:
            break
        time.sleep(1)
        rows = stack.rows(list(accepted))
    # A copy that is under way would come now.
    time.sleep(0.5)
    return judge(Evidence(accepted, stack.mails(), rows))


def main() -> int:
    """Exit code 0: all as promised."""
    stack = Stack.of_environment()
    events = Drill(Host(stack)).events()
    asked = os.environ.get("EVENTS") or ",".join(events)
    chosen = SHORT if asked == "short" else tuple(asked.split(","))
    if unknown := set(chosen) - set(events):
        sys.stderr.write(f"EVENTS={','.join(sorted(unknown))}: name some of {', '.join(events)}.\n")
        return 2
    # So that what was begun is ended, however this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    rate = float(os.environ.get("RATE") or _RATE)
    rows, wrong = [], 0
    for name in chosen:
        stack.await_well()
        row, complaints = drill(name, events[name], stack, rate)
        rows.append(row)
        wrong += bool(complaints)
        say(
            f"{'✗' if complaints else '✓'} {name}: {row.failed} of {row.requests} failed, {row.seconds:.0f} s"
        )
        for complaint in complaints[:20]:
            sys.stdout.write(f"  {complaint}\n")
    # A part of the events leaves the report of all of them as it is.
    whole = chosen == tuple(events)
    path = ROOT / "reports" / ("release-drill.json" if whole else "release-drill-part.json")
    write(path, rows)
    sys.stdout.write(f"\n{table(rows)}\n\nIn full: {path.relative_to(ROOT)}\n")
    unnoticed = [row for row in rows if row.event.startswith(_UNNOTICED)]
    requests = sum(row.requests for row in unnoticed)
    say(f"Deployments, rollback, rotations: {sum(row.failed for row in unnoticed)} of {requests} failed")
    if whole and requests < _UNNOTICED_REQUESTS:
        sys.stdout.write(f"  A whole drill asks {_UNNOTICED_REQUESTS} times at least. Make RATE larger.\n")
        wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
