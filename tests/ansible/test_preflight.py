"""Settings that cannot work are refused in words that name the setting."""

import time
from typing import Any

import pytest

from tests.ansible.conftest import Deploy
from tests.ansible.rendering import ROOT, Deployment, read_yaml, variables_of_inventory


def refusals(deployment: Deployment, step: str = "preflight") -> list[str]:
    """What the role's preflight, or another step that asserts a list, would stop with."""
    tasks = read_yaml(ROOT / "roles" / "app_stack" / "tasks" / f"{step}.yml")
    (task,) = [task for task in tasks if "loop" in task]
    deployment.variables |= task.get("vars", {})
    return [
        str(deployment.value(item["otherwise"])).strip()
        for item in task["loop"]
        if not deployment.value(item["that"])
    ]


def test_filled_in_inventories_pass(first: Deployment) -> None:
    assert refusals(first) == []


def test_production_as_committed_is_refused_by_name(deploy: Deploy) -> None:
    committed = variables_of_inventory("production")
    names = ("app_stack_mail_from", "app_stack_smoke_test_recipient", "app_stack_domain_name")
    stopped = refusals(deploy(**{name: committed[name] for name in names}))
    assert [message.split()[0] for message in stopped] == list(names)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"app_stack_mail_from": "nobody"}, "app_stack_mail_from"),
        ({"app_stack_mail_from": "two words@steadfast.test"}, "app_stack_mail_from"),
        ({"app_stack_smoke_test_recipient": ""}, "app_stack_smoke_test_recipient"),
        ({"app_stack_domain_name": ""}, "app_stack_domain_name"),
        ({"app_stack_domain_name": "https://tasks.steadfast.internal"}, "app_stack_domain_name"),
        ({"app_stack_domain_name": "tasks"}, "app_stack_domain_name"),
        ({"app_stack_domain_name": "203.0.113.10"}, "app_stack_domain_name"),
        ({"app_stack_certificate_key_path": "tls.key"}, "app_stack_certificate_path"),
        (
            {"app_stack_domain_name": "tasks.steadfast.internal", "groups": {"stack": ["a", "b"]}},
            "app_stack_certificate_path",
        ),
        ({"app_stack_client_posts_per_minute": 0}, "app_stack_client_posts_per_minute"),
        ({"app_stack_database_timeout_seconds": 4}, "app_stack_lease_seconds"),
        ({"app_stack_smtp_timeout_seconds": 300}, "app_stack_task_timeout_seconds"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_by_name(deploy: Deploy, settings: dict[str, Any], name: str) -> None:
    stopped = refusals(deploy(**settings))
    assert [message.split()[0].rstrip(":") for message in stopped] == [name]
    assert str(next(iter(settings.values()))) in stopped[0]


MACHINE = ["memory 940", "space 5000"]
OWN = ["container nginx running", "publishes 0.0.0.0:80->8080/tcp, [::]:80->8080/tcp, 0.0.0.0:5555->5555/tcp"]


def unfit(run: Deployment, *told: str, ahead_seconds: int = 0) -> list[str]:
    """What a host that tells this is refused for."""
    clock = f"clock {int(time.time()) + ahead_seconds}"
    run.variables |= {"__app_stack_host": {"stdout_lines": [clock, *told]}, "inventory_hostname": "app-1"}
    return refusals(run, "look")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (MACHINE, []),
        ([*MACHINE, "listens 22 sshd", "listens 8080 java"], []),
        ([*MACHINE, "listens 80 dockerd", "listens 5555 dockerd", *OWN], []),
        (["memory 460", "space 5000"], ["memory is 460 MiB", "t4g.micro"]),
        (
            ["memory 940", "space 300"],
            ["disk has 300 MiB free below /opt/steadfast", "docker builder prune --all"],
        ),
        ([*MACHINE, "listens 80 caddy"], ["another program: 80 (caddy).", "systemctl disable --now"]),
        # Our containers run, and one of our ports is another's all the same.
        (
            [*MACHINE, "listens 80 dockerd", "listens 8000 python3", *OWN],
            ["another program: 8000 (python3)."],
        ),
        # Ours are stopped, and somebody took their place on both kinds of addresses.
        (
            [*MACHINE, "listens 80 caddy", "listens 80 caddy", "container nginx exited", "publishes "],
            ["another program: 80 (caddy)."],
        ),
    ],
    ids=str,
)
def test_a_host_on_which_it_cannot_run_is_refused(
    deploy: Deploy, told: list[str], expected: list[str]
) -> None:
    stopped = unfit(deploy(), *told)
    assert len(stopped) == bool(expected)
    assert [words for words in expected if words not in " ".join(stopped)] == []


def test_a_host_whose_clock_is_wrong_is_refused(deploy: Deploy) -> None:
    assert unfit(deploy(), *MACHINE, ahead_seconds=30) == []
    (stopped,) = unfit(deploy(), *MACHINE, ahead_seconds=-300)
    assert stopped.startswith("clock is -30")
    assert "timedatectl" in stopped


def test_the_ports_that_must_be_free_are_those_that_are_published(first: Deployment) -> None:
    published = [int(port.split(":")[0]) for port in first.services["nginx"]["ports"]]
    assert first.value("{{ __app_stack_ports }}") == published
