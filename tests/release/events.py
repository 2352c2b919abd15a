"""What may happen to a stack that serves: each event sees for itself that it came out as it should."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import httpx

from app.db.schema import HEAD
from tests.chaos.stack import Stack, command, eventually
from tests.release import upgrades
from tests.release.host import Host, Played
from tests.release.rotations import Rotations

# An operator learns within this that a release is bad.
BAD_RELEASE_LIMIT_SECONDS = 90
_VERSIONS = "/srv/app/db/migrations/versions"


@dataclass(frozen=True)
class Event:
    """Something that is made ready without load, and happens under it."""

    happen: Callable[[], object]
    prepare: Callable[[], object] = lambda: None
    # No more requests than this may fail; None: a gap is only stated.
    goal_failed: int | None = 0


@dataclass
class Drill:
    """The events by name, in the order of a full drill."""

    host: Host

    def events(self) -> dict[str, Event]:
        """All of them."""
        too_long = partial(
            self._refused,
            "Input should be less than or equal to 10000",
            app_stack_message_max_characters=20000,
        )
        return {
            **{f"deploy-{number}": self._deployment(number) for number in range(1, 6)},
            "roll-back": Event(self._roll_back),
            # What is deployed above is what they find.
            **{name: Event(happen) for name, happen in Rotations(self.host).events().items()},
            "settings-refused": Event(too_long),
            # nginx loads what is new, and then what was there again: a kept connection may be ended just as
            # a request arrives on it.
            "nginx-settings-given-back": Event(
                partial(too_long, app_stack_client_posts_per_minute=500000), goal_failed=None
            ),
            "image-exits": self._bad("exits", api("raise SystemExit('It exits.')"), "It exits."),
            "image-never-healthy": self._bad(
                "hangs", api("import time; time.sleep(3600)"), "not healthy after 40s"
            ),
            "flower-exits": self._bad("flower", flower("raise SystemExit('No Flower.')"), "No Flower."),
            "smoke-test-fails": self._bad("empty", page("<p>No form.</p>"), "The smoke test failed"),
            "migration-fails": self._bad("divides", migration("SELECT 1 / 0"), "division by zero"),
            "migration-blocked": self._bad(
                "waits", migration("ALTER TABLE tasks ADD COLUMN drill int"), "A table could not be had",
                meanwhile=self._table_held,
            ),
            "engine-restart": Event(partial(self.host.stack.host, "systemctl", "restart", "docker")),
            "engine-upgrade": Event(
                partial(upgrades.engine, self.host), prepare=partial(upgrades.offer_an_engine, self.host)
            ),
            "nginx-upgrade": self._upgrade("nginx", goal_failed=None),
            "redis-upgrade": self._upgrade("redis"),
            "host-reboot": Event(partial(self._restart_host, "restart"), goal_failed=None),
            "power-loss": Event(partial(self._restart_host, "kill", "start"), goal_failed=None),
        }  # fmt: skip

    def _deployment(self, number: int) -> Event:
        make = partial(self.host.make, str(number), {"/srv/app/drill.py": f'"""Release {number}."""\n'})
        return Event(partial(self._deploy, str(number)), prepare=make)

    def _deploy(self, name: str) -> None:
        release = f"{self.host.base}-drill-{name}"
        self._well(self.host.play("deploy-app", app_release_name=release), release)

    def _roll_back(self) -> None:
        """What AWS has to say of it does not count: AWS does not answer."""
        left = self.host.release
        with self.host.stack.frozen_beside("aws"):
            played = self.host.play("roll-back-app")
        assert self.host.release != left, played.output[-3000:]
        self._well(played, self.host.release)

    def _well(self, played: Played, release: str) -> None:
        assert played.status == 0, played.output[-4000:]
        assert f"release {release}\n" in (seen := self.host.look()), seen
        assert "Requests that failed meanwhile: none." in played.output, played.output[-3000:]

    def _bad(
        self, name: str, files: Mapping[str, str], words: str,
        *, meanwhile: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> Event:  # fmt: skip
        def happen() -> None:
            with meanwhile():
                self._refused(words, app_release_name=f"{self.host.base}-drill-{name}")

        return Event(happen, prepare=partial(self.host.make, name, files))

    def _refused(self, words: str, **variables: object) -> None:
        """A deployment that comes to nothing: users keep what they have, and the operator is told why."""
        before, release = self.host.look(), self.host.release
        played = self.host.play("deploy-app", **variables)
        assert played.status != 0, "it was deployed"
        for said in (words, "did not come up", f"Release {release} goes on serving"):
            assert said in played.output, f"not said: {said}\n{played.output[-4000:]}"
        assert self.host.look() == before
        assert played.seconds < BAD_RELEASE_LIMIT_SECONDS, f"that took {played.seconds:.0f} s"

    @contextlib.contextmanager
    def _table_held(self) -> Iterator[None]:
        """While somebody reads the table and does not end."""
        stack = self.host.stack
        psql = ("docker", "exec", "--interactive", "--env", "PGAPPNAME=reader", f"{stack.name}-rds",
                "runuser", "-u", "postgres", "--", "psql", "-Atq", "steadfast")  # fmt: skip
        with subprocess.Popen(psql, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as reader:
            assert reader.stdin
            reader.stdin.write("BEGIN;\nSELECT 1 FROM tasks LIMIT 1;\n")
            reader.stdin.flush()
            time.sleep(1)
            try:
                yield
            finally:
                reader.stdin.close()

    def _upgrade(self, service: str, *, goal_failed: int | None = 0) -> Event:
        return Event(
            partial(upgrades.container, self.host, service),
            prepare=partial(upgrades.age, self.host, service),
            goal_failed=goal_failed,
        )

    def _restart_host(self, *ways: str) -> None:
        """Until the stack is ready again, with nobody's help."""
        for way in ways:
            command("docker", way, f"{self.host.stack.name}-host")
        eventually(lambda: ready(self.host.stack), seconds=120, what="the stack is ready")


def api(line: str) -> dict[str, str]:
    """The API of a release is this and no more."""
    return {"/srv/app/api/__main__.py": f"{line}\n"}


def flower(line: str) -> dict[str, str]:
    """The Flower of a release is this and no more."""
    return {"/srv/app/flower.py": f"{line}\n"}


def page(content: str) -> dict[str, str]:
    """The page of a release."""
    return {"/srv/frontend/index.html": f"{content}\n"}


def migration(statement: str) -> dict[str, str]:
    """The newest migration of a release."""
    before = f'down_revision = "{HEAD}"'
    lines = ["from alembic import op", 'revision = "9999"', before, "def upgrade():"]
    return {f"{_VERSIONS}/9999_drill.py": "\n".join([*lines, f'    op.execute("{statement}")', ""])}


def ready(stack: Stack) -> bool:
    """Whether the stack says so."""
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{stack.health}/ready", timeout=3, trust_env=False).status_code == 200
    return False
