"""The baseline refuses to lock anybody out, and its firewall lets in whom the inventory names."""

import re
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.ansible.rendering import ROOT, read_yaml

ROLE = ROOT / "roles" / "host_baseline"
SETTINGS = {"host_baseline_admin_cidrs": ["203.0.113.0/24", "2001:db8::/32"]}


def value(expression: Any, **settings: Any) -> Any:
    """What a template expression comes to, with the role's defaults and these settings."""
    variables = {
        **read_yaml(ROLE / "defaults/main.yml"),
        "ansible_managed": "Ansible managed",
        "inventory_hostname": "app-1",
        **settings,
    }
    return Templar(loader=DataLoader(), variables=variables).template(expression, convert_data=False)


def refusals(login: str, family: str = "Debian", **settings: Any) -> list[str]:
    """What the preflight would stop with; `login` is the user and the address that he came from."""
    task = next(task for task in read_yaml(ROLE / "tasks/preflight.yml") if "ansible.builtin.assert" in task)
    known = {
        "ansible_facts": {"os_family": family, "distribution": family},
        "__host_baseline_login": {"stdout": login},
        **task["vars"],
        **SETTINGS,
        **settings,
    }
    return [
        str(value(item["otherwise"], **known)) for item in task["loop"] if not value(item["that"], **known)
    ]


@pytest.mark.parametrize(
    "login", ["admin 203.0.113.9", "admin 2001:db8::9", "admin 127.0.0.1", "admin ::1", "admin ", "root "]
)
def test_whoever_may_come_again_is_let_go_on(login: str) -> None:
    # Without an address nobody came by ssh: the host deploys itself.
    assert refusals(login) == []


@pytest.mark.parametrize(
    ("login", "settings", "words"),
    [
        ("admin 198.51.100.1", {}, "_cidrs (203.0.113.0/24, 2001:db8::/32) has not 198.51.100.1"),
        ("admin 203.0.113.9", {"host_baseline_ssh_cidrs": []}, "host_baseline_ssh_cidrs (empty) has not"),
        ("root 203.0.113.9", {}, "ansible_user is root on app-1"),
        ("admin 203.0.113.9", {"ansible_password": "any word"}, "ansible_password is set for app-1"),
        ("admin 127.0.0.1", {"host_baseline_admin_cidrs": ["10.0.0.1/8", "all"]}, "not 10.0.0.1/8, all"),
        ("admin 127.0.0.1", {"family": "RedHat"}, "app-1 is RedHat"),
    ],
)  # fmt: skip
def test_what_would_lock_somebody_out_is_refused(login: str, settings: dict[str, Any], words: str) -> None:
    (message,) = refusals(login, **settings)
    assert words in message


@pytest.mark.parametrize("ssh_cidrs", [["198.51.100.7/32"], []])
def test_the_firewall_lets_in_whom_the_inventory_names(ssh_cidrs: list[str]) -> None:
    template = trust_as_template((ROLE / "templates/baseline-firewall.nft.j2").read_text())
    rules = str(value(template, **SETTINGS, host_baseline_ssh_cidrs=ssh_cidrs))
    assert re.findall(r"(ip6?) saddr (\S+) tcp dport (.+) accept", rules) == [
        ("ip", "203.0.113.0/24", "{ 8000, 8501, 5555 }"),
        ("ip6", "2001:db8::/32", "{ 8000, 8501, 5555 }"),
        *(("ip", cidr, "22") for cidr in ssh_cidrs),
    ]
