"""What the trials came to: a line at once, a table and reports/chaos.json at the end."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.chaos.oracle import Verdict

_COLUMNS = (
    "fault",
    "accepted",
    "delivered",
    "lost",
    "duplicates",
    "explained",
    "recovered_seconds",
    "passed",
)


@dataclass
class Result:
    """One row of the matrix."""

    fault: str
    accepted: int
    delivered: int
    lost: int
    duplicates: int
    explained: int
    recovered_seconds: float
    passed: bool
    limit_seconds: float | None = None
    slowest_answer_seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)
    figures: dict[str, float | str] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """For the screen."""
        limit = "" if self.limit_seconds is None else f" (≤ {self.limit_seconds:g})"
        figures = "".join(f", {name} {value}" for name, value in self.figures.items())
        mark = "✓" if self.passed else "✗"
        return (
            f"{mark} {self.fault}: {self.accepted} accepted, {self.delivered} delivered, "
            f"{self.lost} lost, {self.duplicates} twice ({self.explained} explained), recovered in "
            f"{self.recovered_seconds:.1f} s{limit}, slowest answer {self.slowest_answer_seconds:.1f} s"
            f"{figures}"
        )


def result(fault: str, verdict: Verdict, *, recovered_seconds: float) -> Result:
    """The row for a verdict."""
    twice = sum(verdict.duplicates.values())
    return Result(
        fault=fault,
        accepted=verdict.accepted,
        delivered=verdict.delivered,
        lost=len(verdict.lost),
        duplicates=twice,
        explained=verdict.explained,
        recovered_seconds=round(recovered_seconds, 1),
        passed=verdict.passed,
        complaints=verdict.complaints,
    )


@dataclass
class Report:
    """All rows of one run."""

    faults: list[Result] = field(default_factory=list)
    control: Result | None = None

    def table(self) -> list[str]:
        """Lines of equal columns."""
        cells = [list(_COLUMNS)] + [
            [str(getattr(row, column)) for column in _COLUMNS]
            for row in (*self.faults, *([self.control] if self.control else []))
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return [
            " ".join(
                cell.ljust(width) if at == 0 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in cells
        ]

    def write(self, path: Path) -> None:
        """As JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        control = asdict(self.control) if self.control else None
        found = {"faults": [asdict(row) for row in self.faults], "control": control}
        path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
