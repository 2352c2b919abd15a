"""What the bench starts: real parts, the project's processes and the peers', alike on TCP of 127.0.0.1."""

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import redis

from app.settings import ApiSettings, load
from tests.integration.machine import Machine, Process, eventually, free_port, machine, post

HERE = Path(__file__).parent
CONNECTIONS = 32
# Of a round trip to a database that is not on this machine; 0 is the other distance that is measured.
DELAY_MS = 1


@dataclass(frozen=True)
class Load:
    """What wrk saw."""

    requests: int
    seconds: float
    errors: int
    p50_ms: float
    p99_ms: float

    @property
    def per_second(self) -> float:
        """Of those that went well."""
        return (self.requests - self.errors) / self.seconds

    def __str__(self) -> str:
        trouble = f", {self.errors} went wrong" if self.errors else ""
        return f"{self.per_second:.0f}/s, p50 {self.p50_ms:.1f} ms, p99 {self.p99_ms:.1f} ms{trouble}"


@dataclass
class Parts:
    """The machine, and how each side's processes are started on it."""

    machine: Machine
    delayed_port: int

    def database(self, delay_ms: int) -> str:
        """The port at which the database is so far away."""
        return str(self.delayed_port if delay_ms else self.machine.postgres.port)

    def ours(self, delay_ms: int, copies: int = 1, **settings: str) -> list[int]:
        """The ports of the project's API processes; each in its own slot's name, as no two share a node."""
        ports = [free_port() for _ in range(copies)]
        for port in ports:
            process = self.machine.start(
                "api", "--port", str(port),
                DATABASE_PORT=self.database(delay_ms), RECIPIENT_LIMIT_PER_HOUR="1000000000",
                # What is stored here may lie for as long as a measurement likes.
                ACCEPT_MAX_TASK_AGE_SECONDS="1000000000", **settings,
            )  # fmt: skip
            process.says("Uvicorn running")
        return ports

    def peer(self, name: str, delay_ms: int = 0, copies: int = 1) -> list[int]:
        """The ports of a peer's API processes, with the server's settings that the project has."""
        ports = [free_port() for _ in range(copies)]
        for port in ports:
            process = self.machine.spawn(
                name, sys.executable, "-m", "uvicorn", f"tests.bench.peers.{name}:app", "--port", str(port),
                "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--no-server-header",
                **self._peers_environment(delay_ms),
            )  # fmt: skip
            process.says("Uvicorn running")
        return ports

    def our_worker(self, delay_ms: int, *, smtp_port: int = 0, **settings: str) -> Process:
        """A worker container's process; without a mail server it does nothing for a task."""
        # The application's own defaults again, where the tests' machine has others.
        defaults = {"WORKER_CONCURRENCY": "16", "RELAY_INTERVAL_SECONDS": "1", "RETRY_PAUSE_SECONDS": "5"}
        places = {"DATABASE_PORT": self.database(delay_ms), "SMTP_PORT": str(smtp_port or 1)}
        over = {f"APP_{key}": value for key, value in {**defaults, **places, **settings}.items()}
        module = "app.worker" if smtp_port else "tests.bench.idle_worker"
        return self.machine.spawn("our-worker", sys.executable, "-m", module, **over)

    def peers_worker(self, *arguments: str, smtp_port: int = 0) -> Process:
        """The tutorial's worker as `celery worker` starts it: a process for each core."""
        mail = {"PEER_SMTP_PORT": str(smtp_port)} if smtp_port else {}
        process = self.machine.spawn(
            "peers-worker", sys.executable, "-m", "celery", "--app", "tests.bench.peers.tutorial:celery",
            "worker", "--hostname", f"peer-{secrets.token_hex(3)}", *arguments,
            **self._peers_environment(0), **mail,
        )  # fmt: skip
        return process

    def sink(self, delay_ms: int) -> int:
        """The port of a mail server that answers DATA after so long."""
        port = free_port()
        self.run_module("tests.bench.sink", port, delay_ms)
        eventually(lambda: listens(port), what="the mail server")
        return port

    def run_module(self, module: str, *arguments: int | Path) -> Process:
        """A program of the bench."""
        words = (sys.executable, "-m", module, *map(str, arguments))
        return self.machine.spawn(module.rpartition(".")[2], *words)

    def peers_redis_url(self) -> str:
        """Another database of the same server, so that nobody meets the other's keys."""
        return f"redis://tests:tests@127.0.0.1:{self.machine.redis.port}/1"

    def _peers_environment(self, delay_ms: int) -> dict[str, str]:
        machine = self.machine
        password = (machine.directory / "secrets" / "app_database_password").read_text()
        return {
            "PEER_REDIS_URL": self.peers_redis_url(),
            "PEER_DATABASE_URL": f"postgresql+psycopg2://app:{password}@localhost:{self.database(delay_ms)}"
            f"/steadfast?sslmode=verify-full&sslrootcert={machine.directory / 'ca.pem'}",
        }

    def settings(self, delay_ms: int, database_name: str) -> ApiSettings:
        """The project's, for its functions that are called in this process."""
        over = {"APP_DATABASE_PORT": self.database(delay_ms), "APP_DATABASE_NAME": database_name}
        with patch.dict(os.environ, {**self.machine.environment, **over}):
            return load(ApiSettings)

    def sql(self, database_name: str, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """As `Machine.sql`, in any of the server's databases."""
        connecting = contextlib.closing(self.machine.connect(database_name))
        with connecting as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

    def empty(self) -> None:
        """Nothing waits and nothing is stored, on either side."""
        self.machine.sql("TRUNCATE tasks, workers, counters, peer_tasks")
        self.machine.redis_cli("FLUSHALL")

    def waiting(self) -> int:
        """Ids of ours in the broker."""
        return int(self.machine.redis_cli("-n", "0", "LLEN", "steadfast"))

    def peers_waiting(self) -> int:
        return int(self.machine.redis_cli("-n", "1", "LLEN", "celery"))

    def stored(self) -> int:
        """Rows of ours."""
        return int(self.machine.sql("SELECT count(*) FROM tasks")[0][0])

    def ours_done(self) -> int:
        return int(self.machine.sql("SELECT count(*) FROM tasks WHERE status = 'succeeded'")[0][0])

    def peers_done(self) -> int:
        """Tasks of the tutorial that went well."""
        with redis.Redis.from_url(self.peers_redis_url()) as client:
            keys = client.keys("celery-task-meta-*")
            return sum(b'"SUCCESS"' in (result or b"") for result in (client.mget(keys) if keys else ()))

    def ended(self, port: int, count: int) -> Path:
        """A file of the ids of so many tasks that have ended."""
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            task_ids = [post(client, f"reader.{number}@example.com") for number in range(count)]

            def over() -> bool:
                last = client.get(f"/task_status/{task_ids[-1]}").json()["status"]
                return str(last).lower() in ("succeeded", "success")

            eventually(over, seconds=60, what="the end of the last task")
        return self.file_of(task_ids)

    def file_of(self, lines: Sequence[str]) -> Path:
        """A file for wrk."""
        path = self.machine.directory / f"{secrets.token_hex(4)}.ids"
        path.write_text("\n".join(lines) + "\n")
        return path

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """What is started within ends with it."""
        before = len(self.machine.processes)
        try:
            yield
        finally:
            self.machine.end_all(before)


def listens(port: int) -> bool:
    """Whether somebody does."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wrk(
    ports: Sequence[int], seconds: int, *, ids: Path | None = None, connections: int = CONNECTIONS
) -> Load:
    """Bounded load on these ports: POST, or GET of the ids in a file."""
    over = {"IDS": str(ids)} if ids else {"MARK": f"u{secrets.token_hex(4)}"}
    done = subprocess.run(
        ["wrk", "--threads", "2", "--connections", str(connections), "--duration", f"{seconds}s",
         "--timeout", "10s", "--script", str(HERE / "load.lua"), f"http://127.0.0.1:{ports[0]}"],
        env={"PATH": os.environ["PATH"], "PORTS": ",".join(map(str, ports)), **over},
        capture_output=True, text=True, timeout=seconds + 30, check=True,
    )  # fmt: skip
    return Load(**json.loads(done.stdout.splitlines()[-1]))


def memory_mb(pid: int) -> float:
    """What a process and its children take, what they share counted once."""
    proportional = Path(f"/proc/{pid}/smaps_rollup").read_text().split("\nPss:", 1)[1].split()[0]
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(proportional) / 1024 + sum(memory_mb(int(child)) for child in children)


@contextlib.contextmanager
def parts(directory: Path) -> Iterator[Parts]:
    """Everything up; everything gone afterwards."""
    with machine(directory, host_network=True) as found:
        found.sql(
            "CREATE TABLE peer_tasks (id bigserial PRIMARY KEY, email text NOT NULL, message text,"
            " status text NOT NULL, created_at timestamptz NOT NULL DEFAULT now())"
        )
        found.sql("GRANT ALL ON peer_tasks, peer_tasks_id_seq TO app")
        # Results of peers take more than ids do.
        found.redis_cli("CONFIG", "SET", "maxmemory", "2gb")
        delayed = Parts(found, free_port())
        delayed.run_module("tests.bench.delay", delayed.delayed_port, found.postgres.port, DELAY_MS)
        eventually(lambda: listens(delayed.delayed_port), what="the delaying proxy")
        yield delayed
