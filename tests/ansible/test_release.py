"""What a release touches: only what is the application's; and a run with nothing new changes nothing."""

import os
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.ansible.conftest import INVENTORIES, Deploy
from tests.ansible.rendering import PARAMETERS, ROOT, Deployment, read_yaml, set_facts
from tests.ansible.test_argument_specs import options
from tests.ansible.test_preflight import refusals


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_a_second_run_renders_the_same_bytes(rendered: Any, inventory: str) -> None:
    live, again = rendered(inventory, "first release is live"), rendered(inventory, "nothing to release")
    assert not again.is_rolling
    assert again.compose_text == live.compose_text
    assert again.files == live.files
    assert again.secret_files == live.secret_files


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_slots_take_turns(rendered: Any, inventory: str) -> None:
    moments = ["first release", "nothing to release", "second release"]
    runs = [rendered(inventory, moment) for moment in moments]
    assert [run.is_rolling for run in runs] == [True, False, True]
    assert [run.value("{{ __app_stack_target.colour }}") for run in runs] == ["blue", "blue", "green"]
    third = rendered(inventory, "second release is live")
    assert third.value("{{ __app_stack_state.live }}") == "green"
    assert set(third.value("{{ __app_stack_state.slots }}")) == {"blue", "green"}


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_a_release_recreates_neither_nginx_nor_redis_nor_the_slot_that_serves(
    rendered: Any, inventory: str
) -> None:
    live, second = rendered(inventory, "first release is live"), rendered(inventory, "second release")
    for name in ("nginx", "redis", "api_blue", "worker_blue"):
        assert second.services[name] == live.services[name], name
    changed = {path for path in second.files if second.files[path] != live.files.get(path)}
    assert changed == {"./env/green.env"}
    # What serves goes on with its own, which a change of a password must not touch.
    kept = {path for path in live.secret_files if "/blue/" in path}
    assert {path for path in live.secret_files if path not in second.secret_files} == kept
    assert {path for path in second.secret_files if path not in live.secret_files} == {
        path.replace("/blue/", "/green/") for path in kept
    }


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_to_become_the_live_slot_changes_no_service(rendered: Any, inventory: str) -> None:
    # Else the next `up` would recreate the containers that serve.
    for moment in ("first release", "second release"):
        before, after = rendered(inventory, moment), rendered(inventory, f"{moment} is live")
        assert after.services == before.services, moment
        assert after.compose_text == before.compose_text


@pytest.mark.parametrize(
    "settings",
    [
        {"app_stack_lease_seconds": 90},
        {"app_stack_log_level": "debug"},
        {"app_stack_smtp_host": "mail.steadfast.test"},
        {"parameters": {"database/app_password": "made-up-Database-Word-rotated"}},
        {"parameters": {"smtp/password": "made-up-Mail-Word-rotated"}},
        {"parameters": {"operator/token": "made-up-Operators-Word-rotated"}},
        {"parameters": {"redis/password": "made-up-Redis-Word-rotated"}},
        {"parameters": {"database/host": "restored.c1example.eu-central-1.rds.amazonaws.com"}},
        {"app_release_image": "registry.steadfast.test/steadfast-app:1a2b3c4d5e6f"},
    ],
    ids=str,
)
def test_whatever_the_application_reads_comes_in_by_a_release(
    deploy: Deploy, settings: dict[str, Any]
) -> None:
    state = deploy().recorded_state()
    assert not deploy(state=state).is_rolling
    assert deploy(state=state, **settings).is_rolling


def test_the_master_user_is_of_no_release(deploy: Deploy) -> None:
    # Whoever changes its password, as AWS can do by itself, releases nothing.
    state = deploy().recorded_state()
    for password in ("made-up-Master-Word-rotated", None):
        assert not deploy(state=state, parameters={"database/master_password": password}).is_rolling


def test_a_setting_of_nginx_is_no_release(deploy: Deploy) -> None:
    before = deploy()
    state = before.recorded_state()
    after = deploy(state=state, app_stack_client_posts_per_minute=20)
    assert not after.is_rolling
    assert {path for path in after.files if after.files[path] != before.files[path]} == {
        "./config/nginx/nginx.conf",
        "./config/nginx/tasks.conf",
    }
    assert after.compose_text == before.compose_text


def test_numbers_may_be_given_as_text(deploy: Deploy) -> None:
    # `ansible-playbook -e app_stack_lease_seconds=60` makes text of them.
    numbers = {
        name: option["default"]
        for name, option in options("app_stack").items()
        if option["type"] in ("int", "float")
    }
    as_text = deploy(**{name: str(value) for name, value in numbers.items()})
    as_numbers = deploy()
    assert as_text.files == as_numbers.files
    assert {n: s["stop_grace_period"] for n, s in as_text.services.items() if "stop_grace_period" in s} == {
        n: s["stop_grace_period"] for n, s in as_numbers.services.items() if "stop_grace_period" in s
    }
    assert refusals(as_text) == []


