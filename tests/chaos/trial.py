"""One row of the matrix: load, a fault, the time until all is well again, and the verdict."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.chaos.load import Clients, Load, Watch
from tests.chaos.oracle import Evidence, Row, Verdict, judge
from tests.chaos.report import Report, Result, result
from tests.chaos.stack import Stack


@dataclass
class Trial:
    """What a test holds; at its end it calls `conclude`."""

    name: str
    stack: Stack
    report: Report
    say: Callable[[str], None]
    clients: Clients
    # From when recovery counts: the moment at which what was broken is whole, or was killed.
    over_at: float | None = None
    # What the trial itself wants to fail.
    expected_failures: set[str] = field(default_factory=set)
    _struck: dict[str, float] = field(default_factory=dict)
    figures: dict[str, float | str] = field(default_factory=dict)
    concluded: bool = False

    def submit(self, count: int, kind: str = "") -> list[str]:
        """So many tasks, one after the other."""
        return [self.clients.submit(self.clients.recipient(kind)) for _ in range(count)]

    @contextlib.contextmanager
    def load(self, rate: float = 8, kinds: tuple[str, ...] = ("",), threads: int = 12) -> Iterator[None]:
        """Clients at work, and watched."""
        watch = Watch(self.clients, self.stack.page)
        with watch, Load(self.clients, rate=rate, kinds=kinds, threads=threads):
            yield
        self.require(watch.looks > 0 or not self.clients.accepted, "nobody was told where a task stands")

    def over(self) -> None:
        """From now on recovery counts."""
        self.over_at = time.time()

    def kill_worker(self) -> None:
        """Kills it, and remembers which tasks it had."""
        struck = self.stack.running_tasks()
        self.stack.kill("worker")
        self.note_struck(struck, time.time())

    def note_struck(self, task_ids: list[str], at: float) -> None:
        """These tasks' worker died then: how long each took from there is what counts."""
        self._struck.update({task_id: at for task_id in task_ids if task_id in self.clients.accepted})

    def unfinished(self) -> int:
        """How many of the accepted tasks have no end yet."""
        rows = self.stack.rows(list(self.clients.accepted))
        return sum(
            rows[task_id].finished_at is None if task_id in rows else True
            for task_id in self.clients.accepted
        )

    def require(self, held: bool, complaint: str) -> None:
        """A promise beside those that every trial has."""
        if not held:
            self.clients.sightings.append(complaint)

    def settle(self, seconds: float) -> None:
        """Waits until all accepted tasks have an end, so long at most."""
        ends = time.monotonic() + seconds
        said = time.monotonic()
        while (left := self.unfinished()) and time.monotonic() < ends:
            if time.monotonic() - said > 15:
                self.say(f"  {self.name}: {left} of {len(self.clients.accepted)} tasks still to be done")
                said = time.monotonic()
            time.sleep(0.3)

    def verdict(self) -> Verdict:
        """As things stand now."""
        accepted = dict(self.clients.accepted)
        rows = self.stack.rows(list(accepted))
        return judge(
            Evidence(
                accepted,
                self.stack.mails(),
                rows,
                list(self.clients.sightings),
                frozenset(self.expected_failures),
            )
        )

    def conclude(
        self,
        *,
        settle_seconds: float = 60,
        limit_seconds: float | None = None,
        expected_failure: bool = False,
    ) -> Result:
        """Judges, reports, and fails the test unless what was promised was held."""
        self.settle(settle_seconds)
        # A copy that is under way would come now.
        time.sleep(0.5)
        verdict = self.verdict()
        found = result(
            self.name,
            verdict,
            recovered_seconds=self._recovered(self.stack.rows(list(self.clients.accepted))),
        )
        found.limit_seconds = limit_seconds
        found.slowest_answer_seconds = round(self.clients.slowest_seconds, 1)
        found.figures = self.figures
        if self.clients.unanswered:
            found.complaints.append(f"{self.clients.unanswered} requests never got an answer")
        if limit_seconds is not None and found.recovered_seconds > limit_seconds:
            found.complaints.append(f"recovered in {found.recovered_seconds} s, more than {limit_seconds:g}")
        if not verdict.accepted:
            found.complaints.append("nothing was accepted: this trial shows nothing")
        found.passed = not found.complaints
        self.concluded = True
        self.say(found.line)
        if not expected_failure:
            self.report.faults.append(found)
            assert found.passed, "\n".join(found.complaints[:20])
        return found

    def _recovered(self, rows: dict[str, Row]) -> float:
        """The p99 of what killed workers had; else until the last that was accepted before all was whole."""
        struck = [
            max(0.0, row.finished_at.timestamp() - self._struck[task_id])
            for task_id, row in rows.items()
            if task_id in self._struck and row.finished_at
        ]
        if struck:
            self.figures["tasks of killed workers"] = len(struck)
            return sorted(struck)[min(len(struck) - 1, int(len(struck) * 0.99))]
        if self.over_at is None:
            return 0.0
        late = [
            row.finished_at.timestamp() - self.over_at
            for task_id, row in rows.items()
            if row.finished_at and self.clients.accepted_at[task_id] <= self.over_at
        ]
        return max([0.0, *late])

    def note_failure(self) -> None:
        """The row of a trial that broke before its end."""
        found = result(self.name, self.verdict_or_nothing(), recovered_seconds=0)
        found.passed = False
        found.slowest_answer_seconds = round(self.clients.slowest_seconds, 1)
        found.complaints.append("the trial itself broke before its end")
        self.report.faults.append(found)
        self.say(found.line)

    def verdict_or_nothing(self) -> Verdict:
        """As things stand now, if that can be found out."""
        try:
            return self.verdict()
        except Exception:  # whatever broke the trial may be in the way here, too
            return Verdict(len(self.clients.accepted), 0, [], {}, 0, [], [], [], [], [])
