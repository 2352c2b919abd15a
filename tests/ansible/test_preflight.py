"""Settings that cannot work are refused in words that name the setting."""

from typing import Any

import pytest

from tests.ansible.conftest import Deploy
from tests.ansible.rendering import ROOT, Deployment, read_yaml, variables_of_inventory


def refusals(deployment: Deployment) -> list[str]:
    """What the role's preflight would stop with."""
    (task,) = read_yaml(ROOT / "roles" / "app_stack" / "tasks" / "preflight.yml")
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