def test_redis_takes_the_password_of_the_live_slot_until_another_one_is_live(deploy: Deploy) -> None:
    first = deploy()
    state = first.recorded_state()
    password, word = "made-up-Redis-Word-rotated", PARAMETERS["redis/password"]
    old, new = (sha256(text.encode()).hexdigest() for text in (word, password))

    def with_live(colour: str, checksum: str, state: dict[str, Any]) -> Deployment:
        run = deploy(state=state, parameters={"redis/password": password})
        run.variables["__app_stack_host"]["stdout_lines"] += [
            f"file 400 10001 {checksum} ./secrets/{colour}/app_redis_password",
            f"file 400 10001 {sha256(b'long gone').hexdigest()} ./secrets/other/app_redis_password",
        ]
        return run

    def words(run: Deployment) -> list[str]:
        found = run.secret_files["./config/redis/users.acl"]["content"].split()
        return [word.removeprefix("#") for word in found if word.startswith("#")]

    def label(run: Deployment) -> str:
        return str(run.services["redis"]["labels"]["steadfast.inputs"])

    coming = with_live("blue", old, state)
    assert coming.is_rolling
    assert words(coming) == [new, old]
    while_coming = label(coming)
    come = with_live("green", new, coming.recorded_state())
    assert not come.is_rolling
    assert words(come) == [new]
    # Each is another container of Redis, which reads its users when it starts.
    assert len({label(first), while_coming, label(come)}) == 3


def test_flowers_password_is_no_release(deploy: Deploy) -> None:
    before = deploy()
    state = before.recorded_state()
    after = deploy(state=state, parameters={"flower/password": "made-up-Flower-Word-rotated"})
    assert not after.is_rolling
    assert after.secret_files != before.secret_files
    assert after.compose_text == before.compose_text


def test_a_failed_release_is_forgotten_by_the_next_run(deploy: Deploy) -> None:
    state = deploy().recorded_state()
    failed = deploy(state=state, release="badbadbadbad")
    assert failed.is_rolling
    # state.json is written at the very end, so the host still has the state from before.
    back = deploy(state=state)
    assert not back.is_rolling
    assert back.services["flower"]["image"] == "steadfast-app:1a2b3c4d5e6f"
    assert "badbadbadbad" not in back.compose_text


def test_after_a_failed_release_every_one_off_is_the_live_release(deploy: Deploy) -> None:
    before = deploy()
    state = before.recorded_state()
    failed = deploy(state=state, release="badbadbadbad", app_stack_lease_seconds=90)
    assert failed.services["shell"]["image"] == "steadfast-app:badbadbadbad"
    for facts in set_facts("app_stack", "take_out"):
        failed.variables |= failed.value(facts)
    failed.__dict__.pop("compose_text")
    assert failed.compose_text == before.compose_text


def test_a_slot_that_was_never_recorded_is_stopped_all_the_same(deploy: Deploy, tmp_path: Path) -> None:
    # As after a host's second deployment was broken off: Compose knows no such service then.
    run = deploy(state=deploy().recorded_state())
    assert "api_green" not in run.services
    (task,) = [
        task
        for task in read_yaml(ROOT / "roles" / "app_stack" / "tasks" / "retire.yml")
        if task["name"].endswith("Stop the other slot")
    ]
    run.variables |= task["vars"]
    docker = tmp_path / "docker"
    docker.write_text(
        '#!/bin/sh\ncase "$1 $*" in compose*) exit 1;; ps*service=worker_green) echo 1a2b;; ps*) echo 3c4d;;'
        ' *) echo "$*" >>calls;; esac\n'
    )
    docker.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    shell = ["sh", "-c", run.value(task["ansible.builtin.shell"]["cmd"])]
    subprocess.run(shell, env=environment, cwd=tmp_path, check=True)
    assert (tmp_path / "calls").read_text().splitlines() == ["stop 1a2b", "rm 1a2b", "stop 3c4d", "rm 3c4d"]


def test_each_deployment_of_a_run_reads_the_parameters_anew() -> None:
    # A rotation deploys twice, and what it changed in between must not be what was read before.
    tasks = read_yaml(ROOT / "roles" / "app_stack" / "tasks" / "credentials.yml")
    (reading,) = [task for task in tasks if "from SSM Parameter Store" in task["name"]]
    assert "when" not in reading
