"""Real parts on this machine: containers of the project's own images, and the application's processes."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg2

ROOT = Path(__file__).parents[2]


def run(*command: str | Path) -> str:
    """A command's output; its failure is the test's, in the command's own words."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command[:3]}: {done.stderr or done.stdout}"
    return done.stdout.strip()


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(question: Callable[[], Any], *, seconds: float = 20, what: str = "") -> Any:
    """The first answer that is true; a failure after so long."""
    ends = time.monotonic() + seconds
    while True:
        if answer := question():
            return answer
        assert time.monotonic() < ends, f"not within {seconds} s: {what or question}"
        time.sleep(0.05)


@dataclass
class Container:
    """One container; it can be frozen (its processes stop, its connections stay) and stopped."""

    name: str
    port: int
    inner_port: int

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        run("docker", "pause", self.name)
        try:
            yield
        finally:
            run("docker", "unpause", self.name)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        run("docker", "kill", self.name)
        try:
            yield
        finally:
            run("docker", "start", self.name)


@dataclass
class Process:
    """One of the application's processes, and what it wrote."""

    popen: subprocess.Popen[bytes]
    log: Path

    def says(self, words: str, *, seconds: float = 30) -> None:
        """Waits until it has written this."""

        def said() -> bool:
            assert self.popen.poll() is None, self.log.read_text()[-3000:]
            return words in self.log.read_text()

        eventually(said, seconds=seconds, what=f"{words!r} in {self.log}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code after the signal."""
        self.popen.send_signal(number)
        return self.popen.wait(30)


@dataclass
class Machine:
    """PostgreSQL with TLS, Redis with its ACL, and the environment of the application's processes."""

    directory: Path
    postgres: Container
    redis: Container
    environment: dict[str, str]
    processes: list[Process] = field(default_factory=list)

    def start(self, module: str, *arguments: str, **settings: str) -> Process:
        """`python -m app.<module>` with the machine's settings and these (without APP_) over them."""
        over = {f"APP_{name}": value for name, value in settings.items()}
        return self.spawn(module, sys.executable, "-m", f"app.{module}", *arguments, **over)

    def spawn(self, name: str, *command: str, **environment: str) -> Process:
        """Any program, with the machine's environment and this over it; its output in a file of that name."""
        log = self.directory / f"{name}-{len(self.processes)}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                command,
                env={**self.environment, **environment},
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.processes.append(Process(popen, log))
        return self.processes[-1]

    def run(self, module: str, given: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """`python -m app.<module>` to its end, with this on its standard input."""
        over = {f"APP_{name}": value for name, value in settings.items()}
        command = [sys.executable, "-m", f"app.{module}"]
        return subprocess.run(
            command,
            env=self.environment | over,
            cwd=ROOT,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def master_password(self) -> str:
        """Of the server's master user, who is `postgres` as RDS has it."""
        return (self.directory / "master_password").read_text()

    @property
    def master(self) -> str:
        """The master user, as a deployment tells it to app.db.migrator."""
        return json.dumps({"username": "postgres", "password": self.master_password})

    def end_all(self, since: int = 0) -> None:
        """Ends what was started, the newest first."""
        for process in reversed(self.processes[since:]):
            if process.popen.poll() is None:
                process.popen.kill()
                process.popen.wait()
        del self.processes[since:]

    def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """A statement as the schema's owner, past everything of the application."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

    @contextlib.contextmanager
    def tasks_locked(self) -> Iterator[None]:
        """While nobody can store a task: whoever tries waits."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("LOCK TABLE tasks IN EXCLUSIVE MODE")
            yield

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Any]:
        """A transaction of somebody else, for statements that wait for it; committed at the end."""
        with contextlib.closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("BEGIN")
            yield cursor
            cursor.execute("COMMIT")

    def connect(self, database_name: str = "steadfast") -> Any:
        """As the schema's owner, each statement its own transaction."""
        # The application's wait callback must not apply here.
        connection = psycopg2.connect(
            host="127.0.0.1",
            port=self.postgres.port,
            dbname=database_name,
            user="migrator",
            password=(self.directory / "secrets" / "app_migrator_password").read_text(),
            sslmode="require",
        )
        connection.autocommit = True
        return connection

    def superuser(self, statement: str) -> str:
        """A statement as the server's own administrator, whom RDS keeps to itself."""
        psql = ("runuser", "-u", "postgres", "--", "psql", "-Atqc", statement, "steadfast")
        return run("docker", "exec", self.postgres.name, *psql)

    def redis_cli(self, *command: str) -> str:
        """A command as Redis' administrator, whom only these tests have."""
        return run(
            "docker", "exec", self.redis.name, "redis-cli", "-p", str(self.redis.inner_port),
            "--user", "tests", "--pass", "tests", *command,
        )  # fmt: skip

    def wait_ready(self) -> None:
        """Until both answer: PostgreSQL over TLS, as everybody but its own administrator meets it."""
        listens = ("docker", "exec", self.postgres.name, "pg_isready", "--quiet", "--host=127.0.0.1")

        def answers() -> bool:
            try:
                run(*listens, f"--port={self.postgres.inner_port}")
                return self.superuser("SELECT 1") == "1" and "PONG" in self.redis_cli("ping")
            except AssertionError:
                return False

        eventually(answers, seconds=60, what="PostgreSQL and Redis")


def post(api: httpx.Client, email: str, **more: str) -> str:
    """The id of a task that was accepted."""
    answer = api.post("/notify/", json={"email": email, **more})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["task_id"])


def final(api: httpx.Client, task_id: str, *, seconds: float = 20) -> dict[str, Any]:
    """Where the task stands once it is over."""

    def over() -> Any:
        task = api.get(f"/task_status/{task_id}").raise_for_status().json()
        return task if task["status"] in ("succeeded", "failed", "cancelled") else None

    return dict(eventually(over, seconds=seconds, what=f"the end of {task_id}"))


def make_certificates(directory: Path) -> None:
    """A CA of the tests' own, and a certificate for the name localhost."""
    for role in ("ca", "other-ca"):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", directory / f"{role}.key", "-out", directory / f"{role}.pem", "-days", "2",
            "-subj", f"/CN={role}", "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-keyout", directory / "tls.key", "-out", directory / "tls.csr",
        "-subj", "/CN=localhost")  # fmt: skip
    (directory / "extensions").write_text("subjectAltName=DNS:localhost\nauthorityKeyIdentifier=keyid\n")
    run("openssl", "x509", "-req", "-in", directory / "tls.csr", "-CA", directory / "ca.pem",
        "-CAkey", directory / "ca.key", "-CAcreateserial", "-days", "2",
        "-extfile", directory / "extensions", "-out", directory / "tls.pem")  # fmt: skip


