"""One look at a host tells packages, directories, files and units; only what differs is written."""

import os
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from tests.ansible.rendering import ROOT, read_yaml
from tests.aws import operator

SCRIPT = (ROOT / "roles" / "host_state" / "files" / "look.sh").read_text()
UNITS = """\
printf '%s\\n' 'Id=docker.service' ActiveState=active UnitFileState=enabled NeedDaemonReload=no '' \\
  'Id=ours.timer' ActiveState=active UnitFileState=enabled NeedDaemonReload=yes '' \\
  'Id=unheard-of.service' ActiveState=inactive UnitFileState= NeedDaemonReload=no"""
PACKAGES = """\
for last; do echo "package $last installed 1.2-3 amd64"; done | grep gpg
echo "no packages found matching unheard-of" >&2
exit 1"""


def told(tmp_path: Path, **asked: str) -> list[str]:
    """What the script prints, with stand-ins for the programs that know packages and units."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("systemctl", UNITS), ("dpkg-query", PACKAGES)):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    environment = {"PACKAGES": "", "PATHS": "", "UNITS": "", **asked}
    environment["PATH"] = f"{programs}:{os.environ['PATH']}"
    done = subprocess.run(["sh", "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_directories_and_files_are_told_with_mode_owner_and_content(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o750)
    (tmp_path / "file").write_text("small\n")
    (tmp_path / "file").chmod(0o600)
    (tmp_path / "link").symlink_to("file")
    names = ("folder", "file", "link", "absent")
    paths = " ".join(str(tmp_path / name) for name in names)
    owner, content = f"{os.getuid()} {os.getgid()}", sha256(b"small\n").hexdigest()
    assert told(tmp_path, PATHS=paths) == [
        f"directory 750 {owner} {tmp_path}/folder",
        f"file 600 {owner} {content} {tmp_path}/file",
    ]


def test_units_are_told_with_what_systemd_has_not_read(tmp_path: Path) -> None:
    assert told(tmp_path, UNITS="docker.service ours.timer unheard-of.service") == [
        "unit docker.service enabled active",
        "unit ours.timer enabled active stale",
        "unit unheard-of.service  inactive",
    ]


def test_packages_are_told_and_those_unheard_of_are_not(tmp_path: Path) -> None:
    assert told(tmp_path, PACKAGES="gpg unheard-of") == ["package gpg installed 1.2-3 amd64"]


def test_whoever_asks_for_nothing_is_told_nothing(tmp_path: Path) -> None:
    assert told(tmp_path) == []


def test_what_differs_is_written_and_nothing_else(tmp_path: Path) -> None:
    same, other, secret, gone = (tmp_path / "host" / name for name in ("same", "other", "secret", "gone"))
    same.parent.mkdir(mode=0o755)
    same.write_text("as it should be\n")
    other.write_text("by hand\n")
    for path in (same, other):
        path.chmod(0o644)
    wanted: dict[str, Any] = {
        "host_state_directories": [{"path": str(same.parent), "mode": "755"}],
        "host_state_files": [
            {"path": str(same), "mode": "644", "content": "as it should be\n", "notify": "Tell"},
            {"path": str(other), "mode": "644", "content": "by us\n", "notify": "Tell"},
            {"path": str(secret), "mode": "600", "content": "pa55word\n", "secret": True},
            {"path": str(gone), "mode": "644", "content": "looked at\n", "validate": "grep looked %s"},
        ],
    }
    role = {"name": "host_state"}
    play = [{
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "become": os.getuid() != 0,
        "handlers": [{"name": "Tell", "ansible.builtin.debug": {"msg": "It was told."}}],
        "tasks": [
            {"ansible.builtin.import_role": role, "vars": wanted},
            {"ansible.builtin.import_role": role | {"tasks_from": "write"}, "vars": wanted},
        ],
    }]  # fmt: skip
    (tmp_path / "play.yml").write_text(yaml.safe_dump(play))

    def run(*arguments: str) -> str:
        done = operator.run("ansible-playbook", "-i", "localhost,", tmp_path / "play.yml", "-vv", "--diff",
                            *arguments, home=tmp_path)  # fmt: skip
        assert done.status == 0, done.output
        assert "pa55word" not in done.output
        return done.output

    assert "changed=2" in run("--check")
    assert other.read_text() == "by hand\n"
    first = run()
    assert first.count("It was told.") == 1
    assert "changed=2" in first
    assert (same.read_text(), other.read_text()) == ("as it should be\n", "by us\n")
    assert secret.read_text() == "pa55word\n"
    assert secret.stat().st_mode & 0o777 == 0o600
    # Now all is as it should be but one file's mode.
    other.chmod(0o666)
    again = run()
    assert "changed=1" in again
    assert again.count("It was told.") == 1
    assert other.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(("role", "unit"), [("app_metrics", "app-metrics"), ("data_backup", "data-backup")])
@pytest.mark.parametrize("unread", ["nothing", "service", "timer"])
def test_a_unit_that_systemd_has_not_read_is_made_up_for(role: str, unit: str, unread: str) -> None:
    directory = ROOT / "roles" / role
    (schedule,) = (
        task
        for task in read_yaml(directory / "tasks" / "schedule.yml")
        if "ansible.builtin.systemd_service" in task
    )
    lines = [
        f"unit {unit}.{kind} {state}{' stale' if kind == unread else ''}"
        for kind, state in (("service", "static inactive"), ("timer", "enabled active"))
    ]
    variables = {
        **read_yaml(directory / "vars" / "main.yml"),
        "data_backup_scheduled": True,
        "item": unit,
        "host_state_told": {"stdout": "\n".join(lines), "stdout_lines": lines},
        "host_state_written": {"changed": False},
    }
    condition = trust_as_template("{{ " + schedule["when"] + " }}")
    needed = Templar(loader=DataLoader(), variables=variables).template(condition)
    assert needed is (unread != "nothing")


def test_both_files_of_a_timer_are_looked_at() -> None:
    directory = ROOT / "roles" / "data_backup"
    look = read_yaml(directory / "tasks" / "install.yml")[0]
    variables = read_yaml(directory / "vars" / "main.yml")
    units = Templar(loader=DataLoader(), variables=variables).template(
        trust_as_template(look["vars"]["host_state_units"])
    )
    names = ("data-backup", "data-rehearsal")
    assert sorted(units) == sorted(f"{name}.{kind}" for name in names for kind in ("service", "timer"))
