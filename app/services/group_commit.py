"""Many threads, one statement: what they ask for while it runs is done together by the next."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, cast

from app.errors import DatabaseUnavailable, RowLocked

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Wish(Generic[Item, Answer]):
    """What one thread waits for."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.answer: Answer | Exception | None = None
        self.done = False


class GroupCommit(Generic[Item, Answer]):
    """Whoever has the turn does all that was asked for by then. A thread that is alone does its own at once,
    with no other thread to wake.
    """

    def __init__(self, work: Callable[[list[Item]], Sequence[Answer]]) -> None:
        self._work = work
        self._turn = threading.Lock()
        self._wishes: deque[_Wish[Item, Answer]] = deque()

    def ask(self, item: Item) -> Answer:
        """The answer to one item; raises what its work raised."""
        wish = _Wish[Item, Answer](item)
        self._wishes.append(wish)
        with self._turn:
            if not wish.done:
                self._serve()
        if isinstance(wish.answer, Exception):
            raise wish.answer
        return cast(Answer, wish.answer)

    def _serve(self) -> None:
        wishes = [self._wishes.popleft() for _ in range(len(self._wishes))]
        for wish, answer in zip(wishes, self._answers([wish.item for wish in wishes]), strict=True):
            wish.answer, wish.done = answer, True

    def _answers(self, items: list[Item]) -> list[Answer | Exception]:
        try:
            return [*self._work(items)]
        except Exception as failure:
            away = isinstance(failure, DatabaseUnavailable) and not isinstance(failure, RowLocked)
            if away or len(items) == 1:
                return [failure for _ in items]
            # One whose row somebody holds, or that the database refuses, must not fail its neighbours.
            return [self._answers([item])[0] for item in items]
