"""What was seen of each alarm: a table, and reports/alarms.json."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.alarms.evaluator import State

# What a proof is worth: whose values they are.
KINDS = {
    "a": "the application's own, caused for real",
    "b": "the agent's and the filters': stand-ins read the stored configuration, and real values or lines",
    "c": "EC2's, RDS' and SES' own: points that the test put, of names and dimensions that AWS documents",
}


@dataclass
class Seen:
    """One alarm, before and after what should make it ring."""

    alarm: str
    kind: str
    caused_by: str
    metric: str
    threshold: float
    value_before: float | None
    before: State
    value_after: float | None = None
    after: State | None = None


@dataclass
class Report:
    """All of them, by name."""

    seen: dict[str, Seen] = field(default_factory=dict)

    def table(self) -> list[str]:
        """For the screen."""
        rows = [("alarm", "class", "caused by", "value", "threshold", "before", "after")]
        rows += [
            (one.alarm, one.kind, one.caused_by, _shown(one.value_after), f"{one.threshold:g}", one.before,
             one.after or "not caused")
            for one in self.seen.values()
        ]  # fmt: skip
        widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
        lines = [
            "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in rows
        ]
        return [*lines, "", *(f"{kind}: {words}" for kind, words in KINDS.items())]

    def write(self, path: Path) -> None:
        """As JSON."""
        path.parent.mkdir(exist_ok=True)
        content = {"classes": KINDS, "alarms": [asdict(one) for one in self.seen.values()]}
        path.write_text(json.dumps(content, indent=2) + "\n")


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"
