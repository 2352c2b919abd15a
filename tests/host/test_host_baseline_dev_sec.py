"""The host against dev-sec's baselines for Linux and for ssh servers.

Each control is looked at here, or stands in ELSEWHERE with the test that already looks, or in EXCUSED with
the reason why it does not hold.
"""

import re
from pathlib import Path

import pytest
from testinfra.host import Host

EXCUSED = {
    "os-05b": "Red Hat's.",
    "os-08": "Since Linux 5.18 the pool always tells 256; there is nothing to wait for.",
    "os-10": "Who mounts is root, and root loads modules; EFI's partition is vfat.",
    "package-07": "The journal is the log, and the CloudWatch agent sends it.",
    "package-08": "sshd's keys and sudo's commands are in the journal, which leaves the host.",
    "package-09": "Tools for people who look; nobody sits at this host.",
    "sysctl-01": "The engine forwards packets to its containers; the firewall says which.",
    "sysctl-05": "The kernel's own limit is ten times as strict.",
    "sysctl-06": "The kernel's own mask has the answers that can be abused.",
    "sysctl-07": "They start at random since 4.10, tell no uptime, and protect against wrapped numbers.",
    "sysctl-17": "The firewall drops such packets before; whoever sends them shall not fill the journal.",
    "sysctl-19": "As 01, where containers have IPv6.",
    "sysctl-33": "The CPU's affair: every instance type has it, and arm64 names it otherwise.",
    "sshd-01": "OpenSSH's own list has no weak one; a list of ours would lag behind.",
    "sshd-02": "As 01: that against quantum computers came with a release.",
    "sshd-03": "As 01.",
    "sshd-05": "Debian's file holds no secret. What the role adds is readable by root alone.",
    "sshd-09": "The address changes with the instance; the firewall says who comes in.",
    "sshd-10": "There has been no other protocol since 7.6.",
    "sshd-14": "Those that the first boot made; Debian has none of a weak kind.",
    "sshd-15": "The word is gone since 7.4.",
    "sshd-16": "The word is gone since 7.5: it is always so.",
    "sshd-19": "Two tries refuse an agent with three keys: it is four.",
    "sshd-24": "Of no effect where logins by host are off (25).",
    "sshd-31": "Of no effect where Kerberos is off (30).",
    "sshd-32": "As 31.",
    "sshd-34": "Of no effect where GSSAPI is off (33).",
    "sshd-39": "Tunnels from the client are the way to Flower through Session Manager; none goes back.",
    "sshd-45": "Who logs in may see when that was last done in his name.",
    # EC2 gives IPv6 by router advertisements, and duplicates must be detected.
    **dict.fromkeys([f"sysctl-{n}" for n in range(21, 29)], "EC2 gives IPv6 by router advertisements."),
}
ELSEWHERE = {
    **dict.fromkeys(["sshd-13", "sshd-18", "sshd-22", "sshd-27", "sshd-29"], "sshd_does_as_the_role_says"),
    **dict.fromkeys(["sshd-35", "sshd-36", "sshd-37", "sshd-40"], "sshd_does_as_the_role_says"),
    **dict.fromkeys(["sshd-06", "sshd-42", "sshd-47"], "sshd_does_as_the_role_says"),
}
# As `sshd -T` says it.
LOGINS = {
    "sshd-07": "port 22",
    "sshd-08": "addressfamily any",
    "sshd-11": "strictmodes yes",
    "sshd-12": "syslogfacility AUTH",
    "sshd-17": "permituserenvironment no",
    "sshd-20": "maxsessions 10",
    "sshd-21": "maxstartups 10:30:100",
    "sshd-23": "ignorerhosts yes",
    "sshd-25": "hostbasedauthentication no",
    "sshd-28": "permitemptypasswords no",
    "sshd-30": "kerberosauthentication no",
    "sshd-33": "gssapiauthentication no",
    "sshd-38": "permittunnel no",
    "sshd-41": "gatewayports no",
    "sshd-43": "x11uselocalhost yes",
    "sshd-44": "printmotd no",
    "sshd-46": "banner none",
}
# Files below /proc/sys, and what each may say.
NETWORK = {
    "sysctl-02": ("net/ipv4/conf/{all,default}/rp_filter", "1"),
    "sysctl-03": ("net/ipv4/icmp_ignore_bogus_error_responses", "1"),
    "sysctl-04": ("net/ipv4/icmp_echo_ignore_broadcasts", "1"),
    "sysctl-08": ("net/ipv4/conf/all/arp_ignore", "1|2"),
    "sysctl-09": ("net/ipv4/conf/all/arp_announce", "2"),
    "sysctl-10": ("net/ipv4/tcp_rfc1337", "1"),
    "sysctl-11": ("net/ipv4/tcp_syncookies", "1"),
    "sysctl-12": ("net/ipv4/conf/{all,default}/shared_media", "1"),
    "sysctl-13": ("net/ipv{4,6}/conf/{all,default}/accept_source_route", "0"),
    "sysctl-14": ("net/ipv4/conf/{all,default}/accept_redirects", "0"),
    "sysctl-15": ("net/ipv4/conf/{all,default}/secure_redirects", "0"),
    "sysctl-16": ("net/ipv4/conf/{all,default}/send_redirects", "0"),
    "sysctl-20": ("net/ipv6/conf/{all,default}/accept_redirects", "0"),
}
# A host that is a container has that of the machine below.
KERNEL = {
    "sysctl-29": ("kernel/modules_disabled", "0"),
    "sysctl-30": ("kernel/sysrq", "0"),
    "sysctl-31a": ("fs/suid_dumpable", "0|2"),
    "sysctl-31b": ("kernel/core_pattern", r"\|?/.*"),
    "sysctl-32": ("kernel/randomize_va_space", "2"),
    "sysctl-34": ("fs/protected_{fifos,hardlinks,regular,symlinks}", "1|2"),
}
FILES = {
    "os-02": ("/etc/shadow", "640 root shadow"),
    "os-03": ("/etc/passwd", "644 root root"),
    "os-05": ("/etc/login.defs", "644 root root"),
    "sshd-04": ("/etc/ssh", "755 root root"),
}
# Packages that may not be there.
PACKAGES = {
    "package-01": ["inetd", "openbsd-inetd", "inetutils-inetd", "xinetd"],
    "package-02": ["telnetd", "inetutils-telnetd"],
    "package-03": ["rsh-server", "rsh-redone-server"],
    "package-05": ["ypserv"],
    "package-06": ["tftpd", "tftpd-hpa", "atftpd"],
    "package-10": ["prelink"],
}
# Of the programs that may not be setuid, this one is Debian's; it does nothing where hosts do not log in.
SETUID_EXCUSED = "/usr/lib/openssh/ssh-keysign"
SETUID = (
    r"/(rcp|rlogin|rsh|pppd|usernetctl|lockfile|dotlockfile|mail-\w+|arping|uuidd|mtr|pt_chown|ssh-keysign)$"
)
BY_NAME = {"os-01", "os-04", "os-06", "os-07", "os-09", "sshd-48"}
LISTS = (LOGINS, NETWORK, KERNEL, FILES, PACKAGES, BY_NAME, ELSEWHERE, EXCUSED)


