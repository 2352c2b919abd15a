"""A look-up of a name ends in time."""

import socket
import time
from typing import Any

import pytest

from app.deadline import Deadline, resolve


def test_a_name_server_that_is_away_costs_no_more_than_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: Any, **__: Any) -> None:
        time.sleep(0.5)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        resolve("db.example.com", 5432, Deadline(0.1))
    assert time.monotonic() - begun < 0.4


def test_each_address_is_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        (0, 0, 0, "", ("10.0.0.1", 1)),
        (0, 0, 0, "", ("10.0.0.1", 1)),
        (0, 0, 0, "", ("fd00::1", 1, 0, 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert resolve("db.example.com", 1, Deadline(1)) == ["10.0.0.1", "fd00::1"]


def test_nothing_remains_of_a_deadline_that_has_passed() -> None:
    deadline = Deadline(0.01)
    time.sleep(0.02)
    assert deadline.remaining() == 0.0
