"""The program that asks the front door: what it calls away, and for how long."""

import importlib.util
import json
import re
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).parents[3] / "roles" / "front_door_watch" / "files" / "watch.py"
GOOD, BAD = b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 503 Service Unavailable\r\n\r\n"


@pytest.fixture(scope="module")
def watch() -> Iterator[ModuleType]:
    """The program; it lies in a role, which gets no bytecode from here."""
    spec = importlib.util.spec_from_file_location("watch", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.modules["watch"] = module
    try:
        spec.loader.exec_module(module)
        yield module
    finally:
        del sys.modules["watch"]
        sys.dont_write_bytecode = before


class Door(socketserver.ThreadingTCPServer):
    """A front door that says of each path what it is told to."""

    allow_reuse_address = True
    daemon_threads = True
    answers: dict[str, bytes]


class Answer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        path = self.rfile.readline().split()[1].decode()
        assert isinstance(self.server, Door)
        self.wfile.write(self.server.answers[path])


@contextmanager
def door(port: int = 0) -> Iterator[Door]:
    with Door(("127.0.0.1", port), Answer) as server:
        server.answers = {"/": GOOD, "/ready": GOOD}
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def test_a_door_that_was_closed_was_away_from_the_first_question_to_the_next_good_answer(
    watch: ModuleType,
) -> None:
    with door() as first:
        address = first.server_address
        begun = time.monotonic()
        context = watch.asking(address)
        seen = context.__enter__()
        time.sleep(0.3)
    time.sleep(0.4)
    with door(int(address[1])):
        time.sleep(0.5)
        context.__exit__(None, None, None)
    took = time.monotonic() - begun
    front = seen["Front door"]
    assert 0.3 < front.away_seconds < took - 0.5
    assert front.longest_seconds == front.away_seconds
    assert 0 < front.failed < front.asked
    # Reset: one that had come to the door when it was closed.
    assert re.search("refused|reset", front.first_failure)


def test_a_stack_that_is_not_ready_is_no_closed_door(watch: ModuleType) -> None:
    with door() as server, watch.asking(server.server_address) as seen:
        time.sleep(0.5)
        server.answers["/ready"] = BAD
        time.sleep(0.5)
    assert seen["Front door"].failed == 0
    assert seen["Front door"].away_seconds == 0
    # It did not come back while it was asked: that counts, too.
    assert seen["Ready"].away_seconds > 0.2
    assert seen["Ready"].first_failure == "HTTP/1.1 503 Service Unavailable"


def test_two_times_away_are_two(watch: ModuleType) -> None:
    seen = watch.Seen()
    for failure, at in (("", 0), ("gone", 1), ("gone", 2), ("", 3), ("gone", 4), ("", 4.5)):
        seen.note(failure, asked_at=at, answered_at=at + 0.25)
    assert seen.told() == {
        "asked": 6, "failed": 3, "away_seconds": 3.0, "longest_seconds": 2.25, "first_failure": "gone",
    }  # fmt: skip


def test_the_program_says_what_it_saw_when_it_is_told_to_end() -> None:
    with subprocess.Popen([sys.executable, PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    # Whatever answers on this machine's port 8501, it was asked.
    assert set(found := json.loads(said)) == {"Front door", "Ready"}
    assert all(one["asked"] > 0 for one in found.values())
