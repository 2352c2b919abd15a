"""Which of the database's users gets the new password: one that no host works as; and what is refused."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.ansible.conftest import Deploy
from tests.ansible.rendering import ROOT, read_yaml

ROLE = ROOT / "roles" / "credential_rotation"


def value(expression: str, **given: Any) -> Any:
    """What a template of the role comes to."""
    variables = {
        **read_yaml(ROLE / "defaults" / "main.yml"),
        **read_yaml(ROLE / "vars" / "main.yml"),
        **given,
    }
    return Templar(loader=DataLoader(), variables=variables).template(trust_as_template(expression))


def idle_user(*live: str) -> str:
    """The one that a rotation writes, where the hosts' live slots work as these."""
    hostvars = {f"app-{n}": {"__credential_rotation_live": {"stdout": user}} for n, user in enumerate(live)}
    expression = "{{ __credential_rotation_idle_user }}"
    return str(value(expression, hostvars=hostvars, ansible_play_hosts_all=sorted(hostvars)))


@pytest.mark.parametrize(
    ("live", "idle"),
    [
        (["app"], "app_b"),
        (["app_b"], "app_a"),
        (["app_a"], "app_b"),
        (["tasks_b"], "tasks_a"),
        (["app_a", "app_a"], "app_b"),
        # A rotation that did not come to every host: whoever is left there must not be locked out.
        (["app", "app_b"], "app_a"),
        (["app_b", "app"], "app_a"),
        (["app_a", "app_b"], ""),
    ],
)
def test_the_new_password_is_for_a_user_that_no_host_works_as(live: list[str], idle: str) -> None:
    assert idle_user(*live) == idle


def test_the_live_slot_is_the_one_of_the_record(tmp_path: Path, deploy: Deploy) -> None:
    run = deploy()
    assert run.recorded_state()["live"] == "blue"
    (record,) = [one for one in run.value("{{ __app_stack_records }}") if one["path"] == "state.json"]
    (tmp_path / "state.json").write_text(record["content"])
    # What a deployment leaves that is broken off just before its record: the rest leads to the other slot.
    (tmp_path / ".env").write_text("COMPOSE_PROFILES=green\n")
    (tmp_path / "env").mkdir()
    for colour, user in {"blue": "app_a", "green": "app_b"}.items():
        (tmp_path / "env" / f"{colour}.env").write_text(f"APP_DATABASE_USERNAME='{user}'\nAPP_X='y'\n")
    (task,) = [one for one in read_yaml(ROLE / "tasks" / "ask.yml") if "register" in one]
    command = task["ansible.builtin.shell"]["cmd"]
    said = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout == "app_a\n"


def test_a_mail_servers_user_that_the_inventory_would_override_is_refused() -> None:
    tasks = read_yaml(ROLE / "tasks" / "renew.yml")
    (task,) = [one for one in tasks if one["name"] == "renew | Refuse a user that would not be heeded"]
    given = {"credential_rotation_credential": "smtp", "credential_rotation_smtp_username": "AKIANEW"}
    assert value("{{ " + task["when"] + " }}", **given) is True
    condition = "{{ " + task["ansible.builtin.assert"]["that"] + " }}"
    assert value(condition, **given, app_stack_smtp_username="") is True
    assert value(condition, **given, app_stack_smtp_username="mailer") is False
