"""People at the front door, so many requests a second: they submit, ask where tasks stand, and load the page.

Each submission has a key and is repeated under it until it is accepted, as the page does. Every request
counts, and every one that is not answered as it should be has failed, whatever became of its repeat.
"""

import asyncio
import json
import re
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import uvloop

from tests.release.connection import Broken, Connection

_CONNECTIONS = 32
_RETRY_PAUSE_SECONDS = 0.2
# What twenty requests are: mostly the page's polls.
_MIX = ("submit", "poll", "poll", "page", "poll", "poll", "asset", "poll", "poll", "page") * 2


@dataclass(frozen=True)
class Request:
    """One request, and what went wrong with it."""

    at: float  # by the clock on the wall
    seconds: float
    failure: str


class Load:
    """Clients at work while the context lasts; what they saw stays."""

    def __init__(self, page: str, *, rate: float) -> None:
        address = urlsplit(page)
        self._address = (address.hostname or "127.0.0.1", address.port or 80)
        self._period = _CONNECTIONS / rate
        self._name = secrets.token_hex(3)
        self._number = 0
        self._recent: deque[str] = deque(maxlen=500)
        self._assets: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self.requests: list[Request] = []
        self.accepted: dict[str, str] = {}  # id -> recipient

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._all())

    async def _all(self) -> None:
        await asyncio.gather(*(self._client(number) for number in range(_CONNECTIONS)))

    async def _client(self, number: int) -> None:
        connection = Connection(*self._address)
        await asyncio.sleep(self._period * number / _CONNECTIONS)
        due = time.monotonic()
        turn = number
        while not self._stop.is_set():
            await getattr(self, f"_{_MIX[turn % len(_MIX)]}")(connection)
            turn += 1
            # Whoever is late does not catch up: people would not either.
            due = max(due + self._period, time.monotonic())
            await asyncio.sleep(due - time.monotonic())
        connection.close()

    async def _ask(self, connection: Connection, wanted: int, *question: Any, **more: Any) -> bytes | None:
        """The body of the answer that was wanted, or nothing."""
        at, begun, failure, body = time.time(), time.monotonic(), "", None
        try:
            status, body = await connection.ask(*question, **more)
            if status != wanted:
                failure, body = f"{status} {body[:200].decode(errors='replace')}", None
        except Broken as broken:
            failure = str(broken)
        self.requests.append(Request(at, time.monotonic() - begun, failure and f"{question[0]}: {failure}"))
        return body

    async def _submit(self, connection: Connection) -> None:
        self._number += 1
        recipient = f"drill-{self._name}-{self._number}@example.com"
        headers = {"Content-Type": "application/json", "Idempotency-Key": secrets.token_hex(16)}
        content = json.dumps({"email": recipient}).encode()
        while True:
            body = await self._ask(connection, 202, "POST", "/notify/", headers=headers, body=content)
            if body is not None:
                task_id = json.loads(body)["task_id"]
                self.accepted[task_id] = recipient
                self._recent.append(task_id)
                return
            await asyncio.sleep(_RETRY_PAUSE_SECONDS)

    async def _poll(self, connection: Connection) -> None:
        if not self._recent:
            await self._page(connection)
            return
        task_id = self._recent[self._number % len(self._recent)]
        await self._ask(connection, 200, "GET", f"/task_status/{task_id}")

    async def _page(self, connection: Connection) -> None:
        body = await self._ask(connection, 200, "GET", "/")
        if body is not None:
            self._assets = re.findall(r'"(/assets/[^"]+)"', body.decode()) or self._assets

    async def _asset(self, connection: Connection) -> None:
        """As a page asks that was loaded a moment ago, perhaps from the release before."""
        if not self._assets:
            await self._page(connection)
            return
        await self._ask(connection, 200, "GET", self._assets[self._number % len(self._assets)])


def p99_ms(requests: list[Request]) -> float | None:
    """Of those that were answered well."""
    seconds = sorted(request.seconds for request in requests if not request.failure)
    return round(seconds[int(len(seconds) * 0.99)] * 1000, 1) if seconds else None
