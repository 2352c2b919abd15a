"""What playbooks/restore-data.yml does on hosts, and in which order.

docker and the program are stand-ins that note each call; molecule/default/backups.yml has the real ones.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.ansible.rendering import ROOT
from tests.aws.operator import PROGRAMS, run

HOSTS = """
stack:
  hosts:
    app-1: {ansible_connection: local}
    app-2: {ansible_connection: local}
"""
LOADED = {
    "name": "20261124T031700Z", "database": "steadfast_restored", "schema_head": "0005",
    "release": "1a2b3c4d5e6f", "taken_at": 0, "age_hours": 2.5, "told": "17 rows, 0.1 MiB, schema 0005",
}  # fmt: skip
NOTE = 'echo "$(basename "$0") $*" >>"$CALLS"\n'
DOCKER = (
    """#!/bin/sh
if [ "$2" = config ]; then printf 'redis\\napi_blue\\nworker_blue\\n'; exit; fi
"""
    + NOTE
    + """for last; do :; done
test "$last" != "$FAILS" || { echo 'the cause' >&2; exit 1; }
"""
)
PROGRAM = f"""#!/bin/sh
{NOTE}
test "$1" != "$FAILS" || {{ echo 'the cause' >&2; exit 1; }}
case $1 in
  load) echo '{json.dumps(LOADED)}' ;;
  swap) echo steadfast_before_20261124T050000Z ;;
esac
"""

OTHERS = "somebody else since 2026-11-24 05:00:00 UTC\n"

Play = Callable[..., tuple[int, str, list[str]]]


@pytest.fixture
def restore(tmp_path: Path) -> Iterator[Play]:
    """Plays it with these settings on two hosts, both this machine; what it said, and the calls in order.

    However it ends, no lock of its own stays.
    """
    for name, text in (("docker", DOCKER), ("data_backup.py", PROGRAM)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "hosts.yml").write_text(HOSTS)
    shutil.copytree(ROOT / "inventory/production/group_vars", tmp_path / "inventory/group_vars")
    path = f"{tmp_path}:{PROGRAMS}:{os.environ['PATH']}"

    def play(*, fails: str = "", **settings: object) -> tuple[int, str, list[str]]:
        settings |= {
            "ansible_become": False,
            "app_stack_directory": str(tmp_path),
            "__data_restore_program": str(tmp_path / "data_backup.py"),
            # Both hosts are this machine, and each has its own.
            "deployment_lock_path": f"{tmp_path}/{{{{ inventory_hostname }}}}.lock",
        }
        done = run(
            "ansible-playbook", "-i", tmp_path / "inventory", "playbooks/restore-data.yml",
            "-e", json.dumps(settings),
            path=path, home=tmp_path, CALLS=str(tmp_path / "calls"), FAILS=fails,
        )  # fmt: skip
        calls = tmp_path / "calls"
        return done.status, done.output, calls.read_text().splitlines() if calls.exists() else []

    yield play
    assert [path for path in tmp_path.glob("*.lock") if path.read_text() != OTHERS] == []


LOAD = "data_backup.py load newest"
MIGRATE = "docker compose run --rm --no-TTY --env APP_DATABASE_NAME=steadfast_restored migrate"
STOP = "docker compose --profile blue --profile green stop"
SWAP = "data_backup.py swap"
START = "docker compose up --detach --no-recreate --pull never --wait --wait-timeout 120 redis api_blue"


@pytest.mark.parametrize("typed", ["", "yes", "sandbox"])
def test_nothing_is_done_without_the_environments_name(restore: Play, typed: str) -> None:
    status, said, calls = restore(**({"data_restore_confirm": typed} if typed else {}))
    assert status != 0
    assert "-e data_restore_confirm=production. Nothing was changed." in said
    assert calls == []


def test_a_database_stands_ready_before_every_host_stops(restore: Play) -> None:
    status, said, calls = restore(data_restore_confirm="production")
    assert status == 0, said
    assert calls == [LOAD, MIGRATE, STOP, STOP, SWAP, *[f"{START} worker_blue"] * 2]
    assert "Restored: backup 20261124T031700Z, 2.5 hours old: 17 rows" in said
    assert "kept as the database steadfast_before_20261124T050000Z" in said


def test_held_workers_are_not_started(restore: Play) -> None:
    status, said, calls = restore(data_restore_confirm="production", data_restore_hold=True)
    assert status == 0, said
    assert calls[-2:] == [START] * 2
    assert "The workers are stopped" in said


def test_a_backup_that_cannot_be_restored_stops_nothing(restore: Play) -> None:
    status, said, calls = restore(
        data_restore_confirm="production", data_restore_backup="20261123T031700Z", fails="load"
    )
    assert status != 0
    assert "the cause" in said
    assert calls == ["data_backup.py load 20261123T031700Z"]


def test_when_the_names_cannot_change_the_stack_runs_again_with_what_it_had(restore: Play) -> None:
    status, said, calls = restore(data_restore_confirm="production", data_restore_hold=True, fails="swap")
    assert status != 0
    assert "the cause" in said
    assert "the stack runs as before" in said
    assert calls == [LOAD, MIGRATE, STOP, STOP, SWAP, *[f"{START} worker_blue"] * 2]


def test_a_host_that_cannot_be_stopped_leaves_no_other_stopped(restore: Play) -> None:
    # Real databases would not change their names then: it is still connected.
    status, said, calls = restore(data_restore_confirm="production", fails="stop")
    assert "the cause" in said
    assert calls == [LOAD, MIGRATE, STOP, STOP, SWAP, *[f"{START} worker_blue"] * 2]
    assert status == 0, said


def test_while_a_host_is_being_deployed_nothing_is_done(restore: Play, tmp_path: Path) -> None:
    (tmp_path / "app-2.lock").write_text(OTHERS)
    status, said, calls = restore(data_restore_confirm="production")
    assert status != 0
    assert "app-2 is being changed by somebody else since 2026-11-24 05:00:00 UTC" in said
    assert calls == []
    assert (tmp_path / "app-2.lock").read_text() == OTHERS


def test_nobody_can_deploy_while_the_databases_change_places(restore: Play, tmp_path: Path) -> None:
    program = tmp_path / "data_backup.py"
    program.write_text(
        program.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\nls {tmp_path} >>{tmp_path}/seen\n")
    )
    assert restore(data_restore_confirm="production")[0] == 0
    seen = (tmp_path / "seen").read_text().split()
    # At `load` and at `swap`.
    assert (seen.count("app-1.lock"), seen.count("app-2.lock")) == (2, 2)
