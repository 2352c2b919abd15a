"""The script that fills a database beside the application's; PostgreSQL's programs are stand-ins here."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "roles" / "data_backup" / "files" / "restore.sh"


def load(tmp_path: Path, *, may_make_databases: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """What it said, and which programs that change something were called."""
    calls = tmp_path / "calls"
    calls.touch()
    programs = {"psql": f"echo {may_make_databases}"} | dict.fromkeys(
        ("createdb", "dropdb", "pg_restore"), f'echo "$(basename "$0")" >>{calls}'
    )
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["sh", SCRIPT, "load", "rehearsal"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "PGDATABASE": "tasks", "PGUSER": "owner"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, calls.read_text().split()


def test_an_owner_who_may_not_make_databases_is_refused_with_what_mends_it(tmp_path: Path) -> None:
    done, calls = load(tmp_path, may_make_databases="f")
    assert done.returncode == 1
    assert "as the server's master user: ALTER ROLE owner CREATEDB" in done.stderr
    assert calls == []


def test_one_that_may_fills_an_empty_one(tmp_path: Path) -> None:
    done, calls = load(tmp_path, may_make_databases="t")
    assert done.returncode == 0, done.stderr
    assert calls == ["dropdb", "createdb", "pg_restore"]
