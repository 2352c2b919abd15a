"""The sandbox's stack, part by part, and how to break each: what a trial does, it does through this.

The host is a container, and the stack's own containers are inside it: `docker exec <host> docker …`. The
database and the mail server stand beside it, as RDS and a provider do. `docker kill`, with any signal, counts
as stopped by hand, and nothing starts that container again when it dies: so a crash is `kill -9` of its
first process.
"""

import contextlib
import json
import os
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from tests.chaos.network import Network
from tests.chaos.oracle import Mail, Row

ROOT = Path(__file__).parents[2]
_DIRECTORY = "/opt/steadfast"
_PORTS = {"page": 8080, "api": 8000, "health": 8501, "flower": 5555, "mailbox": 8025}
_ROWS = "SELECT id, status, attempts, deaths, unconfirmed, finished_at FROM tasks"


def command(*words: str, stdin: str | None = None, seconds: float = 120, check: bool = True) -> str:
    """A command's output; its failure is the trial's, in the command's own words."""
    done = subprocess.run(
        list(words), input=stdin, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert done.returncode == 0 or not check, f"{' '.join(words)[:300]}: {done.stderr or done.stdout}"
    return done.stdout.strip()


def eventually(question: Callable[[], Any], *, seconds: float, what: str) -> Any:
    """The first answer that is true; a failure after so long."""
    ends = time.monotonic() + seconds
    while True:
        if answer := question():
            return answer
        assert time.monotonic() < ends, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)


