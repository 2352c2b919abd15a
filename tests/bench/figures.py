"""Figures, their goals and the arithmetic between them: ratios of medians, taken within one run."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

Measure = TypeVar("Measure")


@dataclass(frozen=True)
class Goal:
    """What a value has to reach."""

    bound: float
    # False: it has to stay below.
    at_least: bool = True
    unit: str = "x"

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.bound:g} {self.unit}"

    def reached_by(self, value: float) -> bool:
        """As the value is shown, so that a table never contradicts itself."""
        return rounded(value) >= self.bound if self.at_least else rounded(value) <= self.bound

    def share(self, value: float) -> float:
        """How much of the goal is reached; 1: just so."""
        if value <= 0:
            return 0.0 if self.at_least else 2.0
        return value / self.bound if self.at_least else self.bound / value


@dataclass(frozen=True)
class Figure:
    """One line: what was measured here and there, and what one says of the other."""

    figure: str
    ours: float
    peer: float | None
    value: float
    goal: Goal | None = None
    unit: str = "x"

    @property
    def reached(self) -> bool | None:
        return None if self.goal is None else self.goal.reached_by(self.value)

    def as_json(self) -> dict[str, Any]:
        """The form of `reports/bench.json`."""
        numbers = {
            name: None if number is None else rounded(number)
            for name, number in asdict(self).items()
            if name in ("ours", "peer", "value")
        }
        goal = None if self.goal is None else str(self.goal)
        return {"figure": self.figure, **numbers, "goal": goal, "reached": self.reached}


def rounded(number: float) -> float:
    """To three digits that count, and never away from a whole number."""
    return float(f"{number:.3g}") if abs(number) < 1000 else float(round(number))


def median(rounds: Sequence[Measure], of: Callable[[Measure], float]) -> float:
    """Of one property of what each round measured."""
    return statistics.median(of(measured) for measured in rounds)


def ratio(figure: str, ours: float, peer: float, goal: Goal | None = None) -> Figure:
    """How often the peer's figure goes into ours."""
    return Figure(figure, ours, peer, ours / peer, goal)


def difference(figure: str, ours: float, peer: float, goal: Goal) -> Figure:
    """How much more ours is."""
    return Figure(figure, ours, peer, ours - peer, goal, goal.unit)


def in_rounds(
    count: int, measurements: Mapping[str, Callable[[], Measure]], say: Callable[[str], None]
) -> dict[str, list[Measure]]:
    """Each measurement once a round, every other round backwards: what drifts, drifts for all alike."""
    results: dict[str, list[Measure]] = {name: [] for name in measurements}
    for number in range(count):
        names = list(measurements)
        for name in names if number % 2 == 0 else reversed(names):
            seen = measurements[name]()
            results[name].append(seen)
            shown = f"{seen:.0f}/s" if isinstance(seen, float) else seen
            say(f"round {number + 1} of {count}, {name}: {shown}")
    return results
