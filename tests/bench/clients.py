"""Clients that wait for the end of what they asked for; whether it has come they ask the store itself."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Sequence
from itertools import count

import psycopg2
import redis
import uvloop

from tests.integration.machine import Machine

# Which of these ids are done.
Store = Callable[[Sequence[str]], list[str]]

_LOOK_SECONDS = 0.0005
_LOOK_AT_MANY_SECONDS = 0.01
_PATIENCE_SECONDS = 30
_KEPT_MS = 1000


def our_store(machine: Machine) -> Store:
    """PostgreSQL, without the delay that the project has to bear."""
    connection = psycopg2.connect(
        host="127.0.0.1", port=machine.postgres.port, dbname="steadfast", user="migrator", sslmode="require",
        password=(machine.directory / "secrets" / "app_migrator_password").read_text(),
    )  # fmt: skip
    connection.autocommit = True
    cursor = connection.cursor()
    # So that looking costs as little here as it does in Redis.
    cursor.execute(
        "PREPARE look (text[]) AS SELECT id FROM tasks WHERE id = ANY($1) AND status || '' = 'succeeded'"
    )

    def look(task_ids: Sequence[str]) -> list[str]:
        cursor.execute("EXECUTE look (%s)", (list(task_ids),))
        return [row[0] for row in cursor.fetchall()]

    return look


def peers_store(redis_url: str) -> Store:
    """Redis, where Celery keeps results."""
    client = redis.Redis.from_url(redis_url)

    def look(task_ids: Sequence[str]) -> list[str]:
        found = client.mget([f"celery-task-meta-{task_id}" for task_id in task_ids])
        return [
            task_id
            for task_id, result in zip(task_ids, found, strict=True)
            if result and b'"SUCCESS"' in result
        ]

    return look


def _request(number: int) -> bytes:
    body = json.dumps({"email": f"client.{number}@example.com", "message": "Your report is ready."}).encode()
    return (
        b"POST /notify/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )


def one_by_one(ports: Sequence[int], store: Store, tasks: int) -> list[float]:
    """Milliseconds from sending a request to its task's end, one task at a time, each port in turn."""
    connections: dict[int, socket.socket] = {}
    taken = []
    for number in range(tasks):
        port = ports[number % len(ports)]
        if port not in connections:
            connections[port] = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS)
            connections[port].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begun = time.perf_counter()
        connections[port].sendall(_request(number))
        task_id = _read_id(connections[port])
        while not store([task_id]):
            if time.perf_counter() - begun > _PATIENCE_SECONDS:
                raise TimeoutError(f"{task_id} does not end")
            time.sleep(_LOOK_SECONDS)
        taken.append((time.perf_counter() - begun) * 1000)
        if taken[-1] > _KEPT_MS:
            # The first task may wait for its worker to start, and servers end what is idle for long.
            _close(connections)
        # Nothing of this task is under way any more when the next begins.
        time.sleep(0.02)
    _close(connections)
    return taken


def _close(connections: dict[int, socket.socket]) -> None:
    for connection in connections.values():
        connection.close()
    connections.clear()


def _read_id(connection: socket.socket) -> str:
    data = b""
    while True:
        received = connection.recv(65536)
        if not received:
            raise ConnectionError("the server ended the connection")
        data += received
        head, found, body = data.partition(b"\r\n\r\n")
        if found and len(body) >= _length(head):
            return _id(head, body)


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])


def _id(head: bytes, body: bytes) -> str:
    if b" 202 " not in head.split(b"\r\n", 1)[0]:
        raise RuntimeError(body.decode())
    return str(json.loads(body)["task_id"])


def many(ports: Sequence[int], store: Store, *, clients: int, seconds: float) -> float:
    """Tasks ended a second, while each client asks for one, waits for its end and asks for the next."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_many(ports, store, clients, seconds))


async def _many(ports: Sequence[int], store: Store, clients: int, seconds: float) -> float:
    waiting: dict[str, asyncio.Future[None]] = {}
    numbers, ended = count(), 0

    async def client(port: int) -> None:
        nonlocal ended
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while True:
            writer.write(_request(next(numbers)))
            head = await reader.readuntil(b"\r\n\r\n")
            task_id = _id(head, await reader.readexactly(_length(head)))
            waiting[task_id] = asyncio.get_running_loop().create_future()
            await waiting[task_id]
            ended += 1

    async def watch() -> None:
        while True:
            await asyncio.sleep(_LOOK_AT_MANY_SECONDS)
            for task_id in store([*waiting]) if waiting else []:
                waiting.pop(task_id).set_result(None)

    tasks = [asyncio.ensure_future(client(ports[number % len(ports)])) for number in range(clients)]
    tasks.append(asyncio.ensure_future(watch()))
    await asyncio.sleep(2)
    before, begun = ended, time.perf_counter()
    finished, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    rate = (ended - before) / (time.perf_counter() - begun)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in finished:
        task.result()
    return rate
