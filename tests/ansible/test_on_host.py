"""`.ci/on-host` goes to a host as Ansible would, and runs a command there, as root, where the stack lies."""

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ansible.rendering import ROOT
from tests.aws.operator import PROGRAMS

PROXY = "ProxyCommand=sh -c \"aws ssm start-session --target %h --parameters 'portNumber=%p'\""
HOSTS = f"""
stack:
  hosts:
    app-1:
      ansible_host: i-0123456789abcdef0
      ansible_user: admin
      ansible_port: 2222
      ansible_ssh_private_key_file: /keys/mine
      ansible_ssh_common_args: {json.dumps(f"-o {shlex.quote(PROXY)}")}
    app-2: {{ansible_connection: local}}
"""
OnHost = Callable[[str, str], subprocess.CompletedProcess[str]]
# Says what it was called with, one argument a line.
SPY = '#!/bin/sh\nprintf \'%s\\n\' "$(basename $0)" "$@"\n'


@pytest.fixture
def on_host(tmp_path: Path) -> OnHost:
    """The program, with an inventory of its own, and an ssh and a sudo that only say how they were called."""
    for name in ("ssh", "sudo"):
        (tmp_path / name).write_text(SPY)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "hosts.yml").write_text(HOSTS)
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SANDBOX_"))
    }
    environment["PATH"] = f"{tmp_path}:{PROGRAMS}:{environment['PATH']}"

    def run(host: str, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                ROOT / ".ci/on-host",
                os.path.relpath(tmp_path / "inventory", ROOT / "inventory"),
                host,
                command,
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_it_goes_as_the_inventory_says_and_keeps_every_quote(on_host: OnHost) -> None:
    command = """echo "$HOME" 'a  b'"""
    done = on_host("", command)
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()
    assert words[:2] == ["ssh", "-T"]
    for option in ("ControlMaster=auto", PROXY, "Port=2222", "User=admin", "IdentityFile=/keys/mine"):
        assert words[words.index(option) - 1] == "-o", option
    assert words[-2] == "i-0123456789abcdef0"
    # What arrives is one line for the shell over there; what that makes of it is what was asked for.
    said = subprocess.run(
        ["sh", "-c", words[-1].replace("sudo ", "printf '%s\\n' ", 1)], capture_output=True, text=True
    )
    assert said.stdout.splitlines() == ["sh", "-c", f"cd /opt/steadfast && {command}"]


def test_a_host_that_deploys_itself_needs_no_ssh(on_host: OnHost) -> None:
    done = on_host("app-2", "true")
    assert done.stdout.splitlines() == ["sudo", "sh", "-c", "cd /opt/steadfast && true"]


def test_a_host_that_is_not_there_is_said(on_host: OnHost) -> None:
    done = on_host("app-9", "true")
    assert done.returncode != 0
    assert "There is no host app-9 in inventory/" in done.stderr
