"""The baseline of a host: its firewall in force, logins by key alone, kernel and updates as the role says."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from testinfra.host import Host

ReadSetting = Callable[[str, Any], Any]
RULES = "/etc/baseline-firewall.nft"
LISTED = "nft --stateless list table inet host_baseline"
LOGINS = {
    "permitrootlogin": "no",
    "passwordauthentication": "no",
    "kbdinteractiveauthentication": "no",
    "pubkeyauthentication": "yes",
    "maxauthtries": "4",
    "logingracetime": "30",
    "clientaliveinterval": "300",
    "clientalivecountmax": "3",
    "tcpkeepalive": "no",
    "allowagentforwarding": "no",
    "x11forwarding": "no",
    "allowtcpforwarding": "local",
    "loglevel": "VERBOSE",
    "debianbanner": "no",
}
# What may be listened to from outside: ssh, and DHCP's answers.
LISTENERS = {("tcp", 22), ("udp", 68), ("udp", 546)}


@pytest.fixture(scope="module")
def is_container(host: Host) -> bool:
    """Whether the host's kernel is that of another machine, so that only the network is its own."""
    return bool(host.run("systemd-detect-virt --container --quiet").succeeded)


def test_the_firewall_stands_before_the_engines_rules_and_drops_what_nobody_lets_in(host: Host) -> None:
    answer = json.loads(host.check_output("nft --json list chain inet host_baseline incoming"))
    (chain,) = [item["chain"] for item in answer["nftables"] if "chain" in item]
    assert (chain["hook"], chain["policy"]) == ("prerouting", "drop")
    conntrack, dstnat = -200, -100
    assert conntrack < chain["prio"] < dstnat


def test_the_rules_in_force_are_those_of_the_file(host: Host) -> None:
    # The file alone, in a network of its own.
    loaded = host.check_output(f"unshare --net sh -c 'nft --file {RULES} && {LISTED}'")
    assert host.check_output(LISTED) == loaded


def test_the_file_lets_in_whom_the_inventory_names(host: Host, read_setting: ReadSetting) -> None:
    found = re.findall(r"^    ip6? saddr (\S+) tcp dport (.+) accept$", host.file(RULES).content_string, re.M)
    admins = read_setting("host_baseline_admin_cidrs", [])
    assert found == [
        *((cidr, "{ 8000, 8501, 5555 }") for cidr in admins),
        *((cidr, "22") for cidr in read_setting("host_baseline_ssh_cidrs", admins)),
    ]


def test_the_firewall_is_loaded_at_every_boot_before_there_is_a_network(host: Host) -> None:
    service = host.service("baseline-firewall.service")
    assert service.is_running
    assert service.is_enabled
    before = host.check_output("systemctl show --property Before --value baseline-firewall.service")
    assert "network-pre.target" in before.split()
    # It would empty every table, the engine's and this one.
    assert not host.service("nftables.service").is_enabled


def test_nothing_else_listens(host: Host) -> None:
    found = set()
    for line in host.check_output(
        "ss --no-header --listening --tcp --udp --numeric --processes"
    ).splitlines():
        kind, _, _, _, local, *_ = line.split()
        address, _, port = local.rpartition(":")
        # The engine holds each published port, so that nobody else takes it: test_exposure.py has those.
        if not re.match(r"127\.|\[::1\]|\S+%lo$", address) and '"dockerd"' not in line:
            found.add((kind, int(port)))
    assert found - LISTENERS == set()


def test_sshd_does_as_the_role_says(host: Host) -> None:
    lines = host.check_output("/usr/sbin/sshd -T").splitlines()
    effective = dict(line.split(" ", 1) for line in lines if " " in line)
    assert {name: effective[name] for name in LOGINS} == LOGINS
    # Started or reloaded since, and not refused.
    assert host.service("ssh.service").is_running


def test_a_new_file_is_nobody_elses(host: Host) -> None:
    # As a login makes it: what a service makes is its unit's affair.
    assert host.check_output("su --login root --command umask") == "0027"


@pytest.mark.parametrize("part", ["network", "kernel"])
def test_the_kernel_is_restrained(host: Host, is_container: bool, part: str) -> None:
    file = host.file(f"/etc/sysctl.d/90-baseline-{part}.conf")
    if part == "kernel" and is_container:
        assert not file.exists, "the kernel is that of the machine below"
        return
    lines = re.findall(r"^([a-z][\w.*]+) = (.+)$", file.content_string, re.M)
    assert len(lines) > 10
    for name, value in lines:
        path = f"/proc/sys/{name.replace('.', '/')}"
        for found in host.check_output(f"cat {path}").splitlines():
            assert found == value, name


def test_containers_are_reached_still(host: Host) -> None:
    """What a baseline must not take away: the engine needs forwarding."""
    assert host.sysctl("net.ipv4.ip_forward") == 1


def test_security_updates_install_themselves_and_nothing_reboots_the_host(host: Host) -> None:
    dump = host.check_output("apt-config dump")
    settings = re.findall(r'^((?:APT::Periodic|Unattended-Upgrade)::\S+) "(.*)";$', dump, re.M)
    once = dict(settings)
    assert once["APT::Periodic::Update-Package-Lists"] == "1"
    assert once["APT::Periodic::Unattended-Upgrade"] == "1"
    assert once["Unattended-Upgrade::Automatic-Reboot"] == "false"
    if host.system_info.distribution == "debian":
        origins = [value for name, value in settings if name == "Unattended-Upgrade::Origins-Pattern::"]
        assert origins == ["origin=Debian,codename=${distro_codename}-security,label=Debian-Security"]
    assert host.package("unattended-upgrades").is_installed
    for timer in ("apt-daily.timer", "apt-daily-upgrade.timer"):
        assert host.service(timer).is_enabled
        assert host.service(timer).is_running
