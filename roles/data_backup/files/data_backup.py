#!/usr/bin/python3
"""Backs the database up to S3, and proves that it can be restored.

    data_backup.py back-up      dumps the database, describes it, uploads both
    data_backup.py rehearse     restores the newest backup into a database of its own, compares, removes it
    data_backup.py list         names the backups, the newest last
    data_backup.py load NAME    restores a backup, or the `newest`, into <database>_restored, and compares
    data_backup.py swap         has <database>_restored and the present database change places

A backup is two objects: the dump, and after it a manifest, which says what the dump holds. Without a manifest
it is none. Everything that speaks with the database runs in the stack's one-off container `database-client`.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from backup_store import NEWEST, Manifest, Refused, Store, need_space, sha256
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import BotoCoreError, ClientError

SCRIPTS = Path(__file__).parent
SETTINGS = Path("/etc/data-backup.json")
PSQL = ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
# The user of the container, who writes and reads the dump.
CLIENT_UID = 10001


class Stack:
    """The database, by way of the stack's one-off container."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, *command: str, files: Path | None = None) -> str:
        """What one of PostgreSQL's programs prints; it finds our scripts, and what lies in `files`."""
        call = ["docker", "compose", "--progress=quiet", "run", "--rm", "--no-TTY"]
        call += ["--volume", f"{SCRIPTS}:/scripts:ro"]
        if files:
            call += ["--volume", f"{files}:/backup"]
        done = subprocess.run(  # noqa: S603
            [*call, "database-client", *command],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Refused(f"{' '.join(command[:3])} failed ({done.returncode}); its words stand above.")
        return done.stdout

    def release(self) -> str:
        """Which release serves."""
        state = json.loads((self.directory / "state.json").read_text())
        return str(state["slots"][state["live"]]["release"])


def description(lines: str) -> Manifest:
    """What describe.sql said."""
    found: Manifest = {"tables": {}}
    for line in map(json.loads, filter(None, lines.splitlines())):
        if "table" in line:
            found["tables"][line["table"]] = {"rows": line["rows"], "checksum": line["checksum"]}
        else:
            found |= line
    return found


def differences(wanted: Manifest, found: Manifest) -> list[str]:
    """What a restored database does not have as the manifest says; empty: it is whole."""
    said = [(f"table {name}", entry) for name, entry in wanted["tables"].items()]
    said += [("schema", wanted["schema_head"])]
    has = {f"table {name}": entry for name, entry in found["tables"].items()}
    has |= {"schema": found["schema_head"]}
    lost = [f"{what}: {has.get(what)} instead of {entry}" for what, entry in said if has.get(what) != entry]
    return lost + [f"{what}: not in the manifest" for what in sorted(set(has) - {what for what, _ in said})]


def stamp(at: float) -> str:
    """A moment as the names of backups and databases have it; they sort by it."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")


def record(directory: Path, what: str, facts: Manifest) -> None:
    """When it last went well, for whoever puts its age into a metric."""
    written = directory / f"{what}.new"
    written.write_text(json.dumps(facts) + "\n")
    written.chmod(0o644)
    written.rename(directory / f"{what}.json")


@contextmanager
def workspace(directory: Path) -> Iterator[Path]:
    """An empty directory that nobody else reads; one at a time, and nothing of it stays."""
    work = directory / "work"
    with (directory / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another backup, rehearsal or restore is under way: waiting for its end.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700)
        os.chown(work, CLIENT_UID, CLIENT_UID)
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


def back_up(stack: Stack, store: Store, directory: Path) -> None:
    """A new backup."""
    begun = time.time()
    with workspace(directory) as work:
        size = stack.run(*PSQL, "--command=SELECT pg_database_size(current_database())")
        # A compressed dump, which has no indexes, is smaller than half of what the server needs.
        need_space(work, int(size) // 2)
        taken = description(stack.run(*PSQL, "--file=/scripts/back-up.sql", files=work))
        dump = work / "dump"
        if not dump.exists():
            raise Refused("pg_dump did not end well, so there is no backup; its words stand above.")
        manifest = {
            "release": stack.release(),
            **taken,
            "size_bytes": dump.stat().st_size,
            "sha256": sha256(dump),
            "taken_at": begun,
            "seconds": round(time.time() - begun, 1),
        }
        store.put(stamp(begun), dump, manifest)
    record(directory, "backup", {"at": begun, "name": stamp(begun), "bucket": store.bucket})
    say(f"Backup {stamp(begun)}: {told(manifest)}, in {time.time() - begun:.0f} s, to {store.bucket}.")


def told(manifest: Manifest) -> str:
    """A backup in a few words."""
    rows = sum(table["rows"] for table in manifest["tables"].values())
    return f"{rows} rows, {manifest['size_bytes'] / 2**20:.1f} MiB, schema {manifest['schema_head']}"


def load(stack: Stack, store: Store, work: Path, name: str, suffix: str) -> Manifest:
    """A backup in a database beside the application's, compared with its manifest."""
    manifest = store.manifest(name)
    store.get(manifest, work / "dump")
    os.chown(work / "dump", CLIENT_UID, CLIENT_UID)
    found = description(stack.run("sh", "/scripts/restore.sh", "load", suffix, files=work))
    if lost := differences(manifest, found):
        raise Refused(f"Backup {manifest['name']} does not hold what it should. {'; '.join(lost)}.")
    return {**manifest, "database": found["database"]}


def rehearse(stack: Stack, store: Store, directory: Path) -> None:
    """The newest backup, restored as `load` does; nothing of it stays."""
    begun = time.time()
    with workspace(directory) as work:
        try:
            manifest = load(stack, store, work, NEWEST, "rehearsal")
        finally:
            stack.run("sh", "/scripts/restore.sh", "drop", "rehearsal")
    facts = {"at": time.time(), "name": manifest["name"], "seconds": round(time.time() - begun, 1)}
    record(directory, "rehearsal", facts)
    say(f"Backup {manifest['name']} can be restored: {told(manifest)}; it took {facts['seconds']:.0f} s.")


def load_for_restore(stack: Stack, store: Store, directory: Path, name: str) -> None:
    """Prints, as JSON, which backup lies in which database now."""
    with workspace(directory) as work:
        try:
            manifest = load(stack, store, work, name, "restored")
        except Refused:
            # Half a database, or another one than was asked for, is of no use to anybody.
            stack.run("sh", "/scripts/restore.sh", "drop", "restored")
            raise
    age_hours = round((time.time() - manifest["taken_at"]) / 3600, 1)
    facts = {key: manifest[key] for key in ("name", "database", "schema_head", "release", "taken_at")}
    say(json.dumps({**facts, "age_hours": age_hours, "told": told(manifest)}))


def say(words: str) -> None:
    """A line for the journal and for whoever looks on."""
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def main(verb: str = "", *arguments: str) -> int:
    """The status to end with."""
    settings = json.loads(SETTINGS.read_text())
    stack, directory = Stack(Path(settings["stack_directory"])), Path(settings["state_directory"])
    try:
        if (verb, len(arguments)) == ("swap", 0):
            say(stack.run("sh", "/scripts/restore.sh", "swap", stamp(time.time())).strip())
            return 0
        store = Store(settings)
        match verb, *arguments:
            case ["back-up"]:
                back_up(stack, store, directory)
            case ["rehearse"]:
                rehearse(stack, store, directory)
            case ["list"]:
                say("\n".join(store.names()) or f"There is no backup in the bucket {store.bucket}.")
            case ["load", name]:
                load_for_restore(stack, store, directory, name)
            case _:
                sys.exit(__doc__)
    except Refused as refused:
        sys.stderr.write(f"{refused}\n")
        return 1
    except (BotoCoreError, ClientError, S3UploadFailedError) as error:
        sys.stderr.write(f"S3 did not do it: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
