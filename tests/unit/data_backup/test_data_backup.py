"""The program that backs up: what counts as a backup, what is refused, and that nothing of it stays.

S3 is moto's; the database is a stand-in that says what the real one's scripts would. The real one is in
molecule/default/backups.yml.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws

PROGRAM = Path(__file__).parents[3] / "roles" / "data_backup" / "files"
BUCKET = "steadfast-test-backups-123456789012"
TABLES = {"tasks": {"rows": 3, "checksum": "12"}, "alembic_version": {"rows": 1, "checksum": "-7"}}


def loaded() -> tuple[ModuleType, ModuleType]:
    """The program and its store; they lie in a role, which gets no bytecode from here."""
    sys.path.insert(0, str(PROGRAM))
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        import backup_store
        import data_backup
    finally:
        sys.path.remove(str(PROGRAM))
        sys.dont_write_bytecode = before
    return data_backup, backup_store


program, store_module = loaded()


class Database:
    """What the scripts in the container do, with a text instead of a dump."""

    def __init__(self) -> None:
        self.content = "rows " * 1000
        self.tables: dict[str, Any] = dict(TABLES)
        self.pg_dump_works = True
        self.restored: str | None = None
        self.calls: list[tuple[str, ...]] = []

    def release(self) -> str:
        return "1a2b3c4d5e6f"

    def run(self, *command: str, files: Path | None = None) -> str:
        self.calls.append(command)
        if "--command=SELECT pg_database_size(current_database())" in command:
            return "4096\n"
        if "--file=/scripts/back-up.sql" in command:
            if self.pg_dump_works:
                assert files
                (files / "dump").write_text(self.content)
            return self.said("steadfast")
        if command[2:3] == ("load",):
            assert files
            self.restored = (files / "dump").read_text()
            return self.said(f"steadfast_{command[3]}")
        if command[2:3] == ("drop",):
            self.restored = None
        return ""

    def said(self, database: str) -> str:
        lines = [{"database": database, "schema_head": "0005"}]
        lines += [{"table": name, **entry} for name, entry in self.tables.items()]
        return "\n".join(map(json.dumps, lines)) + "\n"


class Backups:
    """The program with its bucket, database and directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.s3 = boto3.client("s3", region_name="eu-central-1")
        self.database = Database()
        settings = {"bucket": "", "region": "eu-central-1", "endpoint_url": "", "credentials_path": ""}
        self.store = store_module.Store({**settings, "environment_name": "steadfast-test"})

    def back_up(self) -> str:
        program.back_up(self.database, self.store, self.directory)
        return str(self.store.names()[-1])

    def rehearse(self) -> None:
        program.rehearse(self.database, self.store, self.directory)

    def noted(self, what: str) -> Any:
        path = self.directory / f"{what}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def change(self, name: str, content: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=f"database/{name}", Body=content)

    def remove(self, name: str) -> None:
        self.s3.delete_object(Bucket=BUCKET, Key=f"database/{name}")

    def get(self, name: str) -> bytes:
        found: bytes = self.s3.get_object(Bucket=BUCKET, Key=f"database/{name}")["Body"].read()
        return found


@pytest.fixture
def backups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backups]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any-word")
    # Only root gives files away.
    monkeypatch.setattr(program.os, "chown", lambda *_: None)
    with mock_aws():
        boto3.client("s3", region_name="eu-central-1").create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        yield Backups(tmp_path)


def test_a_backup_is_a_dump_and_its_manifest(backups: Backups) -> None:
    name = backups.back_up()
    manifest = json.loads(backups.get(f"{name}.json"))
    assert backups.get(f"{name}.dump").decode() == backups.database.content
    assert manifest["size_bytes"] == len(backups.database.content)
    assert manifest["tables"] == TABLES
    assert (manifest["schema_head"], manifest["release"]) == ("0005", "1a2b3c4d5e6f")
    assert time.time() - backups.noted("backup")["at"] < 60
    assert backups.noted("backup")["name"] == name


def test_nothing_of_it_stays_on_the_host(backups: Backups) -> None:
    backups.back_up()
    backups.rehearse()
    assert {path.name for path in backups.directory.iterdir()} == {"backup.json", "rehearsal.json", "lock"}
    assert backups.database.restored is None


def test_a_dump_that_was_broken_off_is_no_backup(backups: Backups) -> None:
    backups.database.pg_dump_works = False
    with pytest.raises(store_module.Refused, match="no backup"):
        program.back_up(backups.database, backups.store, backups.directory)
    assert backups.store.names() == []
    assert backups.noted("backup") is None


def test_a_full_disk_is_refused_before_anything_is_dumped(
    backups: Backups, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 200 * 2**20})
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(store_module.Refused, match="200 MiB free, and 256 are needed"):
        backups.back_up()
    assert len(backups.database.calls) == 1


