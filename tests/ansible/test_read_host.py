"""One look at a host tells files, directories, links and containers: only what differs is written."""

import os
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from tests.ansible.rendering import ROOT

SCRIPT = (ROOT / "roles" / "app_stack" / "files" / "read-host.sh").read_text()


@pytest.fixture
def look(tmp_path: Path) -> list[str]:
    """What the script prints of a directory like that of a host, with a stand-in for `docker`."""
    stack = tmp_path / "stack"
    for name in ("config/app", "sockets", "frontend/1a2b"):
        (stack / name).mkdir(parents=True)
    stack.joinpath("config/app/a.pem").write_text("small\n")
    stack.joinpath("config/app/empty").write_text("")
    stack.joinpath("config/app/a.pem").chmod(0o644)
    stack.joinpath("sockets/1a2b").mkdir()
    stack.joinpath("frontend/live").symlink_to("1a2b")
    stack.joinpath("state.json").write_text('{\n  "live": "blue",\n  "slots": {}\n}\n')
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text('#!/bin/sh\ncase "$*" in *project=steadfast*) echo "container nginx running";; esac\n')
    docker.chmod(0o755)
    environment = {
        "PATH": f"{docker.parent}:{os.environ['PATH']}",
        "DIRECTORY": str(stack),
        "PROJECT": "steadfast",
    }
    done = subprocess.run(["sh", "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_a_file_is_told_with_mode_owner_and_content(look: list[str]) -> None:
    small, empty = (sha256(content).hexdigest() for content in (b"small\n", b""))
    assert f"file 644 {os.getuid()} {small} ./config/app/a.pem" in look
    assert any(line.endswith(f"{empty} ./config/app/empty") for line in look)


def test_directories_links_containers_and_state_are_told(look: list[str]) -> None:
    assert f"directory 755 {os.getuid()} ./config/app" in look
    assert f"directory 755 {os.getuid()} ./sockets" in look
    assert not any(".sock" in line for line in look if line.startswith("file")), "sockets come and go"
    assert "link ./frontend/live 1a2b" in look
    assert "container nginx running" in look
    assert look[-1] == 'state {  "live": "blue",  "slots": {}}'


def test_a_bare_host_has_nothing_to_tell(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "DIRECTORY": str(tmp_path / "absent"), "PROJECT": "steadfast"}
    done = subprocess.run(["sh", "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == ""
