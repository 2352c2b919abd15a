"""The two alarms about backups: quiet while the timers work, and how soon they ring when they do not."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.alarms.evaluator import Rule, State, judge

VARS = Path(__file__).parents[3] / "roles" / "aws_monitoring" / "vars" / "main.yml"
RINGS = {
    alarm["name"]: alarm["rings"] for alarm in yaml.safe_load(VARS.read_text())["__aws_monitoring_alarms"]
}
DAY, WEEK = 24, 7 * 24
# By the timers: each night at 03:17 and on Sundays at 04:47, up to ten minutes later, and some minutes long.
NIGHTLY = [3.3 + DAY * day for day in range(-7, 28)]
WEEKLY = [4.8 + WEEK * week for week in range(-1, 4)]


def minimum(done: list[float], hour: int) -> float | None:
    """The least age, in hours, that was told in that hour, once a minute; None where nothing was done yet."""
    moments = [hour + minute / 60 for minute in range(60)]
    ages = [moment - max(past) for moment in moments if (past := [at for at in done if at <= moment])]
    return min(ages, default=None)


def ringing(rings: dict[str, Any], done: list[float], hours: int) -> list[int]:
    """The hours, counted from 0, after which the alarm rings."""
    rule = Rule(rings["when"], rings["threshold"], rings["periods"], rings["bad"], rings["missing"])
    before = -rings["periods"] - 2
    values = {hour: minimum(done, hour) for hour in range(before, hours)}
    state, found = State.OK, []
    for now in range(hours):
        state = judge(rule, [values[hour] for hour in range(now + before + 1, now + 1)], state)
        if state == State.ALARM:
            found.append(now)
    return found


@pytest.mark.parametrize(("name", "done"), [("backup-age", NIGHTLY), ("restore-rehearsal", WEEKLY)])
def test_while_the_timers_do_their_work_neither_rings(name: str, done: list[float]) -> None:
    assert ringing(RINGS[name], done, 3 * WEEK) == []


@pytest.mark.parametrize(
    ("name", "done", "rings_after"), [("backup-age", NIGHTLY, 31), ("restore-rehearsal", WEEKLY, 8 * DAY + 1)]
)
def test_one_that_is_left_out_rings_hours_after_it_was_due(
    name: str, done: list[float], rings_after: int
) -> None:
    last, left_out, *later = [at for at in done if at >= 0]
    kept = [at for at in done if at != left_out]
    ring = ringing(RINGS[name], kept, 3 * WEEK)
    assert last + rings_after - 1 <= ring[0] + 1 <= last + rings_after + 1
    assert ring[-1] < later[0], "over with the next that goes well"


@pytest.mark.parametrize("name", ["backup-age", "restore-rehearsal"])
def test_where_there_never_was_one_it_rings_and_ends_with_the_first(name: str) -> None:
    assert ringing(RINGS[name], [], 3) == [0, 1, 2]
    assert ringing(RINGS[name], [1.5], 6) == [0]
