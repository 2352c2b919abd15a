"""The watch refuses only on what it saw lately, and outlives whatever happens to the database."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog

from app.api import overload
from app.api.overload import OverloadWatch
from app.errors import DatabaseUnavailable, Overloaded
from app.settings import ApiSettings, load
from app.tally import TALLY

SUBMISSIONS_SHED = ("submissions_shed", "")


class FakeDatabase:
    """Stands in for app.db.session.Database: its oldest due task has waited for so long, or it fails."""

    def __init__(self) -> None:
        self.age_seconds: float | Exception = 0

    @contextmanager
    def connection(self) -> Iterator["FakeDatabase"]:
        yield self


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> FakeDatabase:
    def oldest_due_seconds(asked: FakeDatabase) -> float:
        if isinstance(asked.age_seconds, Exception):
            raise asked.age_seconds
        return asked.age_seconds

    monkeypatch.setattr(overload.repository, "oldest_due_seconds", oldest_due_seconds)
    monkeypatch.setattr(overload.counting, "flush", lambda _: None)
    structlog.configure([structlog.processors.KeyValueRenderer()])
    return FakeDatabase()


@pytest.fixture
def watch(environment: Callable[..., None], database: Any) -> Iterator[OverloadWatch]:
    environment(ACCEPT_MAX_TASK_AGE_SECONDS="60")
    found = OverloadWatch(database, load(ApiSettings), interval_seconds=0.01)
    yield found
    found.close()
    structlog.reset_defaults()


def refuses(watch: OverloadWatch, recipient: str = "a@example.com") -> bool:
    try:
        watch.refuse(recipient)
    except Overloaded:
        return True
    return False


def becomes(watch: OverloadWatch, refusing: bool, *, seconds: float = 5) -> bool:
    ends = time.monotonic() + seconds
    while refuses(watch) != refusing and time.monotonic() < ends:
        time.sleep(0.01)
    return refuses(watch) == refusing


def test_it_refuses_above_the_limit_and_not_at_it(database: FakeDatabase, watch: OverloadWatch) -> None:
    database.age_seconds = 60
    time.sleep(0.1)
    assert not refuses(watch)
    database.age_seconds = 60.1
    assert becomes(watch, True)
    assert not refuses(watch, "smoke@example.com"), "or no release could be seen to work"
    database.age_seconds = 0
    assert becomes(watch, False)


def test_each_refusal_is_counted(database: FakeDatabase, watch: OverloadWatch) -> None:
    database.age_seconds = 61
    assert becomes(watch, True)
    TALLY.take()
    for _ in range(3):
        assert refuses(watch)
    refuses(watch, "smoke@example.com")
    assert TALLY.take()[SUBMISSIONS_SHED] == 3


@pytest.mark.parametrize("failure", [DatabaseUnavailable(), RuntimeError("anything else")])
def test_what_it_saw_holds_for_a_while_and_then_no_longer(
    monkeypatch: pytest.MonkeyPatch, database: FakeDatabase, watch: OverloadWatch, failure: Exception
) -> None:
    monkeypatch.setattr(overload, "_STALE_SECONDS", 0.5)
    database.age_seconds = 61
    assert becomes(watch, True)
    database.age_seconds = failure
    time.sleep(0.1)
    assert refuses(watch), "a failed look or two say nothing"
    assert becomes(watch, False)
    database.age_seconds = 61
    assert becomes(watch, True), "and the thread goes on"


def test_what_was_counted_last_is_added_before_the_thread_ends(
    monkeypatch: pytest.MonkeyPatch, environment: Callable[..., None], database: Any
) -> None:
    added: list[dict[tuple[str, str], float]] = []
    monkeypatch.setattr(overload.counting, "flush", lambda _: added.append(TALLY.take()))
    environment(ACCEPT_MAX_TASK_AGE_SECONDS="60")
    database.age_seconds = 61
    watch = OverloadWatch(database, load(ApiSettings), interval_seconds=60)
    assert becomes(watch, True)
    TALLY.take()
    assert refuses(watch)
    begun = time.monotonic()
    watch.close()
    assert time.monotonic() - begun < 1
    assert added[-1] == {SUBMISSIONS_SHED: 1}
    structlog.reset_defaults()
