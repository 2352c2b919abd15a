"""The containers' health check."""

import os
import time
from pathlib import Path

from app import probe


def test_a_fresh_file_is_healthy_and_an_old_or_missing_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "alive"
    assert "No such file" in probe.age(file, 30)
    file.touch()
    assert probe.age(file, 30) == ""
    os.utime(file, (time.time() - 40, time.time() - 40))
    assert "40 s ago" in probe.age(file, 30)


def test_a_socket_that_nobody_listens_on_is_not_healthy(tmp_path: Path) -> None:
    assert str(tmp_path) in probe.ask(str(tmp_path / "blue.sock"), "/health")
