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
    stack.joinpath("docker-compose.yml").write_text(
        "services:\n  redis:\n    image: steadfast-redis:1\n"
        "  database-client:\n    image: steadfast-postgres:2\n"
    )
    stack.joinpath("releases").mkdir()
    stack.joinpath("releases/1a2b.json").write_text('{\n  "release": "1a2b"\n}\n')
    # As Docker's client: a line break is written \\n, and replaced before the template is read.
    answer = """for last; do :; done; case "$*" in *project=steadfast*) printf '%b\\n' "$last";;
    *images*) echo image steadfast-app:1a2b sha256:3c4d;; esac"""
    return told(stack, program(tmp_path, "docker", answer))


def program(tmp_path: Path, name: str, text: str) -> Path:
    """The folder of a stand-in for a program."""
    path = tmp_path / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path.parent


def told(directory: Path, programs: Path) -> list[str]:
    """What the script prints, with these programs before all others."""
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "DIRECTORY": str(directory),
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
    assert 'container {{.Label "com.docker.compose.service"}} {{.State}}' in look
    assert "publishes {{.Ports}}" in look
    assert "image steadfast-app:1a2b sha256:3c4d" in look
    assert "runs database-client steadfast-postgres:2" in look
    assert "runs database-client steadfast-redis:1" not in look
    assert 'release {  "release": "1a2b"}' in look
    assert look[-1] == 'state {  "live": "blue",  "slots": {}}'


def test_of_a_bare_host_only_the_machine_is_told(tmp_path: Path) -> None:
    kinds = {line.split()[0] for line in told(tmp_path / "not" / "yet" / "there", tmp_path)}
    assert kinds - {"listens", "image"} == {"clock", "memory", "space"}


def test_memory_and_free_space_are_told_in_mebibytes(look: list[str], tmp_path: Path) -> None:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    (memory,) = [int(line.split()[1]) for line in look if line.startswith("memory ")]
    assert memory == pytest.approx(pages * size / 2**20, rel=0.01)
    found = os.statvfs(tmp_path)
    (space,) = [int(line.split()[1]) for line in look if line.startswith("space ")]
    assert space == pytest.approx(found.f_bavail * found.f_frsize / 2**20, rel=0.05)


def test_who_listens_is_told_with_its_port_and_name(tmp_path: Path) -> None:
    # As `ss -Hltnp` writes it: a name, none that it may see, and an address of version 6.
    answer = r"""printf '%s\n' \
      'LISTEN 0 4096 0.0.0.0:80 0.0.0.0:* users:(("caddy",pid=71,fd=6),("caddy",pid=72,fd=6))' \
      'LISTEN 0 128 127.0.0.1:8000 0.0.0.0:*' \
      'LISTEN 0 4096 [::]:5555 [::]:* users:(("dockerd",pid=9,fd=9))'"""
    found = told(tmp_path / "absent", program(tmp_path, "ss", answer))
    told_of = [line for line in found if line.startswith("listens")]
    assert told_of == ["listens 80 caddy", "listens 8000 unknown", "listens 5555 dockerd"]
