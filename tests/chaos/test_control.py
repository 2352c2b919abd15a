"""The run that must fail: with the relay off, the same faults lose tasks, and the oracle says so."""

import pytest

from tests.chaos.stack import ROOT, command
from tests.chaos.trial import Trial


def test_control(trial: Trial, request: pytest.FixtureRequest) -> None:
    """What a relay repeats every second it repeats every hour here. On again, it delivers all."""
    stack = trial.stack
    deploy = ("ansible-playbook", f"--inventory={ROOT}/inventory/sandbox", f"{ROOT}/playbooks/deploy-app.yml")
    command(*deploy, "--extra-vars=app_stack_relay_interval_seconds=3600", seconds=300)
    try:
        with stack.frozen("worker"):
            trial.submit(20)
            stack.flush_redis()
        trial.submit(12, "slow-2")
        stack.kill("worker")
        found = trial.conclude(settle_seconds=45, expected_failure=True)
    finally:
        command(*deploy, seconds=300)
    trial.report.control = found
    assert not found.passed, "the oracle saw nothing, so it proves nothing"
    # All twenty but the one that the worker had been handed before Redis forgot the others.
    assert found.lost >= 19, f"only {found.lost} are seen to be lost"
    trial.settle(90)
    left = trial.verdict()
    assert left.passed, f"with the relay on again, not all came: {left.complaints}"
