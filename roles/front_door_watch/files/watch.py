"""Asks the front door many times a second, until it is told to end (SIGTERM); then says what it saw.

It prints JSON: question -> {asked, failed, away_seconds, longest_seconds, first_failure}. Away is the time
from the first question without a good answer (200) to the next good answer.
"""

import contextlib
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

ADDRESS = ("127.0.0.1", 8501)
# Question -> (path, seconds between two).
QUESTIONS = {"Front door": ("/", 0.02), "Ready": ("/ready", 0.2)}
# Somebody listens at once, or nobody does; the system would ask again only after a second. An answer may
# take a while on a host that has much to do.
_CONNECT_SECONDS = 0.05
_ANSWER_SECONDS = 5


@dataclass
class Seen:
    """What came of one question's answers."""

    asked: int = 0
    failed: int = 0
    away_seconds: float = 0
    longest_seconds: float = 0
    first_failure: str = ""
    _away_since: float | None = field(default=None, repr=False)

    def note(self, failure: str, *, asked_at: float, answered_at: float) -> None:
        """One more answer; no failure is a good one."""
        self.asked += 1
        if failure:
            self.failed += 1
            self.first_failure = self.first_failure or failure
            self._away_since = asked_at if self._away_since is None else self._away_since
        else:
            self.came_back(answered_at)

    def came_back(self, at: float) -> None:
        """It was away until then, if it was."""
        if self._away_since is not None:
            seconds = at - self._away_since
            self.away_seconds += seconds
            self.longest_seconds = max(self.longest_seconds, seconds)
            self._away_since = None

    def told(self) -> dict[str, object]:
        """As it is printed."""
        return {name: value for name, value in asdict(self).items() if not name.startswith("_")}


def failure_of(path: str, address: tuple[str, int]) -> str:
    """Why there was no good answer; empty: there was one."""
    try:
        with contextlib.closing(socket.create_connection(address, timeout=_CONNECT_SECONDS)) as connection:
            connection.settimeout(_ANSWER_SECONDS)
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            status = connection.recv(64).split(b"\r\n")[0]
    except OSError as error:
        return str(error)
    return "" if status.split(b" ")[1:2] == [b"200"] else status.decode(errors="replace") or "hung up"


@contextlib.contextmanager
def asking(address: tuple[str, int] = ADDRESS) -> Iterator[dict[str, Seen]]:
    """While the context lasts each question is asked; what was seen is whole at its end."""
    seen = {name: Seen() for name in QUESTIONS}
    over = threading.Event()

    def ask(name: str) -> None:
        path, pause = QUESTIONS[name]
        while not over.wait(pause):
            asked_at = time.monotonic()
            failure = failure_of(path, address)
            seen[name].note(failure, asked_at=asked_at, answered_at=time.monotonic())
        seen[name].came_back(time.monotonic())

    threads = [threading.Thread(target=ask, args=(name,)) for name in QUESTIONS]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


def main() -> None:
    """Until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with asking() as seen:
        signal.sigwait({signal.SIGTERM})
    sys.stdout.write(json.dumps({name: one.told() for name, one in seen.items()}) + "\n")


if __name__ == "__main__":
    main()
