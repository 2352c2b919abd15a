"""Where backups lie: two objects each in a bucket, the dump and, put there last, its manifest."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

PREFIX = "database/"
NEWEST = "newest"
# What one part of an upload and one read take of memory, and how many parts at once: the host is small.
CHUNK_BYTES = 8 * 1024 * 1024
TRANSFER = TransferConfig(multipart_chunksize=CHUNK_BYTES, max_concurrency=2)
# What a backup's manifest says at least.
SAID = {"release", "schema_head", "sha256", "size_bytes", "tables", "taken_at"}

Manifest = dict[str, Any]


class Refused(Exception):
    """Why it was not done, in words for an operator."""


class Store:
    """The bucket: backups are put there and read, never deleted; its own lifecycle does that."""

    def __init__(self, settings: dict[str, str]) -> None:
        if settings["credentials_path"]:
            os.environ["AWS_SHARED_CREDENTIALS_FILE"] = settings["credentials_path"]
        options = {
            "region_name": settings["region"],
            "endpoint_url": settings["endpoint_url"] or None,
            "config": Config(connect_timeout=5, read_timeout=60, retries={"total_max_attempts": 4}),
        }
        self.bucket = settings["bucket"]
        if not self.bucket:
            account = boto3.client("sts", **options).get_caller_identity()["Account"]
            self.bucket = f"{settings['environment_name']}-backups-{account}"
        self.client = boto3.client("s3", **options)

    def put(self, name: str, dump: Path, manifest: Manifest) -> None:
        """The manifest last: until it is there, nothing is."""
        self.client.upload_file(str(dump), self.bucket, f"{PREFIX}{name}.dump", Config=TRANSFER)
        body = json.dumps(manifest, indent=2).encode()
        self.client.put_object(
            Bucket=self.bucket, Key=f"{PREFIX}{name}.json", Body=body, ContentType="application/json"
        )

    def names(self, suffix: str = ".json") -> list[str]:
        """Of all backups, the newest last; with `.dump`, of those too that have no manifest."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=PREFIX)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return sorted(key.removeprefix(PREFIX).removesuffix(suffix) for key in keys if key.endswith(suffix))

    def manifest(self, name: str) -> Manifest:
        """What the backup of that name says of itself."""
        names = self.names()
        if name == NEWEST:
            unfinished = [dump for dump in self.names(".dump") if [dump] > names[-1:]]
            if unfinished:
                raise Refused(f"The newest backup, {unfinished[-1]}, has no manifest: it was not finished.")
        if not names:
            raise Refused(f"There is no backup in the bucket {self.bucket}.")
        name = names[-1] if name == NEWEST else name
        if name not in names:
            raise Refused(f"There is no backup {name}. There are: {', '.join(names[-20:])}.")
        found = self.client.get_object(Bucket=self.bucket, Key=f"{PREFIX}{name}.json")["Body"].read()
        try:
            manifest: Manifest = {**json.loads(found), "name": name}
            if SAID - set(manifest):
                raise ValueError
        except (ValueError, TypeError):
            raise Refused(f"The manifest of backup {name} is damaged.") from None
        return manifest

    def get(self, manifest: Manifest, target: Path) -> None:
        """The dump, if it is byte for byte what was put there."""
        name = manifest["name"]
        need_space(target.parent, manifest["size_bytes"])
        try:
            self.client.download_file(self.bucket, f"{PREFIX}{name}.dump", str(target), Config=TRANSFER)
        except ClientError as error:
            raise Refused(f"The dump of backup {name} cannot be read: {error}") from error
        size = target.stat().st_size
        if size != manifest["size_bytes"]:
            raise Refused(f"Backup {name} is damaged: {size} bytes instead of {manifest['size_bytes']}.")
        if sha256(target) != manifest["sha256"]:
            raise Refused(f"Backup {name} is damaged: its SHA-256 is not the manifest's.")


def sha256(path: Path) -> str:
    """Of a file, a piece at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def need_space(directory: Path, size_bytes: int) -> None:
    """Refuses to fill the disk."""
    free = shutil.disk_usage(directory).free
    # Something is left for everybody else.
    wanted = size_bytes + 256 * 1024 * 1024
    if free < wanted:
        raise Refused(
            f"{directory} has {free // 2**20} MiB free, and {wanted // 2**20} are needed. Enlarge the disk, "
            "or empty the build cache: docker builder prune --all."
        )
