"""An account of AWS (moto) and the playbooks run against it.

The playbooks are those of the repository, with production's own variables; what an operator would fill in,
and where AWS is, comes as extra variables.
"""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import requests

from tests.aws.endpoint import moto
from tests.aws.operator import ROOT, Run, run
from tests.aws.tagged import REGION, tagged

# Another, in which nothing is ever made.
EMPTY_REGION = "eu-west-1"
ACCOUNT = "123456789012"
DEBIAN = "136693071363"
PREFIX = "steadfast-production"
PATH = "/steadfast/production/"
BUCKET = f"{PREFIX}-backups-{ACCOUNT}"
# Somebody else's.
FOREIGN_BUCKET = "steadfast-staging-backups"
# Another environment's and two of an operator's own, of which the second mails to this environment's topic:
# name -> (topic, description).
FOREIGN_ALARMS = {
    f"{PREFIX}-eu-queue-depth": (f"{PREFIX}-eu-alarms", "What to do: instructions.md#queue-depth"),
    f"{PREFIX}-orders": ("orders", "Nobody orders."),
    f"{PREFIX}-payments": (f"{PREFIX}-alarms", "Nobody pays."),
}
# One that an earlier list of ours had.
DROPPED_ALARM = (f"{PREFIX}-swap-full", f"{PREFIX}-alarms", "What to do: instructions.md#swap-full")
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


@contextmanager
def account(folder: Path) -> Iterator["Cloud"]:
    """An account in which nothing is; into the folder go an operator's inventory, key and certificates."""
    home = folder / "home"
    home.mkdir()
    (folder / "images.json").write_text(json.dumps(images()))
    inventory = folder / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "hosts.yml").write_text("stack:\n  hosts:\n")
    (inventory / "group_vars" / "all").symlink_to(ROOT / "inventory" / "production" / "group_vars" / "all")
    (folder / "key.pub").write_text(public_key())
    (folder / "bundle.pem").write_text("-----BEGIN CERTIFICATE-----\nmade up\n-----END CERTIFICATE-----\n")
    with moto(MOTO_AMIS_PATH=str(folder / "images.json")) as url:
        yield Cloud(folder, url)


class Held(NamedTuple):
    """What there is of the environment."""

    # What bears its tags, by ARN.
    arns: set[str]
    # With their values.
    parameters: dict[str, str]
    # Every log group of the account, and for how many days it keeps a line.
    log_days: dict[str, int | None]
    # By their names, without the environment's.
    alarms: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Step:
    """A run, and what there was before and after it."""

    before: Held
    run: Run
    after: Held


@dataclass(frozen=True)
class Cloud:
    """An account: where it answers, and the operator's folder."""

    folder: Path
    url: str

    def client(self, service: str, **options: Any) -> Any:
        """boto3's client of a service."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            **{"region_name": REGION, "aws_access_key_id": "tests", "aws_secret_access_key": "tests"}
            | options,
        )

    def with_rights(
        self, keys: dict[str, str], play: Callable[..., Run], *arguments: str, **settings: Any
    ) -> Run:
        """One of the playbooks with a user's keys, while everybody may do no more than is allowed."""
        # How many requests are let through before it looks.
        requests.post(f"{self.url}/moto-api/reset-auth", data=b"0", timeout=10)
        try:
            return play(*arguments, app_stack_aws_connection={"endpoint_url": self.url} | keys, **settings)
        finally:
            requests.post(f"{self.url}/moto-api/reset-auth", data=b"inf", timeout=10)

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

    def play(
        self, playbook: str, *arguments: str, typed: tuple[str, str] | None = None, **settings: Any
    ) -> Run:
        """Runs one of the repository's playbooks as an operator does; `settings` go over the usual ones."""
        chosen = ("-i", self.folder / "inventory", "-e", json.dumps(self.settings() | settings))
        return run("ansible-playbook", *chosen, playbook, *arguments, home=self.folder / "home", typed=typed)

    def provision(self, *arguments: str, **settings: Any) -> Run:
        """playbooks/provision-aws.yml."""
        return self.play("playbooks/provision-aws.yml", *arguments, **settings)

    def look(self, **settings: Any) -> Run:
        """playbooks/check-drift.yml of what is in AWS."""
        chosen = ("--check", "--diff", "--tags", "aws_environment,aws_monitoring")
        return self.play("playbooks/check-drift.yml", *chosen, **settings)

    def teardown(self, **settings: Any) -> Run:
        """playbooks/teardown-aws.yml."""
        return self.play("playbooks/teardown-aws.yml", **settings)

    def tagged(self) -> set[str]:
        """What has the environment's tags."""
        return tagged(self.client, TAGS)

    def parameters(self) -> dict[str, str]:
        """Every parameter of the environment and its value."""
        pages = self.client("ssm").get_paginator("get_parameters_by_path")
        found = pages.paginate(Path=PATH, Recursive=True, WithDecryption=True)
        return {
            entry["Name"].removeprefix(PATH): entry["Value"] for page in found for entry in page["Parameters"]
        }

    def log_days(self) -> dict[str, int | None]:
        """Every log group and for how long it keeps a line."""
        pages = self.client("logs").get_paginator("describe_log_groups").paginate()
        groups = [group for page in pages for group in page["logGroups"]]
        return {group["logGroupName"]: group.get("retentionInDays") for group in groups}

    def alarms(self, region: str = REGION) -> dict[str, dict[str, Any]]:
        """The environment's alarms."""
        pages = self.client("cloudwatch", region_name=region).get_paginator("describe_alarms")
        found = [alarm for page in pages.paginate(AlarmNamePrefix=PREFIX) for alarm in page["MetricAlarms"]]
        ours = [alarm for alarm in found if alarm["AlarmName"] not in FOREIGN_ALARMS]
        return {alarm["AlarmName"].removeprefix(f"{PREFIX}-"): alarm for alarm in ours}

    def put_alarm(self, name: str, topic: str, description: str) -> None:
        """Makes an alarm that mails to a topic, as an operator does."""
        self.client("cloudwatch").put_metric_alarm(
            AlarmName=name,
            AlarmDescription=description,
            AlarmActions=[f"arn:aws:sns:{REGION}:{ACCOUNT}:{topic}"],
            Namespace="steadfast/production",
            MetricName="QueueDepth",
            Statistic="Maximum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )

    def foreign_alarms(self) -> set[str]:
        """Those of FOREIGN_ALARMS that are there."""
        found = self.client("cloudwatch").describe_alarms(AlarmNames=list(FOREIGN_ALARMS))["MetricAlarms"]
        return {alarm["AlarmName"] for alarm in found}

    def held(self) -> Held:
        """What there is."""
        return Held(self.tagged(), self.parameters(), self.log_days(), self.alarms())

    def step(self, play: Callable[..., Run], *arguments: Any, **settings: Any) -> Step:
        """One of the playbooks, and what it made of what there was."""
        before = self.held()
        run = play(*arguments, **settings)
        return Step(before, run, self.held())

    def instances(self) -> list[dict[str, Any]]:
        """The environment's instances that are not terminated."""
        tags = TAGS | {"Role": "stack"}
        filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]
        states = ["pending", "running", "stopping", "stopped"]
        filters.append({"Name": "instance-state-name", "Values": states})
        found = self.client("ec2").describe_instances(Filters=filters)
        return [instance for reservation in found["Reservations"] for instance in reservation["Instances"]]
