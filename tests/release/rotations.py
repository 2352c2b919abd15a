"""Credentials get new values: each rotation sees that the new one works everywhere and the old one is dead.

Each is asked of the part that it belongs to: PostgreSQL, Redis, nginx, the API, the mail server. A password
goes there on standard input, and is in no argument and no output.
"""

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import boto3
import httpx

from tests.chaos.stack import ROOT, command, eventually
from tests.release.host import Host

_AWS_PORT = 5000
_KEYS = {"aws_access_key_id": "sandbox", "aws_secret_access_key": "sandbox"}
_SMTP_USER = "steadfast"
# More at once than the worker keeps connections to the mail server: for the rest it has to log in.
_MAILS_AT_ONCE = 32

_ASK_POSTGRESQL = """
import json, os, sys, psycopg2
names = {"host": "HOST", "port": "PORT", "dbname": "NAME", "sslrootcert": "CA_PATH"}
server = {key: os.environ["APP_DATABASE_" + name] for key, name in names.items()}
try:
    psycopg2.connect(**server, **json.load(sys.stdin), sslmode="verify-full").close()
    print("accepted")
except psycopg2.OperationalError as refused:
    print(refused)
"""
_ASK_MAILBOX = """
import json, smtplib, sys
with smtplib.SMTP("localhost", 1025) as server:
    try:
        print(server.login(**json.load(sys.stdin))[0])
    except smtplib.SMTPAuthenticationError as refused:
        print(refused.smtp_code)
"""


