"""`make down` ends the engine that `make up` started, and nothing else."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ansible.rendering import ROOT

STOP_ENGINE = ROOT / "molecule" / "sandbox" / "stop-engine.sh"


@contextmanager
def program(directory: Path, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """One that sleeps under this name, its number noted as the engine's."""
    path = directory / name
    shutil.copy("/bin/sleep", path)
    with subprocess.Popen([path, "60"]) as process:
        (directory / "dockerd.pid").write_text(f"{process.pid}\n")
        try:
            yield process
        finally:
            process.kill()


def stop(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([STOP_ENGINE, directory], capture_output=True, text=True, timeout=30)


def test_an_engine_that_nobody_reaps_has_ended(tmp_path: Path) -> None:
    # Nobody waits for it here, as in a container whose first process waits for nobody.
    with program(tmp_path, "dockerd") as engine:
        done = stop(tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert not (tmp_path / "dockerd.pid").exists()
        assert engine.wait(timeout=1) != 0


def test_another_program_that_has_the_number_now_is_left_alone(tmp_path: Path) -> None:
    with program(tmp_path, "another") as other:
        assert stop(tmp_path).returncode == 0
        assert other.poll() is None
        assert not (tmp_path / "dockerd.pid").exists()
