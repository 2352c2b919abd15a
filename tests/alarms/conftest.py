"""Each alarm rings when what it is about really happens, as far as one machine can show it.

    pytest tests/alarms     against a sandbox that is there (SANDBOX_NAME and the SANDBOX_*_PORT that made it)

It applies the role aws_monitoring with thresholds that are reached in seconds, looks at all alarms while the
stack is well, breaks one thing after another, and looks again. The values are read back from what moto
stores, and evaluated by a stand-in, for moto evaluates nothing: all that came since a fault counts as one
period, and that alone decides, so that nobody waits for five minutes. Only what is AWS's own, where the test
puts the points, is looked at over the alarm's own periods. What missing values and M of N mean is in
tests/unit/alarms.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.alarms.report import Report
from tests.alarms.trial import Trial

_REPORT = pytest.StashKey[Report]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_REPORT] = Report()


@pytest.fixture(scope="session")
def trial(pytestconfig: pytest.Config) -> Iterator[Trial]:
    """A stack that is well, with alarms; at the end it is as it was, and its alarms have odd thresholds."""
    found = Trial(pytestconfig.stash[_REPORT])
    with found.prepared():
        yield found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    report = config.stash[_REPORT]
    if not report.seen:
        return
    terminalreporter.section("what the alarms did")
    for line in report.table():
        terminalreporter.write_line(line)
    path = Path(config.rootpath) / "reports" / "alarms.json"
    report.write(path)
    terminalreporter.write_line(f"In full: {path.relative_to(config.rootpath)}")
