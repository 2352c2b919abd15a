"""The host against the CIS Docker Benchmark 1.5.0: chapters 2, 3 and 5, and 4.1 (images' own user).

Each control is looked at here, or stands in ELSEWHERE with the test that already looks, or in EXCUSED with
the reason why it does not hold or cannot be seen on a host.
"""

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from testinfra.host import Host

EXCUSED = {
    "2.1": "A rootless engine has neither port 80 nor AppArmor; no container is root, only root may call it.",
    "2.9": "No container has root or a capability to map away; mapped uids could not read their secrets.",
    "2.12": "There is one client, root on the host: no other account may open the socket; no port is open.",
    "2.17": "The engine's own seccomp profile is in force (5.21); one of ours would lag behind the kernel.",
    "5.2": "Debian confines with AppArmor (5.1); SELinux is other systems' way to the same.",
    "5.7": "The page belongs on port 80. nginx itself listens on 8080 and has no right to low ports.",
    "5.13": "The host has one address, and each port is to be reached; the firewall says by whom.",
    "5.14": "unless-stopped: a database away for minutes must not end the service; its limits bound a loop.",
    "5.22": "How people call the engine is no state of the host. The roles never exec with --privileged.",
    "5.23": "As 5.22: the roles never exec with --user.",
    "5.27": "Images are built on the host and named by their content: no newer one of the same name exists.",
}
CONFINED, ENGINE = "test_app_stack.test_a_container_is_confined", "test_docker_engine.test_"
ELSEWHERE = {
    "2.2": f"{ENGINE}the_default_bridge_keeps_containers_apart",
    "2.8": f"{ENGINE}a_container_opens_files_enough_and_dumps_no_memory",
    "2.10": f"{ENGINE}containers_stand_below_the_control_group_that_was_asked_for",
    "2.13": "test_app_stack.test_containers_lines_go_where_they_should_and_never_block",
    "2.14": f"{ENGINE}containers_gain_no_privileges_and_ports_need_no_proxy",
    "2.15": f"{ENGINE}the_engine_keeps_containers_running_and_their_logs_small",
    "2.16": f"{ENGINE}containers_gain_no_privileges_and_ports_need_no_proxy",
    "5.8": "test_app_stack.test_only_nginx_publishes_ports",
    "5.21": "test_app_stack.test_its_process_has_no_rights_in_fact",
    "5.26": "test_app_stack.test_every_service_runs_and_is_healthy",
    **dict.fromkeys(["5.3", "5.4", "5.9", "5.10", "5.12", "5.15"], CONFINED),
    **dict.fromkeys(["5.17", "5.20", "5.25", "5.28", "5.31"], CONFINED),
}
# What /etc/docker/daemon.json and the command line of dockerd may not say, and what `docker info` does.
ENGINE_CHECKS: dict[str, Callable[[dict[str, Any], str, dict[str, Any]], bool]] = {
    "2.3": lambda says, line, info: says.get("log-level", "info") == "info" and not info["Debug"],
    "2.4": lambda says, line, info: says.get("iptables", True) and "--iptables=false" not in line,
    "2.5": lambda says, line, info: (
        set(info["RegistryConfig"]["InsecureRegistryCIDRs"]) <= {"127.0.0.0/8", "::1/128"}
        and all(index["Secure"] for index in info["RegistryConfig"]["IndexConfigs"].values())
    ),
    "2.6": lambda says, line, info: info["Driver"] != "aufs",
    "2.7": lambda says, line, info: "hosts" not in says and "tcp:" not in line,
    "2.11": lambda says, line, info: "storage-opts" not in says and "--storage-opt" not in line,
    "2.18": lambda says, line, info: not info["ExperimentalBuild"],
}
# Controls of owner and mode: the path, its owner, the most that its mode may allow; it may be missing.
FILE_CHECKS = {
    ("3.1", "3.2"): ("/usr/lib/systemd/system/docker.service", "root:root", 0o644),
    ("3.3", "3.4"): ("/usr/lib/systemd/system/docker.socket", "root:root", 0o644),
    ("3.5", "3.6"): ("/etc/docker", "root:root", 0o755),
    ("3.7", "3.8"): ("/etc/docker/certs.d/*/*", "root:root", 0o444),
    ("3.9", "3.10"): ("/etc/docker/ca.pem", "root:root", 0o444),
    ("3.11", "3.12"): ("/etc/docker/server-cert.pem", "root:root", 0o444),
    ("3.13", "3.14"): ("/etc/docker/server-key.pem", "root:root", 0o400),
    ("3.15", "3.16"): ("/run/docker.sock", "root:docker", 0o660),
    ("3.17", "3.18"): ("/etc/docker/daemon.json", "root:root", 0o644),
    ("3.19", "3.20"): ("/etc/default/docker", "root:root", 0o644),
    ("3.21", "3.22"): ("/etc/sysconfig/docker", "root:root", 0o644),
    ("3.23", "3.24"): ("/run/containerd/containerd.sock", "root:root", 0o660),
}
# By container, as `docker inspect` says it.
CONTAINER_CHECKS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "5.5": lambda it: all(
        mount["Source"].startswith(("/opt/steadfast/", "/var/lib/docker/volumes/steadfast_"))
        for mount in it["Mounts"]
    ),
    "5.11": lambda it: it["HostConfig"]["CpuShares"] > 0 or it["HostConfig"]["NanoCpus"] > 0,
    "5.16": lambda it: it["HostConfig"]["IpcMode"] in ("private", "none"),
    # Nothing but what the engine gives every container (2.8).
    "5.18": lambda it: {limit["Name"] for limit in it["HostConfig"]["Ulimits"] or []} <= {"core", "nofile"},
    "5.19": lambda it: all("shared" not in mount["Propagation"] for mount in it["Mounts"]),
    "5.24": lambda it: it["HostConfig"]["CgroupParent"] == "",
    "5.29": lambda it: "bridge" not in it["NetworkSettings"]["Networks"],
    "5.30": lambda it: it["HostConfig"]["UsernsMode"] != "host",
}
FILES = [control for both in FILE_CHECKS for control in both]
HERE = [*ENGINE_CHECKS, *FILES, *CONTAINER_CHECKS, "4.1", "5.1", "5.6"]


