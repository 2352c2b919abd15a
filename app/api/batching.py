"""Many requests, one statement: coroutines hand items to one thread and await its answer to each."""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

import structlog

from app.errors import AppError, DatabaseUnavailable, InternalError, Overloaded

log = structlog.get_logger()

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Whatever has gathered while the thread was busy is its next batch: one item when little happens."""

    def __init__(
        self,
        name: str,
        work: Callable[[list[Item]], list[Answer | AppError]],
        *,
        capacity: int = 2000,
        batch_size: int = 500,
    ) -> None:
        self._work = work
        self._batch_size = batch_size
        self._queue: queue.Queue[tuple[Item, asyncio.Future[Answer]]] = queue.Queue(capacity)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def ask(self, item: Item) -> Answer:
        """The answer to one item, or its error; Overloaded when too many wait."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        try:
            self._queue.put_nowait((item, future))
        except queue.Full:
            raise Overloaded from None
        return await future

    def close(self, timeout_seconds: float = 5) -> None:
        """Ends the thread after what is waiting now."""
        self._stopped.set()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        while True:
            try:
                batch = [self._queue.get(timeout=0.2)]
            except queue.Empty:
                if self._stopped.is_set():
                    return
                continue
            batch += self._waiting(self._batch_size - 1)
            try:
                answers = self._work([item for item, _ in batch])
            except DatabaseUnavailable:
                # Those that came meanwhile have waited as long as one may: trying for them would double that.
                batch += self._waiting(self._queue.qsize())
                answers = [DatabaseUnavailable() for _ in batch]
            except Exception:
                log.exception("batch.broke", batcher=self._thread.name)
                answers = [InternalError() for _ in batch]
            self._answer([future for _, future in batch], answers)

    def _waiting(self, most: int) -> list[tuple[Item, asyncio.Future[Answer]]]:
        found: list[tuple[Item, asyncio.Future[Answer]]] = []
        try:
            while len(found) < most:
                found.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return found

    def _answer(self, futures: list[asyncio.Future[Answer]], answers: list[Answer | AppError]) -> None:
        def resolve() -> None:
            for future, answer in zip(futures, answers, strict=True):
                if future.done():  # the client has gone
                    continue
                if isinstance(answer, AppError):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

        # One call for all: waking the loop is what is dear. A loop that has ended has nobody left to be told.
        with suppress(RuntimeError):
            futures[0].get_loop().call_soon_threadsafe(resolve)
