"""Each playbook, really started by `ansible-playbook`, against an inventory in which no host is filled in.

The inventory is a copy of production's with its hosts taken out, so that no run of these tests can reach a
real host.
"""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.aws.operator import ROOT, Run, run

# Those that make the hosts, and remove them: tests/aws starts them.
WITHOUT_HOSTS = {"provision-aws.yml", "teardown-aws.yml"}
NAMES = sorted(path.name for path in (ROOT / "playbooks").glob("*.yml"))
PLAYBOOKS = ["site.yml", *(f"playbooks/{name}" for name in NAMES if name not in WITHOUT_HOSTS)]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Each playbook's run; two at a time, as each waits for little but its own start."""
    inventory = tmp_path_factory.mktemp("inventory")
    (inventory / "hosts.yml").write_text("stack:\n  hosts:\n")
    (inventory / "group_vars").symlink_to(ROOT / "inventory" / "production" / "group_vars")
    home = tmp_path_factory.mktemp("home")
    with ThreadPoolExecutor(2) as pool:
        ended = pool.map(
            lambda playbook: run("ansible-playbook", "-i", inventory, playbook, home=home), PLAYBOOKS
        )
        return dict(zip(PLAYBOOKS, ended, strict=True))


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_without_a_host_it_stops_and_says_which_file_to_fill_in(runs: dict[str, Run], playbook: str) -> None:
    output = runs[playbook].output
    assert runs[playbook].status != 0, output
    assert "Fill in inventory/production/hosts.yml" in output
    assert (ROOT / "inventory" / "production" / "hosts.yml").is_file()
    # The first play stopped everything, and nothing else went wrong before it.
    assert output.count("TASK [") == 1, output
    assert "Traceback" not in output


def test_without_i_the_inventory_is_production(tmp_path: Path) -> None:
    # So that the operator's command is `ansible-playbook site.yml` and no more.
    done = run("ansible-config", "dump", "--only-changed", "--format", "json", home=tmp_path)
    values = {entry["name"]: entry["value"] for entry in json.loads(done.output) if "name" in entry}
    assert values["DEFAULT_HOST_LIST"] == [str(ROOT / "inventory" / "production")]


@pytest.mark.parametrize("environment", sorted(path.name for path in (ROOT / "inventory").iterdir()))
def test_every_inventory_is_read(environment: str, tmp_path: Path) -> None:
    # What stands in files; tests/aws asks the rest of production's.
    done = run("ansible-inventory", "-i", f"inventory/{environment}/hosts.yml", "--list", home=tmp_path)
    assert done.status == 0, done.output
    assert "[WARNING]" not in done.output
    assert "stack" in json.loads(done.output)["all"]["children"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("app-1", {"ansible_host": "203.0.113.10", "ansible_user": "admin"}),
        ("localhost", {"ansible_connection": "local"}),
    ],
)
def test_an_entry_is_used_by_uncommenting_it(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, name: str, expected: dict[str, str]
) -> None:
    text = (ROOT / "inventory" / "production" / "hosts.yml").read_text()
    entry = re.compile(rf"^    # {name}:\n(?:    #   .+\n)+", re.MULTILINE)
    assert entry.search(text)
    used = entry.sub(lambda found: found[0].replace("    # ", "    "), text)
    (tmp_path / "hosts.yml").write_text(used)
    # Where instructions.md has it; Ansible would read it as an inventory, too.
    (tmp_path / "rds-ca.pem").write_text("-----BEGIN CERTIFICATE-----\n")

    done = run("ansible-inventory", "-i", tmp_path, "--list", home=tmp_path_factory.mktemp("home"))

    assert "[WARNING]" not in done.output
    found = json.loads(done.output)
    assert found["stack"]["hosts"] == [name]
    assert found["_meta"]["hostvars"][name].items() >= expected.items()
