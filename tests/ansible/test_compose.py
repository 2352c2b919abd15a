"""The rendered docker-compose.yml, questioned as data: every inventory and moment of a host's life."""

import json
import re
from typing import Any

import pytest

from app.api.__main__ import DRAIN_SECONDS
from app.api.dependencies import CLOSE_SECONDS
from app.db import migrate, migrator
from tests.ansible.conftest import Deploy
from tests.ansible.rendering import PASSWORDS, ROOT, Deployment, read_yaml

PUBLISHED = ["80:8080", "8000:8000", "8501:8501", "5555:5555"]
WITH_TLS = ["80:8080", "443:8443", "8000:8000", "8501:8501", "5555:5555"]
# The secrets that each kind of service reads, and no other.
SECRETS = {
    "api": {"app_database_password", "app_operator_token", "app_redis_password"},
    "worker": {"app_database_password", "app_redis_password", "app_smtp_password"},
    "flower": {"app_redis_password"},
    "migrate": {"app_database_password", "app_migrator_password"},
    "shell": {"app_database_password"},
    "database-client": {"app_migrator_password"},
    "nginx": set(),
    "redis": set(),
}
# They run once and end, and nobody starts them but by name.
ONE_OFFS = {"migrate", "shell", "database-client"}
# Of these, those that print for a person or a program alone.
UNLOGGED = {"shell", "database-client"}
# Where each kind of service may write on the host; everything else is mounted read-only.
WRITABLE = {"api": {"./sockets"}, "flower": {"./sockets/flower"}, "redis": {"redis-data"}}


def kind(service: str) -> str:
    """api_blue -> api."""
    return service.removesuffix("_blue").removesuffix("_green")


def seconds(duration: str) -> int:
    """The Compose duration `30s` as a number."""
    return int(duration.removesuffix("s"))


def mounts(definition: dict[str, Any]) -> list[list[str]]:
    """[source, target, mode] of each mount; the mode is rw when it is left out."""
    return [[*volume.split(":"), "rw"][:3] for volume in definition.get("volumes", [])]


def test_the_services_are_those_of_the_moment(deployment: Deployment) -> None:
    colours = set(deployment.value("{{ __app_stack_slots_by_colour }}"))
    slots = {f"{part}_{colour}" for part in ("api", "worker") for colour in colours}
    assert set(deployment.services) == {"nginx", "redis", "flower"} | ONE_OFFS | slots
    assert colours


def test_every_service_has_a_health_check(deployment: Deployment) -> None:
    for name, service in deployment.services.items():
        if name in ONE_OFFS:
            # Its exit status says how it went.
            assert service["healthcheck"] == {"disable": True}
        else:
            check = service["healthcheck"]
            assert check["test"][0] in ("CMD", "CMD-SHELL"), name
            assert {"interval", "timeout", "retries", "start_period"} <= set(check), name


def test_no_health_check_asks_a_dependency(deployment: Deployment) -> None:
    for name, service in deployment.services.items():
        assert "/ready" not in str(service["healthcheck"]), f"{name}: an outage elsewhere must not restart it"


def test_memory_and_processes_are_limited(deployment: Deployment) -> None:
    for name, service in deployment.services.items():
        assert re.fullmatch(r"[1-9]\d*m", service["mem_limit"]), name
        assert service["memswap_limit"] == service["mem_limit"], f"{name}: swap would hide a leak"
        assert 1 < service["pids_limit"] <= 128, name


def test_services_come_back_after_a_boot_but_a_stopped_slot_does_not(deployment: Deployment) -> None:
    for name, service in deployment.services.items():
        assert service["restart"] == ("no" if name in ONE_OFFS else "unless-stopped"), name


def test_containers_can_do_no_more_than_they_must(deployment: Deployment) -> None:
    for name, service in deployment.services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        user, group = service["user"].split(":")
        # Numeric, because the host has no names for them.
        assert int(user) >= 10000, name
        assert group == user, name
        widening = {
            "privileged",
            "cap_add",
            "devices",
            "pid",
            "ipc",
            "network_mode",
            "userns_mode",
            "group_add",
            "extends",
        }
        assert not widening & set(service), name


def test_nothing_of_the_host_is_mounted_but_the_stacks_own_directories(deployment: Deployment) -> None:
    made = {directory["path"] for directory in deployment.value("{{ __app_stack_directories }}")}
    assert "docker.sock" not in deployment.compose_text
    for name, service in deployment.services.items():
        for source, target, mode in mounts(service):
            assert source in made | set(deployment.compose["volumes"]), f"{name}: {source}"
            assert mode == "ro" or source in WRITABLE.get(kind(name), set()), f"{name}: {target} is writable"