def test_a_rehearsal_restores_the_newest_one_and_notes_when(backups: Backups) -> None:
    name = backups.back_up()
    backups.rehearse()
    assert backups.noted("rehearsal")["name"] == name
    assert time.time() - backups.noted("rehearsal")["at"] < 60
    assert ("sh", "/scripts/restore.sh", "drop", "rehearsal") in backups.database.calls


def flipped(content: bytes) -> bytes:
    """With another byte in the middle."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES: dict[str, tuple[Callable[[Backups, str], object], str]] = {
    "flipped byte": (lambda b, name: b.change(f"{name}.dump", flipped(b.get(f"{name}.dump"))), "SHA-256"),
    "truncated": (lambda b, name: b.change(f"{name}.dump", b.get(f"{name}.dump")[:-1]), "4999 bytes .* 5000"),
    "no dump": (lambda b, name: b.remove(f"{name}.dump"), "cannot be read"),
    "no manifest": (lambda b, name: b.remove(f"{name}.json"), "has no manifest: it was not finished"),
    "a newer one unfinished": (lambda b, _: b.change("20991231T000000Z.dump", b"half"), "has no manifest"),
    "half a manifest": (lambda b, name: b.change(f"{name}.json", b.get(f"{name}.json")[:-20]), "is damaged"),
    "another manifest": (lambda b, name: b.change(f"{name}.json", b"[]"), "is damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_backup_fails_the_rehearsal_and_says_why(backups: Backups, damage: str) -> None:
    make, words = DAMAGES[damage]
    make(backups, backups.back_up())
    with pytest.raises(store_module.Refused, match=words):
        backups.rehearse()
    assert backups.noted("rehearsal") is None
    assert backups.database.calls[-1] == ("sh", "/scripts/restore.sh", "drop", "rehearsal")


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ({"tasks": {"rows": 2, "checksum": "12"}}, "table tasks: .*'rows': 2.* instead of .*'rows': 3"),
        ({"tasks": {"rows": 3, "checksum": "13"}}, "table tasks: .*13.* instead of .*12"),
        ({"more": {"rows": 0, "checksum": "0"}}, "table more: not in the manifest"),
    ],
    ids=["a row less", "another content", "a table more"],
)
def test_a_restore_that_holds_something_else_fails_the_rehearsal(
    backups: Backups, held: dict[str, Any], words: str
) -> None:
    backups.back_up()
    backups.database.tables |= held
    with pytest.raises(store_module.Refused, match=words):
        backups.rehearse()
    assert backups.noted("rehearsal") is None
    assert backups.database.restored is None


def test_a_table_that_did_not_come_back_is_missed(backups: Backups) -> None:
    backups.back_up()
    del backups.database.tables["tasks"]
    with pytest.raises(store_module.Refused, match="table tasks: None instead of"):
        backups.rehearse()


def test_a_restore_says_which_backup_lies_where_and_how_old_it_is(
    backups: Backups, capsys: pytest.CaptureFixture[str]
) -> None:
    name = backups.back_up()
    manifest = json.loads(backups.get(f"{name}.json"))
    backups.change(f"{name}.json", json.dumps(manifest | {"taken_at": time.time() - 7200}).encode())
    capsys.readouterr()
    program.load_for_restore(backups.database, backups.store, backups.directory, name)
    said = json.loads(capsys.readouterr().out)
    assert (said["name"], said["database"], said["age_hours"]) == (name, "steadfast_restored", 2.0)
    assert backups.database.restored == backups.database.content


def test_a_refused_restore_leaves_no_database(backups: Backups) -> None:
    backups.back_up()
    del backups.database.tables["tasks"]
    with pytest.raises(store_module.Refused, match="table tasks: None instead of"):
        program.load_for_restore(backups.database, backups.store, backups.directory, "newest")
    assert backups.database.restored is None
    assert backups.database.calls[-1] == ("sh", "/scripts/restore.sh", "drop", "restored")


def test_without_any_backup_it_is_said(backups: Backups) -> None:
    with pytest.raises(store_module.Refused, match=f"There is no backup in the bucket {BUCKET}"):
        backups.rehearse()


def test_a_name_that_is_none_is_answered_with_those_there_are(backups: Backups) -> None:
    name = backups.back_up()
    with pytest.raises(store_module.Refused, match=f"There is no backup 20200101T000000Z. There are: {name}"):
        program.load_for_restore(backups.database, backups.store, backups.directory, "20200101T000000Z")


def test_it_reads_the_settings_that_the_role_writes() -> None:
    text = "".join(path.read_text() for path in PROGRAM.glob("*.py"))
    written = yaml.safe_load((PROGRAM.parent / "vars" / "main.yml").read_text())["__data_backup_settings"]
    assert set(re.findall(r"settings\[['\"](\w+)['\"]\]", text)) == set(written)
