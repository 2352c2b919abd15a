"""The drill counts what it should: a failure is one however it looks, and a repeat is no second task."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from tests.release.connection import Broken, Connection
from tests.release.load import Load, Request, p99_ms
from tests.release.report import Row, table

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def with_server(serve: Serve, use: Callable[[str], Awaitable[None]]) -> None:
    """Has something ask a server of its own."""

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        await use(f"http://127.0.0.1:{port}")
        server.close()

    asyncio.run(run())


def answering(*answers: bytes) -> Serve:
    """A server that gives these answers, one after the other on all connections; an empty one hangs up."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            answer = left.pop(0) if len(left) > 1 else left[0]
            writer.write(answer)
            if not answer or b"connection: close" in answer:
                writer.close()
                return

    return serve


def answer(status: int, body: bytes = b"{}", more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d x\r\ncontent-length: %d\r\n%s\r\n%s" % (status, len(body), more, body)


def test_a_connection_that_the_server_ends_between_two_questions_is_no_failure() -> None:
    async def use(url: str) -> None:
        connection = Connection("127.0.0.1", int(url.rpartition(":")[2]))
        assert [await connection.ask("GET", "/") for _ in range(3)] == [(200, b"{}")] * 3

    with_server(answering(answer(200, more=b"connection: close\r\n")), use)


def test_one_that_is_ended_without_an_answer_is() -> None:
    async def use(url: str) -> None:
        connection = Connection("127.0.0.1", int(url.rpartition(":")[2]))
        with pytest.raises(Broken, match="IncompleteReadError"):
            await connection.ask("GET", "/")

    with_server(answering(b""), use)


def test_a_submission_is_repeated_until_it_is_accepted_and_each_failure_counts() -> None:
    accepted = answer(202, json.dumps({"task_id": "1" * 36}).encode())

    async def use(url: str) -> None:
        load = Load(url, rate=1)
        await load._submit(Connection("127.0.0.1", int(url.rpartition(":")[2])))
        assert list(load.accepted) == ["1" * 36]
        assert [bool(request.failure) for request in load.requests] == [True, True, False]

    with_server(answering(answer(503), b"", accepted), use)


def row(**more: object) -> Row:
    given = {"event": "deploy-1", "requests": 1000, "failed": 0, "goal_failed": 0, "accepted": 100,
             "delivered": 100, "lost": 0, "duplicates": 0, "p99_during_ms": 9.5, "p99_outside_ms": 5.0,
             "seconds": 40.0}  # fmt: skip
    return Row(**(given | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"failed": 1}, "1 of 1000 requests failed"),
        ({"lost": 2}, "2 tasks were lost"),
        ({"duplicates": 3}, "3 mails came twice"),
        ({"accepted": 0}, "this shows nothing"),
    ],
)
def test_a_promise_that_was_not_held_is_said(more: dict[str, object], words: str) -> None:
    assert row().complaints == []
    assert words in row(**more).complaints[0]
    # A gap that is only stated: what is lost is lost all the same.
    stated = row(goal_failed=None, failed=99, duplicates=3)
    assert stated.complaints == []


def test_the_table_sums_up_what_has_a_goal() -> None:
    lines = table([row(), row(event="roll-back"), row(event="host-reboot", goal_failed=None, failed=9)])
    assert lines.splitlines()[-1].startswith("| all with a goal | 2000 | 0 | 0 | 200 | 200 | 0 | 0 |")


def test_p99_is_of_what_was_answered_well() -> None:
    requests = [Request(0, number / 1000, "") for number in range(1, 101)]
    assert p99_ms([*requests, Request(0, 10, "GET: 503")]) == 100.0
    assert p99_ms([]) is None
