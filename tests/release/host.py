"""The host's releases: how one is made there, deployed and looked at, as an operator does all three."""

import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.chaos.stack import ROOT, Stack

_LOOK = """
set -eu
cd /opt/steadfast
docker compose exec -T nginx curl -s -m 5 -o /dev/null -w 'release %header{x-release}\\n' http://127.0.0.1:8501/
sha256sum state.json docker-compose.yml
find config -type f -exec sha256sum {} + | sort -k 2
readlink sockets/live.sock frontend/live
docker ps --all --filter label=com.docker.compose.project=steadfast --format '{{.Names}} {{.State}}' | sort
ls /run/*-deployment.lock 2>/dev/null || true
"""
# An operator's machine is another one than the host. Here they share processors, so the operator's work
# yields to the host's.
_PLAY = ("nice", "--adjustment=10", "ansible-playbook", "--inventory=inventory/sandbox")


@dataclass(frozen=True)
class Played:
    """What a playbook said, and how long it took."""

    status: int
    output: str
    seconds: float


class Host:
    """The sandbox's host, and the release from which all others are made."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.base = re.sub(r"-drill-.*", "", self.release)

    @property
    def release(self) -> str:
        """What is recorded as live."""
        state = json.loads(self.stack.host("cat", "/opt/steadfast/state.json"))
        return str(state["slots"][state["live"]]["release"])

    def look(self) -> str:
        """What users and the host have at this moment, as one text that can be compared."""
        return self.stack.host("sh", "-c", _LOOK)

    def make(self, name: str, files: Mapping[str, str]) -> str:
        """A release of its own that differs from the base in these files only; its name."""
        release = f"{self.base}-drill-{name}"
        # What Python compiled of the files that were there is checked by nobody.
        steps = [
            f"rm -rf {path.rpartition('/')[0]}/__pycache__ && printf %s {shlex.quote(content)} > {path}"
            for path, content in files.items()
        ]
        dockerfile = (
            f"FROM steadfast-app:{self.base}\nUSER root\nRUN {json.dumps(['sh', '-c', ' && '.join(steps)])}\n"
        )
        parent = (ROOT / ".sandbox" / self.stack.name / "cgroup-parent").read_text().strip()
        self.stack.host(
            "docker", "buildx", "build", "--load", "--quiet", "--cgroup-parent", parent,
            "--tag", f"steadfast-app:{release}", "-", stdin=dockerfile + "USER 10001:10001\n",
        )  # fmt: skip
        return release

    def play(
        self, playbook: str, *, environment: Mapping[str, str] | None = None, **variables: object
    ) -> Played:
        """An operator's command; whether it succeeds is for others to judge."""
        begun = time.monotonic()
        done = subprocess.run(
            [*_PLAY, f"--extra-vars={json.dumps(variables)}", f"playbooks/{playbook}.yml"],
            capture_output=True, text=True, timeout=600, check=False, stdin=subprocess.DEVNULL, cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )  # fmt: skip
        return Played(done.returncode, done.stdout + done.stderr, time.monotonic() - begun)

    def break_off(self, playbook: str, at: str) -> None:
        """The operator's machine dies when the play comes to a task; its lock is removed by hand."""
        with subprocess.Popen(
            [*_PLAY, f"playbooks/{playbook}.yml"],
            stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, cwd=ROOT, start_new_session=True,
        ) as play:  # fmt: skip
            assert play.stdout
            come = any(line.startswith("TASK [") and at in line for line in play.stdout)
            os.killpg(play.pid, signal.SIGKILL)
        assert come, f"{playbook} never came to: {at}"
        self.stack.host("sh", "-c", "rm /run/*-deployment.lock")