@dataclass(frozen=True)
class Stack:
    """One sandbox, by its name and the addresses that it publishes on this machine."""

    name: str
    page: str
    api: str
    health: str
    flower: str
    mailbox: str

    @classmethod
    def of_environment(cls) -> "Stack":
        """As the SANDBOX_* variables say, which created it."""
        # With TLS the page's port only leads to another one; nobody here goes that way.
        scheme = {"api": "https", "flower": "https"} if os.environ.get("SANDBOX_TLS") == "1" else {}
        at = {part: os.environ.get(f"SANDBOX_{part.upper()}_PORT") or port for part, port in _PORTS.items()}
        urls = {part: f"{scheme.get(part, 'http')}://127.0.0.1:{port}" for part, port in at.items()}
        return cls(name=os.environ.get("SANDBOX_NAME") or "steadfast", **urls)

    @property
    def trust(self) -> ssl.SSLContext:
        """For who speaks TLS with it: the sandbox's own authority."""
        return ssl.create_default_context(cafile=ROOT / ".sandbox" / self.name / "ca.pem")

    # -- the host and what runs on it

    def host(self, *words: str, stdin: str | None = None, seconds: float = 120, check: bool = True) -> str:
        """A command on the host, as root."""
        enter = ("docker", "exec", *(["--interactive"] if stdin is not None else []), f"{self.name}-host")
        return command(*enter, *words, stdin=stdin, seconds=seconds, check=check)

    def compose(self, *words: str, seconds: float = 180) -> str:
        """`docker compose` as an operator on the host runs it."""
        return self.host("docker", "compose", "--project-directory", _DIRECTORY, *words, seconds=seconds)

    @property
    def colour(self) -> str:
        """The slot that serves."""
        return self.host("readlink", f"{_DIRECTORY}/sockets/live.sock").removesuffix(".sock")

    def container(self, service: str) -> str:
        """The container of `api`, `worker`, `redis`, `nginx` or `flower`, in the live slot."""
        slot = f"_{self.colour}" if service in ("api", "worker") else ""
        return f"steadfast-{service}{slot}-1"

    def pid(self, service: str, *, container: str = "") -> int:
        """The first process of a service's container, as the host numbers it; 0 while it does not run."""
        container = container or self.container(service)
        return int(self.host("docker", "inspect", "--format", "{{.State.Pid}}", container))

    def kill(self, service: str, *, container: str = "") -> None:
        """The service dies; the engine starts it again."""
        pid = self.pid(service, container=container)
        assert pid, f"{service} does not run"
        self.host("kill", "-9", str(pid))

    def is_up(self, service: str, *, since_seconds: float = 0) -> bool:
        """Whether it runs, for so long at least, and its own check says that it is well."""
        state = self.host(
            "docker", "inspect", "--format", "{{json .State}}", self.container(service), check=False
        )
        found = json.loads(state) if state else {}
        if found.get("Status") != "running" or found.get("Health", {}).get("Status") != "healthy":
            return False
        return time.time() - datetime.fromisoformat(found["StartedAt"]).timestamp() >= since_seconds

    @contextlib.contextmanager
    def frozen(self, *services: str) -> Iterator[None]:
        """While their processes stand still; connections to them stay."""
        containers = [self.container(service) for service in services]
        self.host("docker", "pause", *containers)
        try:
            yield
        finally:
            # One that was killed meanwhile is not paused any more.
            for container in containers:
                self.host("docker", "unpause", container, check=False)

    @contextlib.contextmanager
    def frozen_beside(self, part: str) -> Iterator[None]:
        """The same of what stands beside the host: aws, rds or mailbox."""
        command("docker", "pause", f"{self.name}-{part}")
        try:
            yield
        finally:
            command("docker", "unpause", f"{self.name}-{part}")

    @contextlib.contextmanager
    def unplugged(self, service: str, network: str = "steadfast_backend") -> Iterator[None]:
        """While a service is not on one of the stack's networks."""
        container = self.container(service)
        self.host("docker", "network", "disconnect", network, container)
        try:
            yield
        finally:
            alias = container.removeprefix("steadfast-").removesuffix("-1")
            self.host("docker", "network", "connect", "--alias", alias, network, container)

    def network(self, service: str) -> Network:
        """The network of one of the stack's containers; it ends with the container's first process."""
        return Network(
            (
                "docker",
                "exec",
                "--interactive",
                f"{self.name}-host",
                "nsenter",
                "-t",
                str(self.pid(service)),
                "-n",
            )
        )

    def network_beside(self, part: str) -> Network:
        """The network of `rds` or `mailbox`, from a container that shares it."""
        image = command("docker", "inspect", "--format", "{{.Config.Image}}", f"{self.name}-host")
        return Network(
            ("docker", "run", "--rm", "--interactive", f"--network=container:{self.name}-{part}",
             "--cap-add=NET_ADMIN", image)
        )  # fmt: skip

    # -- Redis

    def redis(self, *lines: str) -> list[str]:
        """Commands as the application's own user, one a line, in redis-cli's notation; each one's answer."""
        password = self.host("cat", f"{_DIRECTORY}/secrets/live/app_redis_password")
        said = self.host(
            "docker", "exec", "--interactive", self.container("redis"), "redis-cli",
            stdin="\n".join([f"AUTH app {password}", *lines]) + "\n",
        ).splitlines()  # fmt: skip
        assert said[:1] == ["OK"], said
        return said[1:]

    def queue_depth(self) -> int:
        """How many ids wait."""
        return int(self.redis("LLEN steadfast")[0])

    def flush_redis(self) -> None:
        """Redis forgets everything at once. Nobody in the stack may FLUSHALL, so it is done by names."""
        keys = [key for key in self.redis("SCAN 0 COUNT 1000")[1:] if key]
        if keys:
            self.redis("UNLINK " + " ".join(f'"{key}"' for key in keys))

    # -- the database

    def sql(self, statement: str) -> list[list[str]]:
        """A statement as the server's own administrator, past everything of the application."""
        said = command(
            "docker", "exec", "--interactive", f"{self.name}-rds", "runuser", "-u", "postgres", "--",
            "psql", "-AtqX", "-F", "|", "-v", "ON_ERROR_STOP=1", "steadfast", stdin=statement,
        )  # fmt: skip
        return [line.split("|") for line in said.splitlines()]

    def rows(self, task_ids: Sequence[str]) -> dict[str, Row]:
        """What the database holds of these tasks."""
        if not task_ids:
            return {}
        ids = ", ".join(f"'{task_id}'" for task_id in task_ids)
        return {
            row[0]: Row(row[1], *map(int, row[2:5]), datetime.fromisoformat(row[5]) if row[5] else None)
            for row in self.sql(f"{_ROWS} WHERE id IN ({ids})")
        }

    def running_tasks(self) -> list[str]:
        """What workers have just now."""
        return [row[0] for row in self.sql("SELECT id FROM tasks WHERE status = 'running'")]

    def database_answers(self) -> bool:
        """Whether it takes connections."""
        probe = ("docker", "exec", f"{self.name}-rds", "pg_isready", "--quiet", "--host=127.0.0.1")
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0

    @contextlib.contextmanager
    def database_away(self) -> Iterator[None]:
        """The server dies as in a crash, and comes back at the end."""
        command("docker", "kill", f"{self.name}-rds")
        try:
            yield
        finally:
            command("docker", "start", f"{self.name}-rds")
            eventually(self.database_answers, seconds=60, what="the database is back")

    # -- the mail server

    def mails(self) -> list[Mail]:
        """What it has taken since it was last told to forget."""
        found = httpx.get(f"{self.mailbox}/receipts", timeout=30, trust_env=False).raise_for_status().json()
        return [
            Mail(
                mail["task_id"], mail["to"][0], datetime.fromisoformat(mail["received_at"]), mail["answered"]
            )
            for mail in found
        ]

    def forget_mails(self) -> None:
        """The mailbox begins anew."""
        httpx.delete(f"{self.mailbox}/messages", timeout=10, trust_env=False).raise_for_status()

    @contextlib.contextmanager
    def mail_server(self, behaviour: str, *, seconds: float = 0) -> Iterator[None]:
        """While the mail server behaves so to everybody (molecule/sandbox/services/mailbox.py)."""
        self.behave(behaviour, seconds=seconds)
        try:
            yield
        finally:
            self.behave("normal")

    def behave(self, behaviour: str, *, seconds: float = 0) -> None:
        """Tells the mail server how to treat everybody from now on."""
        url = f"{self.mailbox}/behaviour"
        wish = {"name": behaviour, "seconds": seconds}
        httpx.put(url, json=wish, timeout=30, trust_env=False).raise_for_status()

    # -- the whole

    def complaint(self, *, since_seconds: float = 0) -> str:
        """Why the stack is not as it was before, with every part up for so long; empty when it is."""
        try:
            ready = httpx.get(f"{self.health}/ready", timeout=5, trust_env=False)
        except httpx.HTTPError as error:
            return f"/ready: {error}"
        if ready.status_code != 200:
            return f"/ready: {ready.text}"
        parts = ("api", "worker", "redis", "nginx", "flower")
        down = [name for name in parts if not self.is_up(name, since_seconds=since_seconds)]
        return f"down: {down}" if down else ""

    def mend(self) -> None:
        """Whatever a trial that failed has left behind is put right, as far as that is quick."""
        self.behave("normal")
        for part in ("rds", "mailbox", "host"):
            command("docker", "start", f"{self.name}-{part}")
        eventually(self.database_answers, seconds=60, what="the database is back")
        paused = self.host("docker", "ps", "--quiet", "--filter", "status=paused")
        for container in paused.split():
            self.host("docker", "unpause", container)
        self.flush_redis()
        self.compose("up", "--detach", "--no-recreate")

    def await_well(self, seconds: float = 150, *, since_seconds: float = 0) -> None:
        """Waits until every part has been up for so long."""
        ends = time.monotonic() + seconds
        while complaint := self.complaint(since_seconds=since_seconds):
            assert time.monotonic() < ends, f"the stack did not get well within {seconds:g} s: {complaint}"
            time.sleep(0.3)
