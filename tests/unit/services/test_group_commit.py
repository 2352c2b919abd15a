"""Group commit: what gathers meanwhile is done together, and nobody's failure is another's."""

import threading
from collections.abc import Sequence

import pytest

from app.errors import DatabaseUnavailable, RowLocked
from app.services.group_commit import GroupCommit

THREADS = 8


def ask_at_once(group: GroupCommit[int, int], items: Sequence[int]) -> dict[int, int | Exception]:
    """What each of as many threads got."""
    answers: dict[int, int | Exception] = {}

    def ask(item: int) -> None:
        try:
            answers[item] = group.ask(item)
        except Exception as failure:
            answers[item] = failure

    threads = [threading.Thread(target=ask, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    return answers


class Work:
    """Doubles; the first call waits until all others have asked."""

    def __init__(self, failure: Exception | None = None, bad: int | None = None) -> None:
        self.calls: list[list[int]] = []
        self.failure, self.bad = failure, bad
        self.group: GroupCommit[int, int] = GroupCommit(self)

    def __call__(self, items: list[int]) -> list[int]:
        self.calls.append(items)
        while len(self.calls) == 1 and len(self.group._wishes) < THREADS - 1:
            pass
        if self.failure is not None and (self.bad is None or self.bad in items):
            raise self.failure
        return [2 * item for item in items]


def test_what_gathers_while_one_is_done_is_done_together() -> None:
    work = Work()
    assert ask_at_once(work.group, range(THREADS)) == {item: 2 * item for item in range(THREADS)}
    assert [len(call) for call in work.calls] == [1, THREADS - 1]


def test_many_threads_lose_no_answer() -> None:
    group: GroupCommit[int, int] = GroupCommit(lambda items: [2 * item for item in items])
    for _ in range(50):
        assert ask_at_once(group, range(40)) == {item: 2 * item for item in range(40)}


def test_a_database_that_is_away_is_asked_once_for_all() -> None:
    work = Work(DatabaseUnavailable())
    answers = ask_at_once(work.group, range(THREADS))
    assert all(isinstance(answer, DatabaseUnavailable) for answer in answers.values())
    assert len(work.calls) == 2


@pytest.mark.parametrize("failure", [RowLocked(), ValueError("no such JSON")])
def test_one_that_fails_fails_no_neighbour(failure: Exception) -> None:
    work = Work(failure, bad=5)
    answers = ask_at_once(work.group, range(THREADS))
    assert answers.pop(5) is failure
    assert answers == {item: 2 * item for item in answers}
    assert len(answers) == THREADS - 1


def test_after_a_failure_the_next_is_done() -> None:
    work = Work(ValueError(), bad=1)
    assert isinstance(ask_at_once(work.group, range(THREADS))[1], ValueError)
    assert work.group.ask(3) == 6
