"""Connections to the mail server: kept for a few seconds, and cut when a mail's time is over."""

import select
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from app.deadline import Deadline, resolve

# An idle connection costs the server something; a busy worker needs the next one within milliseconds.
_KEPT_SECONDS = 5
_LOOK_SECONDS = 0.25


class Connection(smtplib.SMTP):
    """smtplib's client, whose connecting heeds a deadline, and that another thread may cut."""

    def __init__(self, deadline: Deadline, tls: ssl.SSLContext | None, *, name: str) -> None:
        # Named, because smtplib would ask a name server for this machine's own name, however long that takes.
        super().__init__(local_hostname=name)
        self._implicit_tls = tls
        self.deadline = deadline
        # How far the mail in hand has come: the server has taken our sender; it may have taken the mail.
        self.introduced = self.handed_over = False
        self.kept_at: float | None = None

    @property
    def used_before(self) -> bool:
        """Whether it has carried a mail already."""
        return self.kept_at is not None

    def begin(self, deadline: Deadline) -> None:
        """For the next mail, which has a deadline of its own."""
        self.deadline = deadline
        self.introduced = self.handed_over = False
        if self.sock is not None:
            self.sock.settimeout(max(deadline.remaining(), 0.001))

    def _get_socket(self, host: str, port: int, timeout: float | None) -> Any:
        # smtplib's own place to say how a connection is made; SMTP_SSL uses it too.
        self._host = host  # the name that STARTTLS asks the certificate for
        failure: OSError = OSError(f"{host} has no address")
        for address in resolve(host, port, self.deadline):
            try:
                plain = socket.create_connection(
                    (address, port), timeout=max(self.deadline.remaining(), 0.001)
                )
            except OSError as error:
                failure = error
                continue
            # Known before the handshake, which a slow server could draw out.
            self.sock = plain
            if self._implicit_tls is None:
                return plain
            return self._implicit_tls.wrap_socket(plain, server_hostname=host)
        raise failure

    def hung_up(self) -> bool:
        """Whether the server has ended it, or has something to say that nobody asked for. No round trip."""
        if self.sock is None:
            return True
        poller = select.poll()
        poller.register(self.sock, select.POLLIN)
        return bool(poller.poll(0))

    def cut(self) -> None:
        """Ends every wait on the socket, from another thread: a server may feed bytes one by one."""
        # Looked at once: the other thread may close it meanwhile.
        ours = self.sock
        if ours is not None:
            with suppress(OSError):
                # The plain socket's method: the ssl module's own would touch what the other thread is using.
                socket.socket.shutdown(ours, socket.SHUT_RDWR)


class Connections:
    """Those that are in use, each watched, and those that are kept for the next mail."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: set[Connection] = set()
        self._kept: list[Connection] = []
        self._watchdog: threading.Thread | None = None

    @contextmanager
    def watched(self, connection: Connection) -> Iterator[None]:
        """Within the block it is cut at its deadline, even if its server always has another byte to say."""
        with self._lock:
            self._watched.add(connection)
            if self._watchdog is None:
                self._watchdog = threading.Thread(target=self._watch, name="mail", daemon=True)
                self._watchdog.start()
        try:
            yield
        finally:
            with self._lock:
                self._watched.discard(connection)

    def keep(self, connection: Connection) -> None:
        """For the next mail, of whichever thread."""
        connection.kept_at = time.monotonic()
        with self._lock:
            self._kept.append(connection)

    def take(self) -> Connection | None:
        """The one that was kept last, if its server has not ended it."""
        while True:
            with self._lock:
                if not self._kept:
                    return None
                connection = self._kept.pop()
            if not connection.hung_up():
                return connection
            connection.close()

    def _watch(self) -> None:
        # One thread that looks often, as a timer for each mail costs a thread for each.
        while True:
            time.sleep(_LOOK_SECONDS)
            with self._lock:
                overdue = [each for each in self._watched if not each.deadline.remaining()]
                for connection in overdue:
                    connection.cut()
                oldest = time.monotonic() - _KEPT_SECONDS
                idle = [kept for kept in self._kept if (kept.kept_at or 0) < oldest]
                self._kept = [kept for kept in self._kept if kept not in idle]
            for connection in idle:
                _say_goodbye(connection)


def _say_goodbye(connection: Connection) -> None:
    """Politely, and without waiting for the answer."""
    with suppress(smtplib.SMTPException, OSError, ValueError):
        connection.putcmd("QUIT")
    connection.close()
