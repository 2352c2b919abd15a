"""What the trials are given, and what is reported of them.

    make chaos                      a sandbox of its own, every row and the control; reports/chaos.json
    make chaos FAULT=redis_full     one row alone
    SANDBOX_NAME=two … make chaos   against a sandbox that is there (with the SANDBOX_*_PORT that made it)

Each test is one row of the fault matrix, named after its fault; those marked `short` are part of
`make test`. Random rows run once for each seed; the seed is in the row's name.

In tests/release: releases in a row, a rollback, images that exit or never get healthy, migrations that fail,
all under load. Left out, as one machine cannot show it: one of two hosts lost. The clock that jumps is that
of the application's processes; the database's own is RDS's, and the only one that the rows heed.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.load import Clients
from tests.chaos.report import Report
from tests.chaos.stack import Stack
from tests.chaos.trial import Trial

SEEDS = (1, 2, 3)
# The engine doubles its pause before a restart, up to a minute, until a container stayed up for ten seconds:
# what one trial killed often would come back late in the next.
_FORGIVEN_SECONDS = 11
_REPORT = pytest.StashKey[Report]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault", default="", help="one row alone, by the name of its fault")
    parser.addoption(
        "--seed", type=int, default=None, help="this seed instead of the usual ones, for random rows"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_REPORT] = Report()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        given = metafunc.config.getoption("--seed")
        metafunc.parametrize("seed", SEEDS if given is None else [given])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    fault = config.getoption("--fault")
    if not fault:
        return
    named = [item for item in items if item.name.split("[")[0] == f"test_{fault}"]
    if not named:
        known = sorted({item.name.split("[")[0].removeprefix("test_") for item in items})
        raise pytest.UsageError(f"There is no fault {fault}. Name one of: {', '.join(known)}")
    items[:] = named


@pytest.fixture(scope="session")
def stack() -> Stack:
    return Stack.of_environment()


@pytest.fixture(scope="session")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Writes a line to the screen at once, whatever pytest keeps back."""
    terminal = pytestconfig.pluginmanager.get_plugin("terminalreporter")
    capture = pytestconfig.pluginmanager.get_plugin("capturemanager")
    assert terminal
    assert capture

    def write(line: str) -> None:
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(line)

    return write


@pytest.fixture
def trial(request: pytest.FixtureRequest, stack: Stack, say: Callable[[str], None]) -> Iterator[Trial]:
    """A stack that is well, a mailbox that is empty, and afterwards a stack that is well again."""
    fault, _, chosen = request.node.name.removeprefix("test_").removesuffix("]").partition("[")
    name = fault + (" seed" if "seed" in request.fixturenames else "") + (f" {chosen}" if chosen else "")
    stack.await_well(since_seconds=_FORGIVEN_SECONDS)
    stack.forget_mails()
    found = Trial(name, stack, request.config.stash[_REPORT], say, Clients(stack.page, name=fault))
    yield found
    if not found.concluded:
        found.note_failure()
        stack.mend()
    stack.await_well()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    report = config.stash[_REPORT]
    if not report.faults and not report.control:
        return
    terminalreporter.section("what the faults came to")
    for line in report.table():
        terminalreporter.write_line(line)
    # A part of the rows leaves the report of all of them as it is.
    part = config.getoption("--fault") or config.getoption("-m") or config.getoption("-k")
    name = f"chaos-{re.sub('[^a-z_]+', '-', part)}.json" if part else "chaos.json"
    path = Path(config.rootpath) / "reports" / name
    report.write(path)
    terminalreporter.write_line(f"In full: {path.relative_to(config.rootpath)}")