def test_images_are_named_by_release_or_by_input(deployment: Deployment) -> None:
    for name, service in deployment.services.items():
        repository, _, tag = service["image"].rpartition(":")
        assert repository, f"{name}: {service['image']} has no tag"
        assert re.fullmatch(r"[\w.-]+", tag), f"{name}: {service['image']} has no tag"
        assert tag != "latest", name
        assert "build" not in service, f"{name}: images are made by app_release, not by Compose"


def test_only_nginx_publishes_and_443_only_with_a_certificate(deployment: Deployment) -> None:
    assert {name for name, service in deployment.services.items() if "ports" in service} == {"nginx"}
    has_tls = deployment.value("{{ app_stack_domain_name != '' }}")
    assert has_tls == (not deployment.value("{{ app_stack_plain_http_allowed }}"))
    assert deployment.services["nginx"]["ports"] == (WITH_TLS if has_tls else PUBLISHED)


def test_networks_separate_the_front_door_from_the_rest(deployment: Deployment) -> None:
    networks = {name: set(service["networks"]) for name, service in deployment.services.items()}
    assert networks["redis"] == {"backend"}
    assert networks["nginx"] == {"edge"}, "it reaches API and Flower by sockets"
    assert networks["flower"] == {"backend"}
    assert deployment.compose["networks"]["backend"] == {"internal": True}
    assert set(deployment.compose["networks"]) == set().union(*networks.values())


def test_each_service_logs_to_its_own_place_without_waiting(deployment: Deployment) -> None:
    driver = deployment.value("{{ app_stack_log_driver }}")
    for name, service in deployment.services.items():
        if name in UNLOGGED:
            assert service["logging"] == {"driver": "none"}, f"{name}: rows would lie in a log"
            continue
        assert service["logging"]["driver"] == driver, name
        options = service["logging"]["options"]
        if driver == "local":
            assert set(options) == {"max-size", "max-file"}, name
        else:
            group = f"/steadfast/{deployment.environment}/{kind(name)}"
            assert options["awslogs-group"] == group, name
            assert options["awslogs-region"] == "eu-central-1", name
            assert options["mode"] == "non-blocking", f"{name}: a slow CloudWatch would freeze it"
            assert options["tag"] == "{{.Name}}/{{.ID}}", name
            assert kind(name) in deployment.value("{{ __app_stack_log_services }}"), (
                f"{name}: nobody makes its group"
            )
            assert all(isinstance(value, str) for value in options.values()), name


def test_the_engine_gets_another_log_endpoint_only_when_it_is_set(deployment: Deployment) -> None:
    endpoint = deployment.value("{{ app_stack_log_endpoint_url }}")
    wanted = (
        {endpoint} if endpoint and deployment.value("{{ app_stack_log_driver }}") == "awslogs" else {None}
    )
    options = [s["logging"]["options"] for name, s in deployment.services.items() if name not in UNLOGGED]
    assert {option.get("awslogs-endpoint") for option in options} == wanted


def test_each_service_gets_the_secrets_that_it_reads_and_no_other(deployment: Deployment) -> None:
    for name, service in deployment.services.items():
        assert {secret["target"] for secret in service.get("secrets", [])} == SECRETS[kind(name)], name
        assert "environment" not in service, f"{name}: what a container reads stands in env/ and secrets/"
    wanted = set().union(*SECRETS.values())
    colours = deployment.value("{{ __app_stack_slots_by_colour }}")
    assert set(deployment.compose["secrets"]) == {f"{colour}_{name}" for colour in colours for name in wanted}


def test_a_slot_has_secret_files_of_its_own(deployment: Deployment) -> None:
    for name, service in deployment.services.items():
        if colour := name.partition("_")[2]:
            for secret in service["secrets"]:
                file = deployment.compose["secrets"][secret["source"]]["file"]
                assert file == f"./secrets/{colour}/{secret['target']}"
    written = {path for path in deployment.secret_files if path.startswith("./secrets/")}
    live = deployment.value("{{ __app_stack_target.colour }}")
    assert {path.split("/")[2] for path in written} == {live, "nginx"}


def test_secret_files_are_written_and_owned_by_the_user_who_reads_them(deployment: Deployment) -> None:
    for name, service in deployment.services.items():
        user = int(service["user"].split(":")[0])
        for secret in service.get("secrets", []):
            path = deployment.compose["secrets"][secret["source"]]["file"]
            # The other slot's files stay as the deployment before wrote them.
            if path in deployment.secret_files:
                assert deployment.secret_files[path]["owner"] == user, f"{name}: {path}"
    owners = {path: file["owner"] for path, file in deployment.secret_files.items()}
    assert owners["./secrets/nginx/flower.htpasswd"] == int(
        deployment.services["nginx"]["user"].split(":")[0]
    )
    assert owners["./config/redis/users.acl"] == int(deployment.services["redis"]["user"].split(":")[0])