@dataclass
class Rotations:
    """By name, what happens in each."""

    host: Host

    def events(self) -> dict[str, Callable[[], None]]:
        """All of them, the database's also broken off after the switch and run again."""
        return {
            "rotate-database-password": self._database,
            "rotate-database-password-again": partial(self._database, break_off="Let the old worker finish"),
            "rotate-redis-password": self._redis,
            "rotate-flower-password": self._flower,
            "rotate-operator-token": self._operator,
            "rotate-smtp-password": self._smtp,
        }

    def _database(self, *, break_off: str = "") -> None:
        before = self._database_login()
        if break_off:
            self.host.break_off("rotate-database-password", break_off)
        self._rotate("rotate-database-password", "database/app_password")
        after = self._database_login()
        assert after["user"] != before["user"]
        assert self._postgresql(after) == "accepted"
        assert "password authentication failed" in (said := self._postgresql(before)), said
        users = self.host.stack.sql("SELECT DISTINCT usename FROM pg_stat_activity WHERE usename ~ '^app'")
        assert users == [[after["user"]]], users
        self._see_it_work()

    def _redis(self) -> None:
        old, new = self._rotate("rotate-redis-password", "redis/password")
        assert self._redis_answer(new) == "OK"
        assert "WRONGPASS" in (said := self._redis_answer(old)), said
        self._see_it_work()

    def _flower(self) -> None:
        old, new = self._rotate("rotate-flower-password", "flower/password")
        statuses = [self._ask_flower("/workers", password).status_code for password in (old, new)]
        assert statuses == [401, 200], statuses
        self._see_it_work()

    def _operator(self) -> None:
        old, new = self._rotate("rotate-operator-token", "operator/token")
        statuses = [self._operators(token) for token in (old, new)]
        assert statuses == [401, 200], statuses
        # Operators' playbooks find it on the host.
        listed = self.host.play("list-tasks")
        assert listed.status == 0, listed.output[-3000:]

    def _smtp(self) -> None:
        """The mail server's owner makes a second password before it, and takes the first away after it."""
        old, new = self._parameter("smtp/password"), secrets.token_urlsafe(30)
        self._mailbox_takes(old, new)
        self._rotate("rotate-smtp-password", "smtp/password", {"STEADFAST_SMTP_PASSWORD": new})
        self._mailbox_takes(new)
        statuses = [self._mailbox(password) for password in (old, new)]
        assert statuses == ["535", "235"], statuses
        self._see_it_work(mails=_MAILS_AT_ONCE)

    def _rotate(
        self, playbook: str, parameter: str, environment: dict[str, str] | None = None
    ) -> tuple[str, str]:
        """The old value and the new one, which the playbook told nobody."""
        old = self._parameter(parameter)
        played = self.host.play(playbook, environment=environment)
        assert played.status == 0, played.output[-4000:]
        new = self._parameter(parameter)
        assert new != old, "Parameter Store has the old value"
        assert not [value for value in (old, new) if value in played.output], "the playbook said a password"
        self.host.stack.await_well()
        return old, new

    def _parameter(self, name: str) -> str:
        port = os.environ.get("SANDBOX_AWS_PORT") or _AWS_PORT
        url = f"http://127.0.0.1:{port}"
        client = boto3.client("ssm", endpoint_url=url, region_name="eu-central-1", **_KEYS)
        asked = client.get_parameter(Name=f"/steadfast/sandbox/{name}", WithDecryption=True)
        return str(asked["Parameter"]["Value"])

    def _see_it_work(self, mails: int = 1) -> None:
        """Mails go out that are accepted now, and Flower, which learns of them from Redis, shows each."""
        stack, password = self.host.stack, self._parameter("flower/password")
        recipients = [f"slow-1-{secrets.token_hex(4)}@example.com" for _ in range(mails)]
        with httpx.Client(base_url=stack.page, timeout=10, trust_env=False) as http:
            accepted = [http.post("/notify/", json={"email": name}).raise_for_status() for name in recipients]
        ids = [answer.json()["task_id"] for answer in accepted]

        def sent() -> bool:
            return all(row.status == "succeeded" for row in stack.rows(ids).values())

        def shown() -> bool:
            paths = (f"/api/task/info/{task_id}" for task_id in ids)
            answers = (self._ask_flower(path, password) for path in paths)
            return all(one.status_code == 200 and one.json()["state"] == "SUCCESS" for one in answers)

        eventually(sent, seconds=30, what="mails that are accepted now go out")
        eventually(shown, seconds=20, what="Flower shows them")

    def _database_login(self) -> dict[str, str]:
        names = {"user": "database/app_username", "password": "database/app_password"}
        return {key: self._parameter(name) for key, name in names.items()}

    def _postgresql(self, login: dict[str, str]) -> str:
        """From where the application asks, with its TLS."""
        container = self.host.stack.container("api")
        words = ("docker", "exec", "--interactive", container, "python", "-c", _ASK_POSTGRESQL)
        return self.host.stack.host(*words, stdin=json.dumps(login))

    def _redis_answer(self, password: str) -> str:
        words = ("docker", "exec", "--interactive", self.host.stack.container("redis"), "redis-cli")
        return self.host.stack.host(*words, stdin=f"AUTH app {password}\n")

    def _ask_flower(self, path: str, password: str) -> httpx.Response:
        url = f"{self.host.stack.flower}{path}"
        return httpx.get(url, auth=("operator", password), timeout=10, trust_env=False)

    def _operators(self, token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{self.host.stack.api}/tasks/counts"
        return httpx.get(url, headers=headers, timeout=10, trust_env=False).status_code

    def _mailbox(self, password: str) -> str:
        words = ("docker", "exec", "--interactive", f"{self.host.stack.name}-mailbox", "python", "-c")
        return command(*words, _ASK_MAILBOX, stdin=json.dumps({"user": _SMTP_USER, "password": password}))

    def _mailbox_takes(self, *passwords: str) -> None:
        """Its owner's own change: these are good from now on, and no other (services/mailbox.py)."""
        held = ROOT / ".sandbox" / self.host.stack.name / "mailbox" / "smtp_password"
        coming = held.with_suffix(".coming")
        coming.write_text("\n".join(passwords))
        # A login in between finds the one or the other.
        coming.chmod(0o600)
        coming.rename(held)