@pytest.fixture(scope="module")
def containers(host: Host) -> list[dict[str, Any]]:
    """`docker inspect` of each container of the stack."""
    listed = "docker ps --quiet --filter label=com.docker.compose.project=steadfast"
    return list(json.loads(host.check_output(f"docker inspect $({listed})")))


def test_every_control_is_looked_at_or_excused_in_writing() -> None:
    last = {"2": 18, "3": 24, "5": 31}
    controls = ["4.1", *(f"{chapter}.{n + 1}" for chapter in last for n in range(last[chapter]))]
    assert sorted([*HERE, *ELSEWHERE, *EXCUSED]) == sorted(controls), "each once"
    for control, place in ELSEWHERE.items():
        module, name = place.split(".")
        assert f"def {name}(" in Path(__file__).with_name(f"{module}.py").read_text(), control


@pytest.mark.parametrize("control", ENGINE_CHECKS)
def test_the_engine_is_set_up_so(host: Host, read_json: Callable[[str], Any], control: str) -> None:
    says = read_json("cat /etc/docker/daemon.json")
    info = read_json("docker info --format '{{json .}}'")
    line = host.check_output("ps -C dockerd -o args=")
    assert ENGINE_CHECKS[control](says, line, info)


@pytest.mark.parametrize("controls", FILE_CHECKS, ids=" ".join)
def test_the_engines_files_are_for_root(host: Host, controls: tuple[str, str]) -> None:
    path, owner, most = FILE_CHECKS[controls]
    for line in host.check_output(f"stat --format '%a %U:%G %n' {path} 2>/dev/null || true").splitlines():
        mode, found, name = line.split(maxsplit=2)
        assert found == owner, name
        assert stat.S_IMODE(int(mode, 8)) & ~most == 0, name


def test_nobody_but_root_is_in_the_group_of_the_engines_socket(host: Host) -> None:
    assert host.check_output("getent group docker").split(":")[3] in ("", "root")


@pytest.mark.parametrize("control", CONTAINER_CHECKS)
def test_containers_are_started_so(containers: list[dict[str, Any]], control: str) -> None:
    assert [it["Name"] for it in containers if not CONTAINER_CHECKS[control](it)] == []


def test_the_images_own_user_is_not_root(host: Host, containers: list[dict[str, Any]]) -> None:
    """4.1"""
    for image in {it["Image"] for it in containers}:
        user = host.check_output("docker image inspect --format '{{.Config.User}}' %s", image)
        assert user.split(":")[0] not in ("", "0", "root")


def test_apparmor_confines_where_the_kernel_has_it(host: Host, containers: list[dict[str, Any]]) -> None:
    """5.1"""
    has_it = host.run("grep -q Y /sys/module/apparmor/parameters/enabled").succeeded
    for it in containers:
        assert it["AppArmorProfile"] == ("docker-default" if has_it else ""), it["Name"]


def test_nobody_can_log_in_to_a_container(host: Host, containers: list[dict[str, Any]]) -> None:
    """5.6"""
    for it in containers:
        assert "sshd" not in host.check_output("docker top %s -eo pid,comm", it["Id"]), it["Name"]