def networking(host_network: bool, inner_port: int) -> tuple[int, int, list[str]]:
    """The port on this machine, the one inside, and what `docker run` is told.

    Published, or on the machine's own network: without the engine's proxy, whose share no figure should have.
    """
    port = free_port()
    if host_network:
        return port, port, ["--network", "host"]
    return port, inner_port, ["--publish", f"127.0.0.1:{port}:{inner_port}"]


def start_postgres(directory: Path, suffix: str, *, host_network: bool) -> Container:
    """The sandbox's stand-in for RDS."""
    run("docker", "build", "--quiet", "--tag", "steadfast-test-rds", ROOT / "molecule" / "sandbox" / "rds")
    data = directory / "postgres"
    data.mkdir()
    for name in ("tls.key", "tls.pem"):
        (data / name).write_bytes((directory / name).read_bytes())
    (data / "master_password").write_text((directory / "master_password").read_text())
    port, inner_port, network = networking(host_network, 5432)
    name = f"steadfast-test-postgres-{suffix}"
    run("docker", "run", "--detach", "--name", name, *network, "--env", f"PGPORT={inner_port}",
        "--volume", f"{data}:/mnt/user-data:ro", "steadfast-test-rds",
        "start", *(["-c", "listen_addresses=127.0.0.1"] if host_network else []))  # fmt: skip
    return Container(name, port, inner_port)


