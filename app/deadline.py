"""One time limit over many waits, and a name look-up that heeds it."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError

# getaddrinfo() cannot be told when to give up, so it runs aside. A few threads, because one look-up that
# hangs must not stop the next; never more, because a name server that is away hangs them all.
_resolvers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="resolve")


class Deadline:
    """A moment on this process's own clock after which waiting is over."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds that are left; 0.0 when it has passed."""
        return max(0.0, self._ends - time.monotonic())


def resolve(host: str, port: int, deadline: Deadline) -> list[str]:
    """The addresses of a host, best first. OSError: it has none; TimeoutError: that takes too long."""
    look_up = _resolvers.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        found = look_up.result(timeout=deadline.remaining())
    except FutureTimeoutError as error:
        look_up.cancel()
        raise TimeoutError(f"no answer to the look-up of {host}") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
