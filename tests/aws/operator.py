"""Starts Ansible as an operator does; of AWS its environment holds what the test gives, and no more."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent


@dataclass
class Run:
    """What a command said, and how long it took."""

    status: int
    output: str
    seconds: float

    @property
    def was_quick(self) -> bool:
        """Whether it took less than 15 s; more where this machine has more to do than processors to do it."""
        return self.seconds < 15 * max(1, os.getloadavg()[0] / (os.cpu_count() or 1))

    @property
    def words(self) -> str:
        """The output with every run of white space as one blank, since Ansible breaks lines as it likes."""
        return " ".join(self.output.split())


def run(program: str, *arguments: str | Path, path: str = "", home: Path, **environment: str) -> Run:
    """One of Ansible's programs in the repository, with the repository's ansible.cfg."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ANSIBLE_", "AWS_", "SANDBOX_", "E2E_"))
    }
    # Where boto3 looks for configuration; and where it would find an instance's credentials, if this is one.
    kept |= {"HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true"}
    given = kept | {"PATH": path or f"{PROGRAMS}:{kept['PATH']}"} | environment
    begun = time.monotonic()
    done = subprocess.run(
        [PROGRAMS / program, *map(str, arguments)],
        cwd=ROOT,
        env=given,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    return Run(done.returncode, done.stdout, time.monotonic() - begun)
