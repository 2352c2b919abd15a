"""A TCP proxy that holds every byte back: so a database on this machine is as far away as a real one.

python -m tests.bench.delay LISTEN_PORT TARGET_PORT ROUND_TRIP_MILLISECONDS
"""

import select
import socket
import sys
import time
from collections import deque
from contextlib import suppress

_CHUNK = 262_144


class _Link:
    """One connection: two sockets, each the other's way out."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.other = {client: server, server: client}
        for end in self.other:
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        for end in self.other:
            end.close()


class Proxy:
    """One thread and select(), which unlike epoll waits for less than a millisecond."""

    def __init__(self, listen_port: int, target_port: int, round_trip_seconds: float) -> None:
        self._listener = socket.create_server(("127.0.0.1", listen_port), backlog=256)
        self._target = ("127.0.0.1", target_port)
        self._delay = round_trip_seconds / 2
        self._links: dict[socket.socket, _Link] = {}
        # The delay is one for all, so what came first is due first.
        self._held: deque[tuple[float, _Link, socket.socket, bytes]] = deque()

    def run(self) -> None:
        """Until the process is ended."""
        while True:
            wait = max(0.0, self._held[0][0] - time.monotonic()) if self._held else None
            readable, _, _ = select.select([self._listener, *self._links], [], [], wait)
            now = time.monotonic()
            for end in readable:
                if end is self._listener:
                    self._accept()
                else:
                    self._hold(end, now + self._delay)
            while self._held and self._held[0][0] <= time.monotonic():
                self._release(*self._held.popleft()[1:])

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        link = _Link(client, socket.create_connection(self._target))
        self._links |= dict.fromkeys(link.other, link)

    def _hold(self, end: socket.socket, due: float) -> None:
        link = self._links[end]
        try:
            data = end.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            del self._links[end]
        self._held.append((due, link, link.other[end], data))

    def _release(self, link: _Link, end: socket.socket, data: bytes) -> None:
        with suppress(OSError):
            if data:
                end.sendall(data)
                return
        for each in link.other:
            self._links.pop(each, None)
        link.close()


if __name__ == "__main__":
    Proxy(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000).run()
