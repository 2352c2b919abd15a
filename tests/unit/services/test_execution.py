"""Pauses grow, spread and stay below their limit."""

import pytest

from app.services.execution import ExecutionRules, pause_seconds

RULES = ExecutionRules(
    worker="w",
    max_attempts=8,
    max_deaths=5,
    max_unconfirmed=5,
    retry_pause_seconds=5,
    retry_pause_max_seconds=900,
)


@pytest.mark.parametrize(
    ("attempts", "middle"), [(1, 5), (2, 10), (3, 20), (8, 640), (9, 900), (50, 900), (10_000, 900)]
)
def test_a_pause_doubles_up_to_its_limit_give_or_take_a_fifth(attempts: int, middle: float) -> None:
    pauses = [pause_seconds(attempts, RULES) for _ in range(300)]
    assert all(middle * 0.8 <= pause <= middle * 1.2 for pause in pauses)
    assert max(pauses) - min(pauses) > middle * 0.2
