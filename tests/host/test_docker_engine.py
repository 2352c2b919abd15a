"""The engine of a host: as roles/docker_engine configures it, and usable."""

from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

ReadJson = Callable[[str], Any]
ReadSetting = Callable[[str, Any], Any]


@pytest.fixture
def engine(read_json: ReadJson) -> dict[str, Any]:
    """What the running engine says about itself."""
    return dict(read_json("docker info --format '{{json .}}'"))


@pytest.fixture
def configuration(read_json: ReadJson) -> dict[str, Any]:
    """What the role wrote."""
    return dict(read_json("cat /etc/docker/daemon.json"))


def test_the_engine_runs_and_starts_at_boot(host: Host) -> None:
    service = host.service("docker.service")
    assert service.is_running
    assert service.is_enabled


def test_the_watch_over_given_up_containers_runs_and_starts_at_boot(host: Host) -> None:
    service = host.service("restart-watch.service")
    assert (service.is_running, service.is_enabled) == (True, True)
    assert host.file("/usr/local/sbin/restart-watch").mode == 0o755


def test_the_engine_keeps_containers_running_and_their_logs_small(
    engine: dict[str, Any], configuration: dict[str, Any], read_setting: ReadSetting
) -> None:
    assert engine["LiveRestoreEnabled"] is True
    assert engine["LoggingDriver"] == "local"
    assert configuration["log-opts"] == {
        "max-size": read_setting("docker_engine_log_max_size", "10m"),
        "max-file": str(read_setting("docker_engine_log_max_files", 3)),
    }


def test_containers_gain_no_privileges_and_ports_need_no_proxy(
    host: Host, engine: dict[str, Any], configuration: dict[str, Any]
) -> None:
    assert "name=no-new-privileges" in engine["SecurityOptions"]
    assert configuration["userland-proxy"] is False
    assert not host.process.filter(comm="docker-proxy")


def test_the_default_bridge_keeps_containers_apart(
    configuration: dict[str, Any], read_json: ReadJson
) -> None:
    assert configuration["icc"] is False
    # The bridge follows when the engine starts while no container runs.
    options = read_json("docker network inspect --format '{{json .Options}}' bridge")
    assert options["com.docker.network.bridge.enable_icc"] == "false"


def test_a_container_opens_files_enough_and_dumps_no_memory(configuration: dict[str, Any]) -> None:
    limits = [(it["Name"], it["Soft"], it["Hard"]) for it in configuration["default-ulimits"].values()]
    assert sorted(limits) == [("core", 0, 0), ("nofile", 16384, 16384)]


def test_the_build_cache_is_limited(host: Host) -> None:
    assert "Keep Bytes:" in host.check_output("docker buildx inspect default")


def test_compose_and_buildx_answer(host: Host) -> None:
    assert host.check_output("docker compose version --short").startswith("2.")
    assert "buildx" in host.check_output("docker buildx version")


def test_the_environment_reaches_the_engine_and_nobody_else(host: Host, read_setting: ReadSetting) -> None:
    file = host.file("/etc/docker/environment")
    assert (file.user, file.group, file.mode) == ("root", "root", 0o600)
    pid = host.check_output("systemctl show --property MainPID --value docker.service")
    running = host.file(f"/proc/{pid}/environ").content_string.split("\0")
    shown = host.check_output("systemctl show docker.service")
    for name, value in read_setting("docker_engine_environment", {}).items():
        assert f"{name}={value}" in running
        assert f"{name}={value}" not in shown


def test_containers_stand_below_the_control_group_that_was_asked_for(
    configuration: dict[str, Any], read_setting: ReadSetting
) -> None:
    assert configuration.get("cgroup-parent", "") == read_setting("docker_engine_cgroup_parent", "")
