"""One thread, many askers."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.api.batching import Batcher
from app.errors import AppError, DatabaseUnavailable, InternalError, Overloaded, TaskNotFound

Work = Callable[[list[int]], list[int | AppError]]


@pytest.fixture
def batcher() -> Iterator[Callable[..., Batcher[int, int]]]:
    """Makes one; all are ended with the test."""
    made: list[Batcher[int, int]] = []

    def make(work: Work, **limits: int) -> Batcher[int, int]:
        made.append(Batcher("test", work, **limits))
        return made[-1]

    yield make
    for one in made:
        one.close()


Make = Callable[..., Batcher[int, int]]


async def ask_all(batcher: Batcher[int, int], items: range) -> list[Any]:
    """All at once; an error is an answer too."""
    return await asyncio.gather(*(batcher.ask(item) for item in items), return_exceptions=True)


def test_each_asker_gets_its_own_answer_or_error(batcher: Make) -> None:
    def work(items: list[int]) -> list[int | AppError]:
        return [TaskNotFound() if item % 3 == 0 else item * 10 for item in items]

    answers = asyncio.run(ask_all(batcher(work), range(100)))
    for item, answer in enumerate(answers):
        assert isinstance(answer, TaskNotFound) if item % 3 == 0 else answer == item * 10


def test_what_gathers_while_the_thread_is_busy_is_one_batch(batcher: Make) -> None:
    sizes: list[int] = []

    def work(items: list[int]) -> list[int | AppError]:
        sizes.append(len(items))
        time.sleep(0.05)
        return [*items]

    asyncio.run(ask_all(batcher(work, batch_size=60), range(100)))
    assert sum(sizes) == 100
    assert max(sizes) == 60
    assert len(sizes) <= 4


def test_those_who_came_during_an_outage_do_not_wait_for_another_try(batcher: Make) -> None:
    attempts: list[int] = []

    def work(items: list[int]) -> list[int | AppError]:
        attempts.append(len(items))
        time.sleep(0.2)
        raise DatabaseUnavailable

    answers = asyncio.run(ask_all(batcher(work, batch_size=2), range(50)))
    assert all(isinstance(answer, DatabaseUnavailable) for answer in answers)
    assert len(attempts) == 1


def test_a_full_queue_refuses_at_once(batcher: Make) -> None:
    release = threading.Event()

    def work(items: list[int]) -> list[int | AppError]:
        release.wait(2)
        return [*items]

    async def scenario() -> list[Any]:
        one = batcher(work, capacity=5, batch_size=1)
        first = asyncio.create_task(one.ask(0))
        await asyncio.sleep(0.1)
        waiting = [asyncio.create_task(one.ask(item)) for item in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await one.ask(99)
        release.set()
        return await asyncio.gather(first, *waiting)

    assert asyncio.run(scenario()) == [0, 0, 1, 2, 3, 4]


def test_a_bug_is_an_internal_error_and_the_thread_goes_on(batcher: Make) -> None:
    def work(items: list[int]) -> list[int | AppError]:
        return [1 // item for item in items]

    one = batcher(work)
    assert isinstance(asyncio.run(ask_all(one, range(1)))[0], InternalError)
    assert asyncio.run(ask_all(one, range(1, 2))) == [1]


def test_an_asker_who_left_disturbs_nobody(batcher: Make) -> None:
    def work(items: list[int]) -> list[int | AppError]:
        time.sleep(0.1)
        return [*items]

    async def scenario() -> int:
        one = batcher(work)
        gone = asyncio.create_task(one.ask(1))
        staying = asyncio.create_task(one.ask(2))
        await asyncio.sleep(0.02)
        gone.cancel()
        return await staying

    assert asyncio.run(scenario()) == 2


def test_a_loop_that_has_ended_does_not_end_the_thread(batcher: Make) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(items: list[int]) -> list[int | AppError]:
        begun.set()
        go_on.wait(5)
        return [*items]

    one = batcher(work)

    async def leave() -> None:
        asking = asyncio.create_task(one.ask(1))
        await asyncio.to_thread(begun.wait, 5)
        asking.cancel()

    asyncio.run(leave())
    go_on.set()
    assert asyncio.run(ask_all(one, range(3))) == [0, 1, 2]
