"""What the drill came to: a line at once, a table and reports/release-drill.json at the end."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One event under load. A goal of None: a gap is only stated."""

    event: str
    requests: int
    failed: int
    goal_failed: int | None
    accepted: int
    delivered: int
    lost: int
    duplicates: int
    p99_during_ms: float | None
    p99_outside_ms: float | None
    seconds: float

    @property
    def complaints(self) -> list[str]:
        """What was promised and not held."""
        found = [f"{self.lost} tasks were lost"] if self.lost else []
        if self.goal_failed is not None and self.failed > self.goal_failed:
            found.append(f"{self.failed} of {self.requests} requests failed")
        if self.goal_failed is not None and self.duplicates:
            found.append(f"{self.duplicates} mails came twice")
        if not self.accepted:
            found.append("nothing was accepted: this shows nothing")
        return found


def table(rows: list[Row]) -> str:
    """Markdown, with the sum of those that have a goal."""
    titles = ["event", "requests", "failed", "goal", "accepted", "delivered", "lost", "twice",
              "p99 during, ms", "p99 outside, ms", "seconds"]  # fmt: skip
    cells = [[_cell(value) for value in asdict(row).values()] for row in rows]
    counted = [row for row in rows if row.goal_failed is not None]
    names = ("requests", "failed", "goal_failed", "accepted", "delivered", "lost", "duplicates")
    sums = [str(sum(getattr(row, name) for row in counted)) for name in names]
    lines = [titles, ["---"] + ["---:"] * (len(titles) - 1), *cells, ["all with a goal", *sums, "", "", ""]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def write(path: Path, rows: list[Row]) -> None:
    """As JSON."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"events": [asdict(row) for row in rows]}, indent=2) + "\n")
