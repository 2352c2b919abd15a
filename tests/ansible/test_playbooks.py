"""Each playbook, really started by `ansible-playbook`, against an inventory in which no host is filled in.

The inventory is a copy of production's with its hosts taken out, so that no run of these tests can reach a
real host.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ansible.rendering import ROOT

# Those that make the hosts, and remove them: tests/aws starts them.
WITHOUT_HOSTS = {"provision-aws.yml", "teardown-aws.yml"}
NAMES = sorted(path.name for path in (ROOT / "playbooks").glob("*.yml"))
PLAYBOOKS = ["site.yml", *(f"playbooks/{name}" for name in NAMES if name not in WITHOUT_HOSTS)]
PROGRAMS = Path(sys.executable).parent


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    """One of Ansible's programs with the repository's ansible.cfg, whatever the caller's environment says."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "SANDBOX_"))
    }
    environment["PATH"] = f"{PROGRAMS}:{environment['PATH']}"
    return subprocess.Popen(
        [PROGRAMS / program, *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str]]:
    """Playbook -> exit status and what it said; two at a time, as each waits for little but its own start."""
    inventory = tmp_path_factory.mktemp("inventory")
    (inventory / "hosts.yml").write_text("stack:\n  hosts:\n")
    (inventory / "group_vars").symlink_to(ROOT / "inventory" / "production" / "group_vars")
    found = {}
    for pair in (PLAYBOOKS[at : at + 2] for at in range(0, len(PLAYBOOKS), 2)):
        started = {playbook: start("ansible-playbook", "-i", str(inventory), playbook) for playbook in pair}
        for playbook, process in started.items():
            output, _ = process.communicate(timeout=60)
            found[playbook] = (process.returncode, output)
    return found


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_without_a_host_it_stops_and_says_which_file_to_fill_in(
    runs: dict[str, tuple[int, str]], playbook: str
) -> None:
    status, output = runs[playbook]
    assert status != 0, output
    assert "Fill in inventory/production/hosts.yml" in output
    assert (ROOT / "inventory" / "production" / "hosts.yml").is_file()
    # The first play stopped everything, and nothing else went wrong before it.
    assert output.count("TASK [") == 1, output
    assert "Traceback" not in output


def test_without_i_the_inventory_is_production() -> None:
    # So that the operator's command is `ansible-playbook site.yml` and no more.
    output, _ = start("ansible-config", "dump", "--only-changed", "--format", "json").communicate(timeout=60)
    values = {entry["name"]: entry["value"] for entry in json.loads(output) if "name" in entry}
    assert values["DEFAULT_HOST_LIST"] == [str(ROOT / "inventory" / "production")]


@pytest.mark.parametrize("environment", sorted(path.name for path in (ROOT / "inventory").iterdir()))
def test_every_inventory_is_read(environment: str) -> None:
    # What stands in files; tests/aws asks the rest of production's.
    process = start("ansible-inventory", "-i", f"inventory/{environment}/hosts.yml", "--list")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "[WARNING]" not in output
    assert "stack" in json.loads(output)["all"]["children"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("app-1", {"ansible_host": "203.0.113.10", "ansible_user": "admin"}),
        ("localhost", {"ansible_connection": "local"}),
    ],
)
def test_an_entry_is_used_by_uncommenting_it(tmp_path: Path, name: str, expected: dict[str, str]) -> None:
    text = (ROOT / "inventory" / "production" / "hosts.yml").read_text()
    entry = re.compile(rf"^    # {name}:\n(?:    #   .+\n)+", re.MULTILINE)
    assert entry.search(text)
    used = entry.sub(lambda found: found[0].replace("    # ", "    "), text)
    (tmp_path / "hosts.yml").write_text(used)
    # Where instructions.md has it; Ansible would read it as an inventory, too.
    (tmp_path / "rds-ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")

    process = start("ansible-inventory", "-i", str(tmp_path), "--list")
    output, _ = process.communicate(timeout=60)

    assert "[WARNING]" not in output
    found = json.loads(output)
    assert found["stack"]["hosts"] == [name]
    assert found["_meta"]["hostvars"][name].items() >= expected.items()