def start_redis(directory: Path, suffix: str, *, host_network: bool) -> Container:
    """The stack's own Redis, with the application's rights as reliability asks for them."""
    build = ROOT / "roles" / "app_release" / "files" / "redis"
    run("docker", "build", "--quiet", "--tag", "steadfast-test-redis", build)
    configuration = directory / "redis"
    configuration.mkdir()
    port, inner_port, network = networking(host_network, 6379)
    address = "127.0.0.1" if host_network else "*"
    (configuration / "redis.conf").write_text(
        f"bind {address}\nport {inner_port}\nprotected-mode no\naclfile /etc/steadfast/users.acl\ndir /data\n"
        "appendonly yes\nsave ''\nmaxmemory 64mb\nmaxmemory-policy noeviction\n"
    )
    password = (directory / "secrets" / "app_redis_password").read_text()
    (configuration / "users.acl").write_text(
        "user default off\nuser tests on >tests ~* &* +@all\n"
        f"user app on sanitize-payload >{password} ~* &* +@all -@admin -@dangerous -@scripting "
        "+evalsha +script|load +script|exists\n"
    )
    for path in (configuration, *configuration.iterdir()):
        path.chmod(0o755)
    name = f"steadfast-test-redis-{suffix}"
    run("docker", "run", "--detach", "--name", name, *network,
        "--volume", f"{configuration}:/etc/steadfast:ro", "steadfast-test-redis")  # fmt: skip
    return Container(name, port, inner_port)


@contextlib.contextmanager
def machine(directory: Path, *, host_network: bool = False) -> Iterator[Machine]:
    """Everything up, the schema migrated; everything gone afterwards."""
    directory.chmod(0o755)
    (directory / "secrets").mkdir()
    for name in ("migrator", "database", "redis"):
        (directory / "secrets" / f"app_{name}_password").write_text(secrets.token_hex(16))
    (directory / "secrets" / "app_operator_token").write_text(secrets.token_hex(16))
    (directory / "master_password").write_text(secrets.token_hex(16))
    make_certificates(directory)
    suffix = f"{os.getpid()}-{secrets.token_hex(3)}"
    made: list[str] = []
    try:
        made.append(f"steadfast-test-postgres-{suffix}")
        postgres = start_postgres(directory, suffix, host_network=host_network)
        made.append(f"steadfast-test-redis-{suffix}")
        redis = start_redis(directory, suffix, host_network=host_network)
        found = Machine(directory, postgres, redis, _environment(directory, postgres, redis))
        try:
            found.wait_ready()
            owner = found.run("db.migrator", found.master)
            assert owner.returncode == 0, owner.stderr
            assert found.start("db.migrate").popen.wait(60) == 0, found.processes[0].log.read_text()
            yield found
        finally:
            found.end_all()
    finally:
        run("docker", "rm", "--force", "--volumes", *made)


def _environment(directory: Path, postgres: Container, redis: Container) -> dict[str, str]:
    settings = {
        "SECRETS_DIR": directory / "secrets",
        "RELEASE": "test",
        "COLOUR": "blue",
        "ENVIRONMENT": "test",
        "DATABASE_HOST": "localhost",
        "DATABASE_PORT": postgres.port,
        "DATABASE_NAME": "steadfast",
        "DATABASE_USERNAME": "app",
        "MIGRATOR_USERNAME": "migrator",
        "DATABASE_CA_PATH": directory / "ca.pem",
        "REDIS_HOST": "localhost",
        "REDIS_PORT": redis.port,
        "SMTP_HOST": "localhost",
        "SMTP_PORT": 1,
        "SMTP_TLS": "none",
        "MAIL_FROM": "tasks@example.com",
        "SMOKE_TEST_RECIPIENT": "smoke@example.com",
        "RETRY_PAUSE_SECONDS": "0.2",
        "RELAY_INTERVAL_SECONDS": "0.3",
        "WORKER_CONCURRENCY": "4",
    }
    return {"PATH": os.environ["PATH"]} | {f"APP_{name}": str(value) for name, value in settings.items()}
