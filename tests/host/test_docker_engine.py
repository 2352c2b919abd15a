"""The engine of a host: as roles/docker_engine configures it, and usable."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host


@pytest.fixture
def engine(read_json: Callable[[str], Any]) -> dict[str, Any]:
    """What the running engine says about itself."""
    return read_json("docker info --format '{{json .}}'")


@pytest.fixture
def settings(host: Host) -> dict[str, Any]:
    """The role's settings that the inventory changes for this host."""
    return host.ansible.get_variables()


def test_the_engine_runs_and_starts_at_boot(host: Host) -> None:
    service = host.service("docker.service")
    assert service.is_running
    assert service.is_enabled


def test_the_engine_keeps_containers_running_and_their_logs_small(host: Host, engine: dict[str, Any]) -> None:
    assert engine["LiveRestoreEnabled"] is True
    assert engine["LoggingDriver"] == "local"
    written = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert written["log-opts"] == {"max-size": "10m", "max-file": "3"}


def test_containers_gain_no_privileges_and_ports_need_no_proxy(host: Host, engine: dict[str, Any]) -> None:
    assert "name=no-new-privileges" in engine["SecurityOptions"]
    assert json.loads(host.file("/etc/docker/daemon.json").content_string)["userland-proxy"] is False
    assert not host.process.filter(comm="docker-proxy")


def test_the_build_cache_is_limited(host: Host) -> None:
    assert "Keep Bytes: 2" in host.check_output("docker buildx inspect default")


def test_compose_and_buildx_answer(host: Host) -> None:
    assert host.check_output("docker compose version --short").startswith("2.")
    assert "buildx" in host.check_output("docker buildx version")


def test_the_environment_reaches_the_engine_and_nobody_else(host: Host, settings: dict[str, Any]) -> None:
    file = host.file("/etc/docker/environment")
    assert (file.user, file.group, file.mode) == ("root", "root", 0o600)
    pid = host.check_output("systemctl show --property MainPID --value docker.service")
    running = host.file(f"/proc/{pid}/environ").content_string.split("\0")
    shown = host.check_output("systemctl show docker.service")
    for name, value in settings.get("docker_engine_environment", {}).items():
        assert f"{name}={value}" in running
        assert f"{name}={value}" not in shown


def test_containers_stand_below_the_control_group_that_was_asked_for(host: Host, settings: dict[str, Any]) -> None:
    written = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert written.get("cgroup-parent", "") == settings.get("docker_engine_cgroup_parent", "")
