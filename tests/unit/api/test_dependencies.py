"""The end of the threads is bounded as a whole."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from app.api.batching import Batcher
from app.api.dependencies import Runtime
from app.api.overload import OverloadWatch
from app.api.publishing import PublishingThread
from app.db.session import Database
from app.settings import ApiSettings, load


class StuckPublisher:
    """Stands in for app.broker.Publisher: has no answer before the test's end."""

    def __init__(self, released: threading.Event) -> None:
        self.released = released

    def publish(self, task_ids: list[str]) -> None:
        self.released.wait(5)

    def close(self) -> None:
        """Nothing to end."""


async def ask_in_vain(batcher: Batcher[str, Any]) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(batcher.ask("anything"), 0.1)


def test_threads_that_hang_cost_one_time_limit_and_not_one_each(environment: Callable[..., None]) -> None:
    environment()
    settings = load(ApiSettings)
    released = threading.Event()

    def stuck(items: list[str]) -> list[Any]:
        released.wait(5)
        return items

    publishing = PublishingThread(StuckPublisher(released))  # type: ignore[arg-type]
    publishing.publish(["anything"])
    batchers: list[Batcher[Any, Any]] = [Batcher(name, stuck) for name in ("write", "read")]

    async def ask_both() -> None:
        await asyncio.gather(*(ask_in_vain(batcher) for batcher in batchers))
        figures = Database(settings)
        watch = OverloadWatch(figures, settings)
        begun = time.monotonic()
        Runtime(settings, figures, publishing, *batchers, figures, figures, watch).close(0.5)
        taken = time.monotonic() - begun
        released.set()
        assert taken < 0.9

    asyncio.run(ask_both())
