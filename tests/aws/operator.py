"""Starts Ansible as an operator does; of AWS its environment holds what the test gives, and no more."""

import os
import re
import resource
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent
# What steers Ansible, AWS's tools and the project's own programs from outside.
STEERING = ("ANSIBLE_", "AWS_", "SANDBOX_", "STEADFAST_", "E2E_")


@dataclass(frozen=True)
class Run:
    """What a command said, how it ended, and how long it took."""

    status: int
    output: str
    seconds: float
    # Of the processors, by it and all that it started; and by others of this process that ended meanwhile.
    work_seconds: float

    @property
    def was_quick(self) -> bool:
        """Whether it is over within 15 s on a machine that does nothing else, and waited for nothing long."""
        return self.work_seconds < 15 and self.seconds < 90

    @property
    def words(self) -> str:
        """The output with every run of white space as one blank, since Ansible breaks lines as it likes."""
        return " ".join(self.output.split())

    @property
    def begun(self) -> str:
        """Its first message, in one line."""
        return " ".join(self.output.split("TASK [")[1].split())

    @property
    def told(self) -> str:
        """Its last message, in one line."""
        return " ".join(self.output.rpartition("TASK [")[2].split())

    @property
    def changed(self) -> int:
        """How many tasks changed something."""
        return sum(int(count) for count in re.findall(r"\bchanged=(\d+)", self.output))

    def changes(self, role: str) -> list[str]:
        """The tasks of a role that changed something."""
        tasks = [
            block.partition("]") for block in self.output.split("\nTASK [") if block.startswith(f"{role} : ")
        ]
        return [name for name, _, said in tasks if "\nchanged: [" in said]


def work_seconds() -> float:
    """The processors' time that ended children of this process have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(
    program: str,
    *arguments: str | Path,
    path: str = "",
    home: Path,
    typed: tuple[str, str] | None = None,
    **environment: str,
) -> Run:
    """One of Ansible's programs in the repository, with the repository's ansible.cfg.

    With `typed` it has a terminal: when it has said the first, the second is typed.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(STEERING)}
    # Where boto3 looks for configuration; and where it would find an instance's credentials, if this is one.
    kept |= {"HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true", "LC_ALL": "C.UTF-8"}
    # On a terminal, too.
    kept |= {"ANSIBLE_NOCOLOR": "true"}
    given = kept | {"PATH": path or f"{PROGRAMS}:{kept['PATH']}"} | environment
    command = [str(PROGRAMS / program), *map(str, arguments)]
    if typed:
        command = ["script", "--quiet", "--return", "--command", shlex.join(command), os.devnull]
    begun, worked = time.monotonic(), work_seconds()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=given,
        stdin=subprocess.PIPE if typed else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        try:
            said = answer(process, *typed) if typed else b""
            said += process.communicate(timeout=600)[0]
        except BaseException:
            process.kill()
            raise
    output = said.decode().replace("\r\n", "\n")
    return Run(process.returncode, output, time.monotonic() - begun, work_seconds() - worked)


def answer(process: subprocess.Popen[bytes], question: str, words: str) -> bytes:
    """Types the words after the question, and returns what was said until then."""
    assert process.stdin
    assert process.stdout
    said = b""
    while question.encode() not in said and (more := os.read(process.stdout.fileno(), 65536)):
        said += more
    # Ansible forgets what was typed before it listens.
    time.sleep(1)
    process.stdin.write(f"{words}\r".encode())
    process.stdin.flush()
    return said
