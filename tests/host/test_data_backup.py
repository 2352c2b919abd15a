"""The backups' program and timers on a host; what they do is in molecule/default/backups.yml."""

import json

import pytest
from testinfra.host import Host

FOLDER = "/usr/local/lib/data-backup"


@pytest.mark.parametrize("unit", ["data-backup", "data-rehearsal"])
def test_its_timers_run_on_the_first_host_alone(host: Host, unit: str) -> None:
    variables = host.ansible.get_variables()
    first = variables["inventory_hostname"] == variables["groups"]["stack"][0]
    timer = host.service(f"{unit}.timer")
    assert (timer.is_enabled, timer.is_running) == (first, first)
    assert host.check_output(f"systemd-analyze verify {unit}.service {unit}.timer 2>&1 || true") == ""


def test_nobody_but_root_changes_what_they_run(host: Host) -> None:
    for name in ("data_backup.py", "backup_store.py", "restore.sh", "back-up.sql", "describe.sql"):
        file = host.file(f"{FOLDER}/{name}")
        assert (file.user, file.group, file.mode) == ("root", "root", 0o755), name


def test_its_settings_hold_no_secret(host: Host) -> None:
    settings = json.loads(host.file("/etc/data-backup.json").content_string)
    assert settings["environment_name"].startswith("steadfast-")
    assert not [name for name in settings if "password" in name or "secret" in name]
