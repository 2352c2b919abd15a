"""Settings with which no environment can be made are refused by name; and what a new host does first."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.ansible.rendering import ROOT, read_yaml, variables_of_inventory

ROLE = ROOT / "roles" / "aws_environment"
# As instructions.md has them, "What only you know"; the key is a file that is surely there.
FILLED_IN = {
    "app_stack_mail_from": "tasks@steadfast.test",
    "aws_environment_admin_cidrs": ["203.0.113.4/32"],
    "aws_environment_ssh_public_key_path": __file__,
}


def templar(**settings: Any) -> Templar:
    """Ansible's own, with production's variables."""
    variables = {
        **read_yaml(ROLE / "defaults" / "main.yml"),
        **read_yaml(ROLE / "vars" / "main.yml"),
        **variables_of_inventory("production"),
        **FILLED_IN,
        **settings,
    }
    return Templar(loader=DataLoader(), variables=variables)


def refusals(**settings: Any) -> list[str]:
    """What the role's preflight would stop with."""
    found = templar(**settings)
    (task,) = read_yaml(ROLE / "tasks" / "preflight.yml")
    return [
        str(found.template(trust_as_template(item["otherwise"]))).strip()
        for item in task["loop"]
        if not found.template(trust_as_template(item["that"]))
    ]


def test_filled_in_production_passes() -> None:
    assert refusals() == []


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"app_stack_aws_region": "eu-central-1a"}, "app_stack_aws_region"),
        ({"app_stack_aws_region": "Frankfurt"}, "app_stack_aws_region"),
        ({"app_stack_environment": "My_Production"}, "aws_environment_project_name"),
        ({"aws_environment_name": "a" * 40}, "aws_environment_project_name"),
        ({"aws_environment_admin_cidrs": []}, "aws_environment_admin_cidrs"),
        ({"aws_environment_admin_cidrs": ["0.0.0.0/0"]}, "aws_environment_admin_cidrs"),
        ({"aws_environment_admin_cidrs": ["203.0.113.4"]}, "aws_environment_admin_cidrs"),
        ({"aws_environment_vpc_cidr": "10.42.0.0/24"}, "aws_environment_vpc_cidr"),
        ({"aws_environment_instance_count": 0}, "aws_environment_instance_count"),
        ({"aws_environment_database_backup_days": 0}, "aws_environment_database_backup_days"),
        ({"aws_environment_ssh_public_key_path": "/nowhere.pub"}, "aws_environment_ssh_public_key_path:"),
        ({"app_stack_mail_from": "tasks@example.com"}, "app_stack_mail_from"),
        ({"app_stack_mail_from": "nobody"}, "app_stack_mail_from"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_by_name(settings: dict[str, Any], name: str) -> None:
    (refusal,) = refusals(**settings)
    assert refusal.startswith(f"{name} ")


@pytest.mark.parametrize("has_curl", [True, False])
def test_a_new_host_fetches_the_agent_even_without_curl(tmp_path: Path, has_curl: bool) -> None:
    told = str(templar().template(trust_as_template("{{ __aws_environment_user_data }}")))
    (command,) = yaml.safe_load(told)["runcmd"]
    programs = tmp_path / "programs"
    programs.mkdir()
    note = f'#!/bin/sh\necho "${{0##*/}} $*" >>{tmp_path}/done\n'
    for name in ("dpkg", "systemctl", "sleep", "curl"):
        (programs / name).write_text(note)
    (programs / "apt-get").write_text(f"{note}[ $1 = update ] || /bin/mv {programs}/new {programs}/curl\n")
    if not has_curl:
        (programs / "curl").rename(programs / "new")
    for program in programs.iterdir():
        program.chmod(0o755)
    (programs / "seq").symlink_to(str(shutil.which("seq")))

    subprocess.run(["/bin/sh", *command[1:]], env={"PATH": str(programs)}, check=True, timeout=30)
    done = (tmp_path / "done").read_text()
    assert ("apt-get install --yes curl" in done) != has_curl
    assert done.count("curl --fail") == done.count("dpkg --install") == 1
    assert done.endswith("systemctl enable --now amazon-ssm-agent\n")
