"""The bench's arithmetic, and the form of what it leaves."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bench.figures import Figure, Goal, difference, in_rounds, median, ratio, rounded
from tests.bench.report import table, write

GOAL = Goal(2.5)


@pytest.mark.parametrize(
    ("goal", "value", "reached"),
    [
        (GOAL, 2.5, True), (GOAL, 2.4951, True), (GOAL, 2.49, False),
        (Goal(1.1, at_least=False), 1.1, True), (Goal(1.1, at_least=False), 1.11, False),
        (Goal(400, unit="/s"), 399.6, True), (Goal(400, unit="/s"), 399, False),
    ],
)  # fmt: skip
def test_a_goal_is_reached_as_the_table_shows_the_value(goal: Goal, value: float, reached: bool) -> None:
    assert goal.reached_by(value) is reached


def test_a_ratio_and_a_difference_say_what_one_figure_is_to_the_other() -> None:
    assert ratio("POST/s", 500, 200, GOAL).value == 2.5
    assert ratio("POST/s", 500, 200).reached is None
    slower = difference("p50", 9.5, 5, Goal(5, at_least=False, unit="ms"))
    assert (slower.value, slower.unit, slower.reached) == (4.5, "ms", True)


def test_a_median_is_of_one_property() -> None:
    assert median(["a", "abc", "ab"], len) == 2


def test_rounds_go_forwards_and_backwards() -> None:
    order: list[str] = []

    def note(name: str) -> int:
        order.append(name)
        return len(order)

    found = in_rounds(3, {"a": lambda: note("a"), "b": lambda: note("b")}, lambda _: None)
    assert "".join(order) == "abbaab"
    assert found == {"a": [1, 4, 5], "b": [2, 3, 6]}


@pytest.mark.parametrize(
    ("number", "shown"), [(1.2345, 1.23), (0.01234, 0.0123), (12345.6, 12346), (99.96, 100)]
)
def test_three_digits_count(number: float, shown: float) -> None:
    assert rounded(number) == shown


FIGURES = [
    ratio("POST/s", 2600, 1000, GOAL),
    ratio("p99 ms", 30, 20, Goal(1, at_least=False)),
    Figure("mails/s", 431, None, 431, Goal(400, unit="/s"), "/s"),
    ratio("POST/s <two> & more", 3000, 2600),
]


def test_the_files_hold_every_figure(tmp_path: Path) -> None:
    write(tmp_path / "reports", FIGURES, [ratio("behind nginx", 2, 1)], "two cores")
    report = json.loads((tmp_path / "reports" / "bench.json").read_text())
    assert report["figures"][0] == {
        "figure": "POST/s", "ours": 2600, "peer": 1000, "value": 2.6, "goal": ">= 2.5 x", "reached": True,
    }  # fmt: skip
    assert [figure["reached"] for figure in report["figures"]] == [True, False, True]
    assert [figure["figure"] for figure in report["reported"]] == ["POST/s <two> & more", "behind nginx"]
    drawn = ElementTree.fromstring((tmp_path / "reports" / "bench.svg").read_text())  # noqa: S314 (our own)
    words = "".join(drawn.itertext())
    assert all(figure.figure in words for figure in FIGURES if figure.goal)


def test_the_table_names_what_was_missed() -> None:
    rows = table(FIGURES).splitlines()
    assert len(rows) == 2 + len(FIGURES)
    assert [row for row in rows if "**missed**" in row] == [
        "| p99 ms | 30 | 20 | 1.5 x | <= 1 x | **missed** |"
    ]
