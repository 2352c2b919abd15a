"""Clients: they submit steadily, repeat with the same key what got no answer, and watch it."""

import queue
import random
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.chaos.oracle import moved_back

# A client that gets no answer tries again, but not for ever.
_PATIENCE_SECONDS = 200
_FINAL = ("succeeded", "failed", "cancelled")


class Clients:
    """Some threads of clients. What they were answered stays: `accepted`, `sightings`, `slowest_seconds`."""

    def __init__(self, page: str, *, name: str) -> None:
        self._page = page
        self._name = f"{name.replace('_', '-')}-{secrets.token_hex(3)}"
        self._number = 0
        self._lock = threading.Lock()
        self.accepted: dict[str, str] = {}  # id -> recipient
        self.accepted_at: dict[str, float] = {}  # by the clock on the wall
        self.sightings: list[str] = []
        self.unanswered = 0
        self.statuses: dict[int, int] = {}
        self.slowest_seconds = 0.0

    def recipient(self, kind: str = "") -> str:
        """One that nobody else writes to; the kind is what the mailbox heeds (`slow-2`, `defer-1`)."""
        with self._lock:
            self._number += 1
            return f"{kind}{'-' if kind else ''}{self._name}-{self._number}@example.com"

    def submit(self, recipient: str = "", *, patience_seconds: float = _PATIENCE_SECONDS) -> str:
        """Posts until there is an answer, always with the same key; the id, or nothing if it was refused."""
        recipient = recipient or self.recipient()
        headers = {"Idempotency-Key": secrets.token_hex(16)}
        ends = time.monotonic() + patience_seconds
        with httpx.Client(timeout=20, trust_env=False) as client:
            while time.monotonic() < ends:
                answer = self._try(
                    lambda: client.post(f"{self._page}/notify/", json={"email": recipient}, headers=headers)
                )
                if answer is not None and answer.status_code == 202:
                    return self.accept(answer.json()["task_id"], recipient)
                if answer is not None and answer.status_code not in (409, 429, 500, 502, 503):
                    self.sightings.append(f"POST for {recipient}: {answer.status_code} {answer.text[:200]}")
                    return ""
                time.sleep(min(1.0, max(0.0, ends - time.monotonic())))
        self.unanswered += 1
        return ""

    def accept(self, task_id: str, recipient: str) -> str:
        """Notes that this id was answered with 202."""
        with self._lock:
            self.accepted[task_id] = recipient
            self.accepted_at[task_id] = time.time()
        return task_id

    def _try(self, request: Callable[[], httpx.Response]) -> httpx.Response | None:
        begun = time.monotonic()
        try:
            answer = request()
        except httpx.HTTPError:
            return None
        with self._lock:
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - begun)
            self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
        return answer


class Load:
    """Submits so many a second from so many clients until told to stop; when all wait for answers, fewer."""

    def __init__(
        self, clients: Clients, *, rate: float, threads: int = 12, kinds: tuple[str, ...] = ("",)
    ) -> None:
        self._clients = clients
        self._rate = rate
        self._kinds = kinds
        self._stop = threading.Event()
        self._tickets: queue.Queue[str | None] = queue.Queue(maxsize=threads)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        self._pace = threading.Thread(target=self._issue, daemon=True)

    def __enter__(self) -> "Load":
        for thread in (*self._threads, self._pace):
            thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._pace.join()
        for thread in self._threads:
            thread.join(_PATIENCE_SECONDS + 30)

    def _issue(self) -> None:
        number = 0
        while not self._stop.wait(1 / self._rate):
            try:
                self._tickets.put_nowait(self._kinds[number % len(self._kinds)])
            except queue.Full:
                continue
            number += 1
        for _ in self._threads:
            self._tickets.put(None)

    def _work(self) -> None:
        while (kind := self._tickets.get()) is not None:
            self._clients.submit(self._clients.recipient(kind))


class Watch:
    """Asks where tasks stand, as people do, and notes what must never be seen."""

    def __init__(self, clients: Clients, page: str) -> None:
        self._clients = clients
        self._page = page
        self._seen: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.looks = 0

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._thread.join(30)

    def _run(self) -> None:
        with httpx.Client(timeout=5, trust_env=False) as client:
            while not self._stop.wait(0.2):
                known = list(self._clients.accepted)
                moving = [task_id for task_id in known if self._seen.get(task_id) not in _FINAL]
                # Mostly what may still move; and a few of those that must not.
                for task_id in (
                    *random.sample(moving, min(4, len(moving))),
                    *random.sample(known, min(2, len(known))),
                ):
                    self._look(client, task_id)

    def _look(self, client: httpx.Client, task_id: str) -> None:
        try:
            answer = client.get(f"{self._page}/task_status/{task_id}")
        except httpx.HTTPError:
            return
        self.looks += 1
        if answer.status_code == 404:
            self._clients.sightings.append(f"GET of {task_id}, which was accepted: 404")
        if answer.status_code != 200:
            return
        status = answer.json()["status"]
        before = self._seen.get(task_id, "queued")
        if moved_back(before, status):
            self._clients.sightings.append(f"{task_id} was {before} and then {status}")
        self._seen[task_id] = status
