"""A change of the certificate breaks no request.

E2E_CERTIFICATE_CHANGE is a command that changes it, while clients that keep their connections and clients
that make a new one for each request ask for the page. It runs only where it is named:
`pytest tests/e2e/test_certificate.py`.
"""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException

import pytest

from tests.e2e.deployed import Stack, Trust

CLIENTS_OF_EACH_SORT = 2
CHANGE_SEES_SECONDS = 20


class Load:
    """Asks for the page without a pause, and counts answers and what broke."""

    def __init__(self, stack: Stack, trust: Trust) -> None:
        self._url, self._trust = stack.page, trust
        self._over = threading.Event()
        self.answers: Counter[str] = Counter()
        self.broken: list[str] = []

    def _ask_on(self, sort: str) -> None:
        connection: HTTPConnection | None = None
        while not self._over.is_set():
            try:
                if connection is None:
                    connection = HTTPConnection("localhost")
                    connection.sock = self._trust.dial(self._url, 10)
                connection.request("GET", "/")
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200, answer.status
                self.answers[sort] += 1
                # nginx ends a connection after a thousand requests, and says so.
                if sort == "new" or answer.will_close:
                    connection.close()
                    connection = None
            except (OSError, HTTPException, AssertionError) as error:
                self.broken.append(f"{sort}: {error!r}")
                connection = None

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [
            threading.Thread(target=self._ask_on, args=(sort,))
            for sort in ("kept", "new")
            for _ in range(CLIENTS_OF_EACH_SORT)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join()


@pytest.fixture
def change() -> str:
    command = os.environ.get("E2E_CERTIFICATE_CHANGE")
    assert command, "Set E2E_CERTIFICATE_CHANGE to a command that changes the certificate."
    return command


def test_no_request_breaks(stack: Stack, trust: Trust, change: str) -> None:
    load = Load(stack, trust)
    before = trust.certificate_of(stack.page).serial_number
    with load.running():
        time.sleep(1)
        # A shell's command, from whoever runs this test.
        changed = subprocess.run(change, shell=True, capture_output=True, text=True)  # noqa: S602
        assert changed.returncode == 0, changed.stdout + changed.stderr
        ends = time.monotonic() + CHANGE_SEES_SECONDS
        while trust.certificate_of(stack.page).serial_number == before:
            assert time.monotonic() < ends, "the new certificate is not served"
            time.sleep(0.2)
        time.sleep(1)
    assert load.broken == []
    assert load.answers["new"] > 50, "so few say nothing"
    assert load.answers["kept"] > 50
    sys.stdout.write(f"answers: {dict(load.answers)}, broken: none\n")