@pytest.mark.parametrize("parameter", PASSWORDS)
def test_no_password_stands_in_a_file_that_is_no_secret(deployment: Deployment, parameter: str) -> None:
    texts = {"docker-compose.yml": deployment.compose_text, **deployment.files}
    holders = [path for path, text in texts.items() if PASSWORDS[parameter] in text]
    assert holders == []
    # The search would find it: exactly one file holds it, or the hash of it where the reader needs no more;
    # none holds the master's, which goes through standard input.
    secrets = [
        path for path, file in deployment.secret_files.items() if PASSWORDS[parameter] in file["content"]
    ]
    assert len(secrets) == (0 if parameter in ("flower/password", "database/master_password") else 1)


def test_a_plain_up_means_what_is_live(deployment: Deployment) -> None:
    for name, service in deployment.services.items():
        colour = name.partition("_")[2]
        wanted = [colour] if colour else [name] if name in ONE_OFFS else []
        assert service.get("profiles", []) == wanted, name
    live = deployment.value("{{ __app_stack_state.live }}")
    assert f"COMPOSE_PROFILES={live}\n" in deployment.files["./.env"]


def test_migration_and_flower_are_of_the_release_that_comes(deployment: Deployment) -> None:
    target = deployment.value("{{ __app_stack_target }}")
    for name in ("migrate", "shell", "flower", f"api_{target['colour']}", f"worker_{target['colour']}"):
        service = deployment.services[name]
        assert service["image"] == target["image"], name
        assert service["env_file"] == [f"env/{target['colour']}.env"], name


def test_environment_files_exist_for_every_slot_that_is_started(deployment: Deployment) -> None:
    target = deployment.value("{{ __app_stack_target }}")
    assert f"./env/{target['colour']}.env" in deployment.files


@pytest.mark.parametrize("timeout_seconds", [1, 5, 20, 45, 300])
def test_a_worker_has_time_to_finish_its_longest_send(deploy: Deploy, timeout_seconds: int) -> None:
    services = deploy(app_stack_smtp_timeout_seconds=timeout_seconds).services
    assert seconds(services["worker_blue"]["stop_grace_period"]) > timeout_seconds


def test_redis_and_the_api_have_time_to_drain_and_nginx_keeps_nobody_out_for_long(
    deployment: Deployment,
) -> None:
    for name, service in deployment.services.items():
        if kind(name) == "nginx":
            assert seconds(service["stop_grace_period"]) <= 1, "its ports are closed meanwhile"
        if kind(name) in ("redis", "api"):
            assert seconds(service["stop_grace_period"]) > 10, f"{name}: above nginx's own time limits"
        if kind(name) == "api":
            assert seconds(service["stop_grace_period"]) >= DRAIN_SECONDS + CLOSE_SECONDS + 5, name


@pytest.mark.parametrize(
    ("module", "limit_seconds"), [("migrate", migrate.LIMIT_SECONDS), ("migrator", migrator.LIMIT_SECONDS)]
)
def test_a_migration_gives_up_before_the_deployment_gives_up_on_it(module: str, limit_seconds: int) -> None:
    """So that it says why."""
    tasks = read_yaml(ROOT / "roles" / "app_stack" / "tasks" / "roll.yml")
    (patience,) = [
        task["timeout"]
        for task in tasks
        if str(task.get("ansible.builtin.command", {}).get("cmd")).endswith(f" {module}")
        or f"app.db.{module}" in str(task)
    ]
    assert patience >= limit_seconds + 30


def test_the_masters_password_reaches_the_host_on_standard_input_alone(deployment: Deployment) -> None:
    tasks = read_yaml(ROOT / "roles" / "app_stack" / "tasks" / "roll.yml")
    (task,) = [task for task in tasks if "app.db.migrator" in str(task)]
    given = deployment.value(task["ansible.builtin.command"]["stdin"])
    assert json.loads(given) == {"username": "postgres", "password": PASSWORDS["database/master_password"]}
    elsewhere = {
        name: value for name, value in task.items() if name not in ("ansible.builtin.command", "when")
    }
    assert "master" not in str(elsewhere | {"name": ""})


def test_without_a_master_user_nobody_makes_the_migrator(deploy: Deploy) -> None:
    names = ("database/master_username", "database/master_password")
    without = deploy(parameters=dict.fromkeys(names))
    assert without.value("{{ __app_stack_master.username != '' }}") is False
    assert deploy().value("{{ __app_stack_master.username != '' }}") is True
