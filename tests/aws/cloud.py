"""An AWS for the tests (moto, on a free port of this machine) and the playbooks run against it.

The playbooks are those of the repository, with production's own variables; what an operator would fill in,
and where AWS is, comes as extra variables.
"""

import base64
import json
import os
import re
import resource
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import requests

ROOT = Path(__file__).resolve().parents[2]
MOTO = ROOT / "molecule" / "sandbox" / "services" / "moto_gaps.py"
REGION = "eu-central-1"
ACCOUNT = "123456789012"
DEBIAN = "136693071363"
PREFIX = "steadfast-production"
TAGS = {"Application": "steadfast", "Environment": "production", "ManagedBy": "ansible"}
CREDENTIALS = {"access_key": "tests", "secret_key": "a-word-that-stands-nowhere-else"}

# name -> (id, architecture, day); of those for arm64 the second is the newest.
IMAGES = {
    "debian-13-arm64-20250801-1": ("ami-0aaaaaaaaaaaaaaa1", "arm64", "2025-08-01"),
    "debian-13-arm64-20251101-2": ("ami-0aaaaaaaaaaaaaaa2", "arm64", "2025-11-01"),
    "debian-13-backports-arm64-20251201-3": ("ami-0aaaaaaaaaaaaaaa3", "arm64", "2025-12-01"),
    "debian-13-amd64-20251201-3": ("ami-0aaaaaaaaaaaaaaa4", "x86_64", "2025-12-01"),
}


def images() -> list[dict[str, Any]]:
    """IMAGES as moto reads them."""
    return [
        {
            "ami_id": image_id,
            "name": name,
            "description": name,
            "owner_id": DEBIAN,
            "public": True,
            "state": "available",
            "image_type": "machine",
            "image_location": f"{DEBIAN}/{name}",
            "architecture": architecture,
            "virtualization_type": "hvm",
            "hypervisor": "xen",
            "root_device_name": "/dev/xvda",
            "root_device_type": "ebs",
            "creation_date": f"{day}T00:00:00",
        }
        for name, (image_id, architecture, day) in IMAGES.items()
    ]


def public_key() -> str:
    """An ssh key's public half, as ssh-keygen writes it; nobody has the other."""
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (b"ssh-ed25519", bytes(range(32))))
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} operator\n"


def free_port() -> int:
    """A port of this machine that nobody has."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def work_seconds() -> float:
    """The processor's time that ended children of this process have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class Run:
    """How a playbook ended."""

    status: int
    output: str
    seconds: float
    # Of the processor.
    work_seconds: float

    @property
    def changed(self) -> int:
        """How many tasks changed something."""
        return sum(int(count) for count in re.findall(r"\bchanged=(\d+)", self.output))

    @property
    def told(self) -> str:
        """Its last message, in one line."""
        return " ".join(self.output.rpartition("TASK [")[2].split())


@dataclass
class Cloud:
    """One moto and a folder with what an operator has: an inventory, a key for ssh, RDS's certificates."""

    folder: Path
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        (self.folder / "images.json").write_text(json.dumps(images()))
        inventory = self.folder / "inventory"
        (inventory / "group_vars").mkdir(parents=True)
        (inventory / "hosts.yml").write_text("stack:\n  hosts:\n")
        (inventory / "group_vars" / "all").symlink_to(
            ROOT / "inventory" / "production" / "group_vars" / "all"
        )
        (self.folder / "key.pub").write_text(public_key())
        (self.folder / "bundle.pem").write_text(
            "-----BEGIN CERTIFICATE-----\nmade up\n-----END CERTIFICATE-----\n"
        )
        self.server = subprocess.Popen(
            [sys.executable, str(MOTO), "-H", "127.0.0.1", "-p", str(self.port)],
            env=os.environ | {"MOTO_AMIS_PATH": str(self.folder / "images.json")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._await()

    def _await(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                requests.get(f"{self.url}/moto-api/", timeout=2)
                return
            except requests.ConnectionError:
                assert self.server.poll() is None, "moto did not start"
                time.sleep(0.2)
        raise AssertionError("moto does not answer")

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, service: str, **options: Any) -> Any:
        """boto3's client of a service."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            **{"region_name": REGION, "aws_access_key_id": "tests", "aws_secret_access_key": "tests"}
            | options,
        )

    def settings(self) -> dict[str, Any]:
        """What an operator fills in, and where AWS and RDS's certificates are here."""
        return {
            "app_stack_mail_from": "tasks@steadfast.test",
            "app_stack_smoke_test_recipient": "operations@steadfast.test",
            "aws_environment_admin_cidrs": ["198.51.100.7/32", "192.0.2.0/24"],
            "aws_environment_ssh_public_key_path": str(self.folder / "key.pub"),
            "aws_environment_database_ca_url": (self.folder / "bundle.pem").as_uri(),
            "app_stack_aws_connection": {"endpoint_url": self.url} | CREDENTIALS,
        }

    def play(self, playbook: str, *arguments: str, **settings: Any) -> Run:
        """Runs one of the repository's playbooks as an operator does; `settings` go over the usual ones."""
        ours = ("ANSIBLE_", "AWS_", "SANDBOX_", "STEADFAST_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        programs = Path(sys.executable).parent
        kept |= {"PATH": f"{programs}:{kept['PATH']}", "LC_ALL": "C.UTF-8"}
        # No instance's metadata service is asked for credentials, wherever this runs.
        kept |= {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null"}
        inventory, extra = self.folder / "inventory", json.dumps(self.settings() | settings)
        begun, worked = time.monotonic(), work_seconds()
        ended = subprocess.run(
            [programs / "ansible-playbook", "-i", inventory, "-e", extra, playbook, *arguments],
            cwd=ROOT,
            env=kept,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        return Run(ended.returncode, ended.stdout, time.monotonic() - begun, work_seconds() - worked)

    def provision(self, *arguments: str, **settings: Any) -> Run:
        """playbooks/provision-aws.yml."""
        return self.play("playbooks/provision-aws.yml", *arguments, **settings)

    def teardown(self, *arguments: str, **settings: Any) -> Run:
        """playbooks/teardown-aws.yml."""
        return self.play("playbooks/teardown-aws.yml", *arguments, **settings)

    def tagged(self) -> set[str]:
        """What has the environment's tags, by its ARN, without the instances that are only remembered."""
        pages = self.client("resourcegroupstaggingapi").get_paginator("get_resources")
        filters = [{"Key": key, "Values": [value]} for key, value in TAGS.items()]
        ended = [{"Name": "instance-state-name", "Values": ["terminated"]}]
        reservations = self.client("ec2").describe_instances(Filters=ended)["Reservations"]
        gone = {instance["InstanceId"] for found in reservations for instance in found["Instances"]}
        return {
            found["ResourceARN"]
            for page in pages.paginate(TagFilters=filters)
            for found in page["ResourceTagMappingList"]
            if found["ResourceARN"].rpartition("/")[2] not in gone
        }

    def end(self) -> None:
        """Ends moto."""
        self.server.terminate()
        self.server.wait(20)