def test_every_control_is_looked_at_or_excused_in_writing() -> None:
    packages = [n for n in range(1, 11) if n != 4]
    controls = [
        *(f"os-{n:02}" for n in range(1, 11)), "os-05b",
        *(f"package-{n:02}" for n in packages),
        *(f"sysctl-{n:02}" for n in range(1, 35) if n not in (18, 31)), "sysctl-31a", "sysctl-31b",
        *(f"sshd-{n:02}" for n in range(1, 49) if n != 26),
    ]  # fmt: skip
    assert sorted(control for names in LISTS for control in names) == sorted(controls), "each once"
    other = Path(__file__).with_name("test_host_baseline.py").read_text()
    assert all(f"def test_{name}(" in other for name in ELSEWHERE.values())


def test_logins(host: Host) -> None:
    effective = host.check_output("/usr/sbin/sshd -T").splitlines()
    assert {control: line for control, line in LOGINS.items() if line not in effective} == {}


@pytest.mark.parametrize("controls", [NETWORK, KERNEL], ids=["network", "kernel"])
def test_the_kernels_parameters(host: Host, controls: dict[str, tuple[str, str]]) -> None:
    if controls is KERNEL and host.run("systemd-detect-virt --container --quiet").succeeded:
        assert not host.file("/etc/sysctl.d/90-baseline-kernel.conf").exists
        return
    for control, (paths, value) in controls.items():
        # Bash's, for the braces.
        found = host.check_output("bash -c %s", f"cat /proc/sys/{paths}").splitlines()
        assert [line for line in found if not re.fullmatch(value, line)] == [], control


@pytest.mark.parametrize("control", FILES)
def test_files_are_roots(host: Host, control: str) -> None:
    path, expected = FILES[control]
    assert host.check_output("stat --format '%%a %%U %%G' %s", path) == expected


@pytest.mark.parametrize("control", PACKAGES)
def test_what_nobody_needs_is_not_installed(host: Host, control: str) -> None:
    assert [name for name in PACKAGES[control] if host.package(name).is_installed] == []


def test_nobody_has_a_password_that_could_grow_old(host: Host) -> None:
    """os-05's ages; and its users begin at 1000."""
    states = {
        line.split()[0]: line.split()[1] for line in host.check_output("passwd --status --all").splitlines()
    }
    assert {user for user, state in states.items() if state != "L"} == set()
    assert re.search(r"^UID_MIN\s+1000$", host.file("/etc/login.defs").content_string, re.M)


def test_no_file_lets_others_log_in(host: Host) -> None:
    """os-01, os-09"""
    names = r"\( -name .rhosts -o -name hosts.equiv -o -name .netrc \)"
    assert host.check_output(f"find / -xdev {names} -print") == ""


def test_programs_are_not_looked_for_where_one_happens_to_be(host: Host) -> None:
    """os-04"""
    assert not {"", "."} & set(host.check_output("printenv PATH").split(":"))


def test_no_program_has_rights_that_nobody_needs(host: Host) -> None:
    """os-06"""
    found = host.check_output(r"find / -xdev -type f \( -perm -4000 -o -perm -2000 \)").splitlines()
    assert [path for path in found if re.search(SETUID, path) and path != SETUID_EXCUSED] == []


def test_a_number_is_one_user_and_one_group(host: Host) -> None:
    """os-07"""
    for database in ("passwd", "group"):
        numbers = [line.split(":")[2] for line in host.check_output(f"getent {database}").splitlines()]
        assert len(numbers) == len(set(numbers)), database


def test_no_short_prime_makes_a_key(host: Host) -> None:
    """sshd-48"""
    lengths = host.check_output("awk '$5 ~ /^[0-9]+$/ { print $5 }' /etc/ssh/moduli | sort --unique").split()
    assert min(map(int, lengths)) >= 2047
